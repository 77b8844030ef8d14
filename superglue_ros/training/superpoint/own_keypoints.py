"""Pairs of views without labels: the network's own keypoints are labelled as they are found."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from superglue_ros.networks.keypoints import SuperPointConfig
from superglue_ros.training.data.homographies import inverse
from superglue_ros.training.data.homography_pairs import HomographyPair, HomographyPairs
from superglue_ros.training.process_group import ProcessGroup
from superglue_ros.training.superpoint.losses import repeatability_loss
from superglue_ros.training.superpoint.recipe import StageConfig
from superglue_ros.training.superpoint.repeatability import label_candidates
from superglue_ros.training.superpoint.supervision import Supervision, candidate_correspondences

_GOLDEN_RATIO = 0.618034


class OwnKeypointPairs:
    """Batches of a stage that labels the network's keypoints by their repeatability."""

    def __init__(
        self, stage: StageConfig, pairs: HomographyPairs, options: SuperPointConfig
    ) -> None:
        """pairs: of the textures; options: how the network detects keypoints."""
        self.stage = stage
        self.pairs = pairs
        self._options = options

    @property
    def generator(self) -> torch.Generator:
        """What the pairs are drawn with."""
        return self.pairs.generator

    def sample(self, step: int) -> HomographyPair:
        """A batch."""
        return self.pairs.sample(self.stage.batch)

    def supervise(
        self, step: int, pair: HomographyPair, logits: Tensor, descriptors: Tensor
    ) -> Supervision:
        """The detector learns which keypoints are repeated and matched; the correspondences are
        those keypoints."""
        stage = self.stage
        height, width = pair.images0.shape[-2:]
        # Multiples of the golden ratio are spread evenly, and no device waits for a random one.
        detected = stage.repeatability.count(width * height, step * _GOLDEN_RATIO % 1)
        valid = torch.cat((pair.valid0, pair.valid1))
        to_other = torch.cat((pair.H_0to1, inverse(pair.H_0to1)))
        found = label_candidates(
            logits, descriptors, valid, to_other, detected, self._options, stage.repeatability
        )
        loss = repeatability_loss(logits, found.pixels, found.labels, found.covisible)
        return Supervision(
            loss,
            {"repeatability_loss": loss.detach()},
            lambda: candidate_correspondences(pair, found, stage.correspondences, self.generator),
        )

    def state(self) -> dict[str, Any]:
        """State of the pairs' generator."""
        return {"generator": self.generator.get_state().cpu()}

    def restore(self, state: dict[str, Any], group: ProcessGroup) -> None:
        """Go on where `state` was given."""
        group.restore_generator(self.generator, state["generator"])
