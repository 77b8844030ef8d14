"""`superglue_ros evaluate localization`: are images found where they are, and nowhere else."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from superglue_ros.cli.options import (
    add_config_options,
    add_matcher_options,
    config_from,
    matcher_config,
)
from superglue_ros.errors import SuperGlueRosError
from superglue_ros.evaluation.localization import (
    NEAR_DEG,
    NEAR_M,
    QueryResult,
    SourcePart,
    judge_queries,
    look_for,
)
from superglue_ros.evaluation.pairs import open_pairs
from superglue_ros.geometry import check_camera
from superglue_ros.mapping import KeyframeMap, LocalizerConfig, MapBuilder, MapLocalizer
from superglue_ros.matching import ImageMatcher, KeyframeMatcher
from superglue_ros.odometry import VisualOdometry
from superglue_ros.replay.run import run_replay
from superglue_ros.reporting.files import make_folder, write_json
from superglue_ros.reporting.tables import format_table
from superglue_ros.sources import FrameSource, open_source, poses_from_trajectory
from superglue_ros.types import Trajectory


@dataclass(frozen=True)
class _Mapped:
    """A sequence, its true poses, the map of its even frames, and the poses of that."""

    source: FrameSource
    truth: Trajectory
    keyframe_map: KeyframeMap
    poses: Trajectory


def add_localization(kinds: Any) -> None:
    """Add the subcommand to those of `evaluate`."""
    summary = "images looked for in maps of the same place and of others"
    parser = kinds.add_parser(
        "localization",
        help=summary,
        description="Even frames of each sequence make a map, and its odd frames are looked for "
        "in it; errors are to the ground truth, to which the map's own poses are aligned. Frames "
        "of all other sequences are looked for as well: none may be found.",
    )
    parser.add_argument("dataset", type=Path, nargs="+", metavar="DATASET")
    parser.add_argument(
        "--elsewhere", type=Path, nargs="*", default=[], metavar="SOURCE",
        help="more that must not be found in any map",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, metavar="DIR", help="localization.json")
    add_matcher_options(parser)
    add_config_options(parser, LocalizerConfig, "localisation")
    parser.set_defaults(run=run_localization)


def run_localization(args: argparse.Namespace) -> int:
    """Make the maps, look for the images, print a row a map."""
    config = config_from(args, LocalizerConfig)
    opened = [open_pairs(folder, None) for folder in args.dataset]
    others = [open_source(path) for path in args.elsewhere]
    output = make_folder(args.output) if args.output else None
    matcher = ImageMatcher.from_config(matcher_config(args))
    maps = [_map(matcher, source, truth) for source, truth in opened]
    queried = [*(source for source, _ in opened), *others]
    own: list[QueryResult] = []
    elsewhere: list[QueryResult] = []
    for mapped in maps:
        localizer = MapLocalizer(matcher, mapped.keyframe_map, config)
        own += _look_for_own(localizer, mapped)
        for source in queried:
            if source is not mapped.source:
                elsewhere += _look_elsewhere(localizer, mapped.source.name, source)
    header = ["map of", "keyframes", "landmarks", "images", "found"]
    header += [f"within {NEAR_M:g} m, {NEAR_DEG:g} deg %", "farthest: m", "deg", "fewest inliers"]
    header += ["from elsewhere", "found", "most inliers"]
    print(format_table(header, [_row(mapped, own, elsewhere) for mapped in maps]))
    if output is not None:
        write_json(output / "localization.json", {"own": own, "elsewhere": elsewhere})
        print(f"figures: {output}")
    return 0


def _map(matcher: ImageMatcher, source: FrameSource, truth: Trajectory) -> _Mapped:
    if source.camera is None:
        raise SuperGlueRosError(f"{source.name} has no calibration")
    check_camera(source.camera)
    keyframes = KeyframeMatcher(matcher)
    builder = MapBuilder(keyframes)
    odometry = VisualOdometry(use_depth=source.has_depth or source.is_stereo)
    even = SourcePart(source, 0, 2)
    result = run_replay(even, keyframes, odometry, progress=True, watch=builder.add)
    poses = result.trajectory
    by_stamp = dict(zip(poses.stamps_ns.tolist(), poses_from_trajectory(poses)))
    return _Mapped(source, truth, builder.finish(by_stamp, result.scale_is_metric), poses)


def _look_for_own(localizer: MapLocalizer, mapped: _Mapped) -> list[QueryResult]:
    name = mapped.source.name
    frames = tqdm(SourcePart(mapped.source, 1, 2), unit="frame", desc=f"{name} in its own map")
    found = [(frame.stamp_ns, look_for(localizer, frame)) for frame in frames]
    try:
        metric = mapped.keyframe_map.is_metric
        return judge_queries(name, found, mapped.poses, mapped.truth, metric)
    except ValueError as error:
        raise SuperGlueRosError(f"{name}: {error}") from error


def _look_elsewhere(localizer: MapLocalizer, name: str, source: FrameSource) -> list[QueryResult]:
    results = []
    for frame in tqdm(source, unit="frame", desc=f"{source.name} in the map of {name}"):
        found = look_for(localizer, frame)
        results.append(
            QueryResult(name, source.name, frame.stamp_ns, found.pose is not None, found.inliers)
        )
    return results


def _row(mapped: _Mapped, own: list[QueryResult], elsewhere: list[QueryResult]) -> list[Any]:
    name, keyframe_map = mapped.source.name, mapped.keyframe_map
    here, there = ([x for x in group if x.map_name == name] for group in (own, elsewhere))
    found = [x for x in here if x.found]
    return [
        *(name, len(keyframe_map.keyframes), keyframe_map.num_landmarks, len(here), len(found)),
        100.0 * sum(x.near for x in here) / max(len(here), 1),
        f"{max((x.position_m for x in found), default=float('nan')):.3f}",
        f"{max((x.rotation_deg for x in found), default=float('nan')):.2f}",
        min((x.inliers for x in found), default=0),
        *(len(there), sum(x.found for x in there)),
        max((x.inliers for x in there), default=0),
    ]
