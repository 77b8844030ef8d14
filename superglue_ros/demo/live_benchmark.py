"""What `superglue_ros bench nodes` runs: images over DDS to a matcher node, and their way timed.

    python -m superglue_ros.demo.live_benchmark [--size WxH] [--images N] [--output DIR]

The node is a process of its own. Images go one at a time first, then at rising rates until the
node drops some.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import signal
import sys
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from superglue_ros.benchmarks.machine import print_machine
from superglue_ros.benchmarks.speed import image_size
from superglue_ros.demo.bench_command import add_parameters, run_command, write_figures
from superglue_ros.demo.benchmark_camera import Camera, Counts
from superglue_ros.demo.flight_stream import at_rate
from superglue_ros.demo.node_pair import parameter_words
from superglue_ros.demo.node_process import NodeProcess, ros_running, spinning
from superglue_ros.errors import SuperGlueRosError
from superglue_ros.nodes.health import OVERHEAD
from superglue_ros.reporting.files import make_folder
from superglue_ros.reporting.tables import format_table

RATES_HZ = (0.5, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0)
MIN_IMAGES = 5


@dataclass(frozen=True)
class Spread:
    """Milliseconds: median, nine tenths are below, most."""

    median_ms: float
    p90_ms: float
    most_ms: float


@dataclass(frozen=True)
class RateResult:
    """Images sent at a rate, and what the node counts of them.

    matched_hz: matches that came a second, from the first to the last; dropped: replaced by a
    newer one; lost: never received.
    """

    rate_hz: float
    sent: int
    matched: int
    dropped: int
    lost: int
    matched_hz: float


@dataclass(frozen=True)
class NodesResult:
    """What was measured of one configuration.

    keypoints and matches: of an image, medians; overhead: image callback to published matches
    less inference, as the node measures it, of its latest 100 images; way: publishing an image
    to receiving its matches, less inference; inference: its part; rates: rising, to the first
    with drops.
    """

    width: int
    height: int
    keypoints: int
    matches: int
    device: str
    precision: str
    model: str
    weights: str
    overhead: Spread
    way: Spread
    inference: Spread
    rates: tuple[RateResult, ...]


def measure(
    camera: Camera, size: tuple[int, int], images: int, seconds: float, rates_hz: Sequence[float]
) -> NodesResult:
    """One image at a time, then rising rates of so many seconds each; NodeError."""
    camera.wait_until_heard()
    camera.send()
    camera.wait_for_matches()  # the first has no keyframe
    way: list[float] = []
    inference: list[float] = []
    features: list[int] = []
    found: list[int] = []
    for _ in tqdm(range(images), desc="one at a time", unit="image"):
        started = camera.send()
        arrived, matches = camera.wait_for_matches()
        inference.append(matches.extract_ms + matches.match_ms)
        way.append((arrived - started) * 1e3 - inference[-1])
        features.append(matches.num_features)
        found.append(len(matches.confidences))
    before, values = camera.wait_for_counts()
    rates: list[RateResult] = []
    for rate_hz in rates_hz:
        sent, matched_hz = _send_at(camera, rate_hz, seconds)
        after, _ = camera.wait_for_counts()
        counts = Counts(*np.subtract(astuple(after), astuple(before)).tolist())
        lost = sent - counts.received
        rates.append(RateResult(rate_hz, sent, counts.matched, counts.dropped, lost, matched_hz))
        before = after
        if rates[-1].matched < rates[-1].sent:
            break
    return NodesResult(
        *size,
        keypoints=int(np.median(features)),
        matches=int(np.median(found)),
        device=values["device"],
        precision=values["precision"],
        model=values["model"],
        weights=values["weights"],
        overhead=Spread(*map(float, re.findall(r"([-\d.]+) ms", values[OVERHEAD]))),
        way=_spread(way),
        inference=_spread(inference),
        rates=tuple(rates),
    )


def _send_at(camera: Camera, rate_hz: float, seconds: float) -> tuple[int, float]:
    """How many were sent, and matches a second from the first that came to the last."""
    first, sent = camera.sent + 1, max(MIN_IMAGES, round(rate_hz * seconds))
    images = tqdm(range(sent), desc=f"{rate_hz:g} Hz", unit="image", leave=False)
    for _ in at_rate(images, rate_hz):
        camera.send()
    camera.wait_for_matches()
    arrivals = [at for number, (at, _) in camera.matches.items() if number >= first]
    return sent, (len(arrivals) - 1) / max(max(arrivals) - min(arrivals), 1e-9)


def _spread(values: Sequence[float]) -> Spread:
    return Spread(float(np.median(values)), float(np.percentile(values, 90)), max(values))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures; 1 with one line for what users can mend."""
    parser = argparse.ArgumentParser(
        prog="superglue_ros bench nodes",
        description="Times a matcher node over DDS: images one at a time, then at rising rates.",
    )
    parser.add_argument("--size", type=image_size, default=(640, 480), metavar="WxH")
    parser.add_argument("--images", type=int, default=40, metavar="N", help="one at a time")
    parser.add_argument("--seconds", type=float, default=5.0, help="at each rate")
    parser.add_argument("--rates", type=float, nargs="+", default=RATES_HZ, metavar="HZ")
    parser.add_argument("--output", type=Path, metavar="DIR", help="nodes.json")
    add_parameters(parser)
    args = parser.parse_args(arguments)
    return run_command(lambda: _work(args))


def _work(args: argparse.Namespace) -> None:
    if not all(0 < x < math.inf for x in (args.images, args.seconds, *args.rates)):
        raise SuperGlueRosError("--images, --seconds and --rates must be above 0")
    output = make_folder(args.output) if args.output else None
    result = run(args)
    machine = print_machine()
    print(report(result))
    if output is not None:
        write_figures(output / "nodes.json", machine, result=result)


def run(args: argparse.Namespace) -> NodesResult:
    """Start a matcher node, measure and end it."""
    # A namespace of its own keeps noise from a robot's nodes, and theirs from the figures.
    namespace = f"/bench_{os.getpid()}"
    arguments = ["-r", f"__ns:={namespace}"]
    arguments += parameter_words(args.parameters)
    with ros_running(), NodeProcess("matcher_node", arguments) as process:
        camera = Camera(namespace, args.size, process)
        with spinning(camera):
            return measure(camera, args.size, args.images, args.seconds, sorted(args.rates))


def report(result: NodesResult) -> str:
    """Two tables: images one at a time, and at rates."""
    spreads = {
        "node: callback to published, less inference": result.overhead,
        "over DDS and back, less inference": result.way,
        "inference": result.inference,
    }
    rows = [[name, *(f"{x:.2f}" for x in astuple(s))] for name, s in spreads.items()]
    rates = [
        [f"{r.rate_hz:g}", r.sent, r.matched, r.dropped, r.lost, f"{r.matched_hz:.2f}"]
        for r in result.rates
    ]
    header = ["sent Hz", "sent", "matched", "dropped", "lost", "matched Hz"]
    return "\n".join(
        [
            f"{result.width}x{result.height}, {result.keypoints} keypoints, "
            f"{result.matches} matches, {result.precision} on {result.device}, "
            f"{result.model} ({result.weights})",
            format_table(["ms, one image at a time", "median", "90 %", "most"], rows),
            format_table(header, rates),
        ]
    )


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
