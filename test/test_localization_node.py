"""localization_node: poses in the map, the transform to the odometry, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("superglue_ros.msg", reason="the messages are not built (make setup)")

import rclpy
from geometry_msgs.msg import PoseWithCovarianceStamped
from mapping_scene import POSES, Scene, frame_of, make_map
from nav_msgs.msg import Odometry
from node_harness import wait_for
from odometry_world import CAMERA
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from superglue_ros.errors import MapError
from superglue_ros.mapping import write_map
from superglue_ros.nodes import localization_node
from superglue_ros.nodes.conversions import camera_info_message, image_message, make_header
from superglue_ros.nodes.localization_node import LocalizationNode
from superglue_ros.nodes.localization_options import LocalizationNodeOptions
from superglue_ros.nodes.odometry_messages import pose_from_message, pose_message
from superglue_ros.types import Pose

pytestmark = pytest.mark.ros


class Made(SimpleNamespace):
    node: LocalizationNode
    poses: list[Any]
    transforms: list[Any]


@pytest.fixture(scope="module")
def map_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("map") / "map.npz"
    write_map(path, make_map())
    return path


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> Iterator[rclpy.Context]:
    stand_in = SimpleNamespace(from_config=lambda config: Scene(POSES))
    monkeypatch.setattr(localization_node, "ImageMatcher", stand_in)
    made = rclpy.Context()
    rclpy.init(context=made)
    yield made
    rclpy.try_shutdown(context=made)


def overrides(map_file: Path, **values: Any) -> list[Parameter]:
    given = {"map": str(map_file), **values}
    return [Parameter(name, value=value) for name, value in given.items()]


@pytest.fixture
def made(
    map_file: Path,
    context: rclpy.Context,
    monkeypatch: pytest.MonkeyPatch,
    published: Callable[[type], list[Any]],
) -> Iterator[Made]:
    """A node whose poses and transforms come to lists."""
    poses = published(PoseWithCovarianceStamped)
    transforms: list[Any] = []
    broadcaster = SimpleNamespace(sendTransform=transforms.append)
    monkeypatch.setattr(localization_node, "make_broadcaster", lambda node: broadcaster)
    values = {"publish_tf": True, "base_frame": "base_link", "base_to_camera": "0.3 0 1 0 0 0"}
    node = LocalizationNode(
        context=context, parameter_overrides=overrides(map_file, rate_hz=0.0, **values)
    )
    yield Made(node=node, poses=poses, transforms=transforms)
    node.close()
    node.destroy_node()


def send(made: Made, number: int) -> None:
    frame = frame_of(number)
    made.node._on_image(image_message(frame.image, make_header(frame.stamp_ns, "eye")))


def test_pose_and_transform(made: Made) -> None:
    made.node._on_camera_info(camera_info_message(CAMERA, make_header(0, "eye")))
    send(made, 3)  # nobody has asked
    made.node._on_localize(Trigger.Request(), Trigger.Response())
    frame = frame_of(5)
    in_odom = Pose(POSES[2].rotation, np.array([5.0, 6.0, 7.0]))
    odometry = Odometry(header=make_header(frame.stamp_ns, "odom"), child_frame_id="base_link")
    odometry.pose.pose = pose_message(in_odom)
    made.node._on_odometry(odometry)
    send(made, 5)
    wait_for(lambda: made.transforms, "a transform")
    assert len(made.poses) == 1
    message = made.poses[0]
    assert message.header == make_header(frame.stamp_ns, "map")
    found = pose_from_message(message.pose.pose)
    true = POSES[5] @ Pose(np.eye(3), np.array([0.3, 0, 1])).inverse()
    np.testing.assert_allclose(found.position, true.position, atol=0.1)
    np.testing.assert_allclose(found.rotation, true.rotation, atol=0.02)
    covariance = np.reshape(message.pose.covariance, (6, 6))
    assert (np.linalg.eigvalsh(covariance) > 0).all()
    transform = made.transforms[0]
    assert (transform.header.frame_id, transform.child_frame_id) == ("map", "odom")
    place, turn = transform.transform.translation, transform.transform.rotation
    as_pose = SimpleNamespace(position=place, orientation=turn)
    again = pose_from_message(as_pose) @ in_odom  # type: ignore[arg-type]
    np.testing.assert_allclose(again.position, found.position, atol=1e-9)
    # With every pose of the odometry from then on.
    made.node._on_odometry(odometry)
    assert len(made.transforms) == 2


def test_what_gives_no_pose_is_said(made: Made) -> None:
    counts = made.node._problems.counts
    made.node._on_localize(Trigger.Request(), Trigger.Response())
    send(made, 5)
    wait_for(lambda: made.node._problems.counts != counts, "the missing CameraInfo")
    assert any("no CameraInfo on /camera_info" in cause for cause in made.node._problems.counts)
    made.node._on_camera_info(camera_info_message(CAMERA, make_header(0, "eye")))
    made.node._on_localize(Trigger.Request(), Trigger.Response())
    send(made, 7)
    wait_for(lambda: "no odometry" in made.node._problems.counts, "the missing odometry")
    assert len(made.poses) == 1
    assert not made.transforms


def test_bad_starts(map_file: Path, context: rclpy.Context, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="map must be a file"):
        LocalizationNode(context=context)
    with pytest.raises(MapError, match="cannot read a map"):
        LocalizationNode(context=context, parameter_overrides=overrides(tmp_path / "no.npz"))
    unscaled = tmp_path / "unscaled.npz"
    write_map(unscaled, replace(make_map(), is_metric=False))
    with pytest.raises(ValueError, match="needs a map in metres"):
        LocalizationNode(context=context, parameter_overrides=overrides(unscaled, publish_tf=True))


@pytest.mark.parametrize(
    "wrong",
    [{"map_frame": ""}, {"base_to_camera": "0 0 0 0 0 0"}, {"rate_hz": -1.0}],
)
def test_options(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LocalizationNodeOptions(map="map.npz", **wrong)
