"""`superglue_ros weights`: lists, verifies and imports checkpoints."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from superglue_ros.errors import SuperGlueRosError


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "weights",
        help="list, verify and import checkpoints",
        description="Without arguments: the shipped weights and their cards. With files: which "
        "network each is and whether it loads. --import writes a published .pth as .safetensors.",
    )
    parser.add_argument("files", nargs="*", type=Path, help="weights to verify")
    parser.add_argument(
        "--import",
        dest="output",
        type=Path,
        metavar="FILE",
        help="write the one file named as half-precision .safetensors with a card",
    )
    parser.add_argument("--licence", default="unknown", help="licence for the imported card")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what the weights are; CheckpointError for the first that does not load."""
    from superglue_ros.networks.checkpoints import SHIPPED, read_card, save_weights, shipped_path

    paths = args.files or [shipped_path(network) for network in SHIPPED]
    if args.output and len(args.files) != 1:
        raise SuperGlueRosError("--import takes exactly one file")
    for path in paths:
        network, file = _load(path)
        count = sum(tensor.numel() for tensor in file.tensors.values())
        print(f"{path}: {type(network).__name__}, {count / 1e6:.2f} M parameters")
        print(f"  sha256 {file.sha256}")
        for key, value in (read_card(path) or {}).items():
            if key != "sha256":
                print(f"  {key}: {value if isinstance(value, str) else json.dumps(value)}")
        if args.output:
            card = {"network": type(network).__name__.lower(), "licence": args.licence}
            written = save_weights(network, args.output, {**card, "imported_from": path.name})
            print(f"{written.path}: written, sha256 {written.sha256}")
    return 0


def _load(path: Path) -> Any:
    from superglue_ros.networks.checkpoints import load_superglue, load_superpoint, read_weights

    is_superpoint = any(name.startswith("conv1a") for name in read_weights(path).tensors)
    return load_superpoint(path) if is_superpoint else load_superglue(path)
