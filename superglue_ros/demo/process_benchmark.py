"""What `superglue_ros bench processes` runs: both nodes in two processes and in one, in turns.

    python -m superglue_ros.demo.process_benchmark [--size WxH] [--frames N] [--rounds N]

A rendered flight goes to them over DDS: one frame at a time first, then as from a camera of 30
images a second, of which the newest is matched, while the odometry goes on with the one before.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile
from tqdm import tqdm

from superglue_ros.benchmarks.machine import print_machine
from superglue_ros.benchmarks.processes import read_process
from superglue_ros.benchmarks.speed import image_size
from superglue_ros.demo.bench_command import add_parameters, run_command, write_figures
from superglue_ros.demo.flight_stream import at_rate, rendered_frames, there_and_back
from superglue_ros.demo.node_pair import START_TIMEOUT_S, node_pair
from superglue_ros.demo.node_process import NodeError, NodeProcess, ros_running, spinning
from superglue_ros.demo.player import Playback, Player
from superglue_ros.errors import SuperGlueRosError
from superglue_ros.msg import OdometryStatus
from superglue_ros.nodes.conversions import stamp_to_ns
from superglue_ros.reporting.files import make_folder
from superglue_ros.reporting.tables import format_table
from superglue_ros.types import Frame

FLIGHT_FRAMES = 40
WARM_UP_FRAMES = 10
LIVE_HZ = 30.0
LIVE_S = 6.0
TIMEOUT_S = 60.0
NAMES = {False: "two processes", True: "one process"}


@dataclass(frozen=True)
class RoundResult:
    """One start of the nodes. start_s: until they listen; latency_ms: of each frame sent alone,
    from publishing it to its status; frames_per_s: that are answered of a camera that sends
    `LIVE_HZ`; cpu_ms: processor time of all processes an answered frame, over both; pss_mb,
    rss_mb: of all of them at the end; tracked: share of the answered frames that were tracked."""

    one_process: bool
    start_s: float
    latency_ms: tuple[float, ...]
    frames_per_s: float
    cpu_ms: float
    pss_mb: float
    rss_mb: float
    tracked: float


class Answers(Node):
    """Keeps the time (time.perf_counter) at which each frame's status comes."""

    def __init__(self, namespace: str) -> None:
        super().__init__("answers", namespace=namespace)
        self._changed = threading.Condition()
        self._times: dict[int, float] = {}
        self.num_tracked = 0
        self.create_subscription(
            OdometryStatus, "odometry_node/status", self._on_status, QoSProfile(depth=100)
        )

    def _on_status(self, message: OdometryStatus) -> None:
        now = time.perf_counter()
        with self._changed:
            self._times[stamp_to_ns(message.header.stamp)] = now
            self.num_tracked += message.state == OdometryStatus.TRACKING
            self._changed.notify_all()

    @property
    def count(self) -> int:
        """How many came."""
        with self._changed:
            return len(self._times)

    def since(self, stamp_ns: int) -> list[float]:
        """When each frame from this stamp on was answered that was."""
        with self._changed:
            return sorted(at for stamp, at in self._times.items() if stamp >= stamp_ns)

    def time_of(self, stamp_ns: int) -> float:
        """When the frame of this stamp was answered, or one after it; NodeError where none is."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._newest_ns >= stamp_ns, TIMEOUT_S):
                raise NodeError(f"no answer to a frame within {TIMEOUT_S:g} s")
            return min(at for stamp, at in self._times.items() if stamp >= stamp_ns)

    @property
    def _newest_ns(self) -> int:
        return max(self._times, default=0)


def measure(
    flight: Sequence[Frame],
    num_frames: int,
    namespace: str,
    parameters: Sequence[str],
    one_process: bool,
) -> RoundResult:
    """Start the nodes, play so many frames one at a time, and as many again at full speed.

    parameters: of the matcher. Raises NodeError, PlaybackError.
    """
    frames = there_and_back(flight)
    playback = Playback(float("inf"), listeners=1, timeout_s=START_TIMEOUT_S)
    started = time.perf_counter()
    with node_pair(namespace, parameters, one_process=one_process) as processes:
        player = Player(playback, namespace, nodes=namespace)
        answers = Answers(namespace)
        with spinning(player, answers):
            player.wait_for_listeners(processes)
            start_s = time.perf_counter() - started
            _play(player, answers, islice(frames, WARM_UP_FRAMES))
            cpu_s, tracked, answered = _cpu_s(processes), answers.num_tracked, answers.count
            latency_ms = _play(player, answers, islice(frames, num_frames))
            frames_per_s = _play_live(player, answers, frames)
            cpu_s = _cpu_s(processes) - cpu_s
            answered = answers.count - answered
            used = [read_process(process.pid) for process in processes]
            tracked = answers.num_tracked - tracked
    return RoundResult(
        one_process,
        start_s,
        tuple(latency_ms),
        frames_per_s,
        cpu_s * 1e3 / answered,
        sum(use.pss_mb for use in used),
        sum(use.rss_mb for use in used),
        tracked / answered,
    )


def _play(player: Player, answers: Answers, frames: Iterator[Frame]) -> list[float]:
    """Milliseconds to each frame's answer, one at a time."""
    latency_ms = []
    for frame in frames:
        started = time.perf_counter()
        player.play_frame(frame)
        latency_ms.append((answers.time_of(frame.stamp_ns) - started) * 1e3)
    return latency_ms


