"""Images in, matches out: SuperPoint and SuperGlue on one device."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch

from superglue_ros.engines.cuda_graphs import CapturedNetworks
from superglue_ros.engines.exported import open_engine
from superglue_ros.errors import DeviceError
from superglue_ros.matching.alignment import refine_points
from superglue_ros.matching.images import as_gray, shrink
from superglue_ros.matching.results import ExtractedFeatures, FeatureMatches, ImageMatches
from superglue_ros.matching.turning import turn_image, turn_points
from superglue_ros.networks.config import MatcherConfig
from superglue_ros.networks.device import choose_device, use_threads
from superglue_ros.networks.keypoints import Keypoints
from superglue_ros.networks.pair import load_networks
from superglue_ros.networks.superglue_inference import EncodedKeypoints, FoldedSuperGlue
from superglue_ros.types import UNMATCHED, Features, FloatArray, ImageArray


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
        return ExtractedFeatures(given, points, scores, descriptors, encoded, quarter_turns % 4)

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

    def refine(
        self,
        image0: ImageArray,
        image1: ImageArray,
        points0: FloatArray,
        points1: FloatArray,
        quarter_turns: int = 0,
    ) -> FloatArray:
        """Matched points1 (M, 2) of image1, moved by some tenths of a pixel to where it looks as
        image0 does at points0 (M, 2); as they are without `refine`. ImageError as `extract`.

        quarter_turns: of image1, counter-clockwise, after which it looks as image0 does.
        """
        if not self.config.refine or not len(points0):
            return points1
        # At the size that the networks saw: there points are off by less than a pixel.
        gray0, gray1 = (shrink(as_gray(image), self.config.resize) for image in (image0, image1))
        scale0, scale1 = (
            np.array(gray.shape[::-1]) / image.shape[1::-1]
            for gray, image in ((gray0, image0), (gray1, image1))
        )
        upright = turn_image(gray1, quarter_turns)
        start = turn_points((points1 + 0.5) * scale1 - 0.5, gray1.shape[::-1], quarter_turns)
        found = refine_points(gray0, upright, (points0 + 0.5) * scale0 - 0.5, start)
        back = turn_points(found, upright.shape[::-1], -quarter_turns)
        return ((back + 0.5) / scale1 - 0.5).astype(np.float32)

    def retry_turned(
        self,
        keyframe: ExtractedFeatures,
        image: ImageArray,
        extracted: ExtractedFeatures,
        matches: FeatureMatches,
        least: int,
    ) -> tuple[ExtractedFeatures, FeatureMatches]:
        """An image's features and matches to a keyframe, or where these are fewer than `least`
        those of the turn that has most and so many, if there is one.

        A turn is tried only where both have keypoints enough.
        """
        if not len(matches) < least <= min(len(keyframe), len(extracted)):
            return extracted, matches
        others = []
        for further in (1, 2, 3):
            turned = self.extract(image, extracted.quarter_turns + further)
            others.append((turned, self.match_features(keyframe, turned)))
        best = max(others, key=lambda turned: len(turned[1]))
        return best if len(best[1]) >= least else (extracted, matches)

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
        found = self.match_features(extracted0, extracted1)
        extracted1, found = self.retry_turned(
            extracted0, image1, extracted1, found, rotation_retry
        )
        matches0 = np.full(len(extracted0), UNMATCHED, np.int64)
        confidence0 = np.zeros(len(extracted0), np.float32)
        matches0[found.indices0] = found.indices1
        confidence0[found.indices0] = found.confidences
        points1 = np.full((len(extracted0), 2), np.nan, np.float32)
        points1[found.indices0] = self.refine(
            image0,
            image1,
            extracted0.points[found.indices0],
            extracted1.points[found.indices1],
            extracted1.quarter_turns,
        )
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
            points1,
        )
