"""A map: keyframes with their features, the landmarks behind these, and their poses."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from superglue_ros.errors import MapError
from superglue_ros.npz import write_npz
from superglue_ros.types import BoolArray, Features, FloatArray, Pose

FORMAT = 1
"""Of the file; another one cannot be read."""


@dataclass(frozen=True)
class MapKeyframe:
    """An image of the map: features (N), and landmarks (N, 3) in the map, NaN where there is
    none."""

    stamp_ns: int
    pose: Pose
    features: Features
    landmarks: FloatArray

    @property
    def has_landmark(self) -> BoolArray:
        """(N,) bool: features with a landmark."""
        return np.asarray(np.isfinite(self.landmarks).all(axis=1))


@dataclass(frozen=True)
class KeyframeMap:
    """Keyframes in one frame; weights_hash: of the networks that their features are of;
    is_metric: positions are in metres."""

    keyframes: tuple[MapKeyframe, ...]
    weights_hash: str
    is_metric: bool

    @property
    def num_landmarks(self) -> int:
        """Features with a landmark, over all keyframes."""
        return sum(int(keyframe.has_landmark.sum()) for keyframe in self.keyframes)


def write_map(path: Path, keyframe_map: KeyframeMap) -> None:
    """Write a map as .npz, descriptors in half precision; SuperGlueRosError where it cannot be."""
    keyframes = keyframe_map.keyframes
    features = [keyframe.features for keyframe in keyframes]
    arrays: dict[str, Any] = {
        "format": FORMAT,
        "weights_hash": keyframe_map.weights_hash,
        "is_metric": keyframe_map.is_metric,
        "stamps_ns": np.array([keyframe.stamp_ns for keyframe in keyframes], np.int64),
        "poses": np.stack([keyframe.pose.matrix for keyframe in keyframes]),
        "image_sizes": np.array([f.image_size for f in features], np.int64),
        "counts": np.array([len(f) for f in features], np.int64),
        "keypoints": np.concatenate([f.keypoints for f in features]).astype(np.float32),
        "scores": np.concatenate([f.scores for f in features]).astype(np.float32),
        "descriptors": np.concatenate([f.descriptors for f in features]).astype(np.float16),
        "landmarks": np.concatenate([keyframe.landmarks for keyframe in keyframes]),
    }
    write_npz(path, arrays)


def read_map(path: str | Path) -> KeyframeMap:
    """The map of a file; MapError for one that is none, or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            content = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise MapError(f"cannot read a map from {path}: {error}") from error
    try:
        if int(content["format"]) != FORMAT:
            raise MapError(f"{path} is a map of format {content['format']}, not {FORMAT}")
        ends = np.cumsum(content["counts"])[:-1]
        columns = zip(
            content["stamps_ns"].tolist(),
            content["poses"],
            content["image_sizes"].tolist(),
            *(
                np.split(content[name], ends)
                for name in ("keypoints", "scores", "descriptors", "landmarks")
            ),
            strict=True,
        )
        keyframes = tuple(
            MapKeyframe(
                stamp_ns,
                Pose.from_matrix(pose),
                Features((size[0], size[1]), keypoints, scores, descriptors.astype(np.float32)),
                landmarks,
            )
            for stamp_ns, pose, size, keypoints, scores, descriptors, landmarks in columns
        )
        return KeyframeMap(keyframes, str(content["weights_hash"]), bool(content["is_metric"]))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise MapError(f"{path} is no map: {error}") from error
