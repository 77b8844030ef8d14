"""What `superglue_ros bench nodes` runs: images over DDS to a matcher node, and their way timed.

    python -m superglue_ros.nodes.bench [--size WxH] [--images N] [--output FILE]

The node is a process of its own. Images go one at a time first, then at rising rates until the
node drops some.
"""

from __future__ import annotations

import argparse
import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from tqdm import tqdm

from superglue_ros.errors import SuperGlueRosError
from superglue_ros.evaluation.report import make_folder
from superglue_ros.evaluation.speed import describe_machine, noise_image
from superglue_ros.evaluation.summary import format_table, write_json
from superglue_ros.msg import Matches
from superglue_ros.nodes.conversions import NS_PER_S, image_message, make_header
from superglue_ros.nodes.running import NodeError, NodeProcess, spinning

RATES_HZ = (0.5, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0)
TIMEOUT_S = 120.0
OVERHEAD = "latency without inference"
_SHIFT_PX = 3
_ARGUMENTS = (
    *("-r", "image:=/camera/image_raw", "-r", "camera_info:=/camera/camera_info"),
    # What the node drops is to be counted, not what the network loses.
    *("-p", "qos_overrides./camera/image_raw.subscription.reliability:=reliable"),
)


@dataclass(frozen=True)
class Spread:
    """Milliseconds: median, nine tenths are below, most."""

    median_ms: float
    p90_ms: float
    most_ms: float


@dataclass(frozen=True)
class RateResult:
    """Images sent at a rate: how many, how many came back matched, and these a second."""

    rate_hz: float
    sent: int
    matched: int
    matched_hz: float

    @property
    def dropped(self) -> int:
        """Images that a newer one replaced before they were matched."""
        return self.sent - self.matched


@dataclass(frozen=True)
class NodesResult:
    """overhead: the node's own words, image callback to published matches less inference (median
    and worst of its latest 100); way: publishing an image to receiving its matches, less
    inference; inference: its part; rates: rising, to the first with drops."""

    width: int
    height: int
    overhead_median_ms: float
    overhead_most_ms: float
    way: Spread
    inference: Spread
    rates: tuple[RateResult, ...]


class Camera(Node):
    """Sends shifted noise, and keeps the time at which each image's matches come."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__("bench_camera")
        quality = QoSProfile(depth=100)
        self.size = size
        self._pixels = noise_image(size, 0)
        self._sent = 0
        self._changed = threading.Condition()
        self.matches: dict[int, tuple[float, Matches]] = {}
        self.values: dict[str, str] = {}
        self._images = self.create_publisher(Image, "/camera/image_raw", quality)
        self.create_subscription(Matches, "/matcher_node/matches", self._on_matches, quality)
        self.create_subscription(
            DiagnosticArray, "/diagnostics", self._on_diagnostics, QoSProfile(depth=10)
        )

    def _on_matches(self, message: Matches) -> None:
        now = time.perf_counter()
        with self._changed:
            self.matches[message.header.stamp.sec] = now, message
            self._changed.notify_all()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        with self._changed:
            for status in message.status:
                if status.name == "/matcher_node":
                    self.values = {value.key: value.value for value in status.values}
            self._changed.notify_all()

    def next_image(self) -> Image:
        """An image whose stamp is its number, in seconds."""
        self._sent += 1
        pixels = np.roll(self._pixels, self._sent % 40 * _SHIFT_PX, axis=1)
        return image_message(pixels, make_header(self._sent * NS_PER_S, "camera"))

    def send(self, message: Image) -> float:
        """Publish an image; the time before."""
        started = time.perf_counter()
        self._images.publish(message)
        return started

    def wait_for_matches(self, number: int, node: NodeProcess) -> tuple[float, Matches]:
        """Arrival and matches of an image; NodeError where the node ends or takes too long."""
        self._wait(lambda: number in self.matches, node, "matches of an image")
        return self.matches[number]

    def wait_until_heard(self, node: NodeProcess) -> None:
        """Until the node listens and has found this one; NodeError as above."""
        self._wait(
            lambda: bool(
                self._images.get_subscription_count() and int(self.values.get("listeners", 0))
            ),
            node,
            "the node to listen",
        )

    def wait_for_news(self, node: NodeProcess) -> dict[str, str]:
        """The node's diagnostics, no older than this call; NodeError as above."""
        self.values = {}
        self._wait(lambda: bool(self.values), node, "the node's diagnostics")
        return self.values

    def _wait(self, ready: Callable[[], bool], node: NodeProcess, what: str) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        with self._changed:
            while not ready():
                node.check()
                if time.monotonic() > deadline:
                    raise NodeError(f"waited {TIMEOUT_S:.0f} s in vain for {what}")
                self._changed.wait(0.5)


