"""Which frames a window keeps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from superglue_ros.odometry.frames import WindowFrame
from superglue_ros.odometry.tracks import Tracks
from superglue_ros.types import FloatArray

_FEW_SHARED = 15
"""Landmarks."""


def moved_apart(
    position: FloatArray, other: FloatArray, landmarks: FloatArray, min_parallax_rad: float
) -> bool:
    """Whether landmarks (L, 3), seen from two positions, show parallax; yes if there are none."""
    if not len(landmarks):
        return True
    distance = float(np.median(np.linalg.norm(landmarks - position, axis=1)))
    baseline = float(np.linalg.norm(position - other))
    return baseline > np.tan(min_parallax_rad) * distance


def surplus_frame(
    frames: Sequence[WindowFrame], tracks: Tracks, keyframe_id: int, min_parallax_rad: float
) -> int:
    """Place of the frame that is missed least: the oldest that shares too few landmarks with the
    newest, as of a camera that turns on the spot; else one that shows no parallax to the frame
    before it, so that a camera that stands keeps the frames that it came by; else the oldest.
    Neither the newest frame nor the keyframe that is being matched against."""
    choice = [
        place
        for place, frame in enumerate(frames[:-1])
        if not frame.is_keyframe or frame.keyframe_id != keyframe_id
    ]
    common = tracks.are_landmarks & tracks.seen_in(-1)
    shared = np.isfinite(tracks.observations[common, :, 0]).sum(axis=0)
    for place in choice:
        if frames[place].located and shared[place] < _FEW_SHARED:
            return place
    for place in reversed(choice):
        frame, before = frames[place], frames[place - 1]
        if place == 0 or not (frame.located and before.located):
            continue
        seen = tracks.are_landmarks & tracks.seen_in(place)
        if seen.any() and not moved_apart(
            frame.pose.position, before.pose.position, tracks.positions[seen], min_parallax_rad
        ):
            return place
    return choice[0]
