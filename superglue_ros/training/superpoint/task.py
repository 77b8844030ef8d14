"""What SuperPoint is trained on in one stage, its loss and its validation figures."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from superglue_ros.networks.keypoints import sample_descriptors
from superglue_ros.networks.precision import training_dtype
from superglue_ros.networks.superpoint import SuperPoint, use_channels_last
from superglue_ros.training.data.homography_pairs import HomographyPair, HomographyPairs
from superglue_ros.training.data.photos import PhotoBank
from superglue_ros.training.process_group import RANK_SEED, ProcessGroup
from superglue_ros.training.superpoint.batchnorm import BatchNormSuperPoint
from superglue_ros.training.superpoint.labelled_pairs import LabelledPairs
from superglue_ros.training.superpoint.losses import (
    descriptor_loss,
    distillation_loss,
    reprojection_loss,
)
from superglue_ros.training.superpoint.own_keypoints import OwnKeypointPairs
from superglue_ros.training.superpoint.recipe import REPEATABLE, StageConfig, SuperPointRecipe
from superglue_ros.training.superpoint.supervision import Correspondences, SupervisedPairs
from superglue_ros.training.superpoint.validation import pair_figures

_LABEL_SEED = 1_000
_VALIDATION_SEED = 1_000_003

Losses = tuple[Tensor, dict[str, Tensor]]
"""A loss and figures for the progress bar."""


class _Heads(nn.Module):
    """SuperPoint's dense outputs as a module's own call, which torch.compile and DDP ask for."""

    def __init__(self, network: SuperPoint) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.dense(images)


class SuperPointTask:
    """Detector, and descriptor where the stage says so, on pairs of views."""

    def __init__(
        self,
        recipe: SuperPointRecipe,
        stage: StageConfig,
        train_bank: PhotoBank,
        validation_bank: PhotoBank,
        network: BatchNormSuperPoint,
        labels_file: Path | None = None,
        group: ProcessGroup | None = None,
        compiled: bool = False,
    ) -> None:
        """network: what the stage before has trained; labels_file: where adapted labels are kept,
        so that a resumed run need not make them again; compiled: by torch.compile."""
        self.recipe = recipe
        self.stage = stage
        self.device = train_bank.device
        self._dtype = training_dtype(self.device, recipe.bfloat16)
        self.network = network
        self.network.config = recipe.keypoints(smoothing_px=stage.smoothing_px)
        self.network.to(self.device)
        # The network goes on from labels of its own, which norms of each batch would shake.
        self.network.norms_frozen = stage.labels == REPEATABLE
        use_channels_last(self.network)
        self._teacher = self._inference_network() if stage.distillation_weight else None
        self._group = group or ProcessGroup(device=self.device)
        heads = _Heads(self.network)
        if compiled:
            heads.compile()
        self._heads = self._group.data_parallel(heads)
        self.pairs = self._supervised_pairs(train_bank, labels_file)
        validation = HomographyPairs(validation_bank, recipe.validation, _VALIDATION_SEED)
        self._validation = [validation.sample(8) for _ in range(recipe.validation_batches)]

    def _supervised_pairs(self, bank: PhotoBank, labels_file: Path | None) -> SupervisedPairs:
        stage, number = self.stage, self.recipe.stages.index(self.stage)
        seed = self.recipe.seed + RANK_SEED * self._group.rank
        pairs = HomographyPairs(bank, stage.pairs, seed + number)
        if stage.labels == REPEATABLE:
            return OwnKeypointPairs(stage, pairs, self.network.config)
        label_seed = seed + _LABEL_SEED * (number + 1)
        return LabelledPairs(stage, pairs, label_seed, labels_file, self._inference_network)

    @property
    def images_per_step(self) -> int:
        """Two a pair."""
        return 2 * self.stage.batch

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All parameters, at the recipe's rate."""
        return [{"params": list(self.network.parameters()), "scale": 1.0}]

    def _inference_network(self) -> SuperPoint:
        return self.network.folded().prepare(self.device, self._dtype)

    def loss(self, step: int) -> tuple[Tensor, dict[str, Tensor], float]:
        """Detector and descriptor loss of the next batch of pairs."""
        started = time.monotonic()
        stage = self.stage
        pair = self.pairs.sample(step)
        data_s = time.monotonic() - started
        images = torch.cat((pair.images0, pair.images1)).to(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, self._dtype is torch.bfloat16):
            logits, descriptors = self._heads(images)
        supervision = self.pairs.supervise(step, pair, logits, descriptors)
        losses = [(supervision.detector_loss, supervision.figures)]
        if self._teacher is not None:
            losses.append(self._distillation(self._teacher, images, logits, descriptors))
        if stage.descriptor_weight or stage.reprojection_weight:
            matches = supervision.correspondences()
            if stage.reprojection_weight:
                losses.append(self._reprojection(pair, matches, logits))
            if stage.descriptor_weight:
                losses.append(self._description(matches, descriptors))
        total = losses[0][0]
        for loss, _ in losses[1:]:
            total = total + loss
        return total, {key: value for _, own in losses for key, value in own.items()}, data_s

    def _distillation(
        self, teacher: SuperPoint, images: Tensor, logits: Tensor, descriptors: Tensor
    ) -> Losses:
        with torch.no_grad():
            taught = teacher.dense(images)
        place, descriptor = distillation_loss(logits, descriptors, *taught)
        figures = {
            "place_distillation": place.detach(),
            "descriptor_distillation": descriptor.detach(),
        }
        return self.stage.distillation_weight * (place + descriptor), figures

    def _reprojection(
        self, pair: HomographyPair, matches: Correspondences, logits: Tensor
    ) -> Losses:
        logits0, logits1 = logits.chunk(2)
        error_px = reprojection_loss(
            logits0,
            logits1,
            matches.points0,
            matches.points1,
            matches.keypoints,
            pair.H_0to1,
            (self.recipe.subpixel_radius, self.recipe.subpixel_power),
            self.pairs.generator,
        )
        return self.stage.reprojection_weight * error_px, {"reprojection_px": error_px.detach()}

    def _description(self, matches: Correspondences, descriptors: Tensor) -> Losses:
        d0, d1 = descriptors.chunk(2)
        loss, right = descriptor_loss(
            sample_descriptors(matches.points0, d0),
            sample_descriptors(matches.points1, d1),
            matches.points1,
            matches.valid,
        )
        return self.stage.descriptor_weight * loss, {"descriptor": loss.detach(), "right": right}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Repeatability, localisation and mutual-nearest matching at 3 px of 300 keypoints."""
        network = self._inference_network()
        network.config = self.recipe.keypoints(max_keypoints=300, keypoint_threshold=0.0)
        rows = []
        for pair in self._validation:
            k0, k1 = network(pair.images0), network(pair.images1)
            rows.append(pair_figures(pair, k0, k1))
        return {key: sum(r[key] for r in rows) / len(rows) for key in rows[0]}

    def state(self) -> dict[str, Any]:
        """States of the pairs' and the labels' generators."""
        return self.pairs.state() | {"device": self.device.type}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up the data where the checkpoint left them; CheckpointError where it cannot."""
        self._group.check_device(state["device"])
        self.pairs.restore(state, self._group)
