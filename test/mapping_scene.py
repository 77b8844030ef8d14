"""A synthetic scene of described points, and a matcher of images that name their pose."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from odometry_world import CAMERA, PERIOD_NS, box_of_points, straight

from superglue_ros.geometry import project_points
from superglue_ros.mapping import KeyframeMap, MapBuilder
from superglue_ros.matching import FeatureMatches, KeyframeMatcher, KeyframePolicy
from superglue_ros.types import Features, Frame, Pose

POINTS = box_of_points(3000)
POSES = straight(30)


class Scene:
    """A matcher of images that name the pose they are taken from: image[0, 0] is its number."""

    device, precision, model, weights_hash = "cpu", "float32", "scene", "abc"

    def __init__(self, poses: list[Pose], seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.poses = poses
        described = rng.normal(size=(len(POINTS), 64))
        self._described = described / np.linalg.norm(described, axis=1, keepdims=True)

    def extract(self, image: Any) -> Any:
        number = int(image[0, 0])
        rng, pose = np.random.default_rng(number), self.poses[number]
        pixels = project_points((POINTS - pose.position) @ pose.rotation, CAMERA)
        with np.errstate(invalid="ignore"):
            inside = ((pixels >= 0) & (pixels <= [639, 479])).all(axis=1)
        ids = rng.permutation(np.flatnonzero(inside)[:400])
        points = (pixels[ids] + 0.3 * rng.normal(size=(len(ids), 2))).astype(np.float32)
        described = self._described[ids] + 0.01 * rng.normal(size=(len(ids), 64))
        return Extracted(Features((640, 480), points, np.ones(len(ids)), described))

    def encode_features(self, features: Features) -> Any:
        return Extracted(features)

    def match_features(self, first: Any, second: Any) -> FeatureMatches:
        alike = first.features.descriptors @ second.features.descriptors.T
        best = alike.argmax(axis=1)
        rows = np.flatnonzero(
            (alike.max(axis=1) > 0.8) & (alike.argmax(axis=0)[best] == range(len(best)))
        )
        return FeatureMatches(rows, best[rows], np.ones(len(rows), np.float32))

    def refine(self, image0: Any, image1: Any, points0: Any, points1: Any, *_: Any) -> Any:
        return points1


class Extracted(SimpleNamespace):
    def __init__(self, features: Features) -> None:
        super().__init__(features=features, points=features.keypoints, image_size=(640, 480))

    def __len__(self) -> int:
        return len(self.features)


def frame_of(number: int) -> Frame:
    return Frame(np.full((480, 640), number, np.uint8), number * PERIOD_NS, camera=CAMERA)


def make_map() -> KeyframeMap:
    """Of every second pose, at the true poses."""
    scene = Scene(POSES)
    matcher = KeyframeMatcher(scene, KeyframePolicy(min_ratio=0.7))  # type: ignore[arg-type]
    builder = MapBuilder(matcher)
    for number in range(0, len(POSES), 2):
        frame = frame_of(number)
        builder.add(frame, matcher.process(frame))
    poses = {number * PERIOD_NS: pose for number, pose in enumerate(POSES)}
    return builder.finish(poses, True)
