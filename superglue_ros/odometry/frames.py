"""Frames: those that a window keeps, and what a frame sees of the tracks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from superglue_ros.geometry.camera import mean_focal
from superglue_ros.geometry.rigid_body import carry_covariance
from superglue_ros.odometry.config import OdometryConfig
from superglue_ros.odometry.tracks import renumber
from superglue_ros.types import UNMATCHED, BoolArray, CameraModel, FloatArray, IntArray, Pose

UNKNOWN_COVARIANCE = 1e4
"""Variance of every pose component before there is a measurement."""

_KEYFRAME_NOISE = 0.5
"""A keyframe's point over a match's: it is what the others are to be found at."""

MOST_COVARIANCE = 9e3
"""Most variance of a pose that was measured once: consumers take 9999 and more for none at all."""

FLOOR_COVARIANCE = 1e-9
"""Least variance that is ever reported: the origin is known by definition, not measured."""


@dataclass(frozen=True)
class Tolerances:
    """Thresholds of one camera: threshold and noise in units of its normalised plane, noise of a
    match and of the keyframe's point that it goes from."""

    threshold: float
    noise: float
    keyframe_noise: float
    min_parallax_rad: float

    @staticmethod
    def of_camera(config: OdometryConfig, camera: CameraModel) -> Tolerances:
        """The options, which are in pixels and degrees, for a camera."""
        focal = mean_focal(camera)
        return Tolerances(
            config.inlier_threshold_px / focal,
            config.point_noise_px / focal,
            _KEYFRAME_NOISE * config.point_noise_px / focal,
            float(np.radians(config.min_parallax_deg)),
        )


@dataclass(frozen=True)
class Observation:
    """What a frame sees: tracks (M,) at normalised points (M, 2) with standard deviations noise
    (M,), and features (M,): indices into the frame's list of features."""

    stamp_ns: int
    tracks: IntArray
    points: FloatArray
    noise: FloatArray
    features: IntArray

    @staticmethod
    def nothing(stamp_ns: int) -> Observation:
        """Of a frame without matches."""
        none: IntArray = np.zeros(0, np.int64)
        return Observation(stamp_ns, none, np.zeros((0, 2)), np.zeros(0), none)

    def __len__(self) -> int:
        return len(self.tracks)

    def only(self, chosen: BoolArray | IntArray) -> Observation:
        """Those of the M that are chosen."""
        return Observation(
            self.stamp_ns,
            self.tracks[chosen],
            self.points[chosen],
            self.noise[chosen],
            self.features[chosen],
        )

    def renumbered(self, new_numbers: IntArray) -> Observation:
        """What is left after tracks were dropped (see Tracks.drop_frame)."""
        tracks = renumber(self.tracks, new_numbers)
        return replace(self, tracks=tracks).only(tracks != UNMATCHED)


@dataclass
class WindowFrame:
    """A frame that the landmarks are observed from.

    keyframe_id: UNMATCHED for a frame that is no keyframe; covariance (6, 6) of the pose;
    located: whether the pose was measured, not predicted; track_of_feature: track per feature
    index, UNMATCHED where the feature has not been matched yet.
    """

    stamp_ns: int
    keyframe_id: int
    pose: Pose
    covariance: FloatArray
    located: bool
    track_of_feature: IntArray

    @property
    def is_keyframe(self) -> bool:
        """Whether later frames are matched against it."""
        return self.keyframe_id != UNMATCHED

    def carried_covariance(self, position: FloatArray) -> FloatArray:
        """Covariance (6, 6) that a pose at `position` inherits when it is known relative to this
        frame."""
        return carry_covariance(self.covariance, position - self.pose.position)


def unknown_covariance() -> FloatArray:
    """(6, 6) covariance of a pose before there is a measurement."""
    return np.eye(6) * UNKNOWN_COVARIANCE


def limited_covariance(covariance: FloatArray) -> FloatArray:
    """A (6, 6) covariance with no variance above the most that is reported, correlations kept."""
    scale = np.sqrt(np.minimum(1.0, MOST_COVARIANCE / np.diag(covariance)))
    return covariance * np.outer(scale, scale)
