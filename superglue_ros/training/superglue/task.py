"""What SuperGlue is trained on, its loss and its validation figures."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from superglue_ros.networks.assignment import read_assignment
from superglue_ros.networks.precision import training_dtype
from superglue_ros.networks.superglue import ImageKeypoints, SuperGlue
from superglue_ros.networks.superpoint import SuperPoint
from superglue_ros.training.data.assignment import Assignment
from superglue_ros.training.data.photos import PhotoBank
from superglue_ros.training.process_group import RANK_SEED, ProcessGroup
from superglue_ros.training.superglue.bank import Bank, join_truths, join_views
from superglue_ros.training.superglue.losses import matching_loss
from superglue_ros.training.superglue.recipe import SuperGlueRecipe, SuperGlueStage
from superglue_ros.training.superglue.samples import (
    MixedPairs,
    Sample,
    extract_features,
    strongest,
)
from superglue_ros.training.superglue.validation import assignment_figures, validation_figures

_STAGE_SEED = 1_000
_CALIBRATION_SEED = 2_500_009
_CALIBRATION_BATCHES = 8
_KEPT_BATCHES = 32
"""Batches whose features are kept to be trained on again."""
_PLANNED_COUNTS = 64
"""On a GPU numbers of keypoints are multiples of it."""


class _Assigning(nn.Module):
    """The network's log assignment as a module's own call, which sharing asks for."""

    def __init__(self, network: SuperGlue, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = network
        self._dtype = dtype

    def forward(self, view0: ImageKeypoints, view1: ImageKeypoints) -> Tensor:
        kind = view0.keypoints.device.type
        with torch.autocast(kind, torch.bfloat16, self._dtype is torch.bfloat16):
            scores = self.network.scores(view0, view1)
        return self.network.assign(scores.float())


def untrained(recipe: SuperGlueRecipe) -> SuperGlue:
    """The network that a recipe begins with: optimal transport over the descriptors."""
    torch.manual_seed(recipe.seed)
    network = SuperGlue(recipe.network)
    network.initialize_as_transport(recipe.temperature, recipe.bin_cosine, recipe.attention_logit)
    return network


@torch.no_grad()
def network_figures(
    network: SuperGlue, samples: Mapping[str, Sequence[Sample]], dtype: torch.dtype
) -> dict[str, float]:
    """Validation figures of a network that multiplies in `dtype`."""
    network.eval()
    assigning, threshold = _Assigning(network, dtype), network.config.match_threshold
    return validation_figures(
        samples,
        lambda sample: read_assignment(assigning(sample.view0, sample.view1), threshold).indices0,
    )


class SuperGlueTask:
    """SuperGlue on the features of a frozen SuperPoint."""

    def __init__(
        self,
        recipe: SuperGlueRecipe,
        stage: SuperGlueStage,
        network: SuperGlue,
        superpoint: SuperPoint,
        bank: PhotoBank,
        validation: dict[str, list[Sample]],
        group: ProcessGroup | None = None,
        furnished: Bank | None = None,
    ) -> None:
        """network: `untrained`, or what the stage before has trained; superpoint: frozen by its
        `prepare`; validation: of `validation_samples`, empty but for the main process, which
        alone validates; furnished: of which the stage's bank_counts are drawn."""
        self.recipe = recipe
        self.stage = stage
        self.device = bank.device
        self.superpoint = superpoint
        self.network = network
        group = group or ProcessGroup(device=self.device)
        self._group = group
        self._dtype = training_dtype(self.device, recipe.bfloat16)
        self._shared = group.data_parallel(_Assigning(self.network, self._dtype))
        seed = recipe.seed + _STAGE_SEED * recipe.stages.index(stage) + RANK_SEED * group.rank
        self.bank = bank
        self.pairs = MixedPairs(recipe, stage, bank, seed)
        self.generator = torch.Generator().manual_seed(seed)
        self._kept: deque[Sample] = deque(maxlen=_KEPT_BATCHES)
        self._validation = validation
        self._furnished = furnished

    @property
    def images_per_step(self) -> int:
        """Two a pair."""
        return 2 * self.stage.batch

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Layers that start at zero learn slower, queries, keys and the dustbin's score faster.

        The former add to descriptors whose channels are about 1/16; at the full rate a few steps
        would drown them. The weights of queries and keys are about 1 and the score about 10,
        which the full rate leaves where they were.
        """
        last = [p for branch in self.network.branches() for p in branch[-1].parameters()]
        attention = [
            parameter
            for layer in self.network.gnn.propagations
            for projection in layer.attn.projections[:2]
            for parameter in projection.parameters()
        ]
        own = {id(p) for p in (*last, *attention, self.network.bin_score)}
        others = [p for p in self.network.parameters() if id(p) not in own]
        return [
            {"params": others, "scale": 1.0},
            {"params": last, "scale": self.recipe.branch_rate},
            {"params": attention, "scale": self.recipe.attention_rate},
            {"params": [self.network.bin_score], "scale": self.recipe.bin_rate},
        ]

    def loss(self, step: int) -> tuple[Tensor, dict[str, Tensor], float]:
        """Loss of the next batch, of rendered or of homography pairs."""
        started = time.monotonic()
        low, high = self.stage.keypoints
        count, other = torch.randint(low, high + 1, (2,), generator=self.generator).tolist()
        if step % self.stage.reuse == 0 or not self._kept:
            sample = extract_features(self.superpoint, self.pairs.sample(), high)
            self._kept.append(sample)
        else:
            sample = self._kept[other % len(self._kept)]
        if self.device.type == "cuda":
            # cuDNN plans its convolutions anew for each number.
            count = max(low, count - count % _PLANNED_COUNTS)
        view0, view1, truth = self._joined(strongest(sample, count), count, self.generator)
        data_s = time.monotonic() - started
        log_assignment = self._shared(view0, view1)
        loss = matching_loss(log_assignment, truth.matches0, truth.matches1)
        found = read_assignment(log_assignment.detach(), self.network.config.match_threshold)
        figures = assignment_figures(found.indices0, truth.matches0)
        return loss, {"loss": loss.detach(), **figures}, data_s

    def _joined(
        self, sample: Sample, count: int, generator: torch.Generator
    ) -> tuple[ImageKeypoints, ImageKeypoints, Assignment]:
        """A sample and the stage's share of pairs from the bank, as one batch."""
        counts = self.stage.bank_counts
        if self._furnished is None or not sum(counts):
            return sample.view0, sample.view1, sample.truth
        banked = self._furnished.sample(counts, count, generator)
        return (
            join_views(banked.view0, sample.view0),
            join_views(banked.view1, sample.view1),
            join_truths(banked.truth, sample.truth),
        )

    @torch.no_grad()
    def calibrate_dustbin(self) -> None:
        """Move the dustbin's score to where equation 10, unbalanced, is the least on new pairs,
        the same ones whenever it is asked.

        Balanced, the loss counts a match for more than an unmatched keypoint, of which there are
        more, and confidences come out too high.
        """
        self.network.eval()
        count = self.stage.keypoints[1]
        pairs = MixedPairs(self.recipe, self.stage, self.bank, _CALIBRATION_SEED)
        generator = torch.Generator().manual_seed(_CALIBRATION_SEED)
        samples = [
            self._joined(sample, count, generator)
            for sample in (
                extract_features(self.superpoint, pairs.sample(), count)
                for _ in range(_CALIBRATION_BATCHES)
            )
        ]
        scores = [self.network.scores(view0, view1) for view0, view1, _ in samples]
        trained = self.network.bin_score.item()

        def loss(bin_score: float) -> float:
            self.network.bin_score.fill_(bin_score)
            losses = [
                matching_loss(self.network.assign(s), truth.matches0, truth.matches1, False)
                for s, (_, _, truth) in zip(scores, samples)
            ]
            return float(sum(losses))

        # One valley: coarse steps find it, quarters its bottom.
        near = min((trained + step for step in range(-2, 11)), key=loss)
        self.network.bin_score.fill_(min((near + step / 4 for step in range(-3, 4)), key=loss))

    def validate(self) -> dict[str, float]:
        """Figures on the validation's samples."""
        return network_figures(self.network, self._validation, self._dtype)

    def state(self) -> dict[str, Any]:
        """States of the generators."""
        return {
            "homographies": self.pairs.homographies.generator.get_state().cpu(),
            "generator": self.generator.get_state(),
            "device": self.device.type,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up the generators where the checkpoint left them; CheckpointError where they are
        of another kind of device."""
        self._group.check_device(state["device"])
        self._group.restore_generator(self.pairs.homographies.generator, state["homographies"])
        self._group.restore_generator(self.generator, state["generator"])
        # A world cannot go on where it was; it must not show the first slice's scenes again.
        self.pairs.draw_worlds(int(torch.randint(2**31, (), generator=self.generator)))
