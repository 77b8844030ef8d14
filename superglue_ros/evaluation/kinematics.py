"""Angles and speeds of a trajectory over time."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from superglue_ros.types import FloatArray, Trajectory


def seconds(trajectory: Trajectory, start_ns: int | None = None) -> FloatArray:
    """(N,) seconds since a stamp, the first one if not given."""
    stamps = trajectory.stamps_ns
    if not len(stamps):
        return np.zeros(0)
    return (stamps - (stamps[0] if start_ns is None else start_ns)) * 1e-9


def roll_pitch_yaw_deg(trajectory: Trajectory) -> FloatArray:
    """(N, 3) angles about the world's fixed x, y and z axes, in this order ("sxyz"), each without
    jumps of a full turn."""
    if not len(trajectory):
        return np.zeros((0, 3))
    angles = Rotation.from_quat(trajectory.quaternions_xyzw).as_euler("xyz")
    return np.degrees(np.unwrap(angles, axis=0))


def speeds(trajectory: Trajectory) -> FloatArray:
    """(N - 1,) units of length a second from each pose to the next."""
    if len(trajectory) < 2:
        return np.zeros(0)
    steps = np.linalg.norm(np.diff(trajectory.positions, axis=0), axis=1)
    return steps / np.maximum(np.diff(trajectory.stamps_ns) * 1e-9, 1e-9)
