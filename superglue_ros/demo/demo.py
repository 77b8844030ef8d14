"""What `superglue_ros demo` runs: a flight or a recording, over DDS through the two nodes.

    python -m superglue_ros.demo.demo [SOURCE] [--output demo_output]

The nodes are processes of their own; this one plays the frames, records what the nodes publish,
and leaves a table, the trajectory, plots and match pictures.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from ament_index_python.packages import get_package_share_directory
from tqdm import tqdm

from superglue_ros.demo.flight_bag import FLIGHT_FRAMES, flight_bag
from superglue_ros.demo.node_process import NodeError, NodeProcess, ros_running, spinning
from superglue_ros.demo.player import Playback, Player
from superglue_ros.demo.recorder import FrameKeys, Recorder, Recording
from superglue_ros.demo.report import demo_table, replay_result
from superglue_ros.errors import SourceError, SuperGlueRosError
from superglue_ros.evaluation.accuracy import Accuracy, measure_accuracy
from superglue_ros.replay.records import check_poses
from superglue_ros.replay.report import write_report
from superglue_ros.reporting.files import make_folder
from superglue_ros.sources import (
    FrameSource,
    find_groundtruth,
    open_source,
    read_stamped_trajectory,
    write_bag,
)
from superglue_ros.types import Frame, Trajectory

SETTLE_TIMEOUT_S = 60.0
LISTENERS = 2  # odometry_node and the recorder
MAX_AHEAD = 3
"""The playing slows down where a machine cannot match every second frame in real time."""

DEPTH_TOPIC = "/camera/depth"
TOPICS = (
    *("-r", "image:=/camera/image_raw", "-r", "camera_info:=/camera/camera_info"),
    *("-r", "matches:=/matcher_node/matches", "-r", f"depth:={DEPTH_TOPIC}"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 1 with one line for what users can mend."""
    parser = argparse.ArgumentParser(
        prog="superglue_ros demo", description=__doc__.splitlines()[0]
    )
    parser.add_argument("source", nargs="?", type=Path, help="bag, KITTI- or TUM-style folder")
    parser.add_argument("--topic", metavar="T", help="image topic of a bag with several")
    parser.add_argument("--depth-topic", metavar="T", help="of a bag's registered depth images")
    parser.add_argument("--output", type=Path, default=Path("demo_output"))
    parser.add_argument("--rate", type=float, default=1.0, help="times real time")
    parser.add_argument("--frames", type=int, default=FLIGHT_FRAMES, help="of the flight")
    options = parser.parse_args(arguments)
    try:
        run_demo(
            options.source,
            options.output,
            options.rate,
            options.frames,
            options.topic,
            options.depth_topic,
        )
    except (SuperGlueRosError, ValueError) as error:
        print(f"demo: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        return 130
    return 0


def run_demo(
    path: Path | None,
    output: Path,
    rate: float,
    frames: int,
    topic: str | None = None,
    depth_topic: str | None = None,
) -> None:
    """Make the bag, play it through the nodes, write the report and print the table."""
    output = make_folder(output)
    started = time.monotonic()
    groundtruth: Trajectory | None
    if path is None:
        bag, groundtruth = flight_bag(output, frames)
    else:
        bag, groundtruth, depth_topic = recorded_bag(path, output, topic, depth_topic)
    made_s = time.monotonic() - started
    source = open_source(bag, topic=topic, depth_topic=depth_topic)
    recording, sent, seconds = play(source, output, Playback(rate, MAX_AHEAD, LISTENERS))
    result = replay_result(source, recording, seconds)
    accuracy: Accuracy | None = None
    if groundtruth is not None:
        alignment = "se3" if result.scale_is_metric else "sim3"
        accuracy = measure_accuracy(result.trajectory, groundtruth, alignment)
    write_report(output, result, accuracy, {"played": "over DDS through both nodes"})
    print(demo_table(result, recording, sent, accuracy))
    share = 100 * made_s / (time.monotonic() - started)
    if path is None and made_s > 1:
        print(f"rendering the flight took {made_s:.0f} s, {share:.0f} % of the run; it is kept")
    print(f"left in {output}: {bag.name if path is None else bag}, trajectory.txt, report.html")
    check_poses(result)


def recorded_bag(
    path: Path, output: Path, topic: str | None = None, depth_topic: str | None = None
) -> tuple[Path, Trajectory | None, str | None]:
    """Bag of a recording (written to the output unless it is one), its ground truth, and the
    topic of its depth if it has any."""
    source = open_source(path, topic=topic, depth_topic=depth_topic)
    print("\n".join(source.notes))
    folder = path if path.is_dir() else path.parent
    found = find_groundtruth(folder)
    groundtruth = read_stamped_trajectory(found) if found else None
    if not path.is_dir() or (path / "metadata.yaml").exists():
        return path, groundtruth, depth_topic
    bag = output / "recording"
    shutil.rmtree(bag, ignore_errors=True)
    depth_topic = DEPTH_TOPIC if source.has_depth else None
    write_bag(bag, progress(source, "writing the bag"), depth_topic=depth_topic)
    return bag, groundtruth, depth_topic


def play(
    source: FrameSource, output: Path, playback: Playback, parameters: Sequence[str] = ()
) -> tuple[Recording, int, float]:
    """Play a source through both nodes: what they published, frames sent, seconds it took.

    parameters: more --ros-args for matcher_node. Frames' depth is played, too. Raises NodeError or
    PlaybackError.
    """
    with_depth = source.has_depth
    preset = "matcher_gpu.yaml" if torch.cuda.is_available() else "matcher_cpu.yaml"
    config = Path(get_package_share_directory("superglue_ros")) / "config" / preset
    with (
        ros_running(),
        NodeProcess(
            "matcher_node",
            [*TOPICS, "--params-file", str(config), *parameters],
            output / "matcher_node.log",
        ) as matcher,
        NodeProcess(
            "odometry_node",
            [*TOPICS, "-p", "publish_tf:=false", "-p", f"use_depth:={with_depth}".lower()],
            output / "odometry_node.log",
        ) as odometry,
    ):
        player, recorder = Player(playback, with_depth=with_depth), Recorder()
        with spinning(player, recorder):
            player.wait_for_listeners((matcher, odometry))
            keys, sent = FrameKeys(), 0
            for frame in progress(source, "playing through the nodes"):
                player.play_frame(frame)
                last, sent = keys.next(frame.stamp_ns), sent + 1
            if not sent:
                raise SourceError(f"{source.name}: none of its {len(source)} frames can be read")
            _wait(
                lambda: last in recorder.recording.statuses,
                "the last frame was not estimated",
                (matcher, odometry),
            )
            seconds = time.monotonic() - player.started_s
            # Each node reports once a second, so that the second report counts everything.
            counted = recorder.diagnostics_count + 4
            _wait(
                lambda: recorder.diagnostics_count >= counted,
                "the nodes publish no diagnostics",
                (matcher, odometry),
            )
    return recorder.recording, sent, seconds


def progress(source: FrameSource, title: str) -> Iterable[Frame]:
    """The frames of a source behind a progress bar."""
    bar: Iterable[Frame] = tqdm(source, desc=title, total=len(source) or None, unit="frame")
    return bar


def _wait(ready: Callable[[], bool], complaint: str, nodes: Sequence[NodeProcess]) -> None:
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    while not ready():
        for node in nodes:
            node.check()
        if time.monotonic() > deadline:
            raise NodeError(f"{complaint} within {SETTLE_TIMEOUT_S:g} s")
        time.sleep(0.02)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
