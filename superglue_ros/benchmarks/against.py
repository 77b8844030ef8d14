"""Other implementations beside ours: the same work on the same inputs, in turns, in one run."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from superglue_ros.benchmarks.speed import noise_image, untrain
from superglue_ros.errors import SuperGlueRosError
from superglue_ros.matching import ImageMatcher, MatcherConfig
from superglue_ros.networks.keypoints import SuperPointConfig
from superglue_ros.networks.superglue import SuperGlueConfig
from superglue_ros.networks.superglue_inference import EncodedKeypoints
from superglue_ros.networks.superpoint import exact_convolutions
from superglue_ros.types import UNMATCHED, ImageArray

REFERENCE_WEIGHTS = ("superpoint_v1.pth", "superglue_outdoor.pth")
"""Of a checkout of the reference implementation, in its models/weights."""

_SHIFT_PX = (8, 16)

SUPERPOINT, SUPERGLUE, PAIR = "SuperPoint, one image", "SuperGlue, both sides", "pair of images"


@dataclass(frozen=True)
class Comparison:
    """Median, least and most milliseconds of one piece of work, theirs and ours.

    same_matches_percent: of the keypoints either matches, those that both match alike; None where
    the work says nothing of matches.
    """

    work: str
    width: int
    height: int
    keypoints: int
    iterations: int
    precision: str
    their_ms: float
    their_range_ms: tuple[float, float]
    our_ms: float
    our_range_ms: tuple[float, float]
    same_matches_percent: float | None

    @property
    def times_faster(self) -> float:
        """Their median over ours."""
        return self.their_ms / self.our_ms


@dataclass(frozen=True)
class Opponent:
    """Another implementation: its pieces of work on two images, by name, and weights files that
    ours take to compute the same."""

    name: str
    superpoint: str
    superglue: str
    work: Callable[[ImageArray, ImageArray], dict[str, Callable[[], Any]]]


def reference_checkout(folder: Path, config: MatcherConfig, device: torch.device) -> Opponent:
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
                "nms_radius": _published(config).nms_radius,
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
    detector, matcher = detector.eval().to(device), matcher.eval().to(device)

    def work(image0: ImageArray, image1: ImageArray) -> dict[str, Callable[[], Any]]:
        tensors = [_tensor(image, device) for image in (image0, image1)]
        data: dict[str, Tensor] = {}
        for i, tensor in enumerate(tensors):
            found = detector({"image": tensor})
            data |= {f"{key}{i}": torch.stack(tuple(value)) for key, value in found.items()}
            data[f"image{i}"] = tensor
        return {
            SUPERPOINT: _exactly(lambda: detector({"image": tensors[1]})),
            SUPERGLUE: _exactly(lambda: matcher(data)),
        }

    return Opponent(str(folder), str(weights[0]), str(weights[1]), work)


def _exactly(function: Callable[[], Any]) -> Callable[[], Any]:
    """In float32 that a GPU does not round to TF32, as ours."""

    def run() -> Any:
        with exact_convolutions():
            return function()

    return run


def transformers_model(config: MatcherConfig, device: torch.device) -> Opponent:
    """SuperGlue of the transformers package, of 18 layers and untrained, which changes no time.

    SuperGlueRosError where the package is missing.
    """
    try:
        package = importlib.import_module("transformers")
    except ImportError as error:
        raise SuperGlueRosError(f"transformers is not installed: {error}") from error
    detector = package.SuperPointConfig(
        max_keypoints=config.max_keypoints,
        keypoint_threshold=config.keypoint_threshold,
        nms_radius=_published(config).nms_radius,
    )
    settings = package.SuperGlueConfig(
        keypoint_detector_config=detector,
        sinkhorn_iterations=config.sinkhorn_iterations,
        matching_threshold=config.match_threshold,
    )
    model = package.SuperGlueForKeypointMatching(settings).eval().to(device)

    def work(image0: ImageArray, image1: ImageArray) -> dict[str, Callable[[], Any]]:
        pair = torch.stack([_tensor(i, device)[0].expand(3, -1, -1) for i in (image0, image1)])
        return {PAIR: _exactly(lambda: model(pixel_values=pair[None]))}

    return Opponent(f"transformers {package.__version__}", "", "", work)


@torch.inference_mode()
def compare_speed(
    opponent: Opponent, matcher: ImageMatcher, size: tuple[int, int], runs: int, warmup: int = 2
) -> list[Comparison]:
    """Time both in turns on two views of noise of `size` (width, height), shifted by some pixels.

    Ours encode both sides of SuperGlue, as theirs do, though a keyframe's would be kept.
    ValueError for less than one run.
    """
    if runs < 1:
        raise ValueError(f"runs must be at least 1, not {runs}")
    image = noise_image(size, 0)
    images = image, np.roll(image, _SHIFT_PX, axis=(0, 1))
    theirs = opponent.work(*images)
    ours = _our_work(matcher, *images)
    times: dict[tuple[str, int], list[float]] = {}
    for run in range(warmup + runs):
        for name in theirs:
            for side, function in enumerate((theirs[name], ours[name])):
                started = time.perf_counter()
                function()
                if matcher.device == "cuda":
                    torch.cuda.synchronize()
                if run >= warmup:
                    elapsed = (time.perf_counter() - started) * 1e3
                    times.setdefault((name, side), []).append(elapsed)
    keypoints = len(matcher.extract(images[1]))
    iterations = matcher.config.sinkhorn_iterations

    def spread(values: list[float]) -> tuple[float, tuple[float, float]]:
        return float(np.median(values)), (min(values), max(values))

    return [
        Comparison(
            name,
            *size,
            keypoints,
            iterations,
            matcher.precision,
            *spread(times[name, 0]),
            *spread(times[name, 1]),
            _same_matches(theirs[name](), ours[name]()),
        )
        for name in theirs
    ]


def _same_matches(theirs: Any, ours: Any) -> float | None:
    if not isinstance(theirs, dict) or "matches0" not in theirs:
        return None
    one, other = theirs["matches0"][0].cpu(), ours.indices0[0].cpu()
    if one.shape != other.shape:
        return 0.0
    either = (one != UNMATCHED) | (other != UNMATCHED)
    return 100.0 * float((one == other)[either].float().mean()) if either.any() else None


def _our_work(
    matcher: ImageMatcher, image0: ImageArray, image1: ImageArray
) -> dict[str, Callable[[], Any]]:
    network, glue = matcher.superpoint, matcher.superglue
    device = torch.device(matcher.device)
    tensors = [_tensor(image, device) for image in (image0, image1)]
    size = (image0.shape[1], image0.shape[0])
    found = [network(tensor) for tensor in tensors]

    def encode(side: int) -> EncodedKeypoints:
        keypoints = found[side]
        return glue.encode(keypoints.keypoints, keypoints.scores, keypoints.descriptors, size)

    return {
        SUPERPOINT: lambda: network(tensors[1]),
        SUPERGLUE: lambda: glue(encode(0), encode(1)),
        PAIR: lambda: matcher.match(image0, image1),
    }


def _published(config: MatcherConfig) -> SuperPointConfig:
    """How published weights find keypoints with a config's options."""
    return SuperPointConfig(**config.superpoint_options())


def matcher_beside(opponent: Opponent, config: MatcherConfig) -> ImageMatcher:
    """Ours with the opponent's weights, or where it has no files as untrained as its network."""
    ours = ImageMatcher.from_config(
        replace(
            config,
            superpoint=opponent.superpoint,
            superglue=opponent.superglue,
            nms_radius=_published(config).nms_radius,
        )
    )
    if not opponent.superglue:
        untrain(ours, SuperGlueConfig().num_layers)
    return ours


def _tensor(image: ImageArray, device: torch.device) -> Tensor:
    return torch.from_numpy(image).to(device)[None, None].float() / 255
