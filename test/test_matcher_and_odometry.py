"""Matcher and odometry in one process: the same results, matches from hand to hand."""

from __future__ import annotations

import threading
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("superglue_ros.msg", reason="the messages are not built (make setup)")

import rclpy
from node_harness import SMALL, TOPICS, Harness, wait_for
from rclpy.node import Node

from superglue_ros.demo.flight_stream import rendered_frames, there_and_back
from superglue_ros.demo.node_process import NodeProcess, spinning
from superglue_ros.msg import Matches, OdometryStatus
from superglue_ros.nodes.conversions import camera_info_message, image_message, make_header
from superglue_ros.nodes.matcher_and_odometry import SpunBeside, main, of_node
from superglue_ros.nodes.matches_link import (
    MATCHES_QUEUE_SIZE,
    HandOver,
    MatchesOutput,
    listen_to_matches,
)

pytestmark = pytest.mark.ros

PARAMETERS = """
/**:
  ros__parameters:
    device: cpu
    precision: float32
matcher_node:
  ros__parameters:
    max_keypoints: 96
    sinkhorn_iterations: 5
    min_matches: 11
odometry_node:
  ros__parameters:
    odom_frame: world
    min_inliers: 12
"""


def statuses_of(harness: Harness, *processes: NodeProcess) -> list[OdometryStatus]:
    """What the nodes say of 50 frames, one at a time."""
    harness.statuses.clear()
    # In one process the harness and the odometry by hand are two listeners, too.
    wait_for(
        lambda: int(harness.values.get("/matcher_node", {}).get("listeners", 0)) >= 2,
        "the nodes to listen",
    )
    wait_for(lambda: harness.infos.get_subscription_count() == 2, "both to listen to CameraInfo")
    for frame in islice(there_and_back(rendered_frames(40, (160, 120))), 50):
        assert frame.camera is not None
        header = make_header(frame.stamp_ns, "eye")

        def introduced(info: object = camera_info_message(frame.camera, header)) -> bool:
            harness.infos.publish(info)
            return all(
                harness.values.get(name, {}).get("camera_info") == "received"
                for name in ("/matcher_node", "/odometry_node")
            )

        wait_for(introduced, "both to have a CameraInfo")
        before = len(harness.statuses)
        harness.images.publish(image_message(frame.image, header))
        wait_for(lambda before=before: len(harness.statuses) > before, "a status")
        for process in processes:
            process.check()
    return list(harness.statuses)


