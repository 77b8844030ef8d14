"""Both nodes over DDS on a robot: a camera pitched and shifted on a base that drives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("superglue_ros.msg", reason="the messages are not built (make setup)")

from nav_msgs.msg import Odometry
from node_harness import SMALL, TOPICS, Harness, wait_for
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger

from superglue_ros.demo.node_process import NodeProcess
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

BASE = (
    *("-p", "base_frame:=base_link", "-p", "frame_prefix:=robot1/"),
    *("-p", f"base_to_camera:='{MOUNT}'"),
)
DEPTH = ("-p", "use_depth:=true", "-r", "depth:=/camera/depth")
STEREO = (
    *("-p", "use_stereo:=true", "-r", "image_right:=/camera/right/image_rect"),
    *("-r", "camera_info_right:=/camera/right/camera_info"),
    *("-p", "qos_overrides./camera/right/camera_info.subscription.reliability:=reliable"),
)
BASELINE_M = 0.12


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
    return list(render_poses(cameras, 320, 240, RATE_HZ, 0, 100 * S, True, BASELINE_M))


@dataclass
class Robot:
    """The running nodes, and a harness that sends them a drive with depth or right images."""

    harness: Harness
    odometry: NodeProcess
    matcher: NodeProcess
    stereo: bool

    def __post_init__(self) -> None:
        topic = "/camera/right/image_rect" if self.stereo else "/camera/depth"
        self.beside = self.harness.create_publisher(Image, topic, 100)
        wait_for(self.beside.get_subscription_count, f"a listener to {topic}")
        self.right_infos = self.harness.create_publisher(
            CameraInfo, "/camera/right/camera_info", 100
        )
        if self.stereo:
            wait_for(self.right_infos.get_subscription_count, "a listener to the right camera")

    def send(self, view: FlightFrame) -> None:
        """Send a frame with its depth or pair, and wait for the odometry's answer."""
        header = make_header(view.frame.stamp_ns, "eye")
        camera = view.frame.camera
        assert camera is not None
        self.harness.infos.publish(camera_info_message(camera, header))
        if self.stereo and view.frame.right is not None:
            self.right_infos.publish(camera_info_message(camera, header, BASELINE_M))
            self.beside.publish(image_message(view.frame.right, header))
        else:
            self.beside.publish(depth_message(view.depth, header))
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


@pytest.fixture
def robot(harness: Harness, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Robot]:
    parameters = getattr(request, "param", DEPTH)
    stereo = parameters is STEREO
    matcher_options = [*TOPICS, *SMALL, "-p", "max_keypoints:=256", *(STEREO if stereo else ())]
    options = [*TOPICS, *BASE, *parameters]
    with (
        NodeProcess("matcher_node", matcher_options, tmp_path / "matcher.log") as matcher,
        NodeProcess("odometry_node", options, tmp_path / "odometry.log") as odometry,
    ):
        harness.wait_until_heard(matcher, odometry)
        yield Robot(harness, odometry, matcher, stereo)


@pytest.mark.parametrize("robot", [DEPTH, STEREO], indirect=True, ids=["depth", "stereo"])
def test_base_of_a_pitched_and_shifted_camera(robot: Robot, drive: list[FlightFrame]) -> None:
    found = robot.drive(drive)
    assert len(found) >= FRAMES - 2
    first_ns = drive[0].frame.stamp_ns
    last = base_pose((FRAMES - 1) / RATE_HZ)
    path_m = SPEED * (FRAMES - 1) / RATE_HZ
    speeds, rates = [], []
    for stamp_ns, message in found.items():
        frames = message.header.frame_id, message.child_frame_id
        assert frames == ("robot1/odom", "robot1/base_link")
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


def set_text(harness: Harness, name: str, text: str) -> None:
    """Set a parameter of the odometry while it runs."""
    client = harness.create_client(SetParameters, "/odometry_node/set_parameters")
    assert client.wait_for_service(30.0)
    value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=text)
    request = SetParameters.Request(parameters=[Parameter(name=name, value=value)])
    future = client.call_async(request)
    wait_for(future.done, "the answer of set_parameters")
    assert future.result().results[0].successful, future.result().results[0].reason


def reset(harness: Harness, node: str) -> None:
    client = harness.create_client(Trigger, f"/{node}/reset")
    assert client.wait_for_service(30.0)
    future = client.call_async(Trigger.Request())
    wait_for(future.done, f"the answer of {node}")
    assert future.result().success


@pytest.mark.parametrize(
    "robot",
    [(*DEPTH, "-p", "initial_pose:='10 20 0 0 0 1.5708'", "-p", "when_lost:=null")],
    indirect=True,
)
def test_loss_and_reset(robot: Robot, drive: list[FlightFrame]) -> None:
    harness = robot.harness
    found = robot.drive(drive[:6])
    last = pose_from_message(found[max(found)].pose.pose)
    # It began at the initial pose, which looks along y.
    ahead = SPEED * 5 / RATE_HZ
    np.testing.assert_allclose(last.position, [10, 20 + ahead, 0], atol=0.05)

    def odometry_in_the_dark(place: int) -> Odometry:
        """What is published of a black frame."""
        frame = drive[place].frame
        dark = replace(drive[place], frame=replace(frame, image=np.zeros_like(frame.image)))
        robot.send(dark)
        status = harness.statuses[-1]
        assert status.state == "lost"
        assert status.reason
        wait_for(lambda: harness.odometry[-1].header.stamp == status.header.stamp, "its odometry")
        return harness.odometry[-1]

    null = odometry_in_the_dark(6)
    q = null.pose.pose.orientation
    assert (q.x, q.y, q.z, q.w) == (0, 0, 0, 0)
    assert null.pose.covariance[0] == null.twist.covariance[0] == 9999
    set_text(harness, "when_lost", "publish")
    variances = []
    for place in (7, 8, 9):
        message = odometry_in_the_dark(place)
        variances.append(np.reshape(message.pose.covariance, (6, 6)).diagonal().max())
        assert np.reshape(message.twist.covariance, (6, 6)).diagonal().min() == 9999
    assert variances == sorted(variances)
    assert 0 < variances[0] < variances[-1] < 9999
    count = harness.statuses[-1].reset_count
    assert robot.odometry.output().count("lost, after tracking") == 1

    set_text(harness, "when_lost", "silent")
    set_text(harness, "initial_pose", "1 2 0 0 0 0")
    reset(harness, "matcher_node")
    reset(harness, "odometry_node")
    before = len(harness.matches)
    again = robot.drive(drive[10:15])
    assert len(harness.matches[before].confidences) == 0  # the matcher gave its keyframe up
    assert harness.statuses[-1].reset_count > count
    first = pose_from_message(again[min(again)].pose.pose)
    assert np.linalg.norm(first.position - [1, 2, 0]) < 0.1
    # Silent while it was not tracking.
    assert {stamp_to_ns(m.header.stamp) for m in harness.odometry} == set(again)
