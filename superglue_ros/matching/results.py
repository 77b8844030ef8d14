"""What comes of images: their features, and the matches of two."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from superglue_ros.networks.superglue_inference import EncodedKeypoints
from superglue_ros.types import Features, FloatArray, IntArray


@dataclass(frozen=True)
class ImageMatches:
    """What two images share; the arrays of an `.npz` of `superglue_ros match`.

    keypoints (N, 2) in pixels of the image as given, scores (N,), descriptors (N, 256);
    matches0 (N0,): index into keypoints1 or UNMATCHED; confidence0 (N0,) in [0, 1]; points1
    (N0, 2): where in image 1 keypoint i of image 0 is, NaN where unmatched: keypoints1 of its
    match, refined if the matcher refines.
    """

    keypoints0: FloatArray
    keypoints1: FloatArray
    scores0: FloatArray
    scores1: FloatArray
    descriptors0: FloatArray
    descriptors1: FloatArray
    matches0: IntArray
    confidence0: FloatArray
    points1: FloatArray


@dataclass(frozen=True)
class FeatureMatches:
    """Matched indices into two feature lists: indices0, indices1 (M,) int32, confidences (M,)."""

    indices0: IntArray
    indices1: IntArray
    confidences: FloatArray

    def __len__(self) -> int:
        return len(self.indices0)


@dataclass(frozen=True)
class ExtractedFeatures:
    """Features of one image on the device, with SuperGlue's side of them already computed.

    image_size and points are of the image as given: (width, height), (N, 2) float32 pixels;
    quarter_turns: counter-clockwise, that it had when the networks saw it.
    """

    image_size: tuple[int, int]
    points: FloatArray
    scores: Tensor
    descriptors: Tensor
    encoded: EncodedKeypoints
    quarter_turns: int = 0

    def __len__(self) -> int:
        return len(self.points)

    @cached_property
    def features(self) -> Features:
        """The same on the host."""
        return Features(
            self.image_size,
            self.points,
            self.scores.float().cpu().numpy(),
            self.descriptors.float().cpu().numpy(),
        )