def measure(
    camera: Camera, node: NodeProcess, images: int, seconds: float, rates_hz: Sequence[float]
) -> NodesResult:
    """One image at a time, then rising rates of so many seconds each; NodeError."""
    camera.wait_until_heard(node)
    camera.send(camera.next_image())
    camera.wait_for_matches(1, node)
    way: list[float] = []
    inference: list[float] = []
    for _ in tqdm(range(images), desc="one at a time"):
        message = camera.next_image()
        started = camera.send(message)
        arrived, matches = camera.wait_for_matches(message.header.stamp.sec, node)
        inference.append(matches.extract_ms + matches.match_ms)
        way.append((arrived - started) * 1e3 - inference[-1])
    words = camera.wait_for_news(node)[OVERHEAD]
    median, most = (float(number) for number in re.findall(r"[\d.]+", words))
    rates = []
    for rate in rates_hz:
        rates.append(_send_at(camera, node, rate, seconds))
        if rates[-1].dropped:
            break
    return NodesResult(*camera.size, median, most, _spread(way), _spread(inference), tuple(rates))


def _send_at(camera: Camera, node: NodeProcess, rate_hz: float, seconds: float) -> RateResult:
    count = max(5, round(rate_hz * seconds))
    messages = [camera.next_image() for _ in range(count)]
    numbers = {message.header.stamp.sec for message in messages}
    begun = time.perf_counter()
    for i, message in enumerate(tqdm(messages, desc=f"{rate_hz:g} Hz", leave=False)):
        time.sleep(max(0.0, begun + i / rate_hz - time.perf_counter()))
        camera.send(message)
    # The newest image is never dropped.
    arrived, _ = camera.wait_for_matches(max(numbers), node)
    matched = len(numbers & set(camera.matches))
    return RateResult(rate_hz, count, matched, matched / (arrived - begun))


def _spread(values: Sequence[float]) -> Spread:
    return Spread(float(np.median(values)), float(np.percentile(values, 90)), max(values))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures; 1 with one line for what users can mend."""
    parser = argparse.ArgumentParser(prog="superglue_ros bench nodes", description=__doc__)
    parser.add_argument("--size", type=_size, default=(640, 480), metavar="WxH")
    parser.add_argument("--images", type=int, default=40, metavar="N", help="one at a time")
    parser.add_argument("--seconds", type=float, default=5.0, help="at each rate")
    parser.add_argument("--rates", type=float, nargs="+", default=RATES_HZ, metavar="HZ")
    parser.add_argument("--output", type=Path, metavar="DIR", help="nodes.json")
    parser.add_argument(
        "--parameters", nargs="+", default=[], metavar="NAME:=VALUE", help="of the matcher node"
    )
    args = parser.parse_args(arguments)
    try:
        if args.images < 1 or args.seconds <= 0 or min(args.rates) <= 0:
            raise SuperGlueRosError("--images, --seconds and --rates must be above 0")
        result = run(args)
        _report(result, args.output)
    except SuperGlueRosError as error:
        print(f"superglue_ros: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("superglue_ros: interrupted", file=sys.stderr)
        return 130
    return 0


def run(args: argparse.Namespace) -> NodesResult:
    """Start a matcher node, measure and end it."""
    parameters = [word for p in args.parameters for word in ("-p", p)]
    rclpy.init()
    try:
        camera = Camera(args.size)
        with spinning(camera), NodeProcess("matcher_node", [*_ARGUMENTS, *parameters]) as node:
            return measure(camera, node, args.images, args.seconds, sorted(args.rates))
    finally:
        rclpy.try_shutdown()


def _report(result: NodesResult, output: Path | None) -> None:
    machine = describe_machine()
    print(", ".join(f"{key} {value}" for key, value in machine.items()))
    print(f"{result.width}x{result.height}, one image at a time, milliseconds")
    rows = [["node, callback to published", result.overhead_median_ms, "-"]]
    rows[0].append(f"{result.overhead_most_ms:.2f}")
    for name, spread in (("way over DDS and back", result.way), ("inference", result.inference)):
        rows.append([name, *(f"{x:.2f}" for x in vars(spread).values())])
    rows[0][1] = f"{result.overhead_median_ms:.2f}"
    print(format_table(["less inference, but the last", "median", "90 %", "most"], rows))
    rates = [[f"{r.rate_hz:g}", r.sent, r.dropped, f"{r.matched_hz:.2f}"] for r in result.rates]
    print(format_table(["sent Hz", "sent", "dropped", "matched Hz"], rates))
    if output is not None:
        write_json(make_folder(output) / "nodes.json", {"machine": machine, "result": result})


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no WIDTHxHEIGHT") from error
    if min(width, height) < 16:
        raise argparse.ArgumentTypeError(f"{text} is under 16 pixels a side")
    return width, height


if __name__ == "__main__":
    sys.exit(main())
