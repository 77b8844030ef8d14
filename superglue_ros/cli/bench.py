"""`superglue_ros bench`: milliseconds per stage, frames/s and peak memory."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no WIDTHxHEIGHT") from error
    if min(width, height) < 16:
        raise argparse.ArgumentTypeError(f"{text} is under 16 pixels a side")
    return width, height


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "bench",
        help="milliseconds per stage, frames/s and memory",
        description="Times a frame against a keyframe whose side is already computed.",
    )
    parser.add_argument("--size", type=_size, nargs="+", default=[(640, 480)], metavar="WxH")
    parser.add_argument("--keypoints", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--precision", nargs="+", default=["float32", "auto"])
    parser.add_argument("--superpoint", default="", help="weights, ours if not given")
    parser.add_argument("--superglue", default="", help="weights, ours if not given")
    parser.add_argument("--sinkhorn-iterations", type=int, default=100)
    parser.add_argument("--layers", type=int, help="time an untrained SuperGlue of so many layers")
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print a table a configuration."""
    from superglue_ros.evaluation.speed import describe_machine, measure_speed, to_plain
    from superglue_ros.matching import ImageMatcher
    from superglue_ros.networks.superglue import SuperGlue, SuperGlueConfig
    from superglue_ros.networks.superglue_inference import FoldedSuperGlue

    machine = describe_machine()
    print(", ".join(f"{key} {value}" for key, value in machine.items()))
    rows = []
    for precision in args.precision:
        for keypoints in args.keypoints:
            matcher = ImageMatcher(
                superpoint=args.superpoint,
                superglue=args.superglue,
                max_keypoints=keypoints,
                keypoint_threshold=0.0,
                sinkhorn_iterations=args.sinkhorn_iterations,
                device=args.device,
                precision=precision,
            )
            if args.layers is not None:
                config = SuperGlueConfig(
                    num_layers=args.layers, sinkhorn_iterations=args.sinkhorn_iterations
                )
                dtype = matcher.superglue.dtype
                network = FoldedSuperGlue(SuperGlue(config)).to_precision(dtype)
                matcher.superglue = network.to(matcher.device)
            for size in args.size:
                result = measure_speed(matcher, size, args.runs)
                rows.append({"precision": matcher.precision, **to_plain(result)})
                _print_table(matcher, result)
    if args.output:
        content = json.dumps({"machine": machine, "results": rows}, indent=2) + "\n"
        args.output.write_text(content, encoding="utf-8")
        print(f"wrote {args.output}")
    return 0


def _print_table(matcher: Any, result: Any) -> None:
    layers = matcher.superglue.config.num_layers
    print(
        f"\n{result.width}x{result.height}, {result.keypoints} keypoints, {layers} layers, "
        f"{matcher.superglue.config.sinkhorn_iterations} iterations, {matcher.precision} on "
        f"{matcher.device}"
    )
    print(f"  {'stage':<20}{'median ms':>10}{'min':>9}{'max':>9}")
    for s in result.stages:
        print(f"  {s.stage:<20}{s.median_ms:>10.2f}{s.low_ms:>9.2f}{s.high_ms:>9.2f}")
    print(f"  {result.frames_per_s:.1f} frames/s, peak memory {result.peak_memory_mb:.0f} MB")
