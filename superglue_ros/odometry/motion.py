"""How the camera moved last, and where it would be if it kept moving so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from superglue_ros.geometry.rotations import exp_rotation, log_motion, log_rotation
from superglue_ros.odometry.tracking import TrackedPose
from superglue_ros.types import FloatArray, Pose

_SMOOTHING = 0.5
_SIGNIFICANT = 4.0
"""Standard deviations of a position that a camera must have moved by to have a speed."""
_LONGEST_STEP_S = 1.0
"""A camera that has not moved for so long stands."""
_ACCELERATION = 1.0
"""Units per second squared, of a camera that is not seen."""


@dataclass(frozen=True)
class Twist:
    """Of a camera in its own axes: linear xyz in units per second, angular xyz in rad/s, (6,);
    covariance (6, 6)."""

    values: FloatArray
    covariance: FloatArray

    @staticmethod
    def unknown() -> Twist:
        """NaN."""
        return Twist(np.full(6, np.nan), np.full((6, 6), np.nan))


class MotionModel:
    """Constant twist between measured poses; goes on for at most `max_coast_s`, then stands.

    speed: units per second when it moved last; 0 before.
    """

    def __init__(self, max_coast_s: float, pose: Pose) -> None:
        self.max_coast_s = max_coast_s
        self.pose = pose
        self.stamp_ns: int | None = None
        self.speed = 0.0
        self._linear: FloatArray = np.zeros(3)
        self._angular: FloatArray = np.zeros(3)
        self._point_covariance: FloatArray | None = None
        self._moved_from: tuple[int, FloatArray] | None = None

    def seconds_since(self, stamp_ns: int) -> float:
        """From the last measured pose to a time; 0 before the first."""
        return 0.0 if self.stamp_ns is None else (stamp_ns - self.stamp_ns) * 1e-9

    def predict(self, stamp_ns: int) -> Pose:
        """Pose at a time, from the last measured pose on; before the first, that given."""
        if self.stamp_ns is None:
            return self.pose
        ahead_s = float(np.clip(self.seconds_since(stamp_ns), -self.max_coast_s, self.max_coast_s))
        rotation = self.pose.rotation @ exp_rotation(self._angular * ahead_s)
        return Pose(rotation, self.pose.position + self.pose.rotation @ self._linear * ahead_s)

    def uncertainty(self, stamp_ns: int) -> FloatArray:
        """Covariance (6, 6) of the prediction: the motion may have stopped, doubled or begun."""
        if self.stamp_ns is None:
            return np.zeros((6, 6))
        elapsed_s = abs(self.seconds_since(stamp_ns))
        position = self.speed * elapsed_s + 0.5 * _ACCELERATION * elapsed_s**2
        angle = min((float(np.linalg.norm(self._angular)) + 0.1) * elapsed_s, np.pi)
        return np.diag([position**2] * 3 + [angle**2] * 3)

    def twist_to(self, stamp_ns: int, tracked: TrackedPose) -> Twist:
        """Twist between the last measured pose and this one, which the same landmarks measured."""
        elapsed_s = self.seconds_since(stamp_ns)
        if self._point_covariance is None or not 0 < elapsed_s <= self.max_coast_s:
            return Twist.unknown()
        motion = self.pose.inverse() @ tracked.pose
        turn = np.kron(np.eye(2), tracked.pose.rotation.T) / elapsed_s
        covariance = turn @ (self._point_covariance + tracked.point_covariance) @ turn.T
        return Twist(log_motion(motion.rotation, motion.position) / elapsed_s, covariance)

    def update(self, stamp_ns: int, tracked: TrackedPose) -> None:
        """Take in a measured pose; where the clock did not advance the speeds stay."""
        pose, before = tracked.pose, self.pose.rotation
        elapsed_s = self.seconds_since(stamp_ns)
        if 0 < elapsed_s <= self.max_coast_s:
            self._linear = before.T @ (pose.position - self.pose.position) / elapsed_s
            self._angular = log_rotation(before.T @ pose.rotation) / elapsed_s
        self._measure_speed(stamp_ns, pose.position, tracked.deviation)
        self.stamp_ns, self.pose = stamp_ns, pose
        self._point_covariance = tracked.point_covariance

    def place(self, stamp_ns: int, pose: Pose) -> None:
        """Set the pose without a speed, as after a new start."""
        self.stamp_ns, self.pose = stamp_ns, pose
        self._linear, self._angular = np.zeros(3), np.zeros(3)
        self._point_covariance = None
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
