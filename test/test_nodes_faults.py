"""Both nodes as processes over DDS, fed with what goes wrong: nothing dies, each is said once."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("superglue_ros.msg", reason="the messages are not built (make setup)")

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from node_harness import (
    HEIGHT,
    SMALL,
    TOPICS,
    WIDTH,
    Harness,
    broken_image,
    camera_info,
    image,
    some_matches,
    textured,
    wait_for,
)
from rclpy.qos import ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import Image

from superglue_ros.demo.node_process import NodeProcess, spinning
from superglue_ros.msg import Matches
from superglue_ros.nodes.conversions import matches_message
from superglue_ros.nodes.health import LOG_PERIOD_S

pytestmark = pytest.mark.ros

S = 1_000_000_000


class Camera:
    """The two nodes, a harness, and a clock that goes on from test to test."""

    def __init__(self, matcher: NodeProcess, odometry: NodeProcess, harness: Harness) -> None:
        self.matcher, self.odometry, self.harness = matcher, odometry, harness
        self.stamp_ns = 100 * S

    def tick(self) -> int:
        self.stamp_ns += S // 10
        return self.stamp_ns

    def alive(self) -> None:
        """A good image still gives matches, and both processes still run."""
        found = self.harness.send_and_match(image(self.tick()), self.matcher)
        assert found.header.stamp.sec * S + found.header.stamp.nanosec == self.stamp_ns
        self.odometry.check()

    def lines(self, words: str) -> list[str]:
        log = self.matcher.output() + self.odometry.output()
        return [line for line in log.splitlines() if words in line]

    def said_once(self, words: str, started: float, nodes: int = 1) -> None:
        """Each node logged it once, or on a slow machine once in a throttling period."""
        periods = 1 + int((time.monotonic() - started) / LOG_PERIOD_S)
        assert nodes <= len(self.lines(words)) <= nodes * periods, self.lines(words)


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Camera]:
    folder: Path = tmp_path_factory.mktemp("nodes")
    rclpy.init()
    try:
        with (
            NodeProcess("matcher_node", [*TOPICS, *SMALL], folder / "matcher.log") as matcher,
            NodeProcess(
                "odometry_node", [*TOPICS, "-p", "publish_tf:=true"], folder / "odometry.log"
            ) as odometry,
        ):
            harness = Harness()
            with spinning(harness):
                harness.wait_until_heard(matcher, odometry)
                yield Camera(matcher, odometry, harness)
            # Whatever the tests did, both nodes end as they should, of Ctrl-C and its sender, too.
            for node in (matcher, odometry):
                os.kill(node.pid, signal.SIGINT)
            assert matcher.stop() == 0, matcher.output()
            assert odometry.stop() == 0, odometry.output()
    finally:
        rclpy.try_shutdown()


def test_missing_tf2_and_camera_info_are_said(camera: Camera) -> None:
    started = time.monotonic()
    camera.alive()
    wait_for(lambda: camera.harness.statuses, "a status")
    status = camera.harness.statuses[-1]
    assert status.state == "initialising"
    assert "no CameraInfo on /camera/camera_info" in status.reason
    camera.alive()
    camera.said_once("no CameraInfo", started)
    try:
        import tf2_ros  # noqa: F401
    except ImportError:
        assert len(camera.lines("no tf2_ros")) == 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"width": 0, "height": 0, "step": 0, "data": b""}, "empty image of"),
        ({"data": bytes(WIDTH * HEIGHT - 1)}, "bytes of data for"),
        ({"step": WIDTH - 1}, "step of"),
        ({"encoding": "plaid13"}, "unknown image encoding"),
        ({"encoding": ""}, "unknown image encoding ''"),
        ({"width": 8, "height": 8, "step": 8, "data": bytes(64)}, "under 16 pixels"),
        ({"encoding": "32FC1", "step": 4 * WIDTH, "data": bytes(4 * WIDTH * HEIGHT)}, "32FC1"),
    ],
)
def test_bad_image(camera: Camera, fields: dict[str, object], words: str) -> None:
    started = time.monotonic()
    camera.harness.images.publish(broken_image(camera.tick(), **fields))
    wait_for(lambda: camera.lines(words), "the line that says it")
    for _ in range(4):
        # Where the matcher is not quick enough, the good image replaces the broken one.
        camera.harness.images.publish(broken_image(camera.tick(), **fields))
        camera.alive()
    camera.said_once(words, started)
    cause = re.sub(r"\d+", "#", words)
    wait_for(
        lambda: any(cause in counted for counted in camera.harness.problems()),
        "its count in the diagnostics",
    )


def test_size_change(camera: Camera) -> None:
    started = time.monotonic()
    camera.alive()
    other = camera.harness.send_and_match(image(camera.tick(), textured(0, 200, 152)))
    assert (other.width, other.height) == (200, 152)
    assert len(other.confidences) == 0
    assert other.is_keyframe
    camera.alive()
    # The change back is of the same cause.
    camera.said_once("starting anew", started)
    assert camera.lines("images of 200 x 152, before 160 x 120")


def test_black_images(camera: Camera) -> None:
    for _ in range(10):
        found = camera.harness.send_and_match(
            image(camera.tick(), np.zeros((HEIGHT, WIDTH), np.uint8)), camera.matcher
        )
        assert len(found.confidences) == 0
        assert not found.is_keyframe
    camera.alive()
    camera.alive()
    assert len(camera.harness.matches[-1].confidences) > 10


def test_unusable_camera_info(camera: Camera) -> None:
    harness = camera.harness
    for info, words in (
        (camera_info(0, focal=0.0), "camera matrix is all zero"),
        (
            camera_info(0, width=320),
            "calibration is of 320 x 120 pixels, the images are of 160 x 120",
        ),
    ):
        started = time.monotonic()
        harness.infos.publish(info)

        def said(words: str = words) -> bool:
            camera.alive()
            return bool(harness.statuses) and words in harness.statuses[-1].reason

        wait_for(said, f"a status with {words}")
        assert harness.statuses[-1].state == "initialising"
        wait_for(lambda words=words: words in harness.said["/odometry_node"], "its diagnostics")
        camera.alive()
        camera.said_once(words, started)
    # Each of them, but for the size, is known before there are images.
    nodes = "/matcher_node", "/odometry_node"
    wait_for(
        lambda: (
            [harness.values[node].get("camera_infos unusable") for node in nodes] == ["1", "1"]
        ),
        "the unusable CameraInfo in both nodes' diagnostics",
    )


def test_images_are_heard_as_reliably_as_they_are_sent(camera: Camera) -> None:
    harness = camera.harness

    def listens(reliability: ReliabilityPolicy) -> None:
        wait_for(
            lambda: (
                [
                    listener.qos_profile.reliability
                    for listener in harness.get_subscriptions_info_by_topic("/camera/image_raw")
                ]
                == [reliability]
            ),
            f"a listener that is {reliability.name}",
        )

    listens(ReliabilityPolicy.RELIABLE)
    second = harness.create_publisher(Image, "/camera/image_raw", qos_profile_sensor_data)
    listens(ReliabilityPolicy.BEST_EFFORT)
    wait_for(lambda: second.get_subscription_count() == 1, "the second camera to be heard")
    before = len(harness.matches)
    second.publish(image(camera.tick()))
    wait_for(lambda: len(harness.matches) > before, "matches of a best-effort image")
    harness.destroy_publisher(second)
    listens(ReliabilityPolicy.RELIABLE)
    wait_for(lambda: harness.images.get_subscription_count() == 1, "the first to be heard again")
    # In colour it is larger than what Fast DDS's shared memory holds.
    for _ in range(5):
        harness.send_and_match(image(camera.tick(), np.dstack([textured(0, 640, 480)] * 3)))
    camera.alive()


def test_a_camera_that_stops(camera: Camera) -> None:
    camera.alive()
    said = camera.harness.said
    wait_for(lambda: "no image for" in said["/matcher_node"], "the matcher to miss images")
    wait_for(lambda: "no matches for" in said["/odometry_node"], "the odometry to miss matches")
    assert camera.harness.values["/matcher_node"]["rate in [Hz]"] == "0.00"
    camera.alive()
    wait_for(lambda: "no image for" not in said["/matcher_node"], "the matcher to go on")


def test_clock_jumps_back(camera: Camera) -> None:
    harness = camera.harness
    harness.infos.publish(camera_info(0))
    camera.alive()
    started, keyframe_id = time.monotonic(), harness.matches[-1].keyframe_id
    camera.stamp_ns = 5 * S
    camera.alive()
    after = harness.matches[-1]
    assert len(after.confidences) == 0
    assert after.is_keyframe
    assert after.keyframe_id >= keyframe_id
    camera.alive()
    assert len(harness.matches[-1].confidences) > 10
    jump = "the clock jumped back by # s"
    wait_for(lambda: jump in harness.problems(), "the count of the jump")
    wait_for(lambda: jump in harness.problems("/odometry_node"), "the same")
    camera.said_once("the clock jumped back", started, nodes=2)
    assert np.all(np.diag(np.reshape(harness.odometry[-1].pose.covariance, (6, 6))) > 0)


def test_a_late_image_is_dropped_alone(camera: Camera) -> None:
    harness = camera.harness
    camera.alive()
    before = harness.matches[-1].keyframe_id
    jumps = harness.problems().get("the clock jumped back by # s", 0)
    harness.images.publish(image(camera.stamp_ns - S // 100))
    wait_for(lambda: any("late" in cause for cause in harness.problems()), "the late image")
    camera.alive()
    assert len(harness.matches[-1].confidences) > 10
    assert harness.matches[-1].keyframe_id - before <= 1
    assert harness.problems().get("the clock jumped back by # s", 0) == jumps


def test_where_nothing_is_matched_any_more_the_diagnostics_are_an_error(camera: Camera) -> None:
    levels = camera.harness.levels
    camera.alive()
    wait_for(lambda: levels["/matcher_node"] == DiagnosticStatus.OK, "the matcher to work")
    camera.harness.images.publish(broken_image(camera.tick(), step=1))
    wait_for(lambda: levels["/matcher_node"] == DiagnosticStatus.ERROR, "the error")
    camera.alive()
    wait_for(lambda: levels["/matcher_node"] == DiagnosticStatus.OK, "the matcher to work again")


def test_an_unstamped_image_is_said(camera: Camera) -> None:
    camera.harness.images.publish(image(0))
    wait_for(lambda: "no stamp" in camera.harness.problems(), "the image without a stamp")
    camera.alive()


def test_two_cameras_on_one_topic(camera: Camera) -> None:
    """The second one's images, CameraInfo and matches are dropped, counted and said once."""
    harness, started = camera.harness, time.monotonic()
    harness.infos.publish(camera_info(0))
    camera.alive()
    topic = "two cameras on /camera/image_raw"
    other = image(0, textured(90))
    other.header.frame_id = "other_eye"
    other_info = camera_info(0, width=320)  # it would fit no image
    other_info.header.frame_id = "other_eye"
    for _ in range(5):
        stamp_ns = camera.tick()
        other.header.stamp.sec, other.header.stamp.nanosec = divmod(stamp_ns, S)
        harness.images.publish(other)
        harness.infos.publish(other_info)
        camera.alive()
    wait_for(lambda: harness.problems().get(topic) == 5, "the count of the other's images")
    camera.said_once(topic, started)
    assert {m.header.frame_id for m in harness.matches} == {"eye"}
    assert len(harness.matches[-1].confidences) > 10
    assert "320 x 120" not in harness.statuses[-1].reason
    assert "CameraInfo of another camera" not in harness.problems("/odometry_node")
    # So are matches of another camera, as of a second matcher.
    publisher = harness.create_publisher(Matches, "/matcher_node/matches", 10)
    wait_for(lambda: publisher.get_subscription_count() >= 2, "the odometry to listen")
    others = matches_message(some_matches(20), other.header, other.header)
    publisher.publish(others)
    wait_for(lambda: "two cameras" in harness.problems("/odometry_node"), "their count")
    harness.matches.remove(others)
    harness.destroy_publisher(publisher)
    camera.alive()


