"""Images in, matches out: SuperPoint and SuperGlue on one device."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from superglue_ros.engines.cuda_graphs import CapturedNetworks
from superglue_ros.engines.exported import open_engine
from superglue_ros.errors import DeviceError, ImageError
from superglue_ros.matching.turning import turn_image, turn_points
from superglue_ros.networks.config import MatcherConfig
from superglue_ros.networks.device import choose_device, use_threads
from superglue_ros.networks.keypoints import Keypoints
from superglue_ros.networks.pair import load_networks
from superglue_ros.networks.superglue_inference import EncodedKeypoints, FoldedSuperGlue
from superglue_ros.types import UNMATCHED, Features, FloatArray, ImageArray, IntArray

MIN_SIDE = 16
"""Smallest image side in pixels that can be matched."""


@dataclass(frozen=True)
class ImageMatches:
    """What two images share; the arrays of an `.npz` of `superglue_ros match`.

    keypoints (N, 2) in pixels of the image as given, scores (N,), descriptors (N, 256);
    matches0 (N0,): index into keypoints1 or UNMATCHED; confidence0 (N0,) in [0, 1].
    """

    keypoints0: FloatArray
    keypoints1: FloatArray
    scores0: FloatArray
    scores1: FloatArray
    descriptors0: FloatArray
    descriptors1: FloatArray
    matches0: IntArray
    confidence0: FloatArray


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

    image_size and points are of the image as given: (width, height), (N, 2) float32 pixels.
    """

    image_size: tuple[int, int]
    points: FloatArray
    scores: Tensor
    descriptors: Tensor
    encoded: EncodedKeypoints

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


@dataclass(frozen=True)
class TurnedMatches:
    """An image's features in one of four turns, and its matches to a keyframe."""

    extracted: ExtractedFeatures
    matches: FeatureMatches
    quarter_turns: int


