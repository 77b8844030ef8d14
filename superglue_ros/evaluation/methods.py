"""Matching methods that are compared: ours, nearest neighbours, SIFT and ORB."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from superglue_ros.matching import ExtractedFeatures, ImageMatcher, MatcherConfig
from superglue_ros.matching.images import as_gray, shrink
from superglue_ros.types import FloatArray, ImageArray, IntArray

SIFT_RATIO = 0.8
BASELINE_KEYPOINTS = 2048
ALL_KEYPOINTS = 16384
"""Where there is no limit; ORB needs one."""


@dataclass(frozen=True)
class Detected:
    """Keypoints (N, 2) pixels and descriptors (N, D) of one image, and how long they took.

    extracted: what the method's own matcher takes.
    """

    keypoints: FloatArray
    descriptors: NDArray[Any]
    extracted: Any = None
    milliseconds: float = 0.0

    def __len__(self) -> int:
        return len(self.keypoints)


@dataclass(frozen=True)
class Matched:
    """Matched indices (M,) into two keypoint lists, confidences (M,) in [0, 1], and how long they
    took; refined (M, 2): pixels of the second image, None where they are its keypoints'."""

    indices0: IntArray
    indices1: IntArray
    confidences: FloatArray
    milliseconds: float = 0.0
    refined: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.indices0)

    def points(self, first: Detected, second: Detected) -> tuple[FloatArray, FloatArray]:
        """(M, 2) pixels in each of the two images that were matched."""
        points1 = second.keypoints[self.indices1] if self.refined is None else self.refined
        return first.keypoints[self.indices0], points1


class Detector(Protocol):
    """Finds keypoints and describes them; methods that share one share its work."""

    def detect(self, image: ImageArray) -> Detected: ...


@dataclass(frozen=True)
class Method:
    """A name for tables, a detector, and how two of its results are matched."""

    name: str
    detector: Detector
    match: Callable[[Detected, Detected], Matched]


@dataclass(frozen=True)
class ExtractedImage:
    """An image and our features of it."""

    features: ExtractedFeatures
    image: ImageArray


class SuperPointDetector:
    """Keypoints and descriptors of an `ImageMatcher`."""

    def __init__(self, matcher: ImageMatcher) -> None:
        self.matcher = matcher

    def detect(self, image: ImageArray) -> Detected:
        """Features of a gray or BGR image."""
        extracted = self.matcher.extract(image)
        features = extracted.features
        return Detected(features.keypoints, features.descriptors, ExtractedImage(extracted, image))

    def match(self, first: Detected, second: Detected) -> Matched:
        """SuperGlue's matches; raises ValueError for features of another detector."""
        side0, side1 = first.extracted, second.extracted
        if not isinstance(side0, ExtractedImage) or not isinstance(side1, ExtractedImage):
            raise ValueError("SuperGlue takes features of SuperPointDetector")
        found = self.matcher.match_features(side0.features, side1.features)
        matched = Matched(found.indices0, found.indices1, found.confidences)
        points0, points1 = matched.points(first, second)
        refined = self.matcher.refine(side0.image, side1.image, points0, points1)
        return replace(matched, refined=refined)


class OpenCvDetector:
    """Keypoints and descriptors of an OpenCV detector, the strongest `limit` of them; images are
    shrunk to `resize` pixels of their longer side first, as ours are, 0 leaves them."""

    def __init__(self, detector: cv2.Feature2D, limit: int, resize: int = 0) -> None:
        self._detector = detector
        self._limit = limit
        self._resize = resize

    def detect(self, image: ImageArray) -> Detected:
        """Features of a gray or BGR image."""
        gray = as_gray(image)
        small = shrink(gray, self._resize)
        keypoints, descriptors = self._detector.detectAndCompute(small, None)
        if descriptors is None or not len(keypoints):
            return Detected(np.zeros((0, 2)), np.zeros((0, 1), np.float32))
        order = np.argsort([-keypoint.response for keypoint in keypoints], kind="stable")
        points = np.array(cv2.KeyPoint.convert(keypoints), float).reshape(-1, 2)
        kept = order[: self._limit]
        factors = np.array([gray.shape[1] / small.shape[1], gray.shape[0] / small.shape[0]])
        points = (points + 0.5) * factors - 0.5
        return Detected(points[kept], np.asarray(descriptors)[kept])


