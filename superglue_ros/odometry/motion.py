"""How the camera moved last, and where it would be if it kept moving so."""

from __future__ import annotations

import numpy as np

from superglue_ros.geometry.rotations import exp_rotation, log_rotation
from superglue_ros.types import FloatArray, Pose

_SMOOTHING = 0.5
_SIGNIFICANT = 4.0
"""Standard deviations of a position that a camera must have moved by to have a speed."""
_LONGEST_STEP_S = 1.0
"""A camera that has not moved for so long stands."""


class MotionModel:
    """Constant twist between measured poses; goes on for at most `max_coast_s`, then stands.

    speed: units per second when it moved last; 0 before.
    """

    def __init__(self, max_coast_s: float) -> None:
        self.max_coast_s = max_coast_s
        self.pose = Pose.identity()
        self.stamp_ns: int | None = None
        self.speed = 0.0
        self._linear: FloatArray = np.zeros(3)
        self._angular: FloatArray = np.zeros(3)
        self._moved_from: tuple[int, FloatArray] | None = None

    def predict(self, stamp_ns: int) -> Pose:
        """Pose at a time, from the last measured pose on, identity before the first."""
        if self.stamp_ns is None:
            return self.pose
        ahead_s = (stamp_ns - self.stamp_ns) * 1e-9
        ahead_s = float(np.clip(ahead_s, -self.max_coast_s, self.max_coast_s))
        rotation = self.pose.rotation @ exp_rotation(self._angular * ahead_s)
        return Pose(rotation, self.pose.position + self.pose.rotation @ self._linear * ahead_s)

    def uncertainty(self, stamp_ns: int) -> FloatArray:
        """Covariance (6, 6) of the prediction: the motion may have stopped or doubled."""
        if self.stamp_ns is None:
            return np.zeros((6, 6))
        elapsed_s = abs(stamp_ns - self.stamp_ns) * 1e-9
        position = self.speed * elapsed_s
        angle = min((float(np.linalg.norm(self._angular)) + 0.1) * elapsed_s, np.pi)
        return np.diag([position**2] * 3 + [angle**2] * 3)

    def update(self, stamp_ns: int, pose: Pose, deviation: float) -> None:
        """Take in a measured pose and the standard deviation of its position; where the clock
        did not advance the speeds stay."""
        elapsed_s = 0.0 if self.stamp_ns is None else (stamp_ns - self.stamp_ns) * 1e-9
        if 0 < elapsed_s <= self.max_coast_s:
            before = self.pose.rotation
            self._linear = before.T @ (pose.position - self.pose.position) / elapsed_s
            self._angular = log_rotation(before.T @ pose.rotation) / elapsed_s
        self._measure_speed(stamp_ns, pose.position, deviation)
        self.stamp_ns, self.pose = stamp_ns, pose

    def place(self, stamp_ns: int, pose: Pose) -> None:
        """Set the pose without a speed, as after a new start."""
        self.stamp_ns, self.pose = stamp_ns, pose
        self._linear, self._angular = np.zeros(3), np.zeros(3)
        self._moved_from = stamp_ns, pose.position

    def _measure_speed(self, stamp_ns: int, position: FloatArray, deviation: float) -> None:
        """Take in the speed since the camera was measurably elsewhere: the scale of a new start
        comes from it, and the noise of a camera that stands is no speed."""
        if self._moved_from is None:
            self._moved_from = stamp_ns, position
            return
        then_ns, before = self._moved_from
        elapsed_s = (stamp_ns - then_ns) * 1e-9
        distance = float(np.linalg.norm(position - before))
        if elapsed_s > 0 and distance > _SIGNIFICANT * deviation:
            speed = distance / elapsed_s
            first = self.speed == 0.0
            self.speed = speed if first else self.speed + _SMOOTHING * (speed - self.speed)
        elif 0 <= elapsed_s <= _LONGEST_STEP_S:
            return
        self._moved_from = stamp_ns, position