def test_as_two_processes(harness: Harness, tmp_path: Path) -> None:
    """The same parameters and frames give the same results; the file has parameters of both."""
    file = tmp_path / "both.yaml"
    file.write_text(PARAMETERS)
    arguments = [*TOPICS, "--params-file", str(file)]
    with (
        NodeProcess("matcher_node", arguments, tmp_path / "matcher.log") as matcher,
        NodeProcess("odometry_node", arguments, tmp_path / "odometry.log") as odometry,
    ):
        two = statuses_of(harness, matcher, odometry)
        assert harness.odometry[-1].header.frame_id == "world"
    wait_for(lambda: not harness.images.get_subscription_count(), "the two to be gone")
    harness.values.clear()
    # What is given for one node alone counts more than the file.
    arguments += ["--", "--odometry", "odom_frame=mine"]
    with NodeProcess("matcher_and_odometry", arguments, tmp_path / "both.log") as both:
        one = statuses_of(harness, both)
        listeners = harness.get_subscriptions_info_by_topic("/matcher_node/matches")
        assert [listener.node_name for listener in listeners] == ["harness"]
        assert harness.matches[-1].header == one[-1].header
        assert harness.odometry[-1].header.frame_id == "mine"
        assert both.stop() == 0, both.output()
    assert "Traceback" not in both.output()
    for found, expected in zip(one, two):
        assert (found.state, found.num_matches, found.num_inliers, found.keyframe_id) == (
            expected.state, expected.num_matches, expected.num_inliers, expected.keyframe_id
        )  # fmt: skip
    assert one[-1].state == OdometryStatus.TRACKING


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--odometry", "min_inliers=1"], "parameter min_inliers"),
        (["--matcher", *(w.replace(":=", "=") for w in SMALL[1:4:2]), "sinkhorn_iterations=0"],
         "sinkhorn_iterations"),
    ],
)  # fmt: skip
def test_what_does_not_suit_is_one_line(
    words: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """In processes of their own, as one of each ends ROS."""
    import subprocess

    from superglue_ros.demo.node_process import executable

    command = [str(executable("matcher_and_odometry")), *words]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert process.returncode == 1
    assert process.stderr.startswith("error: ")
    assert said in process.stderr
    assert len(process.stderr.splitlines()) == 1


def test_words_of_one_node(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a=b.yaml"
    file.write_text("")
    assert of_node([str(file), "base_frame=a=b"]) == [
        *("--ros-args", "--params-file", str(file), "-p", "base_frame:=a=b"),
    ]
    for words in (["--matcher", "missing.yaml"], ["device=cpu"]):
        with pytest.raises(SystemExit, match="2"):
            main(words)
    errors = capfd.readouterr().err
    assert "'missing.yaml' is neither a file nor NAME=VALUE" in errors
    assert "device=cpu" in errors


def test_messages_go_from_hand_to_hand(harness: Harness) -> None:
    """The very same, in the listener's thread and in order; to DDS where someone listens."""
    hand_over = HandOver()
    sender, taker = Node("hand_sender"), Node("hand_taker")
    output = MatchesOutput(sender, hand_over)
    taken: list[tuple[Matches, str]] = []
    listen_to_matches(
        taker,
        lambda message: taken.append((message, threading.current_thread().name)),
        lambda: None,
        hand_over,
    )
    messages = [Matches(keyframe_id=i) for i in range(5)]
    with spinning(sender, taker):
        assert output.get_subscription_count() == 1
        for message in messages:
            output.publish(message)
        wait_for(lambda: len(taken) == 5, "the messages")
        heard: list[Matches] = []
        harness.listen(Matches, "/hand_sender/matches", heard)
        wait_for(lambda: output.get_subscription_count() == 2, "a listener over DDS")
        output.publish(messages[0])
        wait_for(lambda: heard, "the message over DDS")
        wait_for(lambda: len(taken) == 6, "the message by hand")
    assert all(message is sent for (message, _), sent in zip(taken, [*messages, messages[0]]))
    assert {name for _, name in taken} == {"spinning"}
    assert [message.keyframe_id for message in heard] == [0]


def test_who_is_slow_gets_the_newest(harness: Harness) -> None:
    """As many wait as DDS would keep; each of the others is counted, other callbacks go on."""
    hand_over = HandOver()
    taker = Node("slow_taker")
    taken, dropped = [], []
    others: list[int] = []
    listen_to_matches(
        taker, lambda message: taken.append(message.keyframe_id), lambda: dropped.append(1),
        hand_over,
    )  # fmt: skip
    taker.create_timer(0.0, lambda: others.append(len(taken)))
    count = MATCHES_QUEUE_SIZE + 30
    for i in range(count):
        hand_over.put(Matches(keyframe_id=i))
    with spinning(taker):
        wait_for(lambda: len(taken) == MATCHES_QUEUE_SIZE, "the newest")
    assert taken == list(range(30, count))
    assert len(dropped) == 30
    assert len(set(others)) > MATCHES_QUEUE_SIZE // 4


def test_over_dds_without_a_hand(harness: Harness) -> None:
    sender, taker = Node("far_sender"), Node("far_taker", cli_args=[
        "--ros-args", "-r", "matches:=far_sender/matches"])  # fmt: skip
    output = MatchesOutput(sender, None)
    taken: list[Matches] = []
    listen_to_matches(taker, taken.append, lambda: None, None)
    with spinning(sender, taker):
        wait_for(lambda: output.get_subscription_count() == 1, "the listener")
        output.publish(Matches(keyframe_id=3))
        wait_for(lambda: taken, "the message")
    assert taken[0].keyframe_id == 3


def test_a_defect_of_one_node_ends_both(capfd: pytest.CaptureFixture[str]) -> None:
    context = rclpy.Context()
    rclpy.init(context=context)
    node = Node("defective", context=context)
    node.create_timer(0.01, lambda: np.zeros(2)[5])
    beside = SpunBeside(node)
    wait_for(lambda: not context.ok(), "ROS to be shut down")
    beside.end()
    assert beside.failed
    assert "IndexError" in capfd.readouterr().err
