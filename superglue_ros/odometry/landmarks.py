"""Positions of landmarks: from measured depths, from parallax, and what is known of them before
a window is optimised."""

from __future__ import annotations

import numpy as np

from superglue_ros.odometry.frames import Tolerances, WindowFrame
from superglue_ros.types import BoolArray, FloatArray

_WANTED_LANDMARKS = 100
_NOISE_PARALLAX = 3.0
"""Least parallax of a landmark in standard deviations of a point."""


def landmarks_from_depths(
    points: FloatArray, depth_noise: FloatArray, frame: WindowFrame, noise: float
) -> tuple[FloatArray, FloatArray]:
    """Positions (M, 3) and covariances (M, 3, 3) in the world of points (M, 3) in the camera of a
    frame.

    depth_noise (M,): standard deviations of the inverse depths; noise: of a normalised point.
    """
    depths = points[:, 2]
    along = (depths * depth_noise)[:, None] * points
    covariances = along[:, :, None] * along[:, None]
    across = (depths * noise) ** 2
    covariances += across[:, None, None] * np.eye(3)
    rotation = frame.pose.rotation
    return points @ rotation.T + frame.pose.position, rotation @ covariances @ rotation.T


def required_parallax(parallax_rad: FloatArray, known: int, tolerances: Tolerances) -> float:
    """Parallax that makes a landmark of a track, radians.

    parallax_rad: (N,) of the candidates; known: landmarks that the frame sees already. Poorly
    determined depths bias the scale, so it is min_parallax where that gives the frame enough
    landmarks, and otherwise as much less as it takes, though never within the noise.
    """
    missing = _WANTED_LANDMARKS - known
    if missing <= 0 or not len(parallax_rad):
        return tolerances.min_parallax_rad
    ranked = np.sort(parallax_rad)[::-1]
    least = float(ranked[min(missing, len(ranked)) - 1])
    floor = _NOISE_PARALLAX * tolerances.noise
    return min(max(least, floor), tolerances.min_parallax_rad)


def landmark_priors(
    frames: list[WindowFrame],
    positions: FloatArray,
    covariances: FloatArray,
    observations: FloatArray,
    min_parallax_rad: float,
) -> tuple[FloatArray, BoolArray]:
    """Information (L, 3, 3) on landmarks from before the window, zero for those (~weak) that the
    frames of the window and their observations (L, V, 3) themselves determine."""
    seen = np.isfinite(observations[..., 0])
    arms = np.stack([frame.pose.position for frame in frames]) - positions[:, None]
    arms *= seen[..., None] / np.linalg.norm(arms, axis=2, keepdims=True)
    cosines = np.einsum("lvi,lwi->lvw", arms, arms)
    pairs = seen[:, :, None] & seen[:, None, :]
    widest = np.where(pairs, cosines, 1.0).min(axis=(1, 2))
    weak = widest > np.cos(min_parallax_rad)
    weak &= ~(seen & np.isfinite(observations[..., 2])).any(axis=1)
    priors = np.zeros((len(positions), 3, 3))
    priors[weak] = np.linalg.inv(covariances[weak])
    return priors, weak