class ImageMatcher:
    """SuperPoint and SuperGlue with their weights on one device, in torch or an exported engine.

    Keyword arguments are the fields of `MatcherConfig`; paths may be Path, and None stands for
    the default. `threads` holds for the whole process. Raises ValueError for one out of range,
    CheckpointError for wrong weights, DeviceError for a device or precision that is not there,
    EngineError for an engine that does not load.
    """

    def __init__(self, **options: Any) -> None:
        given: dict[str, Any] = {
            name: str(value) if isinstance(value, Path) else value
            for name, value in options.items()
            if value is not None
        }
        self.config = MatcherConfig(**given)
        self._device = choose_device(self.config.device)
        use_threads(self.config.threads)
        load = open_engine if self.config.engine else load_networks
        networks = load(self.config, self._device)
        self.superpoint, self.superglue = networks.superpoint, networks.superglue
        self.device = str(self._device)
        self.precision = networks.precision
        self.model = networks.model
        self.weights_hash = networks.weights_hash
        self._captured: CapturedNetworks | None = None
        if self.config.cuda_graphs:
            if self._device.type != "cuda":
                raise DeviceError("cuda_graphs need a GPU; the device is the CPU")
            if importlib.util.find_spec("triton") is None:
                raise DeviceError("cuda_graphs need the package triton, which is not installed")
            self._captured = CapturedNetworks(self.superpoint, self.superglue)

    def replace_superglue(self, network: FoldedSuperGlue) -> None:
        """Match by another network of the same descriptors, on the matcher's device already."""
        self.superglue = network
        if self._captured is not None:
            self._captured = CapturedNetworks(self.superpoint, network)

    @classmethod
    def from_config(cls, config: MatcherConfig) -> ImageMatcher:
        """A matcher with the options of a config."""
        return cls(**vars(config))

    @torch.inference_mode()
    def extract(self, image: ImageArray, quarter_turns: int = 0) -> ExtractedFeatures:
        """Features of a gray (H, W) or BGR (H, W, 3) uint8 image; ImageError for any other.

        quarter_turns: the networks see the image turned by so many, counter-clockwise; points are
        of the image as given all the same.
        """
        gray = turn_image(as_gray(image), quarter_turns)
        height, width = gray.shape
        shrunk = shrink(gray, self.config.resize)
        size = (shrunk.shape[1], shrunk.shape[0])
        result, encoded = self._describe(shrunk)
        # Number and places in one piece: each way back from a GPU takes a while.
        found = torch.cat((result.counts[:1].float(), result.keypoints[0].flatten())).cpu().numpy()
        count = int(found[0])
        keypoints = found[1 : 1 + 2 * count].reshape(count, 2)
        scores, descriptors = result.scores[0, :count], result.descriptors[0, :count]
        # Pixel (0, 0) is a centre, so scaling is about the image's corner at (-0.5, -0.5).
        factor = np.array((width / size[0], height / size[1]), np.float32)
        turned = (keypoints + np.float32(0.5)) * factor - np.float32(0.5)
        points = turn_points(turned, (width, height), -quarter_turns)
        given = (width, height) if quarter_turns % 2 == 0 else (height, width)
        return ExtractedFeatures(given, points, scores, descriptors, encoded)

    def _describe(self, gray: ImageArray) -> tuple[Keypoints, EncodedKeypoints]:
        """Keypoints, padded or not, and SuperGlue's side of them."""
        if self._captured is not None:
            return self._captured.extract(gray)
        tensor = torch.from_numpy(gray).to(self._device, non_blocking=True)
        found = self.superpoint(tensor[None, None].float() / 255)
        count = int(found.counts[0])
        keypoints, scores = found.keypoints[:, :count], found.scores[:, :count]
        descriptors = found.descriptors[:, :count]
        size = (gray.shape[1], gray.shape[0])
        return found, self.superglue.encode(keypoints, scores, descriptors, size)

    @torch.inference_mode()
    def encode_features(self, features: Features) -> ExtractedFeatures:
        """Features that were extracted before, as of a map, on the device again; DeviceError with
        cuda_graphs, which take those of their own alone."""
        if self._captured is not None:
            raise DeviceError("stored features cannot be matched with cuda_graphs")
        keypoints, scores, descriptors = (
            torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(self._device)
            for values in (features.keypoints, features.scores, features.descriptors)
        )
        encoded = self.superglue.encode(
            keypoints[None], scores[None], descriptors[None], features.image_size
        )
        points = np.asarray(features.keypoints, np.float32)
        return ExtractedFeatures(features.image_size, points, scores, descriptors, encoded)

    @torch.inference_mode()
    def match_features(
        self, keyframe: ExtractedFeatures, frame: ExtractedFeatures
    ) -> FeatureMatches:
        """Matches of extracted features, in the order of the keyframe's."""
        matching = self.superglue if self._captured is None else self._captured.match
        assignment = matching(keyframe.encoded, frame.encoded)
        both = torch.stack((assignment.indices0[0].float(), assignment.confidences0[0])).cpu()
        indices0 = torch.nonzero(both[0] != UNMATCHED)[:, 0]
        matched = both[:, indices0].numpy()
        return FeatureMatches(
            indices0.numpy().astype(np.int32), matched[0].astype(np.int32), matched[1]
        )

    def retry_turned(
        self, keyframe: ExtractedFeatures, image: ImageArray, first: TurnedMatches, least: int
    ) -> TurnedMatches:
        """The first matches of an image to a keyframe, or where they are fewer than `least` those
        of the turn that has most and so many, if there is one.

        A turn is tried only where both have keypoints enough.
        """
        if not len(first.matches) < least <= min(len(keyframe), len(first.extracted)):
            return first
        others = []
        for further in (1, 2, 3):
            turns = (first.quarter_turns + further) % 4
            extracted = self.extract(image, turns)
            matches = self.match_features(keyframe, extracted)
            others.append(TurnedMatches(extracted, matches, turns))
        best = max(others, key=lambda turned: len(turned.matches))
        return best if len(best.matches) >= least else first

    def match(
        self, image0: ImageArray, image1: ImageArray, rotation_retry: int = 0
    ) -> ImageMatches:
        """Matches of two images, gray (H, W) or BGR (H, W, 3) uint8; ImageError for any other.

        rotation_retry: where there are fewer, the second image is matched turned by 90, 180 and
        270 degrees, too, and the best is kept if it has so many (`retry_turned`). ValueError for
        one below 0.
        """
        if rotation_retry < 0:
            raise ValueError(f"rotation_retry is a number of matches, not {rotation_retry}")
        extracted0, extracted1 = self.extract(image0), self.extract(image1)
        first = TurnedMatches(extracted1, self.match_features(extracted0, extracted1), 0)
        best = self.retry_turned(extracted0, image1, first, rotation_retry)
        extracted1, found = best.extracted, best.matches
        matches0 = np.full(len(extracted0), UNMATCHED, np.int64)
        confidence0 = np.zeros(len(extracted0), np.float32)
        matches0[found.indices0] = found.indices1
        confidence0[found.indices0] = found.confidences
        f0, f1 = extracted0.features, extracted1.features
        return ImageMatches(
            f0.keypoints,
            f1.keypoints,
            f0.scores,
            f1.scores,
            f0.descriptors,
            f1.descriptors,
            matches0,
            confidence0,
        )


def as_gray(image: ImageArray) -> ImageArray:
    """A gray (H, W) uint8 image of a gray or BGR one; ImageError for any other."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise ImageError(f"an image must be a uint8 array, not {kind}")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ImageError(f"an image must be (H, W) or (H, W, 3), not {image.shape}")
    if min(image.shape[:2]) < MIN_SIDE:
        height, width = image.shape[:2]
        raise ImageError(f"an image of {width} x {height} is under {MIN_SIDE} pixels a side")
    if image.ndim == 3:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
    # torch wants to write where it reads: pixels that view a message are copied.
    return np.require(image, requirements=("C", "W"))


def shrink(image: ImageArray, longer_side: int) -> ImageArray:
    """The image with its longer side at most `longer_side`; 0 leaves it as it is."""
    factor = longer_side / max(image.shape[:2])
    if longer_side == 0 or factor >= 1:
        return image
    height, width = (max(round(side * factor), MIN_SIDE) for side in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
