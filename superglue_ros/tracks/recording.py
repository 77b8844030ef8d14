"""Tracks of a whole sequence, for a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from superglue_ros.npz import write_npz
from superglue_ros.tracks.chain import FrameTracks, TrackChain
from superglue_ros.types import FrameMatches


class TrackRecorder:
    """Chains the matches of a sequence and keeps what each frame sees."""

    def __init__(self) -> None:
        self._chain = TrackChain()
        self.frames: list[FrameTracks] = []

    def add(self, matches: FrameMatches) -> None:
        """Take in the next frame."""
        self.frames.append(self._chain.process(matches))

    def write(self, path: Path) -> None:
        """Write an .npz; raises SuperGlueRosError if it cannot.

        stamps_ns and restarted (F,) of the frames, image_sizes (F, 2) width and height; frames
        (T,): which frame each of the T sightings is in, in order; ids (T,), points (T, 2) pixels,
        ages (T,) and confidences (T,).
        """
        frames = self.frames
        counts = np.array([len(frame) for frame in frames], np.int64)
        no_points = np.zeros((0, 2), np.float32)
        arrays = {
            "stamps_ns": np.array([frame.stamp_ns for frame in frames], np.int64),
            "restarted": np.array([frame.restarted for frame in frames], bool),
            "image_sizes": np.array([f.image_size for f in frames], np.int64).reshape(-1, 2),
            "frames": np.repeat(np.arange(len(frames)), counts),
            "ids": np.concatenate([np.zeros(0, np.int64), *(f.ids for f in frames)]),
            "points": np.concatenate([no_points, *(f.points for f in frames)]),
            "ages": np.concatenate([np.zeros(0, np.int64), *(f.ages for f in frames)]),
            "confidences": np.concatenate([no_points[:, 0], *(f.confidences for f in frames)]),
        }
        write_npz(path, arrays)
