"""Both nodes over DDS on a stereo rig: poses in metres, and pairs that are none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("superglue_ros.msg", reason="the messages are not built (make setup)")

from node_harness import SMALL, TOPICS, Harness, wait_for
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image

from superglue_ros.demo.node_process import NodeProcess
from superglue_ros.nodes.conversions import (
    camera_info_message,
    image_message,
    make_header,
    matches_from_message,
    stamp_to_ns,
)
from superglue_ros.nodes.odometry_messages import pose_from_message
from superglue_ros.types import Frame
from superglue_ros.world import render_flight
from superglue_ros.world.flight import FlightFrame

pytestmark = pytest.mark.ros

S = 1_000_000_000
BASELINE_M = 0.12
STEREO = (
    *("-p", "use_stereo:=true", "-r", "image_right:=/camera/right/image_rect"),
    *("-r", "camera_info_right:=/camera/right/camera_info"),
    *("-p", "qos_overrides./camera/right/camera_info.subscription.reliability:=reliable"),
)
RIGHT_STAMP_OFFSET_NS = 2_000_000


@pytest.fixture(scope="module")
def flight() -> list[FlightFrame]:
    return list(
        render_flight(
            24, 320, 240, rate_hz=6.0, start_ns=100 * S, gray=True, baseline_m=BASELINE_M
        )
    )


class Rig:
    """The running nodes, and a harness that sends them the images of a rig."""

    def __init__(self, harness: Harness, matcher: NodeProcess, odometry: NodeProcess) -> None:
        self.harness, self.matcher, self.odometry = harness, matcher, odometry
        quality = QoSProfile(depth=100)
        self.images = harness.create_publisher(Image, "/camera/right/image_rect", quality)
        self.infos = harness.create_publisher(CameraInfo, "/camera/right/camera_info", quality)
        for publisher in (self.images, self.infos):
            wait_for(publisher.get_subscription_count, "a listener to the right camera")

    def send(self, frame: Frame, baseline_m: float = BASELINE_M) -> None:
        """Send a pair and wait for the odometry's answer."""
        assert frame.right is not None
        assert frame.camera is not None
        header = make_header(frame.stamp_ns, "eye")
        beside = make_header(frame.stamp_ns + RIGHT_STAMP_OFFSET_NS, "right_eye")
        self.harness.infos.publish(camera_info_message(frame.camera, header))
        self.infos.publish(camera_info_message(frame.camera, beside, baseline_m))
        self.images.publish(image_message(frame.right, beside))
        self.harness.send_and_match(image_message(frame.image, header), self.matcher)
        wait_for(
            lambda: any(s.header.stamp == header.stamp for s in self.harness.statuses),
            "the odometry's status",
        )
        self.odometry.check()


@pytest.fixture
def rig(harness: Harness, tmp_path: Path) -> Iterator[Rig]:
    for messages in (harness.matches, harness.statuses, harness.odometry):
        messages.clear()
    matcher_options = [*TOPICS, *SMALL, *STEREO, "-p", "max_keypoints:=300"]
    with (
        NodeProcess("matcher_node", matcher_options, tmp_path / "matcher.log") as matcher,
        NodeProcess("odometry_node", [*TOPICS, *STEREO], tmp_path / "odometry.log") as odometry,
    ):
        harness.wait_until_heard(matcher, odometry)
        yield Rig(harness, matcher, odometry)


def test_poses_in_metres(rig: Rig, flight: list[FlightFrame]) -> None:
    harness = rig.harness
    for flown in flight:
        rig.send(flown.frame)
    states = [status.state for status in harness.statuses]
    assert states == ["initialising"] + ["tracking"] * 23
    assert all(status.scale_is_metric for status in harness.statuses)
    wait_for(lambda: len(harness.odometry) >= 24, "all odometry")
    by_stamp = {stamp_to_ns(m.header.stamp): m for m in harness.odometry}
    found = np.array(
        [pose_from_message(by_stamp[f.frame.stamp_ns].pose.pose).position for f in flight[1:]]
    )
    true = np.array([flown.pose.position for flown in flight[1:]])
    # Over all pairs of frames, so that no single one decides.
    lengths = [
        np.linalg.norm(points[:, None] - points[None], axis=2)[np.triu_indices(23, 8)]
        for points in (found, true)
    ]
    assert np.median(lengths[0] / lengths[1]) == pytest.approx(1, abs=0.02)

    assert not len(harness.matches[0].keyframe_right_points)
    matches = matches_from_message(harness.matches[-1])
    right = matches.keyframe_right_points
    assert right is not None
    known = np.isfinite(right[:, 0])
    assert known.mean() > 0.6
    focal = flight[0].frame.camera.matrix[0, 0]
    depths = focal * BASELINE_M / (matches.keyframe_points - right)[known, 0]
    assert 2 < np.median(depths) < 8
    values = harness.values["/matcher_node"]
    assert int(values["right points"]) > 50
    assert "median" in values["search of a right image"]


def test_a_pair_that_is_not_rectified_is_refused(rig: Rig, flight: list[FlightFrame]) -> None:
    frame = flight[0].frame
    assert frame.right is not None
    shifted = cv2.warpAffine(frame.right, np.array([[1.0, 0, 0], [0, 1, 3]]), (320, 240))
    for number in range(3):
        stamp_ns = frame.stamp_ns + number * S // 10
        rig.send(replace(frame, right=shifted, stamp_ns=stamp_ns))
    status = rig.harness.statuses[-1]
    assert status.state == "initialising"
    assert "0 matches have a depth" in status.reason
    said = [line for line in rig.matcher.output().splitlines() if "right points" in line]
    assert len(said) == 1
    assert "stereo_image_proc.launch.py rectifies a pair" in said[0]
    wait_for(lambda: rig.harness.problems("/odometry_node").get("no right points"), "the problem")


def test_a_camera_info_without_a_baseline_is_refused(rig: Rig, flight: list[FlightFrame]) -> None:
    for flown in flight[:2]:
        rig.send(flown.frame, baseline_m=0.0)
    reason = rig.harness.statuses[-1].reason
    expected = "CameraInfo on /camera/right/camera_info: P[3] is 0, not -fx * baseline"
    assert reason.startswith(expected)
    assert "ros2 launch stereo_image_proc" in reason
    # And it goes on as soon as there is one.
    rig.send(flight[2].frame)
    rig.send(flight[3].frame)
    assert rig.harness.statuses[-1].state == "tracking"


def test_images_that_are_never_together_are_said(rig: Rig, flight: list[FlightFrame]) -> None:
    frame = flight[0].frame
    assert frame.right is not None
    numbers = iter(range(1000))

    def said() -> bool:
        number = next(numbers)
        stamp_ns = frame.stamp_ns + number * S // 10
        rig.harness.images.publish(image_message(frame.image, make_header(stamp_ns, "eye")))
        beside = make_header(stamp_ns + S // 20, "right_eye")
        rig.images.publish(image_message(frame.right, beside))
        time.sleep(0.03)
        return "no pairs" in rig.harness.problems()

    wait_for(said, "the problem")
    assert "must be triggered together" in rig.matcher.output()
    wait_for(lambda: rig.harness.problems().get("no right image"), "drops that are counted")
    values = rig.harness.values["/matcher_node"]
    assert 0 < int(values["images received"]) == int(values["images dropped"])
    assert not rig.harness.matches
