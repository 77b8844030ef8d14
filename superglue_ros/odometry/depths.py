"""Measured depths of the matches' points in the keyframe: from depth images and from stereo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from superglue_ros.errors import CameraError, MessageError
from superglue_ros.geometry.depth import depth_of_points
from superglue_ros.odometry.config import OdometryConfig
from superglue_ros.odometry.correspondences import Correspondences
from superglue_ros.types import CameraModel, FloatArray, FrameMatches

_LEAST_DEPTH = 3.0
"""Of an inverse depth in standard deviations, or it hardly says more than that it is far."""


@dataclass(frozen=True)
class InverseDepths:
    """values (M,) 1/metres and their standard deviations (M,), NaN where not measured."""

    values: FloatArray
    deviations: FloatArray

    @staticmethod
    def of_none(count: int) -> InverseDepths:
        """Of so many points, none of which was measured."""
        return InverseDepths(np.full(count, np.nan), np.full(count, np.nan))

    @staticmethod
    def of_known(values: FloatArray, deviation: float) -> InverseDepths:
        """Values (M,) all as exact, those within thrice their deviation left out."""
        with np.errstate(invalid="ignore"):
            known = values > _LEAST_DEPTH * deviation
        return InverseDepths(np.where(known, values, np.nan), np.where(known, deviation, np.nan))

    def or_else(self, others: InverseDepths) -> InverseDepths:
        """These, and the others where these were not measured."""
        known = np.isfinite(self.values)
        return InverseDepths(
            np.where(known, self.values, others.values),
            np.where(known, self.deviations, others.deviations),
        )


def measured_depths(
    matches: FrameMatches,
    found: Correspondences,
    camera: CameraModel,
    config: OdometryConfig,
    depth_m: FloatArray | None,
    baseline_m: float | None,
) -> InverseDepths:
    """Depths of the M matches in the keyframe, from its stereo pair where there is a baseline,
    else from its depth image where there is one.

    Raises MessageError for a depth of another size than the keyframe's image, and of a stereo pair
    CameraError where the camera is not rectified, ValueError for a baseline that is not positive.
    """
    depths = InverseDepths.of_none(len(found))
    if baseline_m is not None:
        depths = _from_stereo(found, camera, baseline_m, config.disparity_noise_px)
    if depth_m is not None:
        depths = depths.or_else(_from_image(matches, found, depth_m, config.depth_noise))
    return depths


def _from_image(
    matches: FrameMatches, found: Correspondences, depth_m: FloatArray, noise: float
) -> InverseDepths:
    """Depths of the M matches in the keyframe, whose z-depth (H, W) is depth_m; noise: standard
    deviation of an inverse depth. MessageError for a depth of another size than the keyframe."""
    width, height = matches.keyframe_image_size
    if depth_m.shape != (height, width):
        raise MessageError(
            f"the depth has shape {depth_m.shape}, the keyframe's image {(height, width)}: it "
            "must be registered to the image"
        )
    return InverseDepths.of_known(1 / depth_of_points(depth_m, found.keyframe_pixels), noise)


def _from_stereo(
    found: Correspondences, camera: CameraModel, baseline_m: float, noise_px: float
) -> InverseDepths:
    """Depths of the M matches in the keyframe from their points in its right image; noise_px:
    standard deviation of a disparity. CameraError for a camera that is not rectified, ValueError
    for a baseline that is not positive."""
    if not baseline_m > 0:
        raise ValueError(f"the baseline is {baseline_m} m, it must be positive")
    if camera.model != "none" and np.any(camera.distortion):
        raise CameraError("stereo needs rectified images, the camera has a distortion")
    disparities = found.keyframe_pixels[:, 0] - found.keyframe_right_pixels[:, 0]
    scale = float(camera.matrix[0, 0]) * baseline_m
    return InverseDepths.of_known(disparities / scale, noise_px / scale)
