"""What SuperGlue is trained on, its loss and its validation figures."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from superglue_ros.networks.precision import training_dtype
from superglue_ros.networks.superglue import (
    ImageKeypoints,
    SuperGlue,
    SuperGlueConfig,
    read_assignment,
)
from superglue_ros.networks.superpoint import SuperPoint
from superglue_ros.training.homography_pairs import HomographyPairs, PairConfig
from superglue_ros.training.loop import ScheduleConfig
from superglue_ros.training.losses import matching_loss
from superglue_ros.training.photos import PhotoBank
from superglue_ros.training.superglue_validation import (
    APART,
    Pairs,
    Sample,
    assignment_figures,
    nearest_neighbours,
    strongest,
    validation_figures,
)
from superglue_ros.training.team import RANK_SEED, Team
from superglue_ros.training.world_pairs import WorldConfig, WorldPairs

_VALIDATION_SEED = 2_000_003
_SETTLING_BATCHES = 8
_KEPT_BATCHES = 32
"""Batches whose features are kept to be trained on again."""
_PLANNED_COUNTS = 64
"""On a GPU numbers of keypoints are multiples of it."""


@dataclass(frozen=True)
class SuperGlueRecipe:
    """A whole run; batch counts pairs, keypoints is the range of their number an image.

    branch_rate, attention_rate, bin_rate: learning rates of the last layers of the branches, of
    queries and keys and of the dustbin's score, as shares;
    reuse: steps for each new batch; the others train on a kept one, with another number of its
    keypoints (the features cost more than the step);
    rendered_share: share of a batch's pairs from the rendered world; apart_share: share of them
    from the rendered world, too, but without common surface; the others are homographies;
    temperature, bin_cosine, attention_logit: see `SuperGlue.initialize_as_transport`;
    validation_batches: of 6 pairs, of either kind.
    """

    seed: int = 0
    batch: int = 6
    keypoints: tuple[int, int] = (96, 256)
    drawings: int = 60
    rendered_share: float = 0.6
    apart_share: float = 0.0
    reuse: int = 1
    branch_rate: float = 0.05
    attention_rate: float = 4.0
    bin_rate: float = 20.0
    temperature: float = 0.05
    bin_cosine: float = 0.7
    attention_logit: float = 10.0
    bfloat16: bool = True
    validation_batches: int = 4
    network: SuperGlueConfig = field(default_factory=SuperGlueConfig)
    pairs: PairConfig = field(default_factory=lambda: PairConfig(size=(240, 176)))
    world: WorldConfig = field(default_factory=lambda: WorldConfig(width=240, height=176))
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)


def trial_of(recipe: SuperGlueRecipe) -> SuperGlueRecipe:
    """The recipe with a few steps of few pairs: does all of it run?"""
    return replace(
        recipe,
        batch=3,
        drawings=4,
        validation_batches=1,
        schedule=replace(recipe.schedule, steps=4, validate_every=2, warmup_steps=1),
    )


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


class SuperGlueTask:
    """SuperGlue on the features of a frozen SuperPoint."""

    def __init__(
        self,
        recipe: SuperGlueRecipe,
        superpoint: SuperPoint,
        train_bank: PhotoBank,
        validation_bank: PhotoBank,
        team: Team | None = None,
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.device = train_bank.device
        self._dtype = training_dtype(self.device, recipe.bfloat16)
        self.superpoint = superpoint.prepare(self.device, self._dtype)
        self.network = SuperGlue(recipe.network)
        self.network.initialize_as_transport(
            recipe.temperature, recipe.bin_cosine, recipe.attention_logit
        )
        self.network.to(self.device)
        team = team or Team(device=self.device)
        self._team = team
        self._alone = _Assigning(self.network, self._dtype)
        self._shared = team.share(self._alone)
        seed = recipe.seed + RANK_SEED * team.rank
        self.homographies = HomographyPairs(train_bank, recipe.pairs, seed)
        self._draw_worlds(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self._kept: deque[Sample] = deque(maxlen=_KEPT_BATCHES)
        # The leader alone validates.
        self._validation = self._validation_samples(validation_bank) if team.leads else {}

    @property
    def images_per_step(self) -> int:
        """Two a pair."""
        return 2 * self.recipe.batch

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
        low, high = self.recipe.keypoints
        count, other = torch.randint(low, high + 1, (2,), generator=self.generator).tolist()
        if step % self.recipe.reuse == 0 or not self._kept:
            sample = self._features(self._pairs(), high)
            self._kept.append(sample)
        else:
            sample = self._kept[other % len(self._kept)]
        if self.device.type == "cuda":
            # cuDNN plans its convolutions anew for each number.
            count = max(low, count - count % _PLANNED_COUNTS)
        sample = strongest(sample, count)
        data_s = time.monotonic() - started
        log_assignment = self._shared(sample.view0, sample.view1)
        loss = matching_loss(log_assignment, sample.truth.matches0, sample.truth.matches1)
        figures = assignment_figures(self._read(log_assignment.detach()), sample.truth.matches0)
        return loss, {"loss": loss.detach(), **figures}, data_s

    @torch.no_grad()
    def settle_dustbin(self) -> None:
        """Move the dustbin's score to where equation 10, unbalanced, is the least on new pairs.

        Balanced, the loss counts a match for more than an unmatched keypoint, of which there are
        more, and confidences come out too high.
        """
        self.network.eval()
        count = self.recipe.keypoints[1]
        samples = [self._features(self._pairs(), count) for _ in range(_SETTLING_BATCHES)]
        scores = [self.network.scores(sample.view0, sample.view1) for sample in samples]
        trained = self.network.bin_score.item()

        def loss(bin_score: float) -> float:
            self.network.bin_score.fill_(bin_score)
            losses = [
                matching_loss(self.network.assign(s), x.truth.matches0, x.truth.matches1, False)
                for s, x in zip(scores, samples)
            ]
            return float(sum(losses))

        tried = [trained + step / 4 for step in range(-8, 41)]
        self.network.bin_score.fill_(min(tried, key=loss))

    def _pairs(self) -> Pairs:
        """A new batch. Its kinds are always together, since a batch norm tells batches of
        different kinds apart."""
        recipe = self.recipe
        rendered = round(recipe.batch * recipe.rendered_share)
        apart = round(recipe.batch * recipe.apart_share)
        flat = recipe.batch - rendered - apart
        counts = ((self.world, rendered), (self.apart, apart), (self.homographies, flat))
        return tuple(source.sample(count) for source, count in counts if count > 0)

    @torch.no_grad()
    def _features(self, pairs: Pairs, count: int) -> Sample:
        self.superpoint.config = replace(
            self.superpoint.config, max_keypoints=count, keypoint_threshold=0.0
        )
        images = [pair.images0 for pair in pairs] + [pair.images1 for pair in pairs]
        both = self.superpoint(torch.cat(images))
        height, width = images[0].shape[-2:]
        view0, view1 = (
            ImageKeypoints(keypoints, scores, descriptors, (width, height))
            for keypoints, scores, descriptors in zip(
                both.keypoints.chunk(2), both.scores.chunk(2), both.descriptors.chunk(2)
            )
        )
        return Sample(pairs, view0, view1)

    def _validation_samples(self, bank: PhotoBank) -> dict[str, list[Sample]]:
        count = self.recipe.keypoints[1]
        batches = range(self.recipe.validation_batches)
        flat = HomographyPairs(bank, self.recipe.pairs, _VALIDATION_SEED)
        world = WorldPairs(self.recipe.world, self.device, _VALIDATION_SEED)
        apart = WorldPairs(_apart(self.recipe.world), self.device, _VALIDATION_SEED)
        return {
            "homography": [self._features((flat.sample(6),), count) for _ in batches],
            "rendered": [self._features((world.sample(6),), count) for _ in batches],
            APART: [self._features((apart.sample(6),), count) for _ in batches],
        }

    def _read(self, log_assignment: Tensor) -> Tensor:
        return read_assignment(log_assignment, self.recipe.network.match_threshold).indices0

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Figures on fixed pairs: homographies, rendered ones, and ones without common surface."""
        self.network.eval()
        return validation_figures(
            self._validation, lambda sample: self._read(self._alone(sample.view0, sample.view1))
        )

    def nearest_neighbours(self) -> dict[str, float]:
        """The same figures of mutual nearest neighbours on the same features."""
        return validation_figures(self._validation, nearest_neighbours)

    def state(self) -> dict[str, Any]:
        """States of the generators."""
        return {
            "homographies": self.homographies.generator.get_state().cpu(),
            "generator": self.generator.get_state(),
            "device": self.device.type,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up the generators where the checkpoint left them; CheckpointError where they are
        of another kind of device."""
        self._team.check_device(state["device"])
        self._team.take_up(self.homographies.generator, state["homographies"])
        self._team.take_up(self.generator, state["generator"])
        # A world cannot go on where it was; it must not show the first slice's scenes again.
        self._draw_worlds(int(torch.randint(2**31, (), generator=self.generator)))

    def _draw_worlds(self, seed: int) -> None:
        self.world = WorldPairs(self.recipe.world, self.device, seed)
        self.apart = WorldPairs(_apart(self.recipe.world), self.device, seed + 1)


def _apart(world: WorldConfig) -> WorldConfig:
    return replace(world, overlap=(0.0, 0.0))
