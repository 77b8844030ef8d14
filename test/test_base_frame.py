"""Poses, covariances and twists of a robot's base, from those of the camera mounted on it."""

from __future__ import annotations

import numpy as np
import pytest

from superglue_ros.geometry import exp_rotation, log_rotation
from superglue_ros.geometry.rigid_body import adjoint, pose_from_text
from superglue_ros.odometry.base_frame import OPTICAL_TO_ROS, BaseFrame
from superglue_ros.types import FloatArray, Pose

PITCHED = pose_from_text("0.3 -0.1 1.2 -2.0 0.0 -1.5708")
"""Camera ahead of the base, looking down by 25 degrees."""


def some_pose(rng: np.random.Generator) -> Pose:
    return Pose(exp_rotation(rng.normal(size=3)), rng.normal(size=3))


def perturbed(pose: Pose, change: FloatArray) -> Pose:
    return Pose(exp_rotation(change[3:]) @ pose.rotation, pose.position + change[:3])


def difference(pose: Pose, before: Pose) -> FloatArray:
    turned = log_rotation(pose.rotation @ before.rotation.T)
    return np.concatenate([pose.position - before.position, turned])


def test_a_step_forward_is_along_x_of_odom() -> None:
    """Hand-worked: the optical axes z, -x, -y are odom's x, y, z."""
    moved = BaseFrame.of_camera().pose(Pose(np.eye(3), np.array([1.0, 2.0, 5.0])))
    np.testing.assert_allclose(moved.position, [5, -1, -2])
    np.testing.assert_allclose(moved.rotation @ [0, 0, 1], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(moved.rotation @ [0, -1, 0], [0, 0, 1], atol=1e-12)


def test_odom_of_a_pitched_camera_is_level() -> None:
    """A base that drives 2 m ahead and turns left by 90 degrees, as its camera sees it."""
    frame = BaseFrame.of_robot(PITCHED)
    np.testing.assert_allclose(frame.pose(Pose.identity()).matrix, np.eye(4), atol=1e-12)
    there = pose_from_text("2 0 0 0 0 1.5707963267948966")
    camera = PITCHED.inverse() @ there @ PITCHED  # of the camera now in the first camera
    found = frame.pose(camera)
    np.testing.assert_allclose(found.matrix, there.matrix, atol=1e-12)
    np.testing.assert_allclose(frame.camera_pose(found).matrix, camera.matrix, atol=1e-12)
    start = pose_from_text("5 6 0 0 0 3.141592653589793")
    moved = BaseFrame.of_robot(PITCHED, start).pose(camera)
    np.testing.assert_allclose(moved.position, [3, 6, 0], atol=1e-9)


def test_a_point_ahead_of_the_camera_is_ahead_in_odom() -> None:
    level = Pose(OPTICAL_TO_ROS, np.array([0.5, 0.0, 1.0]))
    points = BaseFrame.of_robot(level).points(np.array([[0.0, 0, 4], [1, 0, 4]]))
    np.testing.assert_allclose(points, [[4.5, 0, 1], [4.5, -1, 1]], atol=1e-12)


def test_covariance_is_that_of_numerical_derivatives(rng: np.random.Generator) -> None:
    frame, camera = BaseFrame(some_pose(rng), some_pose(rng)), some_pose(rng)
    root = rng.normal(size=(6, 6))
    covariance = root @ root.T
    step = 1e-6
    base = frame.pose(camera)
    jacobian = np.stack(
        [difference(frame.pose(perturbed(camera, change)), base) for change in step * np.eye(6)],
        axis=1,
    )
    jacobian /= step
    expected = jacobian @ covariance @ jacobian.T
    np.testing.assert_allclose(
        frame.covariance(camera, covariance), expected, rtol=1e-4, atol=1e-4
    )


def test_twist_is_that_of_numerical_derivatives(rng: np.random.Generator) -> None:
    frame, camera, twist = (
        BaseFrame(some_pose(rng), some_pose(rng)),
        some_pose(rng),
        rng.normal(size=6),
    )
    step = 1e-6
    later = camera @ Pose(exp_rotation(step * twist[3:]), step * twist[:3])
    moved = frame.pose(camera).inverse() @ frame.pose(later)
    expected = np.concatenate([moved.position, log_rotation(moved.rotation)]) / step
    root = rng.normal(size=(6, 6))
    found, covariance = frame.twist(twist, root @ root.T)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    change = adjoint(frame.camera_in_base)
    np.testing.assert_allclose(covariance, change @ root @ root.T @ change.T, rtol=1e-9)


def test_what_is_unknown_of_a_twist_stays_unknown() -> None:
    frame = BaseFrame.of_robot(PITCHED)
    nan = np.nan
    found, _ = frame.twist(np.array([nan, nan, nan, 0.1, 0.2, 0.3]), np.eye(6))
    assert np.isnan(found[:3]).all()
    np.testing.assert_allclose(found[3:], PITCHED.rotation @ [0.1, 0.2, 0.3])
    found, _ = frame.twist(np.full(6, nan), np.eye(6))
    assert np.isnan(found).all()


def test_poses_as_text() -> None:
    """Hand-worked: a yaw of 90 degrees turns x into y, a pitch turns x down."""
    yawed = pose_from_text("1 2 3 0 0 1.5707963267948966")
    np.testing.assert_allclose(yawed.position, [1, 2, 3])
    np.testing.assert_allclose(yawed.rotation @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    pitched = pose_from_text("0,0,0, 0,1.5707963267948966,0")
    np.testing.assert_allclose(pitched.rotation @ [1, 0, 0], [0, 0, -1], atol=1e-12)
    half = np.sqrt(0.5)
    same = pose_from_text(f"1 2 3 0 0 {half} {half}")
    np.testing.assert_allclose(same.matrix, yawed.matrix, atol=1e-12)


@pytest.mark.parametrize("text", ["1 2 3", "a b c d e f", "1 2 3 4 5 nan", "0 0 0 0 0 0 0"])
def test_text_that_is_no_pose(text: str) -> None:
    with pytest.raises(ValueError, match=r"neither|norm zero"):
        pose_from_text(text)
