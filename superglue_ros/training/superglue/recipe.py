"""What a SuperGlue recipe says: the network, its data, and the stages of a training."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from superglue_ros.networks.superglue import SuperGlueConfig
from superglue_ros.training.data.homography_pairs import PairConfig
from superglue_ros.training.recipes import check_stage_names
from superglue_ros.training.schedule import ScheduleConfig
from superglue_ros.world.furnished_cameras import FurnishedConfig
from superglue_ros.world.pairs import WorldConfig


@dataclass(frozen=True)
class SuperGlueStage:
    """One stage of the training; it goes on from the network of the stage before.

    keypoints: range of their number an image; batch: pairs a step; rendered_share: share of them
    from the rendered world; no_overlap_share: share from the rendered world, too, but without
    overlap; bank_share and bank_no_overlap_share: shares from the bank of furnished worlds, of
    views that see the same and of views that do not; the others are homographies; reuse: steps
    for each new batch; the others train on a kept one, with another number of its keypoints (the
    features cost more than the step); the bank's pairs are drawn anew at every step; from_mean:
    it begins with the mean of what so many stages before it ended with, not with the last one's.
    """

    name: str
    keypoints: tuple[int, int] = (96, 256)
    batch: int = 6
    rendered_share: float = 0.6
    no_overlap_share: float = 0.0
    bank_share: float = 0.0
    bank_no_overlap_share: float = 0.0
    reuse: int = 1
    from_mean: int = 0
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)

    def __post_init__(self) -> None:
        if min(self.batch, self.reuse) < 1:
            raise ValueError("batch and reuse must be positive")
        low, high = self.keypoints
        if not 1 <= low <= high:
            raise ValueError(f"keypoints {self.keypoints} are no range of numbers from 1")
        rendered = self.rendered_share, self.no_overlap_share
        banked = self.bank_share, self.bank_no_overlap_share
        if min(*rendered, *banked) < 0 or sum(rendered) + sum(banked) > 1:
            raise ValueError(
                "rendered_share, no_overlap_share and the bank's are shares of one batch"
            )

    def new_pairs(self, steps: int) -> int:
        """Pairs that a process draws for so many steps."""
        return steps * self.batch // self.reuse

    def card(self) -> dict[str, Any]:
        """The options that a card of weights tells."""
        told = ("keypoints", "rendered_share", "no_overlap_share", "bank_share", "reuse")
        return {name: getattr(self, name) for name in told}

    def trial(self) -> SuperGlueStage:
        """The same with a few steps of the fewest pairs that have each of its kinds."""
        smaller = (replace(self, batch=pairs) for pairs in range(1, self.batch + 1))
        stage = next(stage for stage in smaller if stage._kinds == self._kinds)
        return replace(stage, schedule=self.schedule.shortened())

    @property
    def _kinds(self) -> list[bool]:
        """Which kinds of pairs a batch has."""
        return [count > 0 for count in (*self.counts, *self.bank_counts)]

    @property
    def counts(self) -> tuple[int, int, int]:
        """Of a batch's pairs the rendered ones, those without overlap and the homographies."""
        rendered = round(self.batch * self.rendered_share)
        both = round(self.batch * (self.rendered_share + self.no_overlap_share))
        return rendered, both - rendered, self.batch - both - sum(self.bank_counts)

    @property
    def bank_counts(self) -> tuple[int, int]:
        """Of a batch's pairs those of the bank that see the same, and those that do not."""
        seen = round(self.batch * self.bank_share)
        both = round(self.batch * (self.bank_share + self.bank_no_overlap_share))
        return seen, both - seen


@dataclass(frozen=True)
class BankConfig:
    """The bank of furnished worlds: clusters kept on disk, the `keypoints` strongest of each view,
    views as `FurnishedConfig` says, whose leave_out are the worlds to validate on."""

    clusters: int = 0
    keypoints: int = 1024
    views: FurnishedConfig = field(default_factory=FurnishedConfig)

    def __post_init__(self) -> None:
        if self.clusters < 0 or self.keypoints < 1:
            raise ValueError("a bank has clusters of at least one keypoint")


@dataclass(frozen=True)
class SuperGlueRecipe:
    """A whole run: its stages, in their order.

    drawings: procedural images beside the photographs;
    branch_rate, attention_rate, bin_rate: learning rates of the last layers of the branches, of
    queries and keys and of the dustbin's score, as shares;
    temperature, bin_cosine, attention_logit: see `SuperGlue.initialize_as_transport`;
    bfloat16: of the products while training, where the device multiplies it in hardware;
    validation_batches: of 6 pairs, of each kind;
    averaged_stages: the weights are the mean of what so many of the last stages ended with
    (Wortsman et al., arXiv:2203.05482), and for start_share of what these began with, which keeps
    what they were not shown (Wortsman et al., arXiv:2109.01903);
    attention_keypoints: of the weights, see `attention_sharpness`; training goes without.
    """

    seed: int = 0
    drawings: int = 60
    branch_rate: float = 0.05
    attention_rate: float = 4.0
    bin_rate: float = 20.0
    temperature: float = 0.05
    bin_cosine: float = 0.7
    attention_logit: float = 10.0
    bfloat16: bool = True
    validation_batches: int = 4
    averaged_stages: int = 1
    start_share: float = 0.0
    attention_keypoints: int = 0
    network: SuperGlueConfig = field(default_factory=SuperGlueConfig)
    pairs: PairConfig = field(default_factory=lambda: PairConfig(size=(240, 176)))
    world: WorldConfig = field(default_factory=lambda: WorldConfig(width=240, height=176))
    bank: BankConfig = field(default_factory=BankConfig)
    stages: tuple[SuperGlueStage, ...] = (SuperGlueStage("mixed"),)

    def __post_init__(self) -> None:
        check_stage_names([stage.name for stage in self.stages])
        if not 1 <= self.averaged_stages <= len(self.stages):
            raise ValueError(f"averaged_stages must be 1 to {len(self.stages)}, the stages")
        if not 0 <= self.start_share < 1:
            raise ValueError(f"start_share is a share under 1, not {self.start_share}")
        asked = [stage for stage in self.stages if sum(stage.bank_counts)]
        if asked and not self.bank.clusters:
            raise ValueError(f"stage {asked[0].name} asks for a bank, which has no clusters")
        if any(stage.keypoints[1] > self.bank.keypoints for stage in asked):
            raise ValueError(f"the bank keeps {self.bank.keypoints} keypoints a view")

    @property
    def most_keypoints(self) -> int:
        """Of an image, in any of the stages; the validation's number."""
        return max(stage.keypoints[1] for stage in self.stages)

    def trial(self) -> SuperGlueRecipe:
        """The recipe with a few steps of few pairs a stage: does all of it run?"""
        stages = tuple(stage.trial() for stage in self.stages)
        bank = replace(self.bank, clusters=min(self.bank.clusters, 2))
        return replace(self, drawings=4, validation_batches=1, stages=stages, bank=bank)
