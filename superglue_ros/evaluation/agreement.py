"""Whether the fast forms of the networks give what their plain form does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn import functional as F

from superglue_ros.matching import ImageMatcher, ImageMatches, MatcherConfig
from superglue_ros.matching.images import as_gray
from superglue_ros.networks.assignment import empty_assignment, read_assignment
from superglue_ros.networks.checkpoints import load_superglue, load_superpoint
from superglue_ros.networks.device import choose_device
from superglue_ros.networks.pair import load_networks
from superglue_ros.networks.superglue import ImageKeypoints
from superglue_ros.networks.superpoint import SuperPoint
from superglue_ros.types import UNMATCHED, FloatArray, ImageArray

SAME_PX = 0.5
"""Keypoints of two forms that lie no further apart are the same."""


@dataclass(frozen=True)
class Agreement:
    """One form against the plain one on one pair of images.

    keypoints: how many the plain form has in both images, same_keypoints: those that this form
    has as well, move_px: how far these lie apart at most; descriptor_difference: the most that an
    element of theirs differs; matches: the larger of both forms' numbers, same_matches: those
    that both have.
    """

    form: str
    keypoints: int
    same_keypoints: int
    move_px: float
    descriptor_difference: float
    matches: int
    same_matches: int


@dataclass(frozen=True)
class AgreementScores:
    """A form on all pairs: percent of all keypoints and of all matches, the largest
    differences, and the percent of the matches of the pair that agrees least."""

    form: str
    num_pairs: int
    keypoints_percent: float
    move_px: float
    descriptor_difference: float
    num_matches: int
    matches_percent: float
    worst_pair_percent: float


class PlainMatcher:
    """The networks layer by layer as the papers have them, in float32 on the CPU, Sinkhorn in log
    space; options and weights of a config, but for its device and precision.

    Raises ValueError where the config shrinks images.
    """

    def __init__(self, config: MatcherConfig) -> None:
        if config.resize:
            raise ValueError("the plain form takes images as they are: resize must be 0")
        network, detector = load_superpoint(
            _path(config.superpoint), **config.superpoint_options()
        )
        self._superpoint = _PlainSuperPoint(network.config).eval()
        self._superpoint.load_state_dict(network.state_dict())
        self._superglue, matcher = load_superglue(
            _path(config.superglue),
            match_threshold=config.match_threshold,
            sinkhorn_iterations=config.sinkhorn_iterations,
        )
        self.weights_hash = f"{detector.short_hash}+{matcher.short_hash}"

    @torch.inference_mode()
    def match(self, image0: ImageArray, image1: ImageArray) -> ImageMatches:
        """Matches of two images, gray (H, W) or BGR (H, W, 3) uint8; ImageError for any other."""
        side0, side1 = self._extract(image0), self._extract(image1)
        m, n = side0.keypoints.shape[1], side1.keypoints.shape[1]
        if m and n:
            plan = self._superglue(side0, side1)
            assignment = read_assignment(plan, self._superglue.config.match_threshold)
        else:
            assignment = empty_assignment(1, m, n, torch.device("cpu"))
        keypoints1, matches0 = side1.keypoints[0].numpy(), assignment.indices0[0].numpy()
        points1 = np.full((m, 2), np.nan, np.float32)
        points1[matches0 != UNMATCHED] = keypoints1[matches0[matches0 != UNMATCHED]]
        return ImageMatches(
            side0.keypoints[0].numpy(),
            keypoints1,
            side0.scores[0].numpy(),
            side1.scores[0].numpy(),
            side0.descriptors[0].numpy(),
            side1.descriptors[0].numpy(),
            matches0,
            assignment.confidences0[0].numpy(),
            points1,
        )

    def _extract(self, image: ImageArray) -> ImageKeypoints:
        gray = as_gray(image)
        found = self._superpoint(torch.from_numpy(gray)[None, None].float() / 255)
        count = int(found.counts[0])
        return ImageKeypoints(
            found.keypoints[:, :count],
            found.scores[:, :count],
            found.descriptors[:, :count],
            (gray.shape[1], gray.shape[0]),
        )


class _PlainSuperPoint(SuperPoint):
    """The first layers over whole images; the image smoothed by OpenCV."""

    def dense(self, image: Tensor) -> tuple[Tensor, Tensor]:
        radius = math.ceil(3 * self.config.smoothing_px)
        if radius:
            gray = image[0, 0].numpy()
            kernel = cv2.getGaussianKernel(2 * radius + 1, self.config.smoothing_px)
            gray = cv2.sepFilter2D(gray, -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE)
            image = torch.from_numpy(gray)[None, None]
        return self._dense(image)

    def _first_stage(self, image: Tensor) -> Tensor:
        return F.max_pool2d(self.block("conv1b", self.block("conv1a", image)), 2)


def compare_forms(
    pair: tuple[ImageArray, ImageArray], plain: PlainMatcher, forms: dict[str, ImageMatcher]
) -> list[Agreement]:
    """Each form against the plain one on one pair of images; ValueError for a form of other
    weights (an engine's are its own)."""
    for name, form in forms.items():
        if form.weights_hash != plain.weights_hash:
            raise ValueError(f"{name} has weights {form.weights_hash}, not {plain.weights_hash}")
    expected = plain.match(*pair)
    return [agreement(name, expected, form.match(*pair)) for name, form in forms.items()]


def agreement(form: str, expected: ImageMatches, found: ImageMatches) -> Agreement:
    """How far the result of a form is from what is expected."""
    same0, move0 = _same(expected.keypoints0, found.keypoints0)
    same1, move1 = _same(expected.keypoints1, found.keypoints1)
    differences = [
        np.abs(expected.descriptors0[same0 >= 0] - found.descriptors0[same0[same0 >= 0]]),
        np.abs(expected.descriptors1[same1 >= 0] - found.descriptors1[same1[same1 >= 0]]),
    ]
    theirs = {
        (int(same0[i]), int(same1[j])) for i, j in enumerate(expected.matches0) if j != UNMATCHED
    }
    ours = {(i, int(j)) for i, j in enumerate(found.matches0) if j != UNMATCHED}
    return Agreement(
        form,
        len(same0) + len(same1),
        int((same0 >= 0).sum() + (same1 >= 0).sum()),
        max(move0, move1),
        max(float(d.max(initial=0.0)) for d in differences),
        max(len(ours), int((expected.matches0 != UNMATCHED).sum())),
        len(ours & theirs),
    )


def _same(expected: FloatArray, found: FloatArray) -> tuple[FloatArray, float]:
    """Index (N,) into the keypoints found of each expected one, -1 without; largest distance."""
    if not len(expected) or not len(found):
        return np.full(len(expected), UNMATCHED), 0.0
    distance, index = cKDTree(found).query(expected, distance_upper_bound=SAME_PX)
    near = np.isfinite(distance)
    return np.where(near, index, UNMATCHED), float(distance[near].max(initial=0.0))


def summarise_agreement(results: Sequence[Agreement]) -> list[AgreementScores]:
    """A row a form."""
    rows = []
    for form in dict.fromkeys(result.form for result in results):
        own = [result for result in results if result.form == form]
        matches = sum(result.matches for result in own)
        rows.append(
            AgreementScores(
                form,
                len(own),
                _percent(sum(r.same_keypoints for r in own), sum(r.keypoints for r in own)),
                max(r.move_px for r in own),
                max(r.descriptor_difference for r in own),
                matches,
                _percent(sum(r.same_matches for r in own), matches),
                min(_percent(r.same_matches, r.matches) for r in own),
            )
        )
    return rows


def forms_of(config: MatcherConfig, precisions: Sequence[str]) -> dict[str, ImageMatcher]:
    """A fast matcher a precision, by name.

    float16 on a CPU, which a matcher refuses, is computed in software: a slow way to a GPU's
    matches where there is none.
    """
    device = choose_device(config.device)
    forms = {}
    for precision in precisions:
        software = precision == "float16" and device.type == "cpu" and not config.engine
        held = "float32" if software else precision
        matcher = ImageMatcher.from_config(replace(config, precision=held))
        if software:
            networks = load_networks(config, device, torch.float16)
            matcher.superpoint, matcher.superglue = networks.superpoint, networks.superglue
            matcher.precision = networks.precision
        kind = "engine, " if config.engine else "CUDA graphs, " if config.cuda_graphs else ""
        forms[f"{kind}{matcher.precision} on {matcher.device}"] = matcher
    return forms


def _percent(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole else 100.0


def _path(text: str) -> Path | None:
    return Path(text) if text else None
