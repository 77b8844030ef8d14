"""Errors of relative poses, and the area under their recall curve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from superglue_ros.geometry.rotations import log_rotation
from superglue_ros.types import FloatArray, Pose


def area_under_recall(
    errors: Sequence[float] | FloatArray, thresholds: Sequence[float]
) -> list[float]:
    """Share of the area under the recall curve up to each threshold, in [0, 1]; NaN for none.

    Recall is the share of errors not above x, drawn by straight lines through (0, 0) and
    (error_i, i/N) and integrated exactly (SuperGlue, section 5.2: no histogram).
    Errors of infinity count as never found.
    """
    ordered = np.sort(np.asarray(errors, float))
    if not len(ordered):
        return [float("nan")] * len(thresholds)
    recall = np.arange(1, len(ordered) + 1) / len(ordered)
    areas = []
    for threshold in thresholds:
        inside = ordered <= threshold
        found = recall[inside]
        x = np.concatenate([[0.0], ordered[inside], [threshold]])
        y = np.concatenate([[0.0], found, found[-1:] if len(found) else [0.0]])
        areas.append(float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2) / threshold))
    return areas


def pose_errors_deg(estimated: Pose, truth: Pose) -> tuple[float, float]:
    """Angles in degrees between two rotations and between two translation directions.

    The translation's is folded to [0, 90], because an essential matrix holds its sign only by the
    points in front of both cameras; it is 0 where the truth does not move.
    """
    difference = estimated.rotation.T @ truth.rotation
    rotation = float(np.degrees(np.linalg.norm(log_rotation(difference))))
    lengths = np.linalg.norm(estimated.position), np.linalg.norm(truth.position)
    if min(lengths) < 1e-12:
        return rotation, 0.0
    cosine = float(estimated.position @ truth.position / (lengths[0] * lengths[1]))
    angle = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    return rotation, min(angle, 180.0 - angle)
