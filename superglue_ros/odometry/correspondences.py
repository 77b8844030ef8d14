"""Usable matches of a message, on the normalised plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from superglue_ros.errors import MessageError
from superglue_ros.geometry.camera import check_camera_fits, normalize_points
from superglue_ros.types import CameraModel, FloatArray, FrameMatches, IntArray

_LEAST_VARIANCE = 0.28
_VARIANCE_SLOPE = 2.28


@dataclass(frozen=True)
class Correspondences:
    """keyframe_pixels (M, 2), and (M, 2) in the keyframe's right image, NaN where not found;
    keyframe_points and points (M, 2) normalised; noise_ratios (M,) standard deviations of the
    points over the usual one; keyframe_features and features (M,) their indices, each index at
    most once."""

    keyframe_pixels: FloatArray
    keyframe_right_pixels: FloatArray
    keyframe_points: FloatArray
    points: FloatArray
    noise_ratios: FloatArray
    keyframe_features: IntArray
    features: IntArray

    def __len__(self) -> int:
        return len(self.points)


def noise_ratio(confidences: FloatArray) -> FloatArray:
    """(M,) standard deviations of matched points over that of a match of confidence 0.9.

    Fitted to the networks' errors on rendered flights, see docs/experiments.
    """
    lacking = 1 - np.clip(confidences, 0, 1)
    return np.asarray(np.sqrt(_LEAST_VARIANCE + _VARIANCE_SLOPE * np.sqrt(lacking)))


def usable_correspondences(
    matches: FrameMatches,
    camera: CameraModel,
    min_confidence: float,
    use_confidence: bool = False,
) -> Correspondences:
    """Matches with finite points and confidences, undistorted; of two that share a feature the
    more confident stays. use_confidence: whether it says how exact a point is.

    Raises MessageError where the arrays contradict each other.
    """
    count = len(matches)
    shapes = {
        "keyframe_points": (matches.keyframe_points, (count, 2)),
        "points": (matches.points, (count, 2)),
        "keyframe_indices": (matches.keyframe_indices, (count,)),
        "indices": (matches.indices, (count,)),
        "confidences": (matches.confidences, (count,)),
    }
    right = matches.keyframe_right_points
    if right is None:
        right = np.full((count, 2), np.nan)
    shapes["keyframe_right_points"] = (right, (count, 2))
    for name, (array, shape) in shapes.items():
        if np.shape(array) != shape:
            raise MessageError(f"{name} has shape {np.shape(array)}, expected {shape}")
    check_camera_fits(camera, matches.image_size)
    both = np.concatenate([matches.keyframe_points, matches.points])
    keyframe_points, points = np.split(normalize_points(both, camera), 2)
    with np.errstate(invalid="ignore"):
        usable = np.asarray(matches.confidences) >= min_confidence
    usable &= np.isfinite(matches.confidences)
    usable &= np.isfinite(keyframe_points).all(axis=1) & np.isfinite(points).all(axis=1)
    usable &= (matches.keyframe_indices >= 0) & (matches.indices >= 0)
    order = np.flatnonzero(usable)
    order = order[np.argsort(-matches.confidences[order], kind="stable")]
    for indices in (matches.keyframe_indices, matches.indices):
        _, first = np.unique(indices[order], return_index=True)
        order = order[np.sort(first)]
    order = np.sort(order)
    return Correspondences(
        matches.keyframe_points[order],
        right[order],
        keyframe_points[order],
        points[order],
        noise_ratio(matches.confidences[order]) if use_confidence else np.ones(len(order)),
        np.asarray(matches.keyframe_indices[order], np.int64),
        np.asarray(matches.indices[order], np.int64),
    )