def test_ten_bits_in_sixteen(camera: Camera) -> None:
    harness = camera.harness
    camera.alive()
    deep = textured().astype("<u2") * 4
    fields = {"encoding": "mono16", "step": 2 * WIDTH, "data": deep.tobytes()}
    expected = len(harness.send_and_match(image(camera.tick())).confidences)
    found = harness.send_and_match(broken_image(camera.tick(), **fields))
    assert len(found.confidences) == pytest.approx(expected, rel=0.1)
    said = "images use 5 of 256 grey levels: 0 to 1023 of 65535 are stretched to them"
    wait_for(lambda: camera.lines(said), "the line that says it")
    levels = "5 of 256, 0 to 1023 stretched"
    wait_for(lambda: harness.values["/matcher_node"]["grey levels"] == levels, "its value")
    harness.send_and_match(broken_image(camera.tick(), **fields))
    assert len(camera.lines("grey levels: 0")) == 1
    harness.send_and_match(image(camera.tick(), textured() // 50))
    few = "images use 6 of 256 grey levels"
    wait_for(lambda: few in harness.said["/matcher_node"], "the status that says it")
    # It is said once; another test's black images may have been it.
    assert len(camera.lines("of 256 grey levels")) == 2
    camera.alive()
    wait_for(lambda: few not in harness.said["/matcher_node"], "the status to be well again")


def test_malformed_matches_message(camera: Camera) -> None:
    publisher = camera.harness.create_publisher(Matches, "/matcher_node/matches", 10)
    wait_for(lambda: publisher.get_subscription_count() >= 2, "the odometry to listen")
    bad = Matches(points=[1.0], confidences=[0.5])
    heard = len(camera.harness.matches)
    publisher.publish(bad)
    wait_for(lambda: len(camera.harness.matches) > heard, "the harness to hear it too")
    wait_for(lambda: camera.lines("holds 0 values for 1 points"), "the line")
    camera.alive()
    camera.harness.destroy_publisher(publisher)
