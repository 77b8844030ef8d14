"""Milliseconds of every stage of matching, memory, and what they were measured on."""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch

from superglue_ros.benchmarks.busy import Throughput, measure_throughput
from superglue_ros.benchmarks.memory import peak_growth_mb, resident_mb
from superglue_ros.benchmarks.products import StageProducts, measure_products
from superglue_ros.errors import SuperGlueRosError
from superglue_ros.matching import ExtractedFeatures, ImageMatcher
from superglue_ros.matching.images import shrink
from superglue_ros.networks.assignment import read_assignment
from superglue_ros.networks.keypoints import sample_descriptors
from superglue_ros.networks.superglue import SuperGlue
from superglue_ros.networks.superglue_inference import EncodedKeypoints, FoldedSuperGlue
from superglue_ros.types import ImageArray

REFINEMENT = "refinement"
WHOLE = "whole frame"
NETWORK, ENCODING, GRAPH = "SuperPoint network", "SuperGlue encoding", "SuperGlue graph"

_CPU_WARM_UPS = 3
_GPU_WARM_UPS = 20
"""Runs until a GPU's clocks have risen."""


@dataclass(frozen=True)
class StageTime:
    """Milliseconds of one stage over the counted runs."""

    stage: str
    median_ms: float
    low_ms: float
    high_ms: float


@dataclass(frozen=True)
class SpeedResult:
    """One configuration on one device.

    width, height: of the images, which `resize` shrinks to that longer side, 0 for none;
    keypoints: found in each image; frames_per_s: of the whole; frame_memory_mb: that a frame
    takes at most beyond what is held before, networks and keyframe, attention_memory_mb: that
    the encoding of an image does (keypoint encoder and first self-attention); growth_mb: of the
    memory held from the first counted run to the last; gpu_memory_mb: in use by all at the end,
    engines and graphs, which the others do not know of, too; torch_memory_mb: what of the GPU's
    memory torch has taken for networks, graphs and what they compute; beside: frames/s beside
    busy processes; products: of the stages that torch computes and that are made of them. None
    where it cannot be told, or was not measured.
    """

    width: int
    height: int
    resize: int
    keypoints: int
    layers: int
    iterations: int
    precision: str
    device: str
    stages: tuple[StageTime, ...]
    frames_per_s: float
    frame_memory_mb: float | None
    attention_memory_mb: float | None
    growth_mb: float | None
    gpu_memory_mb: float | None
    torch_memory_mb: float | None
    beside: Throughput | None = None
    products: tuple[StageProducts, ...] = ()

    def median_ms(self, stage: str) -> float:
        """Median of the stage of that name."""
        return next(s.median_ms for s in self.stages if s.stage == stage)


def measure_speed(matcher: ImageMatcher, size: tuple[int, int], runs: int) -> SpeedResult:
    """Time a frame of `size` (width, height) against an encoded keyframe, stage by stage, or of
    CUDA graphs each of the two.

    The images are noise, which always holds as many keypoints as are asked for; all of them are
    refined, as if they had matched. ValueError for less than one run.
    """
    if runs < 1:
        raise ValueError(f"runs must be at least 1, not {runs}")
    image0, image1 = (noise_image(size, seed) for seed in (0, 1))
    keyframe = matcher.extract(image0)
    device = torch.device(matcher.device)
    warmup = _GPU_WARM_UPS if device.type == "cuda" else _CPU_WARM_UPS
    times: dict[str, list[float]] = {}

    if matcher.config.cuda_graphs:
        stages = partial(_graphs, matcher, keyframe)
    else:
        stages = partial(_stages, matcher, _encode(matcher, keyframe))

    def refine() -> None:
        matcher.refine(image0, image1, keyframe.points, keyframe.points)

    def whole() -> None:
        matcher.match_features(keyframe, matcher.extract(image1))
        refine()

    for run in range(warmup + runs):
        if run == warmup:
            held_mb = _held_mb(device)
        laps = stages(image1)
        for stage, function in ((REFINEMENT, refine), (WHOLE, whole)):
            started = time.perf_counter()
            function()
            laps[stage] = (time.perf_counter() - started) * 1e3
        if run >= warmup:
            for stage, value in laps.items():
                times.setdefault(stage, []).append(value)
    growth_mb = None if held_mb is None else (_held_mb(device) or held_mb) - held_mb
    rows = tuple(
        StageTime(stage, float(np.median(v)), float(np.min(v)), float(np.max(v)))
        for stage, v in times.items()
    )
    glue, frame = matcher.superglue, matcher.extract(image1)
    torch_memory_mb = torch.cuda.memory_reserved() / 2**20 if device.type == "cuda" else None

    def attend() -> None:
        _encode(matcher, frame)

    medians_ms = {row.stage: row.median_ms for row in rows}
    steps = {} if matcher.config.cuda_graphs else _products(matcher, keyframe, image1)
    return SpeedResult(
        *size,
        resize=matcher.config.resize,
        keypoints=len(keyframe),
        layers=glue.config.num_layers,
        iterations=glue.config.sinkhorn_iterations,
        precision=matcher.precision,
        device=matcher.device,
        stages=rows,
        frames_per_s=1e3 / float(np.median(times[WHOLE])),
        frame_memory_mb=_growth_of(whole, device),
        attention_memory_mb=_growth_of(attend, device),
        growth_mb=growth_mb,
        gpu_memory_mb=_gpu_memory_mb(device),
        torch_memory_mb=torch_memory_mb,
        products=measure_products(steps, medians_ms, runs),
    )


