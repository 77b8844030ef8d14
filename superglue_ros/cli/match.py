"""`superglue_ros match`: two images, their matches as numbers and as a picture."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from superglue_ros.cli.options import (
    add_config_options,
    add_matcher_options,
    config_from,
    matcher_config,
)
from superglue_ros.cli.progress import said_if_slow
from superglue_ros.matching import ImageMatcher, ImageMatches, draw_matches
from superglue_ros.npz import write_npz
from superglue_ros.reporting.files import check_output
from superglue_ros.reporting.pictures import check_picture, save_picture
from superglue_ros.sources import GrayRange, ImageOptions, read_image
from superglue_ros.types import UNMATCHED, ImageArray

SUMMARY = "match two images"


def add_parser(subparsers: Any) -> None:
    """Add `match` to the command line."""
    parser = subparsers.add_parser("match", help=SUMMARY, description=SUMMARY)
    parser.add_argument("image0", type=Path, metavar="IMAGE0")
    parser.add_argument("image1", type=Path, metavar="IMAGE1")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="F.npz",
        help="keypoints0/1 (pixels of the files), scores0/1, descriptors0/1, matches0 (index "
        "into keypoints1, or -1), confidence0 and points1 (where keypoints0 are in IMAGE1)",
    )
    parser.add_argument("--picture", type=Path, metavar="F.png", help="both images, matches drawn")
    parser.add_argument(
        "--rotation-retry",
        type=_count,
        default=0,
        metavar="N",
        help="with fewer matches IMAGE1 is matched turned by 90, 180 and 270 degrees, too, and "
        "the best kept if it has so many; 0, the default: never",
    )
    add_config_options(parser, ImageOptions, "images")
    add_matcher_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Match, write what was asked for, print the numbers."""
    config = matcher_config(args)
    # What can fail is tried before the seconds that loading and matching take.
    if args.output is not None:
        check_output(args.output)
    if args.picture is not None:
        check_picture(args.picture)
    bits = config_from(args, ImageOptions).image_bits
    # A range each: the two need not be of one camera.
    image0, image1 = (read_image(p, GrayRange(bits)) for p in (args.image0, args.image1))
    with said_if_slow("loading the networks"):
        matcher = ImageMatcher.from_config(config)
    sizes = " and ".join(f"{x.shape[1]}x{x.shape[0]}" for x in (image0, image1))
    with said_if_slow(f"matching {sizes} px on {matcher.device} in {matcher.precision}"):
        result = matcher.match(image0, image1, args.rotation_retry)
    matched = result.matches0 != UNMATCHED
    if args.output is not None:
        save_matches(args.output, result)
    if args.picture is not None:
        save_picture(args.picture, _picture(image0, image1, result))
    print(
        f"{int(matched.sum())} matches of {len(result.keypoints0)} and {len(result.keypoints1)} "
        f"keypoints ({matcher.device}, {matcher.precision}, {matcher.model} "
        f"{matcher.weights_hash})"
    )
    return 0


def _count(text: str) -> int:
    count = int(text)
    if count < 0:
        raise argparse.ArgumentTypeError(f"{count} is less than 0")
    return count


def save_matches(path: Path, result: ImageMatches) -> None:
    """Write the fields of the matches as .npz; raises SuperGlueRosError if it cannot."""
    write_npz(
        path,
        {
            "keypoints0": result.keypoints0,
            "keypoints1": result.keypoints1,
            "scores0": result.scores0,
            "scores1": result.scores1,
            "descriptors0": result.descriptors0,
            "descriptors1": result.descriptors1,
            "matches0": result.matches0,
            "confidence0": result.confidence0,
            "points1": result.points1,
        },
    )


def _picture(image0: ImageArray, image1: ImageArray, result: ImageMatches) -> ImageArray:
    rows = np.flatnonzero(result.matches0 != UNMATCHED)
    return draw_matches(
        image0,
        image1,
        result.keypoints0[rows],
        result.points1[rows],
        result.confidence0[rows],
    )
