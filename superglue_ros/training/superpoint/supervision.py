"""What pairs of views teach: a loss of the detector, and corresponding points of both views."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from superglue_ros.training.data.homographies import warp_points
from superglue_ros.training.data.homography_pairs import HomographyPair, shown
from superglue_ros.training.process_group import ProcessGroup
from superglue_ros.training.superpoint.repeatability import Candidates


@dataclass(frozen=True)
class Correspondences:
    """points0, points1 (B, N, 2) in pixels of both views; valid (B, N), whether they count;
    keypoints (B, N), which of the valid ones are keypoints, and not any pixel of an image."""

    points0: Tensor
    points1: Tensor
    valid: Tensor
    keypoints: Tensor


@dataclass(frozen=True)
class Supervision:
    """Of a batch's outputs: the detector's loss, figures for the progress bar, and the points that
    descriptors and sub-pixel places learn from, which are drawn when they are asked for."""

    detector_loss: Tensor
    figures: dict[str, Tensor]
    correspondences: Callable[[], Correspondences]


class SupervisedPairs(Protocol):
    """Batches of pairs with what they teach: of labelled images, or of a network's keypoints."""

    @property
    def generator(self) -> torch.Generator:
        """What the pairs are drawn with."""

    def sample(self, step: int) -> HomographyPair:
        """The batch of a step."""

    def supervise(
        self, step: int, pair: HomographyPair, logits: Tensor, descriptors: Tensor
    ) -> Supervision:
        """What the batch of a step teaches of logits (2B, 65, h, w) and descriptors
        (2B, D, h, w) of its first views, then its second ones."""

    def state(self) -> dict[str, Any]:
        """What a resumed run needs: generator states."""

    def restore(self, state: dict[str, Any], group: ProcessGroup) -> None:
        """Go on where `state` was given; CheckpointError where that cannot be."""


def label_correspondences(
    pair: HomographyPair, count: int, generator: torch.Generator
) -> Correspondences:
    """`count` points a pair: labels that both views show first, then random ones."""
    batch, labels = pair.label_scores.shape
    height, width = pair.images0.shape[-2:]
    device = pair.images0.device
    size = torch.tensor((width, height), device=device, dtype=torch.float32)
    random = torch.rand(batch, 2 * count, 2, generator=generator, device=device)
    random = random * (size - 1)
    points0 = torch.cat((pair.labels0, random), dim=1)
    points1 = warp_points(points0, pair.H_0to1)
    valid = F.pad(pair.label_scores != 0, (0, 2 * count), value=True)
    valid &= shown(points0, pair.valid0) & shown(points1, pair.valid1)
    rank = torch.rand(valid.shape, generator=generator, device=device)
    rank[:, :labels] += 1
    keypoints = F.pad(pair.label_scores > 0, (0, 2 * count))
    return _ranked(count, rank, points0, points1, valid, keypoints)


def candidate_correspondences(
    pair: HomographyPair, candidates: Candidates, count: int, generator: torch.Generator
) -> Correspondences:
    """At most `count` of the first views' candidates a pair, those that are matched being the
    keypoints."""
    batch = len(pair.images0)
    points0, valid = candidates.places[:batch], candidates.covisible[:batch]
    rank = torch.rand(valid.shape, generator=generator, device=valid.device)
    points1 = warp_points(points0, pair.H_0to1)
    count = min(count, valid.shape[1])
    return _ranked(count, rank, points0, points1, valid, candidates.matched[:batch])


def _ranked(
    count: int, rank: Tensor, points0: Tensor, points1: Tensor, valid: Tensor, keypoints: Tensor
) -> Correspondences:
    """Of the valid points those that rank highest."""
    chosen = (rank * valid).topk(count, dim=1).indices
    places = chosen[..., None].expand(-1, -1, 2)
    valid = valid.gather(1, chosen)
    keypoints = valid & keypoints.gather(1, chosen)
    return Correspondences(points0.gather(1, places), points1.gather(1, places), valid, keypoints)
