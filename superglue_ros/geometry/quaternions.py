"""Rotations as quaternions (x, y, z, w), the order of ROS and of TUM files."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from superglue_ros.types import FloatArray


def rotations_from_quaternions(quaternions_xyzw: FloatArray) -> FloatArray:
    """(N, 3, 3) rotations of (N, 4) quaternions of any norm but zero, which is a ValueError."""
    quaternions = np.asarray(quaternions_xyzw, float).reshape(-1, 4)
    if np.any(np.linalg.norm(quaternions, axis=1) < 1e-12):
        raise ValueError("a quaternion of norm zero is no rotation")
    if not len(quaternions):  # which scipy before 1.9 does not take
        return np.zeros((0, 3, 3))
    return np.asarray(Rotation.from_quat(quaternions).as_matrix(), float)


def quaternions_from_rotations(rotations: FloatArray) -> FloatArray:
    """(N, 4) unit quaternions, w >= 0, of (N, 3, 3) rotations."""
    matrices = np.asarray(rotations, float).reshape(-1, 3, 3)
    if not len(matrices):
        return np.zeros((0, 4))
    quaternions = np.asarray(Rotation.from_matrix(matrices).as_quat(), float)
    return np.where(quaternions[:, 3:] < 0, -quaternions, quaternions)
