"""Poses, twists and covariances of another point of the same rigid body.

A pose's covariance is of (x y z rx ry rz) in the axes of its parent: position' = position + dp,
rotation' = exp(dr) rotation. A twist is (linear, angular) in the axes of its own frame.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from superglue_ros.geometry.quaternions import rotations_from_quaternions
from superglue_ros.geometry.rotations import cross_matrix
from superglue_ros.types import FloatArray, Pose


def adjoint(pose: Pose) -> FloatArray:
    """(6, 6) that maps the twist of a body in frame B to that in frame A, for B's pose in A.

    Source: Lynch and Park, Modern Robotics (2017), section 3.3.2, with the linear part first.
    """
    matrix = np.kron(np.eye(2), pose.rotation)
    matrix[:3, 3:] = cross_matrix(pose.position) @ pose.rotation
    return matrix


def carry_covariance(covariance: FloatArray, arm: FloatArray) -> FloatArray:
    """Pose covariance (6, 6) of a point of the body that is `arm` (3,) away in the parent's
    axes: where the body turns, the point moves."""
    carry = np.eye(6)
    carry[:3, 3:] = -cross_matrix(arm)
    carried: FloatArray = carry @ covariance @ carry.T
    return carried


def turn_covariance(covariance: FloatArray, rotation: FloatArray) -> FloatArray:
    """Pose covariance (6, 6) in axes that `rotation` (3, 3) maps the present ones into."""
    turn = np.kron(np.eye(2), rotation)
    turned: FloatArray = turn @ covariance @ turn.T
    return turned


def pose_from_text(text: str) -> Pose:
    """Pose of "x y z roll pitch yaw" (turns about the fixed axes x, y, z, as in URDF) or of
    "x y z qx qy qz qw", in metres and radians; ValueError for anything else."""
    try:
        numbers = np.array([float(word) for word in text.replace(",", " ").split()])
    except ValueError:
        numbers = np.zeros(0)
    if len(numbers) not in (6, 7) or not np.isfinite(numbers).all():
        raise ValueError(f"'{text}' is neither x y z roll pitch yaw nor x y z qx qy qz qw")
    if len(numbers) == 7:
        return Pose(rotations_from_quaternions(numbers[3:])[0], numbers[:3])
    return Pose(np.asarray(Rotation.from_euler("xyz", numbers[3:]).as_matrix()), numbers[:3])
