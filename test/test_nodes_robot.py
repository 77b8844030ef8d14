"""Both nodes over DDS on a robot: a camera pitched and shifted on a base that drives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("superglue_ros.msg", reason="the messages are not built (make setup)")

import rclpy
from nav_msgs.msg import Odometry
from node_harness import SMALL, TOPICS, Harness, wait_for
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from superglue_ros.demo.node_process import NodeProcess, spinning
from superglue_ros.geometry import log_rotation
from superglue_ros.geometry.rigid_body import pose_from_text
from superglue_ros.nodes.conversions import (
    camera_info_message,
    depth_message,
    image_message,
    make_header,
    stamp_to_ns,
)
from superglue_ros.nodes.odometry_messages import pose_from_message
from superglue_ros.types import Pose
from superglue_ros.world.flight import FlightFrame, render_poses

pytestmark = pytest.mark.ros

S = 1_000_000_000
RATE_HZ, FRAMES = 10.0, 24
SPEED, YAW_RATE = 0.6, 0.15
"""Metres per second ahead, and radians per second to the left."""

MOUNT = "0.30 -0.10 1.25 -1.92 0.0 -1.5708"
"""Of the camera: ahead of the base, to its right, and looking down by 20 degrees."""

BASE = ("-p", "base_frame:=base_link", "-p", f"base_to_camera:='{MOUNT}'")
DEPTH = ("-p", "use_depth:=true", "-r", "depth:=/camera/depth")


def base_pose(time_s: float) -> Pose:
    """The base on its arc, from the origin of odom on."""
    yaw = YAW_RATE * time_s
    radius = SPEED / YAW_RATE
    ahead = pose_from_text(f"0 0 0 0 0 {yaw}")
    return Pose(ahead.rotation, radius * np.array([np.sin(yaw), 1 - np.cos(yaw), 0.0]))


@pytest.fixture(scope="module")
def drive() -> list[FlightFrame]:
    start = pose_from_text("-2.6 -1.6 0 0 0 0.6")  # in the room
    mount = pose_from_text(MOUNT)
    cameras = [start @ base_pose(i / RATE_HZ) @ mount for i in range(FRAMES)]
    return list(render_poses(cameras, 320, 240, RATE_HZ, 0, 100 * S, True))


@dataclass
class Robot:
    """The running nodes, and a harness that sends them a drive."""

    harness: Harness
    odometry: NodeProcess
    matcher: NodeProcess

    def __post_init__(self) -> None:
        self.depths = self.harness.create_publisher(Image, "/camera/depth", 100)
        wait_for(self.depths.get_subscription_count, "a listener to depth")

    def send(self, view: FlightFrame) -> None:
        """Send a frame with its depth, and wait for the odometry's answer."""
        header = make_header(view.frame.stamp_ns, "eye")
        camera = view.frame.camera
        assert camera is not None
        self.harness.infos.publish(camera_info_message(camera, header))
        self.depths.publish(depth_message(view.depth, header))
        image = image_message(view.frame.image, header)

        def answered() -> bool:
            return any(s.header.stamp == header.stamp for s in self.harness.statuses)

        self.harness.send_and_match(image, self.matcher)
        wait_for(answered, "the odometry's status")
        self.odometry.check()

    def drive(self, views: list[FlightFrame]) -> dict[int, Odometry]:
        """Send frames and return the odometry of the tracked ones by their stamps."""
        self.harness.statuses.clear()
        self.harness.odometry.clear()
        for view in views:
            self.send(view)
        tracked = {
            stamp_to_ns(s.header.stamp) for s in self.harness.statuses if s.state == "tracking"
        }

        def found() -> dict[int, Odometry]:
            by_stamp = {stamp_to_ns(m.header.stamp): m for m in self.harness.odometry}
            return {stamp: m for stamp, m in by_stamp.items() if stamp in tracked}

        wait_for(lambda: len(found()) == len(tracked), "the odometry of all tracked frames")
        return found()


@pytest.fixture(scope="module")
def harness() -> Iterator[Harness]:
    rclpy.init()
    node = Harness()
    try:
        with spinning(node):
            yield node
    finally:
        rclpy.try_shutdown()


