"""Landmarks and the views that see them.

A row is one point of the scene. It is keyed by (keyframe_id, feature index) and carried from
keyframe to keyframe through the indices of the matches; it becomes a landmark once it has a
position.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from superglue_ros.types import UNMATCHED, BoolArray, FloatArray, IntArray, Pose

_LOWEST_BALANCE = -1


@dataclass
class View:
    """A camera that the landmarks are observed from.

    keyframe_id: UNMATCHED for a frame that is no keyframe; covariance (6, 6) of the pose;
    located: whether the pose was measured, not predicted; row_of_feature: row per feature index,
    UNMATCHED where the feature has not been matched yet.
    """

    stamp_ns: int
    keyframe_id: int
    pose: Pose
    covariance: FloatArray
    located: bool
    row_of_feature: IntArray


class LandmarkStore:
    """Rows of points with their observations in every view, positions and covariances.

    observations (N, V, 3): normalised point and inverse depth (1 / unit of length), NaN where not
    seen and where the depth was not measured, infinite where it was but proved wrong; positions
    (N, 3), NaN without; covariances (N, 3, 3) of the positions given the views; balance (N,):
    frames that agreed with the landmark less those that did not.
    """

    def __init__(self) -> None:
        self.views: list[View] = []
        self.observations: FloatArray = np.zeros((0, 0, 3))
        self.positions: FloatArray = np.zeros((0, 3))
        self.covariances: FloatArray = np.zeros((0, 3, 3))
        self.balance: IntArray = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def located(self) -> BoolArray:
        """(N,) bool: the rows that are landmarks."""
        return np.all(np.isfinite(self.positions), axis=1)

    def clear(self) -> None:
        """Forget every view and row."""
        self.__init__()  # type: ignore[misc]

    def forget_positions(self) -> None:
        """Keep the observations, turn every landmark back into a row without position."""
        self.positions[:] = np.nan
        self.covariances[:] = np.nan
        self.balance[:] = 0

    def judge(self, rows: IntArray, agree: BoolArray) -> None:
        """Take in whether a frame's observations agree with its landmarks (M,); a landmark that
        more frames contradict than confirm falls back to what its keyframes see of it."""
        known = self.located[rows]
        self.balance[rows[known]] += np.where(agree[known], 1, -1)
        wrong = rows[known & (self.balance[rows] < _LOWEST_BALANCE)]
        self.observations[wrong, :, 2] = np.inf
        self.positions[wrong] = np.nan
        self.covariances[wrong] = np.nan
        self.balance[wrong] = 0
        passing = [view.keyframe_id == UNMATCHED for view in self.views]
        self.observations[np.ix_(wrong, np.flatnonzero(passing))] = np.nan

    def find_keyframe(self, keyframe_id: int, stamp_ns: int) -> int | None:
        """Place in `views` of a keyframe, which must have both the id and the stamp."""
        for place, view in enumerate(self.views):
            if view.keyframe_id == keyframe_id and view.stamp_ns == stamp_ns:
                return place
        return None

    def add_view(self, view: View, rows: IntArray, points: FloatArray) -> int:
        """Append a view that sees `points` (M, 2) at `rows` (M,); returns its place."""
        column = np.full((len(self), 1, 3), np.nan)
        column[rows, 0, :2] = points
        self.observations = np.concatenate([self.observations, column], axis=1)
        self.views.append(view)
        return len(self.views) - 1

    def rows_of(
        self, place: int, features: IntArray, points: FloatArray, inverse_depths: FloatArray
    ) -> IntArray:
        """Rows of a keyframe's features (M,), seen by it at points (M, 2) with inverse_depths
        (M,), NaN where not measured; new ones are begun."""
        view = self.views[place]
        missing = int(features.max(initial=-1)) + 1 - len(view.row_of_feature)
        if missing > 0:
            view.row_of_feature = np.concatenate(
                [view.row_of_feature, np.full(missing, UNMATCHED)]
            )
        rows: IntArray = view.row_of_feature[features]
        fresh = rows == UNMATCHED
        rows[fresh] = self._grow(int(fresh.sum()))
        view.row_of_feature[features[fresh]] = rows[fresh]
        self.observations[rows[fresh], place, :2] = points[fresh]
        # A row that was carried on to this keyframe came without.
        measured = np.isfinite(inverse_depths) & np.isnan(self.observations[rows, place, 2])
        self.observations[rows[measured], place, 2] = inverse_depths[measured]
        return rows

    def _grow(self, count: int) -> IntArray:
        first = len(self)
        fill = np.full((count, len(self.views), 3), np.nan)
        self.observations = np.concatenate([self.observations, fill])
        self.positions = np.concatenate([self.positions, np.full((count, 3), np.nan)])
        self.covariances = np.concatenate([self.covariances, np.full((count, 3, 3), np.nan)])
        self.balance = np.concatenate([self.balance, np.zeros(count, np.int64)])
        return np.arange(first, first + count)

    def drop_view(self, place: int) -> IntArray:
        """Forget a view and the rows that no other view sees; returns the new row of each old
        row, UNMATCHED for those dropped."""
        del self.views[place]
        self.observations = np.delete(self.observations, place, axis=1)
        kept = np.isfinite(self.observations[..., 0]).any(axis=1)
        new_rows = np.where(kept, np.cumsum(kept) - 1, UNMATCHED)
        self.observations = self.observations[kept]
        self.positions = self.positions[kept]
        self.covariances = self.covariances[kept]
        self.balance = self.balance[kept]
        for view in self.views:
            view.row_of_feature = renumber(view.row_of_feature, new_rows)
        return new_rows

    def transform(self, motion: Pose) -> None:
        """Move all views and landmarks rigidly."""
        self.positions = self.positions @ motion.rotation.T + motion.position
        self.covariances = motion.rotation @ self.covariances @ motion.rotation.T
        turn = np.kron(np.eye(2), motion.rotation)
        for view in self.views:
            view.pose = motion @ view.pose
            view.covariance = turn @ view.covariance @ turn.T


def renumber(rows: IntArray, new_rows: IntArray) -> IntArray:
    """Rows after a view was dropped, UNMATCHED where the row is gone or there was none."""
    return np.where(rows == UNMATCHED, UNMATCHED, new_rows[rows]) if len(new_rows) else rows
