"""What `superglue_ros bench soak` runs: whether both nodes last, over DDS.

    python -m superglue_ros.demo.soak [--frames N] [--restarts N] [--messages N] [--at-once N]

Four parts, each with nodes of its own and left out where its number is 0: an hour's frames at full
speed, nodes that are killed and started again, messages made wrong, three cameras at once. Images
are small and keypoints few, so that an hour's frames take minutes.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

from superglue_ros.benchmarks.machine import print_machine
from superglue_ros.benchmarks.plots import plot_soak
from superglue_ros.benchmarks.speed import image_size
from superglue_ros.demo.bench_command import add_parameters, run_command, write_figures
from superglue_ros.demo.flight_stream import rendered_frames
from superglue_ros.demo.node_process import ros_running
from superglue_ros.demo.soak_cameras import CameraResult, soak_cameras
from superglue_ros.demo.soak_frames import SoakResult, soak
from superglue_ros.demo.soak_restarts import Restart, soak_restarts
from superglue_ros.demo.soak_wrong import WrongResult, soak_wrong
from superglue_ros.demo.tally import Account
from superglue_ros.demo.wrong_messages import RIGS
from superglue_ros.errors import SuperGlueRosError
from superglue_ros.reporting.files import make_folder
from superglue_ros.reporting.tables import format_table

HOUR_FRAMES = 36000
"""Of a camera of 10 Hz."""

FLIGHT_FRAMES = 40
BASELINE_M = 0.1
FEW = ("max_keypoints:=96", "sinkhorn_iterations:=5")
"""Parameters of the matcher, unless others are given."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures; 1 with one line where a node ends, or for what users can mend."""
    parser = argparse.ArgumentParser(
        prog="superglue_ros bench soak",
        description="Whether both nodes last: memory and frames/s over an hour's frames at full "
        "speed; recovery of nodes that are killed; messages made wrong; three cameras at once.",
    )
    for name, default, text in (
        ("frames", HOUR_FRAMES, "at full speed"),
        ("restarts", 10, "of nodes that are killed while frames play in real time"),
        ("messages", 100000, "made wrong"),
        ("at-once", 400, "frames of one camera, one with depth and a stereo rig at once"),
    ):
        parser.add_argument(
            f"--{name}", type=int, default=default, metavar="N",
            help=f"{text}, default {default}, 0 for none",
        )  # fmt: skip
    parser.add_argument("--size", type=image_size, default=(160, 120), metavar="WxH")
    parser.add_argument(
        "--one-process", action="store_true", help="both nodes in one process in the first two"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the wrong messages")
    parser.add_argument("--output", type=Path, metavar="DIR", help="soak.json, soak.png and logs")
    add_parameters(parser, f"of the matcher node, besides {' '.join(FEW)}")
    args = parser.parse_args(arguments)
    return run_command(lambda: _work(args))


def _work(args: argparse.Namespace) -> None:
    if min(args.frames, args.restarts, args.messages, args.at_once) < 0:
        raise SuperGlueRosError("numbers of frames, restarts and messages must not be negative")
    output = make_folder(args.output) if args.output else None
    parameters = (*FEW, *args.parameters)
    machine = print_machine()
    flight = rendered_frames(FLIGHT_FRAMES, args.size, BASELINE_M)
    # A namespace of its own keeps these nodes from a robot's.
    namespace = f"/soak_{os.getpid()}"
    results: dict[str, object] = {}

    def keep(name: str, result: object) -> None:
        """Write what there is: the next part may take hours, or end in an error."""
        results[name] = result
        if output is not None:
            write_figures(output / "soak.json", machine, **results)

    with ros_running():
        if args.frames:
            soaked = soak(flight, args.frames, f"{namespace}/hour", parameters, args.one_process)
            print(hour_table(soaked))
            keep("hour", soaked)
            if output is not None:
                _plot(output / "soak.png", soaked)
        if args.restarts:
            name = f"{namespace}/restarts"
            restarts = soak_restarts(
                flight, args.restarts, name, parameters, args.one_process, output
            )
            print(restarts_table(restarts))
            keep("restarts", restarts)
        wrong: list[WrongResult] = []
        for place, rig in enumerate(RIGS if args.messages else ()):
            count = (args.messages + place) // len(RIGS)
            name = f"{namespace}/{rig.name}"
            wrong.append(soak_wrong(rig, flight, count, name, parameters, args.seed, output))
            print(wrong_table(wrong[-1:]))
            keep("wrong", wrong)
        if args.at_once:
            cameras = soak_cameras(
                flight, args.at_once, f"{namespace}/at_once", parameters, output
            )
            print(cameras_table(cameras))
            keep("at_once", cameras)
    if output is not None:
        print(f"figures: {output}")


def _plot(path: Path, result: SoakResult) -> None:
    samples = result.samples
    memory, speed = [s.memory_mb for s in samples], [s.frames_per_s for s in samples]
    plot_soak(path, [s.frames for s in samples], result.names, memory, speed)


def hour_table(result: SoakResult) -> str:
    """Start and end of the long run."""
    rows = [
        [f"{name}: memory (RSS) [MiB]", f"{start:.1f}", f"{end:.1f}"]
        for name, start, end in zip(result.names, result.start_mb, result.end_mb)
    ]
    rows.append(["frames/s", f"{result.start_frames_per_s:.1f}", f"{result.end_frames_per_s:.1f}"])
    rows.append(
        ["processor time a frame [ms]", f"{result.start_cpu_ms:.1f}", f"{result.end_cpu_ms:.1f}"]
    )
    states = ", ".join(f"{count} {state}" for state, count in sorted(result.states.items()))
    return "\n".join(
        [
            format_table([f"{result.images.sent} frames", "start", "end"], rows),
            accounts_table({"images": result.images, "matches": result.matches}),
            f"frames: {states}; {result.reset_count} resets",
        ]
    )


def accounts_table(accounts: dict[str, Account]) -> str:
    """What became of what was sent."""
    rows = [[name, *astuple(account)] for name, account in accounts.items()]
    return format_table(["messages", "sent", "used", "dropped", "lost"], rows)


def restarts_table(restarts: Sequence[Restart]) -> str:
    """A row for each time that nodes were killed."""
    rows = [
        [" and ".join(r.killed), f"{r.answered_s:.1f}", f"{r.tracked_s:.1f}", r.frames]
        for r in restarts
    ]
    header = ["killed", "answers after [s]", "tracks after [s]", "after frames"]
    return format_table(header, rows)


def wrong_table(results: Sequence[WrongResult]) -> str:
    """What became of each rig's messages."""
    accounts: dict[str, Account] = {}
    for result in results:
        accounts[f"{result.rig}: images"] = result.images
        accounts[f"{result.rig}: matches"] = result.matches
        accounts |= {f"{result.rig}: {name}": other for name, other in result.others.items()}
    rows = [[r.rig, r.wrong, r.damaged, len(r.problems), r.recovered_after] for r in results]
    header = ["camera", "wrong", "damaged", "causes counted", "tracks again after frames"]
    return f"{accounts_table(accounts)}\n{format_table(header, rows)}"


def cameras_table(results: Sequence[CameraResult]) -> str:
    """What became of each camera's images and matches."""
    accounts: dict[str, Account] = {}
    rows = []
    for result in results:
        accounts[f"{result.camera}: images"] = result.images
        accounts[f"{result.camera}: matches"] = result.matches
        rows.append([result.camera, result.states.get("tracking", 0), result.metric])
    table = format_table(["camera", "frames tracked", "of them in metres"], rows)
    return f"{accounts_table(accounts)}\n{table}"


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
