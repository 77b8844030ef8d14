"""`superglue_ros localize`: where the images of a recording are in a map."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tqdm import tqdm

from superglue_ros.cli.options import (
    add_config_options,
    add_matcher_options,
    config_from,
    matcher_config,
)
from superglue_ros.cli.source_options import add_source_options, open_chosen_source
from superglue_ros.errors import CameraError
from superglue_ros.evaluation.localization import look_for
from superglue_ros.geometry import check_camera
from superglue_ros.mapping import LocalizerConfig, MapLocalizer, read_map
from superglue_ros.matching import ImageMatcher
from superglue_ros.reporting.files import check_output
from superglue_ros.sources import trajectory_from_poses, write_trajectory
from superglue_ros.types import Pose

SUMMARY = "find the images of a recording in a map"


def add_parser(subparsers: Any) -> None:
    """Add `localize` to the command line."""
    parser = subparsers.add_parser("localize", help=SUMMARY, description=SUMMARY)
    parser.add_argument("map", type=Path, metavar="MAP", help="file of `superglue_ros map`")
    add_source_options(parser)
    parser.add_argument(
        "--output", type=Path, metavar="F", help="poses of the images that were found (TUM format)"
    )
    parser.add_argument("--every", type=int, default=1, metavar="N", help="one of N frames")
    add_matcher_options(parser)
    add_config_options(parser, LocalizerConfig, "localisation")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Localise and print what was found."""
    config = config_from(args, LocalizerConfig)
    keyframe_map = read_map(args.map)
    source = open_chosen_source(args, rectify=False)
    if source.camera is None:
        raise CameraError(f"{args.source} has no calibration: --calibration")
    check_camera(source.camera)
    if args.output is not None:
        check_output(args.output)
    matcher = ImageMatcher.from_config(matcher_config(args))
    localizer = MapLocalizer(matcher, keyframe_map, config)
    poses: dict[int, Pose] = {}
    asked, most = 0, 0
    for index, frame in enumerate(tqdm(source, unit="frame", desc=source.name)):
        if index % max(args.every, 1) or frame.camera is None:
            continue
        found = look_for(localizer, frame)
        asked += 1
        if found.pose is None:
            most = max(most, found.inliers)
        else:
            poses[frame.stamp_ns] = found.pose
    stamps = sorted(poses)
    if args.output is not None:
        trajectory = trajectory_from_poses(stamps, [poses[stamp] for stamp in stamps])
        write_trajectory(args.output, trajectory)
    print(f"{len(poses)} of {asked} images found; most inliers of one that was not: {most}")
    return 0
