"""The camera's place on the robot: by a parameter, from TF, or from a stand-in of it."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("superglue_ros.msg", reason="the messages are not built (make setup)")

import rclpy
from geometry_msgs.msg import TransformStamped
from node_harness import camera_info, some_matches, wait_for
from rclpy.node import Node
from rclpy.time import Time

from superglue_ros.demo.node_process import spinning
from superglue_ros.geometry.rigid_body import pose_from_text
from superglue_ros.msg import Matches, OdometryStatus
from superglue_ros.nodes.camera_mount import CameraMount, pose_from_transform
from superglue_ros.nodes.conversions import make_header, matches_message
from superglue_ros.nodes.odometry_messages import pose_message
from superglue_ros.nodes.odometry_node import OdometryNode

pytestmark = pytest.mark.ros

S = 1_000_000_000
MOUNT = "0.3 -0.1 1.2 -1.9 0.0 -1.5708"


class TransformException(Exception):
    """tf2_ros's."""


class StandInBuffer:
    """tf2_ros.Buffer as far as the node calls it: transforms by their frames."""

    transforms: ClassVar[dict[tuple[str, str], TransformStamped]] = {}
    asked: ClassVar[list[int]] = []

    def lookup_transform(self, target: str, source: str, time: Time) -> TransformStamped:
        self.asked.append(time.nanoseconds)
        if (target, source) not in self.transforms:
            raise TransformException(f'"{target}" does not exist.')
        return self.transforms[target, source]


class StandInListener:
    """tf2_ros.TransformListener as far as the node calls it."""

    listening = 0

    def __init__(self, buffer: StandInBuffer, node: Node) -> None:
        StandInListener.listening += 1

    def unregister(self) -> None:
        StandInListener.listening -= 1


@pytest.fixture
def tf(monkeypatch: pytest.MonkeyPatch) -> type[StandInBuffer]:
    monkeypatch.setattr(StandInBuffer, "transforms", {})
    monkeypatch.setattr(StandInBuffer, "asked", [])
    monkeypatch.setattr(StandInListener, "listening", 0)
    module: Any = types.ModuleType("tf2_ros")
    module.Buffer, module.TransformListener = StandInBuffer, StandInListener
    module.TransformException = TransformException
    monkeypatch.setitem(sys.modules, "tf2_ros", module)
    return StandInBuffer


@pytest.fixture
def node() -> Iterator[Node]:
    rclpy.init()
    made = Node("robot")
    yield made
    made.destroy_node()
    rclpy.try_shutdown()


def transform(text: str = MOUNT) -> TransformStamped:
    message = TransformStamped(child_frame_id="eye")
    message.header.frame_id = "base_link"
    pose = pose_message(pose_from_text(text))
    t, p = message.transform.translation, pose.position
    t.x, t.y, t.z = p.x, p.y, p.z
    message.transform.rotation = pose.orientation
    return message


def test_a_parameter_needs_no_tf(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tf2_ros", None)
    mount = CameraMount(node, "base_link", MOUNT)
    found = mount.of_camera(make_header(0, ""))
    assert found is not None
    np.testing.assert_array_equal(found.matrix, pose_from_text(MOUNT).matrix)
    with pytest.raises(ValueError, match=r"no tf2_ros .*: set base_to_camera"):
        CameraMount(node, "base_link", "")


def test_asks_tf_at_the_stamp_until_it_knows(node: Node, tf: type[StandInBuffer]) -> None:
    mount = CameraMount(node, "base_link", "")
    assert mount.of_camera(make_header(3 * S, "eye")) is None
    assert mount.problem == 'no transform of eye in base_link: "base_link" does not exist.'
    assert mount.of_camera(make_header(3 * S, "")) is None
    assert "without a frame_id" in mount.problem
    tf.transforms["base_link", "eye"] = transform()
    for stamp_ns in (4 * S, 5 * S):
        found = mount.of_camera(make_header(stamp_ns, "eye"))
        assert found is not None
        np.testing.assert_allclose(found.matrix, pose_from_text(MOUNT).matrix, atol=1e-12)
    assert tf.asked == [3 * S, 4 * S]  # kept from then on
    assert StandInListener.listening == 0
    # Another camera is asked for once more.
    tf.transforms["base_link", "tail"] = transform("0 0 0 0 0 1")
    other = mount.of_camera(make_header(6 * S, "tail"))
    assert other is not None
    assert other.position[0] == 0


def test_the_first_matches_wait_for_tf(node: Node, tf: type[StandInBuffer]) -> None:
    statuses: list[OdometryStatus] = []
    node.create_subscription(OdometryStatus, "/odometry_node/status", statuses.append, 10)
    names = ["--ros-args", "-p", "base_frame:=base_link", "-p", "wait_for_transform_s:=30.0"]
    odometry = OdometryNode(cli_args=names)
    publisher = node.create_publisher(Matches, "/matches", 10)
    with spinning(odometry, node):
        wait_for(lambda: publisher.get_subscription_count(), "the odometry to listen")
        wait_for(lambda: odometry._status_out.get_subscription_count(), "the test to listen")
        header = make_header(some_matches(9).stamp_ns, "eye")
        publisher.publish(matches_message(some_matches(9), header, header))
        wait_for(lambda: tf.asked, "a question to TF")
        assert not statuses
        tf.transforms["base_link", "eye"] = transform()
        wait_for(lambda: statuses, "the status once TF knows")
        assert "no CameraInfo" in statuses[0].reason
        assert len(statuses) == 1
        assert statuses[0].header == header


def test_without_tf_the_matches_are_refused(node: Node, tf: type[StandInBuffer]) -> None:
    statuses: list[OdometryStatus] = []
    node.create_subscription(OdometryStatus, "/odometry_node/status", statuses.append, 10)
    names = ["--ros-args", "-p", "base_frame:=base_link", "-p", "wait_for_transform_s:=0.0"]
    odometry = OdometryNode(cli_args=names)
    publisher = node.create_publisher(Matches, "/matches", 10)
    with spinning(odometry, node):
        wait_for(lambda: publisher.get_subscription_count(), "the odometry to listen")
        wait_for(lambda: odometry._status_out.get_subscription_count(), "the test to listen")
        odometry._on_camera_info(camera_info(0))
        header = make_header(some_matches(9).stamp_ns, "eye")
        publisher.publish(matches_message(some_matches(9), header, header))
        wait_for(lambda: statuses, "a status")
    assert statuses[0].state == "initialising"
    assert statuses[0].reason.startswith("no transform of eye in base_link")


def test_real_tf(node: Node) -> None:
    tf2_ros = pytest.importorskip("tf2_ros")
    mount = CameraMount(node, "base_link", "")
    broadcaster = tf2_ros.StaticTransformBroadcaster(node)
    header = make_header(5 * S, "eye")
    assert mount.of_camera(header) is None
    assert "base_link" in mount.problem
    broadcaster.sendTransform(transform())
    with spinning(node):
        wait_for(lambda: mount.of_camera(header), "the static transform")
    found = mount.of_camera(header)
    assert found is not None
    np.testing.assert_allclose(found.matrix, pose_from_text(MOUNT).matrix, atol=1e-12)
    np.testing.assert_allclose(pose_from_transform(transform()).matrix, found.matrix, atol=1e-12)