def _play_live(player: Player, answers: Answers, frames: Iterator[Frame]) -> float:
    """Answers a second, from the first to the last, to a camera that waits for none."""
    shown = list(islice(frames, round(LIVE_HZ * LIVE_S)))
    for frame in at_rate(shown, LIVE_HZ):
        player.play_frame(frame)
    answers.time_of(shown[-1].stamp_ns)
    times = answers.since(shown[0].stamp_ns)
    return (len(times) - 1) / (times[-1] - times[0])


def _cpu_s(processes: Sequence[NodeProcess]) -> float:
    return sum(read_process(process.pid).cpu_s for process in processes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures; 1 with one line for what users can mend."""
    parser = argparse.ArgumentParser(
        prog="superglue_ros bench processes",
        description="Memory, latency and processor time of matcher and odometry in two processes "
        "and in one, in turns.",
    )
    parser.add_argument("--size", type=image_size, default=(640, 480), metavar="WxH")
    parser.add_argument("--frames", type=int, default=40, metavar="N", help="one at a time")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="of both in turns")
    parser.add_argument("--output", type=Path, metavar="DIR", help="processes.json")
    add_parameters(parser)
    args = parser.parse_args(arguments)
    return run_command(lambda: _work(args))


def _work(args: argparse.Namespace) -> None:
    if min(args.frames, args.rounds) < 1:
        raise SuperGlueRosError("--frames and --rounds must be above 0")
    output = make_folder(args.output) if args.output else None
    flight = rendered_frames(FLIGHT_FRAMES, args.size)
    results = []
    with ros_running():
        for number in tqdm(range(2 * args.rounds), "starts of the nodes"):
            namespace = f"/processes_{os.getpid()}_{number}"
            one = bool(number % 2)
            results.append(measure(flight, args.frames, namespace, args.parameters, one))
    machine = print_machine()
    print(report(results))
    if output is not None:
        write_figures(output / "processes.json", machine, results=results)


def report(results: Sequence[RoundResult]) -> str:
    """A table, medians over the rounds and the range of them."""
    rows = []
    for name, values in (
        ("start [s]", lambda r: r.start_s),
        ("image to status, median [ms]", lambda r: float(np.median(r.latency_ms))),
        ("image to status, 90 % [ms]", lambda r: float(np.percentile(r.latency_ms, 90))),
        (f"frames/s of a camera of {LIVE_HZ:g}", lambda r: r.frames_per_s),
        ("processor time a frame [ms]", lambda r: r.cpu_ms),
        ("memory, sum of PSS [MiB]", lambda r: r.pss_mb),
        ("memory, sum of RSS [MiB]", lambda r: r.rss_mb),
        ("frames tracked [%]", lambda r: 100 * r.tracked),
    ):
        row = [name]
        for one in NAMES:
            found = [values(result) for result in results if result.one_process is one]
            row.append(f"{np.median(found):.1f} ({min(found):.1f} to {max(found):.1f})")
        rows.append(row)
    return format_table(["median of the rounds (range)", *NAMES.values()], rows)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
