"""Tracks: points of the scene, followed from frame to frame, and the landmarks among them."""

from __future__ import annotations

import numpy as np

from superglue_ros.odometry.depths import InverseDepths
from superglue_ros.types import UNMATCHED, BoolArray, FloatArray, IntArray, Pose

_LEAST_SUPPORT = -1
_SETTLED_SUPPORT = 5


class Tracks:
    """N tracks with their observations in the V frames of a window.

    observations (N, V, 3): normalised point and inverse depth (1 / unit of length), NaN where not
    seen and where the depth was not measured, infinite where it was but proved wrong; noise and
    depth_noise (N, V): standard deviations of the points and of the inverse depths; positions
    (N, 3) in the world, NaN of a track that is no landmark yet; covariances (N, 3, 3) of the
    positions given the frames; support (N,): frames that agreed with the landmark less those
    that did not; moving (N,): tracks of what was seen to move, which are no landmarks.
    """

    def __init__(self) -> None:
        self.observations: FloatArray = np.zeros((0, 0, 3))
        self.noise: FloatArray = np.zeros((0, 0))
        self.depth_noise: FloatArray = np.zeros((0, 0))
        self.positions: FloatArray = np.zeros((0, 3))
        self.covariances: FloatArray = np.zeros((0, 3, 3))
        self.support: IntArray = np.zeros(0, np.int64)
        self.moving: BoolArray = np.zeros(0, bool)

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def are_landmarks(self) -> BoolArray:
        """(N,) bool: the tracks with a position."""
        return np.all(np.isfinite(self.positions), axis=1)

    @property
    def are_settled(self) -> BoolArray:
        """(N,) bool: landmarks that many frames have confirmed."""
        return self.support >= _SETTLED_SUPPORT

    def seen_in(self, place: int) -> BoolArray:
        """(N,) bool: tracks that the frame at `place` sees."""
        return np.isfinite(self.observations[:, place, 0])

    def measured_in(self, place: int) -> BoolArray:
        """(N,) bool: tracks that the frame at `place` sees and whose depth it has, but for those
        that move."""
        return np.all(np.isfinite(self.observations[:, place]), axis=1) & ~self.moving

    def measured_points(self, place: int, tracks: IntArray) -> FloatArray:
        """(M, 3) points in the camera of the frame at `place`, of tracks whose depth it has."""
        seen = self.observations[tracks, place]
        return np.concatenate([seen[:, :2], np.ones((len(seen), 1))], axis=1) / seen[:, 2:]

    def begin(self, place: int, points: FloatArray, noise: float) -> IntArray:
        """Numbers (M,) of new tracks that the frame at `place` sees at points (M, 2)."""
        first, count = len(self), len(points)
        begun = np.full((count, self.observations.shape[1], 3), np.nan)
        begun[:, place, :2] = points
        self.observations = np.concatenate([self.observations, begun])
        begun_noise = np.full(begun.shape[:2], np.nan)
        self.depth_noise = np.concatenate([self.depth_noise, begun_noise])
        begun_noise[:, place] = noise
        self.noise = np.concatenate([self.noise, begun_noise])
        self.positions = np.concatenate([self.positions, np.full((count, 3), np.nan)])
        self.covariances = np.concatenate([self.covariances, np.full((count, 3, 3), np.nan)])
        self.support = np.concatenate([self.support, np.zeros(count, np.int64)])
        self.moving = np.concatenate([self.moving, np.zeros(count, bool)])
        return np.arange(first, first + count)

    def add_frame(self, tracks: IntArray, points: FloatArray, noise: FloatArray) -> None:
        """Append a frame that sees `points` (M, 2) of `tracks` (M,), with their noise (M,)."""
        column = np.full((len(self), 1, 3), np.nan)
        column[tracks, 0, :2] = points
        self.observations = np.concatenate([self.observations, column], axis=1)
        column_noise = np.full((len(self), 1), np.nan)
        self.depth_noise = np.concatenate([self.depth_noise, column_noise], axis=1)
        column_noise[tracks, 0] = noise
        self.noise = np.concatenate([self.noise, column_noise], axis=1)

    def drop_frame(self, place: int) -> IntArray:
        """Forget a frame and the tracks that no other frame sees; returns the new number of each
        old track, UNMATCHED for those dropped."""
        self.observations = np.delete(self.observations, place, axis=1)
        kept = np.isfinite(self.observations[..., 0]).any(axis=1)
        new_numbers = np.where(kept, np.cumsum(kept) - 1, UNMATCHED)
        self.observations = self.observations[kept]
        self.noise = np.delete(self.noise, place, axis=1)[kept]
        self.depth_noise = np.delete(self.depth_noise, place, axis=1)[kept]
        self.positions = self.positions[kept]
        self.covariances = self.covariances[kept]
        self.support = self.support[kept]
        self.moving = self.moving[kept]
        return new_numbers

    def measure(self, place: int, tracks: IntArray, depths: InverseDepths) -> None:
        """Take in the depths of tracks (M,) in the frame at `place`; what is known of them
        already, or proved wrong, stays."""
        new = np.isfinite(depths.values) & np.isnan(self.observations[tracks, place, 2])
        self.observations[tracks[new], place, 2] = depths.values[new]
        self.depth_noise[tracks[new], place] = depths.deviations[new]

    def set_landmarks(
        self, tracks: IntArray, positions: FloatArray, covariances: FloatArray
    ) -> None:
        """Make landmarks of tracks (M,)."""
        self.positions[tracks] = positions
        self.covariances[tracks] = covariances

    def unset_landmarks(self, tracks: IntArray) -> None:
        """Take their positions from tracks (M,)."""
        self.positions[tracks] = np.nan
        self.covariances[tracks] = np.nan

    def set_moving(self, tracks: IntArray) -> None:
        """Take those of the tracks (M,) that are landmarks for what moves."""
        landmarks = tracks[self.are_landmarks[tracks]]
        self.moving[landmarks] = True
        self.unset_landmarks(landmarks)

    def unset_all_landmarks(self) -> None:
        """Keep the observations alone, and with them no judgement of the landmarks."""
        self.positions[:] = np.nan
        self.covariances[:] = np.nan
        self.support[:] = 0

    def judge(self, tracks: IntArray, agree: BoolArray, passing: IntArray) -> None:
        """Take in whether a frame's observations agree with its landmarks (M,); a landmark that
        more frames contradict than confirm falls back to what its keyframes see of it: the
        frames at `passing` are not keyframes."""
        known = self.are_landmarks[tracks]
        self.support[tracks[known]] += np.where(agree[known], 1, -1)
        wrong = tracks[known & (self.support[tracks] < _LEAST_SUPPORT)]
        self.observations[wrong, :, 2] = np.inf
        self.unset_landmarks(wrong)
        self.support[wrong] = 0
        self.observations[np.ix_(wrong, passing)] = np.nan

    def transform(self, motion: Pose) -> None:
        """Move all landmarks rigidly."""
        self.positions = self.positions @ motion.rotation.T + motion.position
        self.covariances = motion.rotation @ self.covariances @ motion.rotation.T


def renumber(tracks: IntArray, new_numbers: IntArray) -> IntArray:
    """Tracks after a frame was dropped, UNMATCHED where the track is gone or there was none."""
    if not len(new_numbers):
        return tracks
    return np.where(tracks == UNMATCHED, UNMATCHED, new_numbers[tracks])