@pytest.fixture
def robot(harness: Harness, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Robot]:
    matcher_options = [*TOPICS, *SMALL, "-p", "max_keypoints:=256"]
    options = [*TOPICS, *BASE, *DEPTH, *getattr(request, "param", ())]
    with (
        NodeProcess("matcher_node", matcher_options, tmp_path / "matcher.log") as matcher,
        NodeProcess("odometry_node", options, tmp_path / "odometry.log") as odometry,
    ):
        harness.wait_until_heard(matcher, odometry)
        yield Robot(harness, odometry, matcher)


def test_base_of_a_pitched_and_shifted_camera(robot: Robot, drive: list[FlightFrame]) -> None:
    found = robot.drive(drive)
    assert len(found) >= FRAMES - 2
    first_ns = drive[0].frame.stamp_ns
    last = base_pose((FRAMES - 1) / RATE_HZ)
    path_m = SPEED * (FRAMES - 1) / RATE_HZ
    speeds, rates = [], []
    for stamp_ns, message in found.items():
        assert (message.header.frame_id, message.child_frame_id) == ("odom", "base_link")
        true, pose = base_pose((stamp_ns - first_ns) / S), pose_from_message(message.pose.pose)
        assert np.linalg.norm(pose.position - true.position) < 0.02 * path_m
        # Level, though the camera looks down by 20 degrees.
        assert np.degrees(np.arccos(pose.rotation[2, 2])) < 0.5
        assert np.linalg.norm(log_rotation(true.rotation.T @ pose.rotation)) < 0.01
        twist, variances = message.twist, np.reshape(message.twist.covariance, (6, 6)).diagonal()
        if variances[0] < 9999:
            speeds.append([twist.twist.linear.x, twist.twist.linear.y, twist.twist.linear.z])
            rates.append(twist.twist.angular.z)
            assert variances.min() > 0
            assert variances.max() < 1
    assert len(speeds) >= len(found) - 3
    assert last.position[0] > 1.2
    errors = np.linalg.norm(np.array(speeds) - [SPEED, 0, 0], axis=1)
    assert np.median(errors) < 0.1 * SPEED
    assert np.mean(speeds, axis=0) == pytest.approx([SPEED, 0, 0], abs=0.05 * SPEED)
    assert np.mean(rates) == pytest.approx(YAW_RATE, rel=0.1)


@pytest.mark.parametrize(
    "robot", [("-p", "initial_pose:='10 20 0 0 0 1.5708'", "-p", "when_lost:=null")], indirect=True
)
def test_reset_and_loss(robot: Robot, drive: list[FlightFrame]) -> None:
    harness = robot.harness
    found = robot.drive(drive[:6])
    last = pose_from_message(found[max(found)].pose.pose)
    # It began at the initial pose, which looks along y.
    ahead = SPEED * 5 / RATE_HZ
    np.testing.assert_allclose(last.position, [10, 20 + ahead, 0], atol=0.05)
    frame = drive[6].frame
    lost = replace(drive[6], frame=replace(frame, image=np.zeros_like(frame.image)))
    robot.send(lost)
    status = harness.statuses[-1]
    assert status.state == "lost"
    assert status.reason
    wait_for(lambda: harness.odometry[-1].header.stamp == status.header.stamp, "the null odometry")
    q = harness.odometry[-1].pose.pose.orientation
    assert (q.x, q.y, q.z, q.w) == (0, 0, 0, 0)
    assert harness.odometry[-1].pose.covariance[0] == 9999
    count = status.reset_count
    assert [
        line for line in robot.odometry.output().splitlines() if "lost, after tracking" in line
    ]
    for name in ("/odometry_node/reset", "/matcher_node/reset"):
        client = harness.create_client(Trigger, name)
        assert client.wait_for_service(30.0)
        future = client.call_async(Trigger.Request())
        wait_for(future.done, f"the answer of {name}")
        assert future.result().success
    again = robot.drive(drive[7:12])
    assert harness.statuses[-1].reset_count > count
    first = pose_from_message(again[min(again)].pose.pose)
    assert np.linalg.norm(first.position - [10, 20, 0]) < 0.1
    assert len(harness.matches[-5].confidences) == 0  # the matcher gave its keyframe up
