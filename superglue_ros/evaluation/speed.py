"""Milliseconds of every stage of matching, memory, and what they were measured on."""

from __future__ import annotations

import platform
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from superglue_ros.matching import ImageMatcher
from superglue_ros.networks.superglue import read_assignment
from superglue_ros.networks.superpoint import (
    sample_descriptors,
)
from superglue_ros.provenance import source_commit
from superglue_ros.types import ImageArray


@dataclass(frozen=True)
class StageTime:
    """Milliseconds of one stage over the counted runs."""

    stage: str
    median_ms: float
    low_ms: float
    high_ms: float


@dataclass(frozen=True)
class SpeedResult:
    """One configuration: image size, keypoints found, stages, frames/s of the whole, memory."""

    width: int
    height: int
    keypoints: int
    stages: tuple[StageTime, ...]
    frames_per_s: float
    peak_memory_mb: float


def measure_speed(
    matcher: ImageMatcher, size: tuple[int, int], runs: int, warmup: int = 3
) -> SpeedResult:
    """Time a frame of `size` (width, height) against an encoded keyframe, stage by stage.

    The images are noise, which always holds as many keypoints as are asked for. ValueError for
    less than one run.
    """
    if runs < 1:
        raise ValueError(f"runs must be at least 1, not {runs}")
    image0, image1 = (_noise_image(size, seed) for seed in (0, 1))
    keyframe = matcher.extract(image0)
    times: dict[str, list[float]] = {}
    if matcher.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for run in range(warmup + runs):
        laps = _stages(matcher, keyframe.encoded, image1)
        started = time.perf_counter()
        frame = matcher.extract(image1)
        matcher.match_features(keyframe, frame)
        laps["whole frame"] = (time.perf_counter() - started) * 1e3
        if run >= warmup:
            for stage, value in laps.items():
                times.setdefault(stage, []).append(value)
    stages = tuple(
        StageTime(stage, float(np.median(v)), float(np.min(v)), float(np.max(v)))
        for stage, v in times.items()
    )
    whole = next(s for s in stages if s.stage == "whole frame")
    return SpeedResult(
        size[0], size[1], len(keyframe), stages, 1e3 / whole.median_ms, _peak_memory_mb(matcher)
    )


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

    dtype = network.conv1a.weight.dtype
    tensor = lap(
        "upload",
        lambda: (torch.from_numpy(image).to(device)[None, None].float() / 255).to(dtype),
    )
    logits, dense = lap("SuperPoint network", lambda: network.dense(tensor))
    keypoints, scores, _ = lap("keypoints", lambda: network.find_keypoints(logits))
    descriptors = lap("descriptors", lambda: sample_descriptors(keypoints, dense))
    size = (image.shape[1], image.shape[0])
    encoded = lap("SuperGlue encoding", lambda: glue.encode(keypoints, scores, descriptors, size))
    matrix = lap("SuperGlue graph", lambda: glue.score_matrix(keyframe, encoded))
    plan = lap("Sinkhorn", lambda: glue.transport(matrix))
    lap("assignment", lambda: read_assignment(plan, glue.config.match_threshold))
    return laps


def describe_machine() -> dict[str, str]:
    """Commit, processor, GPU, threads and versions, for the head of a table."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "commit": source_commit(),
        "cpu": _cpu_name(),
        "threads": str(torch.get_num_threads()),
        "gpu": gpu,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "opencv": cv2.__version__,
    }


def to_plain(result: SpeedResult) -> dict[str, Any]:
    """A result as JSON holds it."""
    return asdict(result)


def _noise_image(size: tuple[int, int], seed: int) -> ImageArray:
    rng = np.random.default_rng(seed)
    width, height = size
    small = rng.integers(0, 256, (height // 4 + 1, width // 4 + 1), np.uint8)
    enlarged = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(enlarged, np.uint8)


def _peak_memory_mb(matcher: ImageMatcher) -> float:
    if matcher.device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
