"""Relative poses of pairs of the rendered world, also of pairs that share no surface."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace

import numpy as np
from torch import Tensor
from tqdm import tqdm

from superglue_ros.evaluation.diagnosis import Diagnosis, diagnose
from superglue_ros.evaluation.estimators import Estimator
from superglue_ros.evaluation.features import detect_all
from superglue_ros.evaluation.methods import Method
from superglue_ros.evaluation.pairs import PairResult, View, evaluate_views, match_views
from superglue_ros.types import CameraModel, Frame, ImageArray, Pose
from superglue_ros.world import RenderedPairs, WorldConfig, WorldPairs
from superglue_ros.world.furnished_cameras import FurnishedConfig
from superglue_ros.world.furnished_views import FurnishedViews

RENDERED_SEED = 3_000_017
"""Of no training nor its validation, so that these scenes are new to the networks."""

_CHUNK = 10


def evaluate_rendered(
    overlap: tuple[float, float],
    count: int,
    methods: Sequence[Method],
    estimators: Mapping[str, Estimator],
    progress: bool = False,
    furnished: FurnishedConfig | None = None,
) -> tuple[list[PairResult], list[Diagnosis]]:
    """Results of every method on rendered pairs, and what becomes of keypoints that have partners.

    overlap: least and largest share of each picture that the other sees, (0, 0) for pairs without
    common surface; the same range gives the same pairs, of 320x240 pixels of procedural scenes or
    of furnished worlds. The gap of the results is 0. Raises ValueError for a count under 1 or a
    wrong range.
    """
    if count < 1:
        raise ValueError(f"at least one pair is needed, not {count}")
    world: WorldPairs | FurnishedViews = (
        WorldPairs(WorldConfig(overlap=overlap), seed=RENDERED_SEED)
        if furnished is None
        else FurnishedViews(replace(furnished, overlap=overlap), RENDERED_SEED)
    )
    results: list[PairResult] = []
    diagnoses: list[Diagnosis] = []
    numbers = iter(tqdm(range(count), desc=f"rendered pairs {overlap}", disable=not progress))
    for first in range(0, count, _CHUNK):
        pairs = world.sample(min(_CHUNK, count - first))
        for i in range(len(pairs)):
            index = next(numbers)
            pose1 = Pose.from_matrix(pairs.T_0to1[i].double().numpy()).inverse()
            views = (
                _view(pairs.images0[i, 0], pairs.K0[i], Pose.identity(), methods),
                _view(pairs.images1[i, 0], pairs.K1[i], pose1, methods),
            )
            one = RenderedPairs(*(getattr(pairs, f.name)[i : i + 1] for f in fields(pairs)))
            for method in methods:
                matched = match_views(*views, method)
                results.append(evaluate_views((index, index), *views, method, matched, estimators))
                diagnoses.append(diagnose(one, *views, method, matched))
    next(numbers, None)
    return results, diagnoses


def rendered_images(count: int) -> Iterator[tuple[ImageArray, ImageArray]]:
    """Pairs of gray (240, 320) uint8 images that share between 0.1 and 0.9 of what they show;
    always the same."""
    world = WorldPairs(WorldConfig(overlap=(0.1, 0.9)), seed=RENDERED_SEED)
    for first in range(0, count, _CHUNK):
        pairs = world.sample(min(_CHUNK, count - first))
        for image0, image1 in zip(pairs.images0[:, 0], pairs.images1[:, 0]):
            yield _pixels(image0), _pixels(image1)


def _pixels(image: Tensor) -> ImageArray:
    return (image.clamp(0, 1) * 255).round().numpy().astype(np.uint8)


def _view(image: Tensor, intrinsics: Tensor, pose: Pose, methods: Sequence[Method]) -> View:
    pixels = _pixels(image)
    height, width = pixels.shape
    camera = CameraModel(width, height, intrinsics.double().numpy())
    return View(Frame(pixels, 0, camera=camera), camera, pose, detect_all(pixels, methods))
