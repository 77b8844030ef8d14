"""Match messages of a KITTI-style folder by SIFT, a stand-in for the networks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from superglue_ros.types import CameraModel, FloatArray, FrameMatches, Pose

PERIOD_NS = 100_000_000


def sift_matches(folder: Path, count: int) -> tuple[list[FrameMatches], CameraModel, list[Pose]]:
    """Messages, camera and true poses of the first `count` frames; mutual nearest neighbours
    under a ratio of 0.8, a new keyframe once half of its first matches are gone."""
    rows = np.array((folder / "calib.txt").read_text().split()[:12], float).reshape(3, 4)
    poses = [
        Pose.from_matrix(row.reshape(3, 4)) for row in np.loadtxt(folder / "poses.txt")[:count]
    ]
    detector = cv2.SIFT_create(1500)
    messages: list[FrameMatches] = []
    keyframe: tuple[FloatArray, FloatArray, int] | None = None
    keyframe_id, first_count, size = 0, None, (0, 0)
    for number, path in enumerate(sorted((folder / "image_l").iterdir())[:count]):
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        size = (image.shape[1], image.shape[0])
        keypoints, descriptors = detector.detectAndCompute(image, None)
        points = np.array([keypoint.pt for keypoint in keypoints], np.float32)
        stamp_ns = number * PERIOD_NS
        before = keyframe if keyframe is not None else (points[:0], descriptors[:0], stamp_ns)
        first, second = _mutual(before[1], descriptors)
        first_count = first_count or len(first)
        is_keyframe = keyframe is None or len(first) < 0.5 * first_count
        messages.append(
            FrameMatches(
                stamp_ns=stamp_ns,
                keyframe_stamp_ns=before[2],
                frame_id="camera",
                keyframe_id=keyframe_id,
                is_keyframe=is_keyframe,
                image_size=size,
                keyframe_image_size=size,
                keyframe_points=before[0][first],
                points=points[second],
                keyframe_indices=first.astype(np.int32),
                indices=second.astype(np.int32),
                confidences=np.ones(len(first), np.float32),
                num_features=len(points),
                num_keyframe_features=len(before[0]),
            )
        )
        if is_keyframe:
            keyframe, keyframe_id, first_count = (
                (points, descriptors, stamp_ns),
                keyframe_id + 1,
                0,
            )
    return messages, CameraModel(*size, rows[:, :3]), poses


def _mutual(first: FloatArray, second: FloatArray) -> tuple[FloatArray, FloatArray]:
    if not len(first) or not len(second):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    matcher = cv2.BFMatcher()
    back = {match.queryIdx: match.trainIdx for match in matcher.match(second, first)}
    pairs = [
        (best.queryIdx, best.trainIdx)
        for best, other in matcher.knnMatch(first, second, k=2)
        if best.distance < 0.8 * other.distance and back[best.trainIdx] == best.queryIdx
    ]
    matched = np.array(pairs, np.int64).reshape(-1, 2)
    return matched[:, 0], matched[:, 1]
