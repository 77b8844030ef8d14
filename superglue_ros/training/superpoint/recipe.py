"""What a SuperPoint recipe says: the stages of a training, one after the other."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from superglue_ros.networks.checkpoints import SUPERPOINT_OPTIONS
from superglue_ros.networks.keypoints import SuperPointConfig
from superglue_ros.training.data.homography_pairs import PairConfig
from superglue_ros.training.recipes import check_stage_names
from superglue_ros.training.schedule import ScheduleConfig
from superglue_ros.training.superpoint.adaptation import AdaptationConfig
from superglue_ros.training.superpoint.repeatability import RepeatabilityConfig

REPEATABLE = "repeatable"
OWN_LABELS = ("adapted", REPEATABLE)
"""Those that the network itself gives."""

LABELS = ("shapes", "corners", *OWN_LABELS)


@dataclass(frozen=True)
class StageConfig:
    """One stage of the training; it goes on from the network of the stage before.

    labels: "shapes" (synthetic, exact), "corners" (of textures, by the structure tensor),
    "adapted" (of textures, by homographic adaptation of the network that the stage begins with) or
    "repeatable" (of textures: the network's own keypoints, by whether the other view repeats and
    matches them, see `label_candidates`);
    crops: labelled images with at most max_labels each, drawn anew every `renew_steps` (0: never;
    adapted ones never), of "repeatable" none; smoothing_px: of the images trained on;
    batch: pairs a step; correspondences: points a pair that train descriptors;
    descriptor_weight: 0 trains the detector alone; reprojection_weight: of the
    distance between places in both views (`reprojection_loss`); distillation_weight: of the
    distance from the network that the stage begins with (`distillation_loss`), so that places
    stay exact and a SuperGlue trained on its descriptors still understands them.
    """

    name: str
    labels: str = "corners"
    crops: int = 1000
    renew_steps: int = 0
    max_labels: int = 250
    smoothing_px: float = 1.0
    batch: int = 8
    correspondences: int = 128
    descriptor_weight: float = 1.0
    reprojection_weight: float = 0.0
    distillation_weight: float = 0.0
    repeatability: RepeatabilityConfig = field(default_factory=RepeatabilityConfig)
    adaptation: AdaptationConfig = field(default_factory=AdaptationConfig)
    pairs: PairConfig = field(default_factory=PairConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)

    def __post_init__(self) -> None:
        if self.labels not in LABELS:
            raise ValueError(f"labels are one of {', '.join(LABELS)}, not {self.labels!r}")
        if min(self.crops, self.max_labels, self.batch, self.correspondences) < 1:
            raise ValueError("crops, max_labels, batch and correspondences must be positive")
        if self.labels == "adapted" and self.renew_steps:
            raise ValueError("adapted labels are made once a stage; renew_steps must be 0")
        weights = (self.descriptor_weight, self.reprojection_weight, self.distillation_weight)
        if min(self.renew_steps, *weights) < 0:
            raise ValueError("renew_steps and the weights must not be negative")

    def new_pairs(self, steps: int) -> int:
        """Pairs that a process draws for so many steps."""
        return steps * self.batch

    def card(self) -> dict[str, Any]:
        """The options that a card of weights tells."""
        told = ("labels", "smoothing_px", "reprojection_weight", "distillation_weight")
        return {name: getattr(self, name) for name in told}

    def trial(self) -> StageConfig:
        """The same with a few steps on few crops."""
        return replace(
            self,
            crops=8,
            batch=2,
            adaptation=replace(self.adaptation, homographies=2),
            schedule=self.schedule.shortened(),
        )


@dataclass(frozen=True)
class SuperPointRecipe:
    """A whole run: its stages, in their order.

    drawings: procedural images beside the photographs; bfloat16: of the products while training,
    where the device multiplies it in hardware; nms_radius, subpixel_radius, subpixel_power,
    smoothing_px: what the weights are to be used with, see `SuperPointConfig`; validation_batches:
    of 8 pairs each.
    """

    seed: int = 0
    drawings: int = 120
    bfloat16: bool = True
    nms_radius: int = 2
    subpixel_radius: int = 2
    subpixel_power: float = 1.5
    smoothing_px: float = 1.5
    validation_batches: int = 4
    validation: PairConfig = field(
        default_factory=lambda: PairConfig(size=(320, 240), zoom=(0.8, 3.0))
    )
    stages: tuple[StageConfig, ...] = (StageConfig("joint"),)

    def __post_init__(self) -> None:
        check_stage_names([stage.name for stage in self.stages])
        if min(self.validation_batches, self.drawings) < 1:
            raise ValueError("validation_batches and drawings must be positive")
        self.keypoints()
        for stage in self.stages:
            self.keypoints(smoothing_px=stage.smoothing_px)
            if stage.reprojection_weight and not self.subpixel_radius:
                raise ValueError("reprojection_weight asks for a subpixel_radius above 0")

    def keypoints(self, **options: Any) -> SuperPointConfig:
        """How the network finds keypoints; ValueError for what cannot be."""
        own = {name: getattr(self, name) for name in SUPERPOINT_OPTIONS}
        return SuperPointConfig(**(own | options))

    def trial(self) -> SuperPointRecipe:
        """The recipe with a few small steps a stage: does all of it run?"""
        stages = tuple(stage.trial() for stage in self.stages)
        return replace(self, drawings=4, validation_batches=1, stages=stages)
