"""`superglue_ros map`: a map of keyframes from a recording."""

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
from superglue_ros.errors import MapError
from superglue_ros.evaluation.pairs import frame_stamps
from superglue_ros.geometry import check_camera
from superglue_ros.mapping import MapBuilder, write_map
from superglue_ros.matching import ImageMatcher, KeyframeMatcher
from superglue_ros.odometry import VisualOdometry
from superglue_ros.odometry.base_frame import BaseFrame
from superglue_ros.replay.run import run_replay
from superglue_ros.reporting.files import check_output
from superglue_ros.sources import poses_from_trajectory, read_trajectory

SUMMARY = "make a map of keyframes from a recording"


def add_parser(subparsers: Any) -> None:
    """Add `map` to the command line."""
    parser = subparsers.add_parser("map", help=SUMMARY, description=SUMMARY)
    add_source_options(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="F.npz")
    parser.add_argument(
        "--poses",
        type=Path,
        metavar="F",
        help="trajectory of the camera (TUM or KITTI format) instead of our odometry's, as of "
        "export colmap or another SLAM; its frame is the map's",
    )
    parser.add_argument("--max-frames", type=int, metavar="N", help="stop after N frames")
    add_matcher_options(parser)
    add_keyframe_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Replay, write the map, print what it holds."""
    source = open_chosen_source(args, rectify=True)
    if source.camera is None:
        raise MapError(f"a map needs a calibration, and {args.source} has none: --calibration")
    check_output(args.output)
    given = None
    if args.poses is not None:
        given = read_trajectory(args.poses, frame_stamps(source))
    odometry = None
    if given is None:
        check_camera(source.camera)
        odometry = VisualOdometry(use_depth=source.has_depth or source.is_stereo)
    matcher = KeyframeMatcher(
        ImageMatcher.from_config(matcher_config(args)), keyframe_policy(args)
    )
    builder = MapBuilder(matcher)
    result = run_replay(
        source, matcher, odometry, max_frames=args.max_frames, progress=True, watch=builder.add
    )
    trajectory = result.trajectory if given is None else given
    poses = dict(zip(trajectory.stamps_ns.tolist(), poses_from_trajectory(trajectory)))
    if given is None:
        # As `odom` of the odometry: level as the first camera was, in ROS axes.
        base = BaseFrame.of_camera()
        poses = {stamp_ns: base.pose(pose) for stamp_ns, pose in poses.items()}
    made = builder.finish(poses, given is not None or result.scale_is_metric)
    write_map(args.output, made)
    print(
        f"{args.output}: {len(made.keyframes)} keyframes of {result.num_keyframes}, "
        f"{made.num_landmarks} landmarks, "
        + ("metric" if made.is_metric else "up to an unknown scale")
    )
    return 0
