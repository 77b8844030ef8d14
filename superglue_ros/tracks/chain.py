"""Tracks chained over keyframes by the indices of their matches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from superglue_ros.tracks.verification import move_with_neighbours
from superglue_ros.types import UNMATCHED, BoolArray, FloatArray, FrameMatches, IntArray


@dataclass(frozen=True)
class FrameTracks:
    """The M tracks that a frame sees, as the Tracks message has them.

    ids (M,) int64, points (M, 2) float32 pixels, ages (M,) int64: frames that have seen the track,
    this one included, confidences (M,) in [0, 1]; previous_points (M, 2) float32 pixels and
    previous_stamps_ns (M,): where and when each was seen the time before. restarted: no track of
    before goes on.
    """

    stamp_ns: int
    frame_id: str
    image_size: tuple[int, int]
    ids: IntArray
    points: FloatArray
    ages: IntArray
    confidences: FloatArray
    previous_points: FloatArray
    previous_stamps_ns: IntArray
    restarted: bool

    def __len__(self) -> int:
        return len(self.ids)


class _Sightings:
    """What is known of a keyframe's N features: ids (N,), UNMATCHED before the first match; ages
    (N,), and points (N, 2) and stamps (N,) in the last frame that saw them."""

    def __init__(self, stamp_ns: int, count: int) -> None:
        self.keyframe_stamp_ns = stamp_ns
        self.ids: IntArray = np.full(count, UNMATCHED, np.int64)
        self.ages: IntArray = np.ones(count, np.int64)
        self.points: FloatArray = np.zeros((count, 2), np.float32)
        self.stamps_ns: IntArray = np.full(count, stamp_ns, np.int64)


class TrackChain:
    """Follows features through the matches of a keyframe matcher, one frame after another.

    A track begins where a keyframe's feature is matched for the first time, and goes on where the
    matched frame becomes the next keyframe. Where a keyframe is not the one that was expected
    (messages were missed, the matcher or the clock was set back) all tracks begin anew; ids go on.
    """

    def __init__(self) -> None:
        self._next_id = 0
        self._keyframe_id = UNMATCHED
        self._keyframe = _Sightings(0, 0)

    def process(self, matches: FrameMatches, chosen: BoolArray | None = None) -> FrameTracks:
        """Tracks of a frame, of the (M,) chosen matches or of all; one track per feature of
        either image, the more confident match's. A match that jumps away from what is beside it
        is left out."""
        rows = _one_to_one(matches, chosen)
        known = self._keyframe_id == matches.keyframe_id
        restarted = not (known and self._keyframe.keyframe_stamp_ns == matches.keyframe_stamp_ns)
        if restarted:
            self._keyframe_id = matches.keyframe_id
            self._keyframe = _Sightings(matches.keyframe_stamp_ns, matches.num_keyframe_features)
        seen, features = self._keyframe, matches.keyframe_indices[rows]
        begun = seen.ids[features] == UNMATCHED
        seen.points[features[begun]] = matches.keyframe_points[rows[begun]]
        elapsed_ns = matches.stamp_ns - seen.stamps_ns[features]
        steady = move_with_neighbours(seen.points[features], matches.points[rows], elapsed_ns)
        rows, features = rows[steady], features[steady]
        new = features[begun[steady]]
        seen.ids[new] = np.arange(self._next_id, self._next_id + len(new))
        self._next_id += len(new)
        previous = seen.points[features], seen.stamps_ns[features]
        seen.ages[features] += 1
        seen.points[features] = matches.points[rows]
        seen.stamps_ns[features] = matches.stamp_ns
        tracks = FrameTracks(
            matches.stamp_ns,
            matches.frame_id,
            matches.image_size,
            seen.ids[features],
            np.asarray(matches.points[rows], np.float32),
            seen.ages[features],
            np.asarray(matches.confidences[rows], np.float32),
            *previous,
            restarted,
        )
        if matches.is_keyframe:
            self._advance(matches, tracks, matches.indices[rows])
        return tracks

    def _advance(self, matches: FrameMatches, tracks: FrameTracks, features: IntArray) -> None:
        """The frame is the next keyframe, and sees the tracks as its `features`."""
        keyframe = _Sightings(matches.stamp_ns, matches.num_features)
        keyframe.ids[features] = tracks.ids
        keyframe.ages[features] = tracks.ages
        keyframe.points[features] = tracks.points
        self._keyframe_id, self._keyframe = matches.keyframe_id + 1, keyframe


def _one_to_one(matches: FrameMatches, chosen: BoolArray | None) -> IntArray:
    """Rows of the matches, at most one for each feature of the keyframe and of the frame: our
    matcher makes no others, but whoever else writes the message may."""
    rows = np.arange(len(matches)) if chosen is None else np.flatnonzero(chosen)
    rows = rows[np.argsort(-matches.confidences[rows], kind="stable")]
    for indices in (matches.keyframe_indices, matches.indices):
        rows = rows[np.sort(np.unique(indices[rows], return_index=True)[1])]
    return np.sort(rows)
