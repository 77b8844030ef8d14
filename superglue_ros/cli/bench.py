"""`superglue_ros bench`: milliseconds per stage, frames/s and memory; others beside ours."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from superglue_ros.benchmarks.speed import image_size
from superglue_ros.cli.ros_module import run_ros_module
from superglue_ros.errors import SuperGlueRosError
from superglue_ros.networks.config import PRECISIONS

OPPONENTS = "transformers, lightglue or disk-lightglue"
ROS_KINDS = {
    "nodes": (
        "superglue_ros.demo.live_benchmark",
        "the way of images over DDS to the matcher node and back",
    ),
    "processes": (
        "superglue_ros.demo.process_benchmark",
        "matcher and odometry in two processes and in one",
    ),
    "soak": (
        "superglue_ros.demo.soak",
        "whether the nodes last: an hour's frames, nodes killed, wrong messages, three cameras",
    ),
}
"""Subcommands of their own: the module that is run, and one line."""

SWEEP_SIZES = [(320, 240), (640, 480), (1280, 960)]
SWEEP_KEYPOINTS = [256, 512, 1024, 2048, 4096]


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "bench",
        help="milliseconds per stage, frames/s and memory",
        description="Times a frame against a keyframe whose side is already computed.",
    )
    parser.add_argument(
        "--size", type=image_size, nargs="+", metavar="WxH", help="default 640x480"
    )
    parser.add_argument("--keypoints", type=int, nargs="+", metavar="N", help="default 512 1024")
    parser.add_argument(
        "--parameters", type=Path, metavar="FILE",
        help="the matcher's parameters, as config/matcher_cpu.yaml; options given here come first",
    )  # fmt: skip
    parser.add_argument(
        "--sweep", action="store_true",
        help="320x240 to 1280x960, 256 to 4096 keypoints, where not given otherwise",
    )  # fmt: skip
    parser.add_argument(
        "--precision", nargs="+", choices=PRECISIONS,
        help="default float32 and auto, an engine's own with --engine",
    )  # fmt: skip
    parser.add_argument("--superpoint", help="weights, ours if not given")
    parser.add_argument("--superglue", help="weights, ours if not given")
    parser.add_argument("--engine", help="folder of an exported engine")
    parser.add_argument("--sinkhorn-iterations", type=int, metavar="N", help="default 100")
    parser.add_argument("--layers", type=int, help="time an untrained SuperGlue of so many layers")
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), help="default auto")
    parser.add_argument(
        "--cuda-graphs",
        action="store_true",
        default=None,
        help="the whole frame as two CUDA graphs, on a GPU",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="default 0: by the cores")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument(
        "--busy", type=int, default=0, metavar="N",
        help="frames/s beside N processes that compute without end, too, in turns of 2 s",
    )  # fmt: skip
    parser.add_argument(
        "--against", nargs="+", metavar="WHAT",
        help="a checkout of the reference implementation, whose weights both run with, "
        f"{OPPONENTS}: in turns on the same inputs",
    )  # fmt: skip
    parser.add_argument(
        "--images", type=Path, nargs=2, metavar="FILE",
        help="two images to do so on, scaled to the size, instead of noise",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, metavar="DIR", help="bench.json and bench.png")
    parser.set_defaults(run=run)
    kinds = parser.add_subparsers(title="with ROS 2", metavar="|".join(ROS_KINDS))
    for name, (_, summary) in ROS_KINDS.items():
        # No prefix: every word goes on to the module, its --help too.
        kind = kinds.add_parser(name, help=summary, add_help=False, prefix_chars="\0")
        kind.add_argument("words", nargs="*")
        kind.set_defaults(run=run_nodes, kind=name)


def run_nodes(args: argparse.Namespace) -> int:
    """Measure what is live, in a module that needs ROS."""
    module, _ = ROS_KINDS[args.kind]
    return run_ros_module(f"bench {args.kind}", module, args.words)


def run(args: argparse.Namespace) -> int:
    """Print a table a configuration."""
    from superglue_ros.benchmarks.machine import print_machine
    from superglue_ros.benchmarks.plots import plot_speed
    from superglue_ros.reporting.files import make_folder, write_json

    _check(args)
    options = _options(args)
    sizes = args.size or (SWEEP_SIZES if args.sweep else [(640, 480)])
    keypoints = args.keypoints or (SWEEP_KEYPOINTS if args.sweep else [512, 1024])
    if not args.keypoints and "max_keypoints" in options:
        keypoints = [options["max_keypoints"]]
    output = make_folder(args.output) if args.output else None
    machine = print_machine()
    measure = _compare if args.against else _measure
    try:
        results = measure(args, options, sizes, keypoints)
    except ValueError as error:
        raise SuperGlueRosError(str(error)) from error
    if output is not None:
        write_json(output / "bench.json", {"machine": machine, "results": results})
        if not args.against:
            plot_speed(output / "bench.png", results)
        print(f"figures: {output}")
    return 0


def _check(args: argparse.Namespace) -> None:
    """SuperGlueRosError for options that cannot go together."""
    if args.runs < 1:
        raise SuperGlueRosError(f"--runs must be at least 1, not {args.runs}")
    if args.busy < 0:
        raise SuperGlueRosError(f"--busy must be at least 0, not {args.busy}")
    given = {name for name in ("superpoint", "superglue", "engine") if getattr(args, name)}
    if args.against and (given or args.layers is not None or args.cuda_graphs):
        raise SuperGlueRosError("--against brings its weights: it takes neither ours nor others")
    if args.against and args.busy:
        raise SuperGlueRosError("--against does not go with --busy")
    if args.images and not args.against:
        raise SuperGlueRosError("--images go with --against")
    if args.layers is not None and args.engine:
        raise SuperGlueRosError("--layers does not go with --engine")
    if args.parameters and args.against:
        raise SuperGlueRosError("--against does not go with --parameters")
    if args.precision is None:
        args.precision = ["auto"] if args.engine or args.parameters else ["float32", "auto"]


def _measure(
    args: argparse.Namespace, options: dict[str, Any], sizes: Any, keypoints: list[int]
) -> list[Any]:
    """Ours alone, stage by stage."""
    from superglue_ros.benchmarks.speed import (
        measure_speed,
        measure_speed_beside,
        release_memory,
        untrain,
    )
    from superglue_ros.cli.bench_table import print_stages
    from superglue_ros.matching import ImageMatcher

    results = []
    done = set()
    for precision in args.precision:
        for count in keypoints:
            matcher = None
            release_memory()
            matcher = ImageMatcher.from_config(_config(options, count, precision))
            if (matcher.precision, count) in done:
                continue  # "auto" is a precision that was named, too
            done.add((matcher.precision, count))
            if args.layers is not None:
                untrain(matcher, args.layers)
            for size in sizes:
                release_memory()
                result = measure_speed(matcher, size, args.runs)
                if args.busy:
                    busy = measure_speed_beside(matcher, size, args.busy, args.runs)
                    result = replace(result, beside=busy)
                results.append(result)
                print_stages(results[-1])
    return results


def _compare(
    args: argparse.Namespace, options: dict[str, Any], sizes: Any, keypoints: list[int]
) -> list[Any]:
    """Other implementations and ours in turns."""
    from superglue_ros.benchmarks.against import compare_speed, matcher_beside
    from superglue_ros.benchmarks.opponents import open_opponent
    from superglue_ros.reporting.tables import format_table

    results = []
    for word in args.against:
        for count in keypoints:
            config = _config(options, count, "float32")
            opponent = open_opponent(word, config)
            # The other runs in float32; ours also as asked for.
            precisions = dict.fromkeys(["float32", *args.precision])
            for precision in precisions:
                ours = matcher_beside(opponent, replace(config, precision=precision))
                if precision == "auto" and ours.precision in precisions:
                    continue
                for size in sizes:
                    results += compare_speed(opponent, ours, _images(args, size), args.runs)
    print(f"others in float32; ours of {config.sinkhorn_iterations} iterations; medians (range)")
    header = ["against", "size", "keypoints", "work", "our precision", "their ms", "our ms"]
    rows = [
        [x.opponent, f"{x.width}x{x.height}", x.keypoints, x.work, x.precision]
        + [_range(x.their_ms, x.their_range_ms), _range(x.our_ms, x.our_range_ms)]
        + [f"{x.times_faster:.2f}"]
        + ["-" if (same := x.same_matches_percent) is None else f"{same:.2f}"]
        for x in results
    ]
    print(format_table([*header, "times faster", "same matches %"], rows))
    return results


def _images(args: argparse.Namespace, size: tuple[int, int]) -> Any:
    """The pair to time on, gray and of the size."""
    import cv2

    from superglue_ros.benchmarks.against import noise_pair
    from superglue_ros.matching.images import as_gray
    from superglue_ros.sources import read_image

    if not args.images:
        return noise_pair(size)
    return tuple(
        cv2.resize(as_gray(read_image(file)), size, interpolation=cv2.INTER_AREA)
        for file in args.images
    )


def _range(median: float, limits: tuple[float, float]) -> str:
    return "{:.1f} ({:.1f} to {:.1f})".format(median, *limits)


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """Options of MatcherConfig that are given, on the command line or else in the file."""
    from superglue_ros.cli.parameter_file import matcher_options

    names = ("superpoint", "superglue", "engine", "sinkhorn_iterations", "device")
    own = {name: getattr(args, name) for name in (*names, "cuda_graphs", "threads")}
    given = {name: value for name, value in own.items() if value is not None}
    return (matcher_options(args.parameters) if args.parameters else {}) | given


def _config(options: dict[str, Any], keypoints: int, precision: str) -> Any:
    from superglue_ros.matching import MatcherConfig

    chosen = {"max_keypoints": keypoints, "keypoint_threshold": 0.0, "precision": precision}
    return MatcherConfig(**(options | chosen))
