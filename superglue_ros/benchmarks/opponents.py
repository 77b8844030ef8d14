"""Other implementations and methods, as pieces of work that are timed beside ours."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from superglue_ros.errors import SuperGlueRosError
from superglue_ros.evaluation.lightglue import EXTRACTORS, lightglue_method
from superglue_ros.networks.config import MatcherConfig
from superglue_ros.networks.device import choose_device
from superglue_ros.networks.keypoints import SuperPointConfig
from superglue_ros.networks.superglue import SuperGlueConfig
from superglue_ros.networks.superpoint import exact_convolutions
from superglue_ros.types import ImageArray

REFERENCE_WEIGHTS = ("superpoint_v1.pth", "superglue_outdoor.pth")
"""Of a checkout of the reference implementation, in its models/weights."""

TRANSFORMERS = "transformers"

FEATURES, MATCHING = "features of one image", "matching, both sides"
PAIR, LIVE = "pair of images", "frame against a keyframe"
"""Pieces of work; LIVE is a new image and its matches with one whose features are known."""

Work = dict[str, Callable[[], Any]]


@dataclass(frozen=True)
class Opponent:
    """Another implementation: its pieces of work on two images, by name.

    our_options: fields of MatcherConfig with which ours compute the same, if they can;
    our_layers: of an untrained SuperGlue that takes as long as its network, None for ours.
    """

    name: str
    work: Callable[[ImageArray, ImageArray], Work]
    our_options: Mapping[str, Any] = field(default_factory=dict)
    our_layers: int | None = None


def open_opponent(word: str, config: MatcherConfig) -> Opponent:
    """The opponent of a word of the command line, or of a checkout's folder.

    SuperGlueRosError where what it needs is missing.
    """
    if word == TRANSFORMERS:
        return transformers_model(config)
    if word in EXTRACTORS:
        return lightglue(word, config)
    return reference_checkout(Path(word), config)


def reference_checkout(folder: Path, config: MatcherConfig) -> Opponent:
    """The reference implementation of a checkout, with the weights that lie in it.

    SuperGlueRosError where the folder holds no such checkout, or not its weights.
    """
    weights = [folder / "models" / "weights" / name for name in REFERENCE_WEIGHTS]
    for file in (folder / "models" / "superglue.py", *weights):
        if not file.is_file():
            raise SuperGlueRosError(f"{folder} is no checkout of the reference: {file} is missing")
    sys.path.insert(0, str(folder.resolve()))
    try:
        detector_module = importlib.import_module("models.superpoint")
        matcher_module = importlib.import_module("models.superglue")
        detector = detector_module.SuperPoint(
            {
                "max_keypoints": config.max_keypoints,
                "keypoint_threshold": config.keypoint_threshold,
                "nms_radius": _published_radius(config),
            }
        )
        matcher = matcher_module.SuperGlue(
            {
                "weights": "outdoor",
                "sinkhorn_iterations": config.sinkhorn_iterations,
                "match_threshold": config.match_threshold,
            }
        )
    except Exception as error:
        raise SuperGlueRosError(f"the reference in {folder} does not start: {error}") from error
    finally:
        sys.path.remove(str(folder.resolve()))
    device = choose_device(config.device)
    detector, matcher = detector.eval().to(device), matcher.eval().to(device)

    def work(image0: ImageArray, image1: ImageArray) -> Work:
        def detect(side: int) -> dict[str, Tensor]:
            tensor = image_tensor((image0, image1)[side], device)
            found = detector({"image": tensor})
            data = {f"{key}{side}": torch.stack(tuple(value)) for key, value in found.items()}
            return {**data, f"image{side}": tensor}

        known, new = detect(0), detect(1)
        return {
            FEATURES: _exactly(lambda: detect(1)),
            MATCHING: _exactly(lambda: matcher({**known, **new})),
            PAIR: _exactly(lambda: matcher({**detect(0), **detect(1)})),
            LIVE: _exactly(lambda: matcher({**known, **detect(1)})),
        }

    same = {"superpoint": str(weights[0]), "superglue": str(weights[1])}
    return Opponent(str(folder), work, {**same, "nms_radius": _published_radius(config)})


def transformers_model(config: MatcherConfig) -> Opponent:
    """SuperGlue of the transformers package, of 18 layers and untrained, which changes no time.

    It takes pairs of images alone. SuperGlueRosError where the package is missing.
    """
    try:
        package = importlib.import_module("transformers")
    except ImportError as error:
        raise SuperGlueRosError(f"transformers is not installed: {error}") from error
    detector = package.SuperPointConfig(
        max_keypoints=config.max_keypoints,
        keypoint_threshold=config.keypoint_threshold,
        nms_radius=_published_radius(config),
    )
    settings = package.SuperGlueConfig(
        keypoint_detector_config=detector,
        sinkhorn_iterations=config.sinkhorn_iterations,
        matching_threshold=config.match_threshold,
    )
    device = choose_device(config.device)
    model = package.SuperGlueForKeypointMatching(settings).eval().to(device)

    def work(image0: ImageArray, image1: ImageArray) -> Work:
        sides = [image_tensor(image, device)[0].expand(3, -1, -1) for image in (image0, image1)]
        run = _exactly(lambda: model(pixel_values=torch.stack(sides)[None]))
        return {PAIR: run, LIVE: run}

    return Opponent(
        f"transformers {package.__version__}",
        work,
        {"nms_radius": _published_radius(config)},
        SuperGlueConfig().num_layers,
    )


def lightglue(word: str, config: MatcherConfig) -> Opponent:
    """ALIKED or DISK with LightGlue, by a word of `EXTRACTORS`; ours runs as it is shipped.

    SuperGlueRosError where the package is missing.
    """
    method = lightglue_method(word, config)

    def work(image0: ImageArray, image1: ImageArray) -> Work:
        detect, match = method.detector.detect, method.match
        known, new = detect(image0), detect(image1)
        return {
            FEATURES: _exactly(lambda: detect(image1)),
            MATCHING: _exactly(lambda: match(known, new)),
            PAIR: _exactly(lambda: match(detect(image0), detect(image1))),
            LIVE: _exactly(lambda: match(known, detect(image1))),
        }

    return Opponent(method.name, work)


def _exactly(function: Callable[[], Any]) -> Callable[[], Any]:
    """In float32 that a GPU does not round to TF32, as ours."""

    def run() -> Any:
        with exact_convolutions():
            return function()

    return run


def _published_radius(config: MatcherConfig) -> int:
    """The radius of the suppression as published weights have it, or the config's."""
    return SuperPointConfig(**config.superpoint_options()).nms_radius


def image_tensor(image: ImageArray, device: torch.device) -> Tensor:
    """(1, 1, H, W) float32 in [0, 1] of a gray (H, W) uint8 image."""
    return torch.from_numpy(image).to(device)[None, None].float() / 255
