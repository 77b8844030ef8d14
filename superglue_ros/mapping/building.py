"""A map from the keyframes of a replay, their landmarks triangulated from its poses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from superglue_ros.errors import MapError
from superglue_ros.geometry import mean_focal, normalize_points, triangulate
from superglue_ros.geometry.depth import depth_of_points
from superglue_ros.mapping.keyframe_map import KeyframeMap, MapKeyframe
from superglue_ros.matching import ExtractedFeatures, KeyframeMatcher
from superglue_ros.types import (
    CameraModel,
    Features,
    FloatArray,
    Frame,
    FrameMatches,
    IntArray,
    Pose,
)

_NEIGHBOURS = 3
"""Earlier keyframes that a new one is matched with, besides the one before."""

_MIN_PARALLAX_RAD = np.radians(1.0)
_MAX_RESIDUAL_PX = 3.0


@dataclass
class _Draft:
    """A keyframe and where others see its features: normalised points (N, 2), NaN where they do
    not, by the stamp of who sees them."""

    stamp_ns: int
    camera: CameraModel
    features: Features
    points: FloatArray
    depth_m: FloatArray | None
    seen: dict[int, FloatArray] = field(default_factory=dict)

    def see(self, stamp_ns: int, rows: IntArray, points: FloatArray) -> None:
        """Take in that features `rows` (M,) are at points (M, 2) in another image."""
        column = np.full((len(self.features), 2), np.nan)
        column[rows] = points
        self.seen[stamp_ns] = column


class MapBuilder:
    """Collects a replay's keyframes and what is matched to them, and makes a map of them once
    the poses are known.

    matcher: whose frames these are.
    """

    def __init__(self, matcher: KeyframeMatcher) -> None:
        self._matcher = matcher
        self._drafts: list[_Draft] = []
        self._recent: list[tuple[_Draft, ExtractedFeatures]] = []
        self._weights_hash = ""

    def add(self, frame: Frame, matches: FrameMatches) -> None:
        """Take in the frame that the matcher has just processed; MapError without a camera."""
        if frame.camera is None:
            raise MapError("a map needs a calibration: --calibration")
        self._weights_hash = matches.weights_hash
        extracted = self._matcher.last_extracted
        if extracted is None:
            raise ValueError("the matcher has not processed the frame")
        # A map's keypoint is one point for all that see it, so that none is refined.
        points = normalize_points(extracted.points[matches.indices], frame.camera)
        before = self._drafts[-1] if self._drafts else None
        if before is not None and before.stamp_ns == matches.keyframe_stamp_ns:
            before.see(frame.stamp_ns, matches.keyframe_indices, points)
        if matches.is_keyframe:
            self._begin(frame, frame.camera, matches, extracted)

    def _begin(
        self,
        frame: Frame,
        camera: CameraModel,
        matches: FrameMatches,
        extracted: ExtractedFeatures,
    ) -> None:
        features = extracted.features
        points = normalize_points(features.keypoints, camera)
        draft = _Draft(frame.stamp_ns, camera, features, points, frame.depth_m)
        if self._drafts and self._drafts[-1].stamp_ns == matches.keyframe_stamp_ns:
            keyframe = self._drafts[-1]
            draft.see(
                keyframe.stamp_ns, matches.indices, keyframe.points[matches.keyframe_indices]
            )
        # The last one is matched already.
        for other, other_extracted in self._recent[:-1]:
            found = self._matcher.matcher.match_features(other_extracted, extracted)
            other.see(draft.stamp_ns, found.indices0, points[found.indices1])
            draft.see(other.stamp_ns, found.indices1, other.points[found.indices0])
        self._drafts.append(draft)
        self._recent = [*self._recent, (draft, extracted)][-_NEIGHBOURS - 1 :]

    def finish(self, poses: Mapping[int, Pose], is_metric: bool) -> KeyframeMap:
        """The map of the keyframes that have a pose; MapError where no landmark was found.

        poses: by stamp, of the frames that have one.
        """
        keyframes = tuple(
            MapKeyframe(
                draft.stamp_ns, poses[draft.stamp_ns], draft.features, _landmarks(draft, poses)
            )
            for draft in self._drafts
            if draft.stamp_ns in poses
        )
        made = KeyframeMap(keyframes, self._weights_hash, is_metric)
        if not made.num_landmarks:
            raise MapError(f"no landmark in {len(keyframes)} keyframes that have a pose")
        return made


def _landmarks(draft: _Draft, poses: Mapping[int, Pose]) -> FloatArray:
    """Landmarks (N, 3) of a keyframe's features: of measured depth, else triangulated."""
    own = poses[draft.stamp_ns]
    views = [(own, draft.points)]
    views += [(poses[stamp], seen) for stamp, seen in draft.seen.items() if stamp in poses]
    found = triangulate(
        np.stack([points for _, points in views], axis=1),
        np.stack([pose.rotation for pose, _ in views]),
        np.stack([pose.position for pose, _ in views]),
    )
    max_residual = _MAX_RESIDUAL_PX / mean_focal(draft.camera)
    good = found.good(float(_MIN_PARALLAX_RAD), max_residual)
    landmarks = np.where(good[:, None], found.points, np.nan)
    if draft.depth_m is not None:
        depths = depth_of_points(draft.depth_m, draft.features.keypoints)
        rays = np.concatenate([draft.points, np.ones((len(draft.points), 1))], axis=1)
        measured = rays * np.where(depths > 0, depths, np.nan)[:, None]
        measured = measured @ own.rotation.T + own.position
        landmarks = np.where(np.isfinite(measured), measured, landmarks)
    return landmarks
