"""From the core's world, which begins at the first camera, to a robot's `odom` and base frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from superglue_ros.geometry.rigid_body import adjoint, carry_covariance, turn_covariance
from superglue_ros.types import FloatArray, Pose

OPTICAL_TO_ROS = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""Rotation (3, 3) of optical axes (x right, y down, z forward) into those of REP 103 (x forward,
y left, z up)."""


@dataclass(frozen=True)
class BaseFrame:
    """The frame whose pose is wanted, rigid on the camera, and the `odom` that it is wanted in.

    world_in_odom: of the core's world; camera_in_base: of the camera's optical frame.
    """

    world_in_odom: Pose
    camera_in_base: Pose

    @staticmethod
    def of_robot(camera_in_base: Pose, start: Pose | None = None) -> BaseFrame:
        """The robot's base, which is at `start` in odom (at its origin without) where the world
        begins: however the camera is mounted, odom is as level as the base was."""
        start = Pose.identity() if start is None else start
        return BaseFrame(start @ camera_in_base, camera_in_base)

    @staticmethod
    def of_camera(start: Pose | None = None) -> BaseFrame:
        """The camera's optical frame itself; odom has the first camera's axes as ROS names
        them."""
        first = Pose(OPTICAL_TO_ROS, np.zeros(3))
        return BaseFrame(first if start is None else start @ first, Pose.identity())

    def pose(self, camera: Pose) -> Pose:
        """Pose of the base in odom for one of the camera in the world."""
        return self.world_in_odom @ camera @ self.camera_in_base.inverse()

    def camera_pose(self, base: Pose) -> Pose:
        """Pose of the camera in the world for one of the base in odom."""
        return self.world_in_odom.inverse() @ base @ self.camera_in_base

    def covariance(self, camera: Pose, covariance: FloatArray) -> FloatArray:
        """Covariance (6, 6) of the base's pose in odom for that of the camera's in the world."""
        arm = camera.rotation @ self.camera_in_base.inverse().position
        return turn_covariance(carry_covariance(covariance, arm), self.world_in_odom.rotation)

    def twist(self, twist: FloatArray, covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Twist (6,) of the base in its own axes, and its covariance (6, 6), for those of the
        camera in its own. What is NaN leaves the linear part unknown (NaN), the angular one only
        where it is of that."""
        change = adjoint(self.camera_in_base)
        moved = change @ np.nan_to_num(twist)
        moved[:3] = np.nan if np.isnan(twist).any() else moved[:3]
        moved[3:] = np.nan if np.isnan(twist[3:]).any() else moved[3:]
        return moved, change @ np.nan_to_num(covariance) @ change.T

    def points(self, points: FloatArray) -> FloatArray:
        """(N, 3) points in odom of those in the world."""
        moved: FloatArray = points @ self.world_in_odom.rotation.T + self.world_in_odom.position
        return moved
