"""Where an image is in a map, or that this cannot be said."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from superglue_ros.errors import MapError
from superglue_ros.geometry import mean_focal, normalize_points
from superglue_ros.geometry.pnp import estimate_pose, refine_pose
from superglue_ros.mapping.keyframe_map import KeyframeMap
from superglue_ros.matching import ExtractedFeatures, ImageMatcher
from superglue_ros.matching.retrieval import ImageIndex
from superglue_ros.options import check_options, option
from superglue_ros.types import CameraModel, FloatArray, ImageArray, IntArray, Pose

_KEPT_ENCODED = 50
"""Keyframes whose features stay on the device."""


@dataclass(frozen=True)
class LocalizerConfig:
    """What a place must show to be believed; ValueError for a value out of range."""

    candidates: int = option(
        5, "Keyframes that look most alike and are matched", unit="keyframes", range=(1, 100)
    )
    min_inliers: int = option(
        30, "Fewest landmarks that must agree on a pose", unit="landmarks", range=(8, 10000)
    )
    min_inlier_ratio: float = option(
        0.5, "Least share of the matched landmarks that must agree", range=(0.0, 1.0)
    )
    inlier_threshold_px: float = option(
        4.0, "Largest reprojection error of a landmark that agrees", unit="px", range=(0.5, 50.0)
    )

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class Localization:
    """The pose of an image's camera in the map and its covariance (6, 6), None where there is
    none to be believed, and the reason for that; inliers of matched landmarks at the keyframe
    (its place in the map) that agreed most."""

    pose: Pose | None
    covariance: FloatArray | None
    inliers: int
    matched: int
    keyframe: int
    reason: str = ""

    @property
    def rank(self) -> tuple[bool, int, int]:
        """The greater, the surer."""
        return self.pose is not None, self.inliers, self.matched


class MapLocalizer:
    """Finds images among a map's keyframes: those that look alike are matched, and their landmarks
    must agree on a pose.

    Raises MapError for a map of other networks than the matcher's.
    """

    def __init__(
        self, matcher: ImageMatcher, keyframe_map: KeyframeMap, config: LocalizerConfig
    ) -> None:
        if keyframe_map.weights_hash != matcher.weights_hash:
            raise MapError(
                f"the map is of the weights {keyframe_map.weights_hash}, and the matcher has "
                f"{matcher.weights_hash}"
            )
        self._matcher, self._map, self._config = matcher, keyframe_map, config
        self._index = ImageIndex([k.features.descriptors for k in keyframe_map.keyframes])
        self._encoded: OrderedDict[int, ExtractedFeatures] = OrderedDict()

    def localize(self, image: ImageArray, camera: CameraModel) -> Localization:
        """Where an image is; ImageError or CameraError for one that cannot be used."""
        query = self._matcher.extract(image)
        points = normalize_points(query.points, camera)
        focal = mean_focal(camera)
        best = Localization(None, None, 0, 0, -1, "no features")
        if not len(query):
            return best
        descriptors = query.features.descriptors
        for place in self._index.most_alike(descriptors, self._config.candidates).tolist():
            found = self._try(place, query, points, focal)
            if best.keyframe < 0 or found.rank > best.rank:
                best = found
        return best

    def _try(
        self, place: int, query: ExtractedFeatures, points: FloatArray, focal: float
    ) -> Localization:
        keyframe = self._map.keyframes[place]
        found = self._matcher.match_features(self._extracted(place), query)
        rows0: IntArray = found.indices0
        usable = keyframe.has_landmark[rows0] & np.isfinite(points[found.indices1]).all(axis=1)
        landmarks, seen = keyframe.landmarks[rows0[usable]], points[found.indices1[usable]]
        count, config = len(landmarks), self._config
        if count < config.min_inliers:
            reason = f"{count} landmarks matched, {config.min_inliers} needed"
            return Localization(None, None, 0, count, place, reason)
        threshold = config.inlier_threshold_px / focal
        pose = estimate_pose(landmarks, seen, threshold, min_inliers=config.min_inliers)
        if pose.ok:
            noise = config.inlier_threshold_px / 3 / focal
            pose = refine_pose(landmarks, seen, pose.pose, noise, threshold=threshold)
        inliers = int(pose.inliers.sum())
        reason = pose.reason
        if not reason and inliers < config.min_inliers:
            reason = f"{inliers} landmarks agree, {config.min_inliers} needed"
        if not reason and inliers < config.min_inlier_ratio * count:
            reason = f"{inliers} of {count} matched landmarks agree"
        if reason:
            return Localization(None, None, inliers, count, place, reason)
        return Localization(pose.pose, pose.covariance, inliers, count, place)

    def _extracted(self, place: int) -> ExtractedFeatures:
        """A keyframe's features on the device; those used last stay there."""
        if place not in self._encoded:
            features = self._map.keyframes[place].features
            self._encoded[place] = self._matcher.encode_features(features)
            if len(self._encoded) > _KEPT_ENCODED:
                self._encoded.popitem(last=False)
        self._encoded.move_to_end(place)
        return self._encoded[place]
