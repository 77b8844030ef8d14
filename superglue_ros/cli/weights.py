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
    parser.add_argument(
        "--scores",
        type=Path,
        nargs="+",
        metavar="JSON",
        help="write the figures of `evaluate`'s features.json or pairs.json into the card of the "
        "one file named",
    )
    parser.add_argument("--licence", default="unknown", help="licence for the imported card")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what the weights are; CheckpointError for the first that does not load."""
    from superglue_ros.networks.checkpoints import SHIPPED, read_card, save_weights, shipped_path

    paths = args.files or [shipped_path(network) for network in SHIPPED]
    for option in ("output", "scores"):
        if getattr(args, option) and len(args.files) != 1:
            name = "--import" if option == "output" else "--scores"
            raise SuperGlueRosError(f"{name} takes exactly one file")
    for path in paths:
        network, file = _load(path)
        if args.scores:
            _add_scores(path, type(network).__name__, args.scores)
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


def _add_scores(path: Path, network: str, files: list[Path]) -> None:
    from superglue_ros.evaluation.card_scores import card_scores
    from superglue_ros.networks.checkpoints import read_card, write_card

    card = read_card(path)
    if card is None:
        raise SuperGlueRosError(f"{path} has no card to write scores into")
    method = "SuperPoint+MNN" if network == "SuperPoint" else "SuperPoint+SuperGlue"
    scores: dict[str, str] = {}
    for file in files:
        try:
            figures = json.loads(file.read_text(encoding="utf-8"))
            scores |= card_scores(figures, method)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SuperGlueRosError(f"{file} holds no figures of `evaluate`: {error}") from error
    if not scores:
        raise SuperGlueRosError(f"the files named hold no figures of {method}")
    write_card(path, {**card, "scores": scores})


def _load(path: Path) -> Any:
    from superglue_ros.networks.checkpoints import load_superglue, load_superpoint, read_weights

    is_superpoint = any(name.startswith("conv1a") for name in read_weights(path).tensors)
    return load_superpoint(path) if is_superpoint else load_superglue(path)
