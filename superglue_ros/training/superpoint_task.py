"""What SuperPoint is trained on, its loss and its validation figures."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from superglue_ros.networks.superpoint import (
    CELL,
    Keypoints,
    SuperPointConfig,
    sample_descriptors,
    use_channels_last,
)
from superglue_ros.training.batchnorm_superpoint import BatchNormSuperPoint
from superglue_ros.training.homographies import warp_points
from superglue_ros.training.homography_pairs import HomographyPair, HomographyPairs, PairConfig
from superglue_ros.training.loop import ScheduleConfig
from superglue_ros.training.losses import descriptor_loss, detector_loss, detector_targets
from superglue_ros.training.photos import PhotoBank

_VALIDATION_SEED = 1_000_003


@dataclass(frozen=True)
class SuperPointRecipe:
    """A whole run; batch counts pairs, correspondences the points a pair that train descriptors.

    drawings: procedural images beside the photographs; bfloat16: of the products while training;
    validation_batches: of 8 pairs each, of validation_size (width, height).
    """

    seed: int = 0
    batch: int = 8
    correspondences: int = 96
    drawings: int = 120
    descriptor_weight: float = 1.0
    bfloat16: bool = True
    validation_batches: int = 3
    validation_size: tuple[int, int] = (320, 240)
    pairs: PairConfig = field(default_factory=PairConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)


class SuperPointTask:
    """Detector and descriptor together on homography pairs."""

    def __init__(
        self, recipe: SuperPointRecipe, train_bank: PhotoBank, validation_bank: PhotoBank
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.device = train_bank.device
        self.network = BatchNormSuperPoint().to(self.device)
        use_channels_last(self.network)
        self.data = HomographyPairs(train_bank, recipe.pairs, recipe.seed)
        larger = PairConfig(
            size=recipe.validation_size,
            zoom=(0.8, 3.0),
            roll_deg=recipe.pairs.roll_deg,
            photometric=recipe.pairs.photometric,
            homography=recipe.pairs.homography,
        )
        validation = HomographyPairs(validation_bank, larger, _VALIDATION_SEED)
        self._validation = [validation.sample(8) for _ in range(recipe.validation_batches)]

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All parameters, at the recipe's rate."""
        return [{"params": list(self.network.parameters()), "scale": 1.0}]

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Detector and descriptor loss of the next batch of pairs."""
        started = time.monotonic()
        pair = self.data.sample(self.recipe.batch)
        data_s = time.monotonic() - started
        images = torch.cat((pair.images0, pair.images1)).to(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.bfloat16):
            logits, descriptors = self.network.dense(images)
        detector = self._detector_loss(pair, logits)
        points0, points1, valid = self._correspondences(pair)
        d0, d1 = descriptors.chunk(2)
        descriptor, right = descriptor_loss(
            sample_descriptors(points0, d0), sample_descriptors(points1, d1), points1, valid
        )
        figures = {"detector": detector.item(), "descriptor": descriptor.item()}
        figures |= {"right": right.item(), "data_s": data_s}
        return detector + self.recipe.descriptor_weight * descriptor, figures

    def _detector_loss(self, pair: HomographyPair, logits: Tensor) -> Tensor:
        size = self.recipe.pairs.size
        targets, valid = [], []
        for corners, inside in ((pair.corners0, pair.valid0), (pair.corners1, pair.valid1)):
            targets.append(detector_targets(corners, pair.corner_scores, size))
            rows, columns = logits.shape[-2:]
            whole = inside[:, : rows * CELL, : columns * CELL].unflatten(1, (rows, CELL))
            valid.append(whole.unflatten(3, (columns, CELL)).all(4).all(2))
        return detector_loss(logits, torch.cat(targets), torch.cat(valid))

    def _correspondences(self, pair: HomographyPair) -> tuple[Tensor, Tensor, Tensor]:
        """Points of both views (B, N, 2) and whether they count: labelled corners seen in both
        views first, then random ones."""
        generator = self.data.generator
        batch, count = len(pair.images0), self.recipe.correspondences
        size = torch.tensor(self.recipe.pairs.size, device=self.device, dtype=torch.float32)
        random = torch.rand(batch, 2 * count, 2, generator=generator, device=self.device)
        random = random * (size - 1)
        points0 = torch.cat((pair.corners0, random), dim=1)
        points1 = warp_points(points0, pair.H_0to1)
        margin = 4
        valid = torch.ones(points0.shape[:2], dtype=torch.bool, device=self.device)
        valid[:, : pair.corners0.shape[1]] = pair.corner_scores > 0
        for points, inside in ((points0, pair.valid0), (points1, pair.valid1)):
            valid &= ((points >= margin) & (points <= size - 1 - margin)).all(-1)
            x, y = points.round().long().clamp(min=0).unbind(-1)
            x, y = x.clamp(max=inside.shape[2] - 1), y.clamp(max=inside.shape[1] - 1)
            valid &= inside.flatten(1).gather(1, y * inside.shape[2] + x)
        rank = torch.rand(valid.shape, generator=generator, device=self.device)
        rank[:, : pair.corners0.shape[1]] += 1
        chosen = (rank * valid).topk(count, dim=1).indices

        def take(points: Tensor) -> Tensor:
            return points.gather(1, chosen[..., None].expand(-1, -1, 2))

        return take(points0), take(points1), valid.gather(1, chosen)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Repeatability and mutual-nearest matching accuracy at 3 px of 300 keypoints a view."""
        dtype = torch.bfloat16 if self.recipe.bfloat16 else torch.float32
        network = self.network.folded().prepare(self.device, dtype)
        network.config = SuperPointConfig(max_keypoints=300, keypoint_threshold=0.0)
        rows = []
        for pair in self._validation:
            k0, k1 = network(pair.images0), network(pair.images1)
            rows.append(pair_figures(pair, k0, k1))
        return {key: sum(r[key] for r in rows) / len(rows) for key in rows[0]}

    def state(self) -> dict[str, Any]:
        """State of the data's generator."""
        return {"generator": self.data.generator.get_state().cpu()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up the data where the checkpoint left them."""
        self.data.generator.set_state(state["generator"])


def pair_figures(pair: HomographyPair, k0: Keypoints, k1: Keypoints) -> dict[str, float]:
    """Repeatability, and precision and recall of mutual nearest neighbours, all at 3 px."""
    height, width = pair.images1.shape[-2:]
    there = warp_points(k0.keypoints, pair.H_0to1)
    limit = torch.tensor((width - 5, height - 5), device=there.device)
    shared = ((there >= 4) & (there <= limit)).all(-1)
    distance = torch.cdist(there, k1.keypoints)
    repeated = (distance.amin(2) <= 3) & shared
    similarity = k0.descriptors @ k1.descriptors.transpose(1, 2)
    best = similarity.argmax(2)
    mutual = similarity.argmax(1).gather(1, best) == torch.arange(
        best.shape[1], device=best.device
    )
    right = (distance.gather(2, best[..., None]).squeeze(2) <= 3) & mutual & shared
    return {
        "repeatability": (repeated.sum() / shared.sum().clamp(min=1)).item(),
        "precision": (right.sum() / (mutual & shared).sum().clamp(min=1)).item(),
        "recall": (right.sum() / repeated.sum().clamp(min=1)).item(),
    }
