"""Other implementations beside ours: the same work on the same inputs, in turns, in one run."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from superglue_ros.benchmarks.opponents import (
    FEATURES,
    LIVE,
    MATCHING,
    PAIR,
    Opponent,
    Work,
    image_tensor,
)
from superglue_ros.benchmarks.speed import noise_image, untrain
from superglue_ros.matching import ImageMatcher, MatcherConfig
from superglue_ros.networks.superglue_inference import EncodedKeypoints
from superglue_ros.types import UNMATCHED, ImageArray

_SHIFT_PX = (8, 16)


@dataclass(frozen=True)
class Comparison:
    """Median, least and most milliseconds of one piece of work, theirs and ours.

    same_matches_percent: of the keypoints either matches, those that both match alike; None where
    the work says nothing of matches, or the weights differ.
    """

    opponent: str
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


def noise_pair(size: tuple[int, int]) -> tuple[ImageArray, ImageArray]:
    """Two views of noise of (width, height), shifted by some pixels."""
    image = noise_image(size, 0)
    return image, np.roll(image, _SHIFT_PX, axis=(0, 1))


@torch.inference_mode()
def compare_speed(
    opponent: Opponent,
    matcher: ImageMatcher,
    images: tuple[ImageArray, ImageArray],
    runs: int,
    warmup: int = 2,
) -> list[Comparison]:
    """Time both in turns on two gray (H, W) uint8 images of one size.

    ValueError for less than one run.
    """
    if runs < 1:
        raise ValueError(f"runs must be at least 1, not {runs}")
    height, width = images[0].shape
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
            opponent.name,
            name,
            width,
            height,
            keypoints,
            iterations,
            matcher.precision,
            *spread(times[name, 0]),
            *spread(times[name, 1]),
            _same_matches(theirs[name](), ours[name]()) if name == MATCHING else None,
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


def _our_work(matcher: ImageMatcher, image0: ImageArray, image1: ImageArray) -> Work:
    network, glue = matcher.superpoint, matcher.superglue
    device = torch.device(matcher.device)
    tensors = [image_tensor(image, device) for image in (image0, image1)]
    size = (image0.shape[1], image0.shape[0])
    found = [network(tensor) for tensor in tensors]
    keyframe = matcher.extract(image0)

    def encode(side: int) -> EncodedKeypoints:
        keypoints = found[side]
        return glue.encode(keypoints.keypoints, keypoints.scores, keypoints.descriptors, size)

    return {
        FEATURES: lambda: network(tensors[1]),
        # As theirs do, though a keyframe's side would be kept.
        MATCHING: lambda: glue(encode(0), encode(1)),
        PAIR: lambda: matcher.match(image0, image1),
        LIVE: lambda: matcher.match_features(keyframe, matcher.extract(image1)),
    }


def matcher_beside(opponent: Opponent, config: MatcherConfig) -> ImageMatcher:
    """Ours with the opponent's weights, or as untrained as its network, or as shipped."""
    ours = ImageMatcher.from_config(replace(config, **opponent.our_options))
    if opponent.our_layers is not None:
        untrain(ours, opponent.our_layers)
    return ours
