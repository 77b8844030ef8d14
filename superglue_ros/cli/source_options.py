"""Command-line options of everything that reads a recording."""

from __future__ import annotations

import argparse
from pathlib import Path

from superglue_ros.cli.options import add_config_options, config_from
from superglue_ros.sources import FrameSource, ImageOptions, open_source


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """SOURCE, and which of its topics and what calibration to take."""
    parser.add_argument(
        "source", type=Path, metavar="SOURCE", help="bag, video, or folder of images"
    )
    group = parser.add_argument_group("source")
    group.add_argument("--topic", metavar="T", help="image topic of a bag with several")
    group.add_argument("--depth-topic", metavar="T", help="of a bag's registered depth images")
    group.add_argument(
        "--right-topic", metavar="T", help="of a bag's right images, with camera_info beside them"
    )
    group.add_argument("--camera-info-topic", metavar="T", help="default: beside the image topic")
    group.add_argument("--calibration", type=Path, metavar="F", help="instead of the source's")
    add_config_options(parser, ImageOptions, "images")


def open_chosen_source(args: argparse.Namespace, rectify: bool) -> FrameSource:
    """The source of parsed options; rectify: pairs of a folder that were not taken rectified."""
    return open_source(
        args.source,
        topic=args.topic,
        camera_info_topic=args.camera_info_topic,
        calibration=args.calibration,
        depth_topic=args.depth_topic,
        right_topic=args.right_topic,
        rectify=rectify,
        image_bits=config_from(args, ImageOptions).image_bits,
    )