def measure_speed_beside(
    matcher: ImageMatcher, size: tuple[int, int], processes: int, turns: int
) -> Throughput:
    """Frames/s of `size` (width, height) against an encoded keyframe, alone and beside so many
    busy processes, in turns; ValueError for less than one of either."""
    image0, image1 = (noise_image(size, seed) for seed in (0, 1))
    keyframe = matcher.extract(image0)
    return measure_throughput(
        lambda: matcher.match_features(keyframe, matcher.extract(image1)), processes, turns
    )


@torch.inference_mode()
def _encode(matcher: ImageMatcher, found: ExtractedFeatures) -> EncodedKeypoints:
    points = torch.from_numpy(found.points)[None].to(matcher.device)
    sides = found.scores[None], found.descriptors[None]
    return matcher.superglue.encode(points, *sides, found.image_size)


@torch.inference_mode()
def _stages(matcher: ImageMatcher, keyframe: Any, image: ImageArray) -> dict[str, float]:
    network, glue = matcher.superpoint, matcher.superglue
    device = torch.device(matcher.device)
    laps: dict[str, float] = {}

    def lap(stage: str, function: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = function()
        if device.type == "cuda":
            torch.cuda.synchronize()
        laps[stage] = (time.perf_counter() - started) * 1e3
        return result

    tensor = lap("upload", lambda: _upload(matcher, image))
    logits, dense = lap(NETWORK, lambda: network.dense(tensor))
    keypoints, scores, _ = lap("keypoints", lambda: network.find_keypoints(logits))
    descriptors = lap("descriptors", lambda: sample_descriptors(keypoints, dense))
    size = (tensor.shape[3], tensor.shape[2])
    encoded = lap(ENCODING, lambda: glue.encode(keypoints, scores, descriptors, size))
    matrix = lap(GRAPH, lambda: glue.score_matrix(keyframe, encoded))
    plan = lap("Sinkhorn", lambda: glue.transport(matrix))
    lap("assignment", lambda: read_assignment(plan, glue.config.match_threshold))
    return laps


def _upload(matcher: ImageMatcher, image: ImageArray) -> torch.Tensor:
    shrunk = shrink(image, matcher.config.resize)
    return torch.from_numpy(shrunk).to(matcher.device)[None, None].float() / 255


@torch.inference_mode()
def _products(
    matcher: ImageMatcher, keyframe: ExtractedFeatures, image: ImageArray
) -> dict[str, Callable[[], Any]]:
    """The stages that are made of products, each as a function."""
    tensor, frame = _upload(matcher, image), matcher.extract(image)
    return {
        NETWORK: lambda: matcher.superpoint.dense(tensor),
        ENCODING: lambda: _encode(matcher, frame),
        GRAPH: lambda: matcher.superglue.score_matrix(keyframe.encoded, frame.encoded),
    }


def _graphs(
    matcher: ImageMatcher, keyframe: ExtractedFeatures, image: ImageArray
) -> dict[str, float]:
    started = time.perf_counter()
    frame = matcher.extract(image)
    extracted = time.perf_counter()
    matcher.match_features(keyframe, frame)
    matched = time.perf_counter()
    return {
        "upload to keypoints": (extracted - started) * 1e3,
        "matching": (matched - extracted) * 1e3,
    }


def noise_image(size: tuple[int, int], seed: int) -> ImageArray:
    """Gray noise of (width, height), which holds as many keypoints as are asked for."""
    rng = np.random.default_rng(seed)
    width, height = size
    small = rng.integers(0, 256, (height // 4 + 1, width // 4 + 1), np.uint8)
    enlarged = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(enlarged, np.uint8)


def release_memory() -> None:
    """Give back what measurements before have left, which would count as the next one's."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def untrain(matcher: ImageMatcher, layers: int) -> None:
    """Give a matcher an untrained SuperGlue of so many layers, which takes as long as a trained
    one."""
    glue = matcher.superglue
    config = replace(glue.config, num_layers=layers)
    network = FoldedSuperGlue(SuperGlue(config)).to_precision(glue.dtype)
    matcher.replace_superglue(network.to(matcher.device))


def image_size(text: str) -> tuple[int, int]:
    """(width, height) of WIDTHxHEIGHT, for a command line; ArgumentTypeError for anything else."""
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no WIDTHxHEIGHT") from error
    if min(width, height) < 16:
        raise argparse.ArgumentTypeError(f"{text} is under 16 pixels a side")
    return width, height


def _growth_of(function: Callable[[], Any], device: torch.device) -> float | None:
    try:
        return peak_growth_mb(function, device)
    except SuperGlueRosError:
        return None


def _held_mb(device: torch.device) -> float | None:
    if device.type == "cuda":
        # Of the whole GPU: what cuDNN and the driver hold is not torch's to count.
        return _gpu_memory_mb(device)
    try:
        return resident_mb()
    except SuperGlueRosError:
        return None


def _gpu_memory_mb(device: torch.device) -> float | None:
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info()
    return (total - free) / 2**20
