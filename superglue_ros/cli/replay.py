"""`superglue_ros replay`: matching and odometry over a recording, with a report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from superglue_ros.cli.interrupts import INTERRUPTED, stop_at_interrupt
from superglue_ros.cli.options import (
    add_config_options,
    add_keyframe_options,
    add_matcher_options,
    config_from,
    keyframe_policy,
    matcher_config,
)
from superglue_ros.cli.progress import said_if_slow
from superglue_ros.cli.source_options import add_source_options, open_chosen_source
from superglue_ros.errors import SuperGlueRosError
from superglue_ros.evaluation.accuracy import Accuracy, accuracy_rows, measure_accuracy
from superglue_ros.evaluation.pairs import frame_stamps
from superglue_ros.evaluation.trajectory import ALIGNMENTS
from superglue_ros.geometry import check_camera
from superglue_ros.matching import ImageMatcher, KeyframeMatcher
from superglue_ros.odometry import OdometryConfig, VisualOdometry
from superglue_ros.replay.records import ReplayResult, check_poses
from superglue_ros.replay.report import write_report
from superglue_ros.replay.run import run_replay
from superglue_ros.reporting.files import check_output, make_folder
from superglue_ros.reporting.tables import format_table
from superglue_ros.reporting.warnings import collected_warnings
from superglue_ros.sources import (
    ImageFileSource,
    load_trajectory,
    needs_stamps,
    turned_cameras,
)
from superglue_ros.tracks import TrackRecorder

SUMMARY = "run matching and odometry over a bag, folder, video or dataset"

FORMATS = """\
what is read (docs/sources.md says how each is recognised):
  bags          ROS 2 (.mcap, .db3, folders with or without metadata.yaml) and ROS 1 (.bag),
                split, and compressed by zstd, lz4 or bz2
  folders       KITTI odometry and raw, TUM RGB-D, EuRoC, TartanAir, 4Seasons, or plain images
                in the natural order of their names
  videos        whatever this OpenCV decodes
  calibrations  ROS, OpenCV, Kalibr, EuRoC, ORB-SLAM and VINS yaml; KITTI, TUM, 4Seasons and
                COLMAP text
  ground truth  TUM, KITTI, EuRoC, TartanAir, 4Seasons, or columns that a header names; times in
                s, ms, us or ns
what was taken is printed. Exit status 1: nothing could be read, or a camera got no pose at all.
"""


def add_parser(subparsers: Any) -> None:
    """Add `replay` to the command line."""
    parser = subparsers.add_parser(
        "replay",
        help=SUMMARY,
        description=SUMMARY,
        epilog=FORMATS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_source_options(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="report folder")
    parser.add_argument("--groundtruth", type=Path, metavar="F", help="a trajectory, see below")
    parser.add_argument(
        "--alignment",
        choices=("auto", *ALIGNMENTS),
        default="auto",
        help="to the ground truth; auto: sim3 up to scale, se3 where the scale is metric",
    )
    parser.add_argument(
        "--depth",
        choices=("auto", "no"),
        default="auto",
        help="auto: metric scale from the source's depth or right images where it has them",
    )
    parser.add_argument(
        "--tracks",
        type=Path,
        metavar="F.npz",
        help="features followed over keyframes: frames, ids, points (pixels), ages, confidences; "
        "stamps_ns and restarted of each frame",
    )
    parser.add_argument("--max-frames", type=int, metavar="N", help="stop after N frames")
    add_matcher_options(parser)
    add_keyframe_options(parser)
    add_config_options(parser, OdometryConfig, "odometry", prefix="odometry_")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Replay, write the report, print its figures."""
    config, policy = matcher_config(args), keyframe_policy(args)
    odometry_config = config_from(args, OdometryConfig, prefix="odometry_")
    if args.max_frames is not None and args.max_frames < 1:
        raise SuperGlueRosError(f"--max-frames is at least 1, not {args.max_frames}")
    if args.depth == "no" and (args.depth_topic or args.right_topic):
        given = "--depth-topic" if args.depth_topic else "--right-topic"
        raise SuperGlueRosError(f"--depth no and {given} contradict each other")
    source = open_chosen_source(args, rectify=args.depth == "auto")
    # What can fail is tried before the minutes that a long replay takes.
    make_folder(args.output)
    if args.tracks is not None:
        check_output(args.tracks)
    print("\n".join(source.notes))
    groundtruth = None
    if args.groundtruth is not None:
        stamps = frame_stamps(source) if needs_stamps(args.groundtruth) else None
        truth = load_trajectory(args.groundtruth, stamps)
        groundtruth = truth.trajectory
        print(f"ground truth: {truth.origin}")
        if isinstance(source, ImageFileSource) and source.rectified_rotation is not None:
            groundtruth = turned_cameras(groundtruth, source.rectified_rotation)
    odometry = None
    if source.camera is not None:
        check_camera(source.camera)
        use_depth = args.depth == "auto" and (source.has_depth or source.is_stereo)
        odometry = VisualOdometry(odometry_config, use_depth)
        measured = "of the depth images" if source.has_depth else "of the right images"
        print(f"scale: metric, {measured}" if use_depth else "scale: unknown, no depth is used")
    else:
        print("no camera calibration: matches only (give --calibration for a trajectory)")
    with said_if_slow("loading the networks"):
        matcher = KeyframeMatcher(ImageMatcher.from_config(config), policy)
    tracks = TrackRecorder()
    with collected_warnings() as warnings, stop_at_interrupt() as stop:
        result = run_replay(
            source,
            matcher,
            odometry,
            max_frames=args.max_frames,
            progress=True,
            stop=stop,
            watch=lambda frame, matches: tracks.add(matches),
        )
    result = replace(result, warnings=tuple(warnings.items()))
    accuracy = None
    if groundtruth is not None:
        alignment = args.alignment
        if alignment == "auto":
            alignment = "se3" if result.scale_is_metric else "sim3"
        accuracy = measure_accuracy(result.trajectory, groundtruth, alignment)
    if args.tracks is not None:
        tracks.write(args.tracks)
    write_report(args.output, result, accuracy, _about(args, source.notes))
    print(_table(result, accuracy))
    print(f"report: {args.output / 'report.html'}")
    if result.interrupted:
        print(f"interrupted, frames so far: {len(result.records)}", file=sys.stderr)
        return INTERRUPTED
    check_poses(result)
    return 0


def _about(args: argparse.Namespace, notes: Sequence[str]) -> dict[str, str]:
    """What the report says of the run that its result does not know: the command, and what the
    source was taken for."""
    said = {"command": str(args.command)}
    if args.groundtruth:
        said["ground truth"] = str(args.groundtruth)
    for note in notes:
        name, _, text = note.partition(": ")
        said[name] = f"{said[name]}; {text}" if name in said else text
    return said


def _table(result: ReplayResult, accuracy: Accuracy | None) -> str:
    records = result.records
    matched = [record.num_matches for record in records if record.num_matches]
    rows = [
        ["frames", str(len(records))],
        ["frames skipped", str(result.skipped)],
        ["frames matched", str(len(matched))],
        ["keyframes", str(result.num_keyframes)],
        ["matches per frame", f"{np.median(matched) if matched else 0:.0f} (median)"],
        ["frames with a pose", str(len(result.trajectory))],
        ["frames lost", str(result.num_lost)],
        ["frames per second", f"{len(records) / max(result.wall_s, 1e-9):.1f}"],
    ]
    if accuracy is not None:
        rows += accuracy_rows(accuracy)
    return format_table(["figure", "value"], rows)
