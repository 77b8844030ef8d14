"""Tracks as the estimators of VINS-Mono and VINS-Fusion take them from a tracker."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from superglue_ros.geometry import normalize_points
from superglue_ros.tracks.chain import FrameTracks
from superglue_ros.types import CameraModel, FloatArray, IntArray

ID_END = 1 << 24
"""Ids travel as float32, which holds whole numbers up to here. They go round: an estimator has
forgotten an id many frames before it comes again."""

_SPACING = 0.5
"""Least distance of two tracks in sides of the square that each would have to itself."""


@dataclass(frozen=True)
class VinsFeatures:
    """What an estimator is told of N tracks: ids (N,), points (N, 2) normalised without
    distortion, pixels (N, 2) as received, velocities (N, 2) normalised units per second.

    restart: the tracks of before are gone, so the estimator has to begin anew.
    """

    ids: IntArray
    points: FloatArray
    pixels: FloatArray
    velocities: FloatArray
    restart: bool

    def __len__(self) -> int:
        return len(self.ids)


class VinsTracker:
    """Chooses tracks for an estimator and numbers them as it needs.

    The estimators count the frames of a track from its first to its last, so that one that was
    missing from a frame must come back as another: its number here is given anew.
    """

    def __init__(self, max_tracks: int) -> None:
        self._max_tracks = max_tracks
        self._next_id = 0
        self._sent: IntArray = np.zeros(0, np.int64)
        self._sent_as: IntArray = np.zeros(0, np.int64)
        self._begun = False
        """Whether the estimator has been told of tracks since it was last to begin anew."""

    def process(self, tracks: FrameTracks, camera: CameraModel) -> VinsFeatures:
        """Features of a frame; CameraError for an unusable camera."""
        points = normalize_points(tracks.points, camera)
        before = normalize_points(tracks.previous_points, camera)
        seconds = (tracks.stamp_ns - tracks.previous_stamps_ns) * 1e-9
        with np.errstate(divide="ignore", invalid="ignore"):
            velocities = (points - before) / seconds[:, None]
        usable = np.isfinite(points).all(axis=1) & np.isfinite(velocities).all(axis=1)
        ids = self._ids_of_last_frame(tracks)
        candidates = np.flatnonzero(usable)
        ranked = candidates[np.lexsort((-tracks.ages[candidates], ids[candidates] < 0))]
        rows = _spread(ranked, tracks, self._max_tracks)
        new = rows[ids[rows] < 0]
        ids[new] = (self._next_id + np.arange(len(new))) % ID_END
        self._next_id = (self._next_id + len(new)) % ID_END
        self._sent, self._sent_as = tracks.ids[rows], ids[rows]
        restart = tracks.restarted and self._begun
        self._begun = len(rows) > 0 or (self._begun and not restart)
        return VinsFeatures(
            ids[rows], points[rows], tracks.points[rows], velocities[rows], restart
        )

    def _ids_of_last_frame(self, tracks: FrameTracks) -> IntArray:
        """(M,) ids under which the estimator was told of the tracks in the last frame, or -1."""
        ids = np.full(len(tracks), -1, np.int64)
        _, rows, places = np.intersect1d(tracks.ids, self._sent, return_indices=True)
        ids[rows] = self._sent_as[places]
        return ids


def _spread(ranked: IntArray, tracks: FrameTracks, count: int) -> IntArray:
    """Rows of at most `count` tracks, the first of the ranked ones that keep their distance."""
    width, height = tracks.image_size
    least2 = _SPACING**2 * width * height / count
    chosen: list[int] = []
    while len(ranked) and len(chosen) < count:
        chosen.append(int(ranked[0]))
        offsets = tracks.points[ranked] - tracks.points[ranked[0]]
        ranked = ranked[np.einsum("ni,ni->n", offsets, offsets) >= least2]
    return np.sort(np.array(chosen, np.int64))
