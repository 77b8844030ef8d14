"""`superglue_ros train superpoint|superglue`: trains from a recipe, in slices that resume."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "train",
        help="train SuperPoint or SuperGlue",
        description="Trains a network from a recipe; writes checkpoint.pt and log.jsonl, in a "
        "folder a stage, and the weights with their card to the output folder. "
        "On several GPUs: torchrun --nproc-per-node N -m superglue_ros.cli.main train ...",
    )
    parser.add_argument("network", choices=("superpoint", "superglue"))
    parser.add_argument("--config", type=Path, help="recipe (YAML), the shipped CPU recipe if not")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run")
    parser.add_argument("--textures", type=Path, help="folder of photographs beside the drawings")
    parser.add_argument(
        "--worlds", type=Path, help="folder of furnished worlds (.glb), for a recipe with a bank"
    )
    parser.add_argument(
        "--bank", type=Path, help="bank made by an earlier run, the run's own if not given"
    )
    parser.add_argument(
        "--superpoint", type=Path, help="features to train SuperGlue on, ours if not given"
    )
    parser.add_argument(
        "--start", type=Path, help="weights of the network to go on from, instead of from nothing"
    )
    parser.add_argument("--minutes", type=float, help="stop after this time, to resume later")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto")
    parser.add_argument(
        "--compile", action="store_true", help="compile SuperPoint's layers with torch.compile"
    )
    parser.add_argument(
        "--trial", action="store_true", help="a few steps of each stage, to see it run"
    )
    parser.add_argument("--threads", type=int, help="CPU threads, all if not given")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train a slice and say where the weights are."""
    import torch

    from superglue_ros.errors import SuperGlueRosError
    from superglue_ros.networks.device import choose_device
    from superglue_ros.training.memory import keep_freed_memory
    from superglue_ros.training.options import Run, check_textures
    from superglue_ros.training.runs import DEFAULT_RECIPES, train

    if args.threads is not None and args.threads < 1:
        raise SuperGlueRosError(f"--threads is at least 1, not {args.threads}")
    check_textures(args.textures)
    keep_freed_memory()
    if args.threads:
        torch.set_num_threads(args.threads)
    asked = Run(
        args.config or DEFAULT_RECIPES[args.network],
        args.output,
        textures=args.textures,
        worlds=args.worlds,
        bank=args.bank,
        superpoint=args.superpoint,
        start=args.start,
        minutes=args.minutes,
        resume=args.resume,
        device=str(choose_device(args.device)),
        compiled=args.compile,
        trial=args.trial,
    )
    weights, finished = train(args.network, asked)
    state = "trained to the recipe's end" if finished else "not finished, go on with --resume"
    print(f"{weights.path} {weights.short_hash}: {state}")
    return 0