def match_mutual_nearest(first: Detected, second: Detected) -> Matched:
    """Pairs of unit descriptors that are each other's nearest; confidence is their similarity."""
    if not len(first) or not len(second):
        return _nothing()
    similarity = first.descriptors @ second.descriptors.T
    rows, columns = _mutual(similarity)
    return Matched(rows, columns, np.clip(similarity[rows, columns], 0, 1))


def match_ratio(first: Detected, second: Detected) -> Matched:
    """Nearest neighbours of float descriptors that pass Lowe's ratio test of 0.8 (Lowe 2004)."""
    if not len(first) or len(second) < 2:
        return _nothing()
    a, b = first.descriptors, second.descriptors
    squares = np.sum(a**2, axis=1)[:, None] + np.sum(b**2, axis=1)[None] - 2 * a @ b.T
    nearest_two = np.argpartition(squares, 1, axis=1)[:, :2]
    distances = np.sqrt(np.maximum(np.take_along_axis(squares, nearest_two, axis=1), 0))
    ratio = distances[:, 0] / np.maximum(distances[:, 1], 1e-12)
    rows = np.flatnonzero(ratio < SIFT_RATIO)
    return Matched(rows, nearest_two[rows, 0], 1 - ratio[rows])


def match_hamming(first: Detected, second: Detected) -> Matched:
    """Pairs of binary descriptors (N, D) uint8 that are each other's nearest by Hamming."""
    if not len(first) or not len(second):
        return _nothing()
    # +-1 per bit, so that a product is the number of equal bits less the number of unequal ones.
    bits0, bits1 = (
        2 * np.unpackbits(x.descriptors, axis=1).astype(np.float32) - 1 for x in (first, second)
    )
    similarity = (bits0 @ bits1.T) / bits0.shape[1]
    rows, columns = _mutual(similarity)
    return Matched(rows, columns, (1 + similarity[rows, columns]) / 2)


def sift_method(limit: int = BASELINE_KEYPOINTS, resize: int = 0) -> Method:
    """OpenCV's SIFT with the ratio test."""
    detector = OpenCvDetector(cv2.SIFT.create(nfeatures=limit), limit, resize)
    return Method("SIFT", detector, match_ratio)


def orb_method(limit: int = BASELINE_KEYPOINTS, resize: int = 0) -> Method:
    """OpenCV's ORB with mutual nearest neighbours."""
    detector = OpenCvDetector(cv2.ORB.create(nfeatures=limit), limit, resize)
    return Method("ORB", detector, match_hamming)


def baselines(config: MatcherConfig) -> list[Method]:
    """SIFT and ORB with our limits: as many keypoints of an image, of the same size."""
    limit = config.max_keypoints if config.max_keypoints >= 0 else ALL_KEYPOINTS
    return [sift_method(limit, config.resize), orb_method(limit, config.resize)]


def limits_text(config: MatcherConfig) -> str:
    """What `max_keypoints` and `resize` allow all methods, in words."""
    count = f"at most {config.max_keypoints}" if config.max_keypoints >= 0 else "all"
    size = f"shrunk to {config.resize} px" if config.resize else "as they are"
    return f"all methods: {count} keypoints of an image, images {size}"


def our_methods(matcher: ImageMatcher) -> list[Method]:
    """SuperGlue, and mutual nearest neighbours on the same features."""
    detector = SuperPointDetector(matcher)
    return [
        Method("SuperPoint+SuperGlue", detector, detector.match),
        nearest_neighbour_method(detector),
    ]


def nearest_neighbour_method(detector: SuperPointDetector) -> Method:
    """Mutual nearest neighbours on our descriptors."""
    return Method("SuperPoint+MNN", detector, match_mutual_nearest)


def _mutual(similarity: FloatArray) -> tuple[IntArray, IntArray]:
    best1 = np.argmax(similarity, axis=1)
    best0 = np.argmax(similarity, axis=0)
    rows = np.flatnonzero(best0[best1] == np.arange(len(best1)))
    return rows, best1[rows]


def _nothing() -> Matched:
    return Matched(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
