"""`superglue_ros export`: writes the networks as an engine for ONNX Runtime or TensorRT."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from superglue_ros.errors import SuperGlueRosError

KINDS = ("onnx", "tensorrt")


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "export",
        help="export the networks",
        description="Writes three graphs and engine.json to a folder and checks them against "
        "torch; `--engine FOLDER` of the other subcommands, and the node's parameter engine, run "
        "it. onnx: float32, any size. tensorrt: float16, for this machine's GPU, up to the sizes "
        "below.",
    )
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER")
    for network in ("superpoint", "superglue"):
        parser.add_argument(f"--{network}", default="", metavar="FILE", help="weights, or ours")
    parser.add_argument(
        "--max-keypoints",
        type=int,
        metavar="N",
        help="tensorrt: most keypoints of an image (default 2048)",
    )
    parser.add_argument(
        "--max-side",
        type=int,
        metavar="PX",
        help="tensorrt: longest side of an image after resizing (default 1280)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Export and print how far the graphs are from torch."""
    from superglue_ros.exporters.engine import Limits, export_engine
    from superglue_ros.exporters.engine_check import difference_table

    given = {
        name: getattr(args, name)
        for name in ("max_keypoints", "max_side")
        if getattr(args, name) is not None
    }
    if given and args.kind == "onnx":
        raise SuperGlueRosError("an onnx engine takes any size: limits are for tensorrt")
    try:
        limits = Limits(**given)
    except ValueError as error:
        raise SuperGlueRosError(str(error)) from error
    manifest = export_engine(args.kind, args.output, args.superpoint, args.superglue, limits)
    print(difference_table(manifest.differences))
    print(
        f"wrote {args.output}: {manifest.kind}, {manifest.precision}, {manifest.model} "
        f"{manifest.weights_hash}"
    )
    return 0
