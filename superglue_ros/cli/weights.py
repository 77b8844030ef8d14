"""`superglue_ros weights`: lists, verifies and imports checkpoints."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from superglue_ros.errors import SuperGlueRosError
from superglue_ros.reporting.tables import format_table


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "weights",
        help="list, verify and import checkpoints",
        description="A table of the shipped weights, or of the files named: which network each "
        "is, and that it loads. --card prints the cards, --import writes a published .pth as "
        ".safetensors.",
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
    parser.add_argument("--card", action="store_true", help="print the cards, too")
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
    rows = []
    for path in paths:
        network, file = _load(path)
        if args.scores:
            _add_scores(path, type(network).__name__, args.scores)
        count = sum(tensor.numel() for tensor in file.tensors.values())
        card = read_card(path) or {}
        rows.append(
            [path.name, type(network).__name__, f"{count / 1e6:.2f} M"]
            + [f"{path.stat().st_size / 1e6:.1f} MB", file.short_hash, _state(card, file.sha256)]
            + [str(card.get("licence", "-")), str(card.get("recipe", "-"))]
        )
        if args.card or args.scores:
            print(_card_text(path, file.sha256, card if not args.scores else read_card(path)))
        if args.output:
            new_card = {"network": type(network).__name__.lower(), "licence": args.licence}
            written = save_weights(network, args.output, {**new_card, "imported_from": path.name})
            print(f"{written.path}: written, sha256 {written.sha256}")
    header = ["file", "network", "parameters", "size", "hash", "checked", "licence", "recipe"]
    print(format_table(header, rows))
    folders = {str(path.parent) for path in paths}
    print(f"in {', '.join(sorted(folders))}" + ("" if args.card else "; --card prints the cards"))
    return 0


def _state(card: Mapping[str, Any], sha256: str) -> str:
    """Whether the file is what its card says; a card of another file does not load at all."""
    return "sha256" if card.get("sha256") == sha256 else "no card"


def _card_text(path: Path, sha256: str, card: Mapping[str, Any] | None) -> str:
    """A card as indented lines, one for each figure."""
    lines = [str(path), f"  sha256: {sha256}"]
    for key, value in (card or {}).items():
        if key == "sha256":
            continue
        if isinstance(value, dict):
            lines.append(f"  {key}:")
            lines += [f"    {name}: {_plain(part)}" for name, part in value.items()]
        else:
            lines.append(f"  {key}: {_plain(value)}")
    return "\n".join(lines) + "\n"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


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
