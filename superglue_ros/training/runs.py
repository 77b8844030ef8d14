"""A training run from its recipe to a weights file with its card, one stage after the other."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from superglue_ros.networks.checkpoints import WeightsFile, read_weights, save_weights
from superglue_ros.training.cards import run_card, stages_card
from superglue_ros.training.loop import (
    CHECKPOINT,
    Task,
    check_folder,
    read_checkpoint,
    train_stage,
)
from superglue_ros.training.network_training import NetworkTraining, Recipe, Stage
from superglue_ros.training.options import Run
from superglue_ros.training.process_group import (
    ProcessGroup,
    join_process_group,
    leave_process_group,
)
from superglue_ros.training.recipes import RECIPES, read_recipe
from superglue_ros.training.superglue.recipe import SuperGlueRecipe
from superglue_ros.training.superglue.training import SuperGlueTraining
from superglue_ros.training.superpoint.recipe import SuperPointRecipe
from superglue_ros.training.superpoint.training import SuperPointTraining

DEFAULT_RECIPES = {
    "superpoint": RECIPES / "superpoint_cpu.yaml",
    "superglue": RECIPES / "superglue_cpu.yaml",
}

_RECIPES: dict[str, type[Recipe]] = {
    "superpoint": SuperPointRecipe,
    "superglue": SuperGlueRecipe,
}
_TRAININGS: dict[str, Callable[[Any, Run, ProcessGroup], NetworkTraining]] = {
    "superpoint": SuperPointTraining,
    "superglue": SuperGlueTraining,
}


def train(network: str, run: Run) -> tuple[WeightsFile, bool]:
    """Train "superpoint" or "superglue" for a slice of time and write its weights and card.

    Returns the weights as they are now and whether the recipe has been trained to its end.
    Under torchrun all its processes train together.
    """
    deadline = math.inf if run.minutes is None else time.monotonic() + 60 * run.minutes
    group = join_process_group(run.device)
    try:
        runner = _StageRunner(network, run, group, deadline)
        finished = runner.train_stages()
        weights = run.folder / f"{network}.safetensors"
        if group.is_main:
            runner.save(weights, finished)
        group.barrier()
        return read_weights(weights), finished
    finally:
        leave_process_group()


class _StageRunner:
    """Trains the stages of a recipe, each in a folder of its own."""

    def __init__(self, network: str, run: Run, group: ProcessGroup, deadline: float) -> None:
        recipe = read_recipe(_RECIPES[network], run.recipe)
        if run.trial:
            recipe = recipe.trial()
        self.network, self.run, self.group = network, run, group
        self.stages = recipe.stages
        self.folders = _stage_folders(run, recipe.stages)
        self.training = _TRAININGS[network](recipe, run, group)
        self.training.prepare(deadline)
        self.deadline = deadline
        self.slice_s = deadline - time.monotonic()
        self.task: Task

    def train_stages(self) -> bool:
        """Each from the network of the one before, while there is time; True when all have
        ended."""
        return all(self._train_stage(number) for number in range(len(self.stages)))

    def _train_stage(self, number: int) -> bool:
        stage, folder = self.stages[number], self.folders[number]
        resumed = self.run.resume and (folder / CHECKPOINT).exists()
        if not resumed and self._is_too_late(self.training.preparation_s(number)):
            return False
        self.task = self.training.begin_stage(number, folder, resumed)
        return train_stage(
            self.task,
            stage.schedule,
            folder,
            recipe=self.training.record() | {"stage": stage.name},
            deadline=self.deadline,
            resume=resumed,
            group=self.group,
        )

    def _is_too_late(self, preparation_s: float) -> bool:
        """Whether a stage is left to the next slice, which has the time to prepare it."""
        left_s = self.deadline - time.monotonic()
        return preparation_s > 0 and self.group.any_of(left_s < preparation_s < self.slice_s / 2)

    def save(self, weights: Path, finished: bool) -> None:
        """Write the weights with their card; finished: all stages have ended."""
        paths = [folder / CHECKPOINT for folder in self.folders]
        checkpoints = [read_checkpoint(path) for path in paths if path.exists()]
        if finished:
            # After the last checkpoint: the weights have it, and no slice waits for it.
            self.training.finish(checkpoints)
        figures = self.task.validate()
        card = run_card(self.network, self.run, checkpoints, figures, self.group)
        card |= self.training.card() | stages_card(self.stages, checkpoints)
        save_weights(self.training.weights(), weights, card)


def _stage_folders(run: Run, stages: Sequence[Stage]) -> list[Path]:
    """One a stage; CheckpointError where the run would start over, or go on from nothing."""
    folders = [run.stage_folder(number, stage.name) for number, stage in enumerate(stages)]
    for folder in folders[:1] if run.resume else folders:
        check_folder(folder / CHECKPOINT, run.resume)
    return folders
