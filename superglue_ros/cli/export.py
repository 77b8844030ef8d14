"""`superglue_ros export`: networks as engines; sequences for COLMAP and hloc."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from superglue_ros.errors import SuperGlueRosError

ENGINES = {
    "onnx": "the networks for ONNX Runtime: float32, any size",
    "tensorrt": "the networks for TensorRT: float16, for this machine's GPU",
}


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    from superglue_ros.cli.export_sequence import add_parsers

    parser = subparsers.add_parser(
        "export",
        help="export the networks, or a sequence's matches",
        description="Writes the networks as an engine, or what they find in a sequence as others "
        "read it.",
    )
    kinds = parser.add_subparsers(title="what to export", dest="kind", required=True)
    for kind, summary in ENGINES.items():
        _add_engine(kinds, kind, summary)
    add_parsers(kinds)


def _add_engine(kinds: Any, kind: str, summary: str) -> None:
    parser = kinds.add_parser(
        kind,
        help=summary,
        description=f"Writes {summary}: three graphs and engine.json to a folder, checked against "
        "torch; `--engine FOLDER` of the other subcommands, and the node's parameter engine, run "
        "it.",
    )
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
    """Export an engine and print how far its graphs are from torch."""
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
