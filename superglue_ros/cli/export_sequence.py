"""`superglue_ros export colmap` and `export hloc`: a sequence's features and matches."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from superglue_ros.cli.options import (
    add_keyframe_options,
    add_matcher_options,
    keyframe_policy,
    matcher_config,
)
from superglue_ros.cli.source_options import add_source_options, open_chosen_source
from superglue_ros.errors import CameraError, ExportError, SuperGlueRosError
from superglue_ros.exporters.colmap import MODELS, import_pycolmap, write_database, write_model
from superglue_ros.exporters.hloc import import_h5py, write_hloc
from superglue_ros.exporters.sequence import MatchedSequence, SequenceCollector
from superglue_ros.geometry import check_camera
from superglue_ros.matching import ImageMatcher, KeyframeMatcher
from superglue_ros.odometry import VisualOdometry
from superglue_ros.replay.run import run_replay
from superglue_ros.reporting.files import make_folder
from superglue_ros.sources import (
    poses_from_trajectory,
    trajectory_from_poses,
    write_trajectory,
)
from superglue_ros.types import Pose


def add_parsers(kinds: Any) -> None:
    """Add both kinds to those of `export`."""
    colmap = _parser(
        kinds,
        "colmap",
        "a sequence as a COLMAP database",
        "Writes DIR/images, DIR/database.db with verified matches and, with --model, "
        "DIR/sparse and the positions as DIR/trajectory.txt (TUM format). Needs pycolmap 4.",
    )
    colmap.add_argument(
        "--model",
        choices=MODELS,
        help="sparse model: poses of our odometry, with points triangulated from them; or mapped "
        "by COLMAP, incremental or global",
    )
    colmap.set_defaults(run=run_colmap)
    hloc = _parser(
        kinds,
        "hloc",
        "a sequence as hloc's features.h5 and matches.h5",
        "Writes DIR/images, DIR/features.h5, DIR/matches.h5 and DIR/pairs.txt. Needs h5py.",
    )
    hloc.set_defaults(run=run_hloc, model=None)


def _parser(kinds: Any, kind: str, summary: str, description: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = kinds.add_parser(kind, help=summary, description=description)
    add_source_options(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--pairs",
        default="sequential",
        metavar="sequential|retrieval|exhaustive|FILE",
        help="sequential: neighbours, and keyframes that see the same; retrieval: what looks "
        "alike, for photographs in no order; FILE: two names a line",
    )
    parser.add_argument(
        "--overlap", type=int, default=3, metavar="N", help="sequential: neighbours (default 3)"
    )
    parser.add_argument(
        "--loops", type=int, default=0, metavar="N",
        help="sequential: also each keyframe with the N that look most alike (default 0)",
    )  # fmt: skip
    parser.add_argument(
        "--retrieved", type=int, default=10, metavar="N",
        help="retrieval: each image with the N that look most alike (default 10)",
    )  # fmt: skip
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="take one of N frames (default 1)"
    )
    parser.add_argument("--max-frames", type=int, metavar="N", help="stop after N frames")
    add_matcher_options(parser)
    add_keyframe_options(parser)
    return parser


def run_colmap(args: argparse.Namespace) -> int:
    """Export to COLMAP and print what was verified and mapped."""
    if (args.output / "database.db").exists():
        raise ExportError(f"{args.output / 'database.db'} exists already")
    import_pycolmap()  # what is missing is said before the minutes that matching takes
    sequence, poses = _collect(args)
    matches, verified = write_database(args.output, sequence)
    print(
        f"{args.output}: {len(sequence.images)} images, {len(sequence.pairs)} pairs, "
        f"{verified} of {matches} matches verified"
    )
    if args.model is not None:
        model = write_model(args.output, sequence, args.model, poses)
        stamps = sorted(model.poses)
        trajectory = trajectory_from_poses(stamps, [model.poses[stamp] for stamp in stamps])
        write_trajectory(args.output / "trajectory.txt", trajectory)
        print(
            f"{args.output / 'sparse'}: {len(stamps)} images, {model.num_points} points, "
            f"reprojection error {model.reprojection_error_px:.2f} px"
        )
    return 0


def run_hloc(args: argparse.Namespace) -> int:
    """Export to hloc and print what was written."""
    import_h5py()
    sequence, _ = _collect(args)
    write_hloc(args.output, sequence)
    matches = sum(len(pair.matches) for pair in sequence.pairs)
    print(
        f"{args.output}: {len(sequence.images)} images, {len(sequence.pairs)} pairs, "
        f"{matches} matches"
    )
    return 0


def _collect(args: argparse.Namespace) -> tuple[MatchedSequence, dict[int, Pose]]:
    """The matched sequence and, where the model is of our poses, these by stamp."""
    source = open_chosen_source(args, rectify=True)
    if args.kind == "colmap" and source.camera is None:
        raise CameraError(f"COLMAP needs a calibration, and {args.source} has none: --calibration")
    odometry = None
    if args.model == "poses" and source.camera is not None:
        check_camera(source.camera)
        odometry = VisualOdometry(use_depth=source.has_depth or source.is_stereo)
    images = make_folder(make_folder(args.output) / "images")
    matcher = KeyframeMatcher(
        ImageMatcher.from_config(matcher_config(args)), keyframe_policy(args)
    )
    try:
        collector = SequenceCollector(
            matcher,
            images,
            args.pairs,
            overlap=args.overlap,
            every=args.every,
            retrieved=args.retrieved,
            loops=args.loops,
        )
    except ValueError as error:
        raise SuperGlueRosError(str(error)) from error
    result = run_replay(
        source,
        matcher,
        odometry,
        max_frames=args.max_frames,
        progress=True,
        watch=collector.add,
    )
    sequence = collector.finish()
    if not sequence.pairs:
        raise ExportError(f"{args.source}: no pair of images to match")
    trajectory = result.trajectory
    poses = zip(trajectory.stamps_ns.tolist(), poses_from_trajectory(trajectory))
    return sequence, dict(poses)
