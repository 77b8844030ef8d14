"""The loop of one stage's training: steps, slices of time, validation, checkpoints, log."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from superglue_ros.errors import CheckpointError, SuperGlueRosError
from superglue_ros.provenance import source_commit
from superglue_ros.training.checkpoint_files import read_state, write_state
from superglue_ros.training.process_group import ProcessGroup
from superglue_ros.training.schedule import ScheduleConfig

CHECKPOINT = "checkpoint.pt"
_LOG = "log.jsonl"
_SAVE_S = 120.0
"""Between two checkpoints."""
_READ_STEPS = 10
"""Between two looks at a step's figures: reading them waits for the GPU."""


class Task(Protocol):
    """What is trained: a network, its loss on the next batch and its figures on fixed data."""

    @property
    def network(self) -> nn.Module:
        """What is trained."""

    @property
    def images_per_step(self) -> int:
        """Images that a step of this process trains on."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for the optimiser, each with the "scale" of its learning rate."""

    def loss(self, step: int) -> tuple[Tensor, dict[str, Tensor], float]:
        """Loss of the next batch, figures for the progress bar, seconds spent on the data."""

    def validate(self) -> dict[str, float]:
        """Figures on the fixed validation set."""

    def state(self) -> dict[str, Any]:
        """What, beside the network, a resumed run needs: generator states."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave."""


def train_stage(
    task: Task,
    schedule: ScheduleConfig,
    folder: Path,
    *,
    recipe: dict[str, Any],
    deadline: float = math.inf,
    resume: bool,
    group: ProcessGroup | None = None,
    log: Callable[[str], None] = tqdm.write,
) -> bool:
    """Train until the schedule ends or `time.monotonic()` passes the deadline; True when it has
    ended.

    Writes `checkpoint.pt` (network, optimiser, step, recipe; see `checkpoint_files`) and appends
    to `log.jsonl` in the folder. With `resume` it goes on from the checkpoint there, whose recipe
    must be the same.
    Of a process group the main process alone validates and writes.
    Raises CheckpointError, and SuperGlueRosError where the loss is not finite.
    """
    check_folder(folder / CHECKPOINT, resume)
    folder.mkdir(parents=True, exist_ok=True)
    part = _Slice(task, schedule, folder, recipe, group or ProcessGroup(), log)
    if resume:
        part.resume()
    if not part.finished:
        part.train(deadline)
    return part.finished


@dataclass(frozen=True)
class _Update:
    """What a step of the optimiser gave."""

    loss: Tensor
    gradient_norm: Tensor
    figures: dict[str, Tensor]

    def check(self, step: int) -> None:
        """SuperGlueRosError where the loss or the gradient, which is all processes', is not
        finite, before what it has spoilt becomes the checkpoint."""
        for name, value in (("loss", self.loss), ("gradient's norm", self.gradient_norm)):
            if not bool(torch.isfinite(value)):
                raise SuperGlueRosError(f"the {name} is {float(value)} at step {step}")


class _Slice:
    """A stage's training in one slice of time."""

    def __init__(
        self,
        task: Task,
        schedule: ScheduleConfig,
        folder: Path,
        recipe: dict[str, Any],
        group: ProcessGroup,
        log: Callable[[str], None],
    ) -> None:
        self.task, self.schedule, self.folder = task, schedule, folder
        self.recipe, self.group, self.log = recipe, group, log
        self.optimizer = torch.optim.AdamW(
            task.parameter_groups(),
            lr=schedule.learning_rate,
            weight_decay=schedule.weight_decay,
            fused=group.device.type == "cuda",
        )
        self.commit = source_commit()
        self.step = self.first_step = 0
        self.earlier_s = self.started = self.data_s = 0.0
        # The first step saves what may have been long in the making: adapted labels.
        self.saved_at = -math.inf

    @property
    def finished(self) -> bool:
        return self.step >= self.schedule.steps

    def resume(self) -> None:
        """Go on from the folder's checkpoint; CheckpointError where it is of another recipe."""
        path = self.folder / CHECKPOINT
        state = read_checkpoint(path)
        _check_recipe(path, state["recipe"], self.recipe)
        self.task.network.load_state_dict(state["network"])
        self.step = self.first_step = int(state["step"])
        self.earlier_s = float(state["trained_s"])
        if not self.finished:
            self.optimizer.load_state_dict(state["optimizer"])
            self.task.restore(state["task"])

    def train(self, deadline: float) -> None:
        """Steps until the schedule or the time ends, and the checkpoint of the last one."""
        self.started = time.monotonic()
        update = None
        with tqdm(
            total=self.schedule.steps,
            initial=self.step,
            unit="step",
            smoothing=0.05,
            disable=not self.group.is_main,
        ) as bar:
            while not self.finished and not self._is_over(deadline):
                update = self._update()
                bar.update()
                self._look_at(update, bar)
        if update is not None:
            update.check(self.step)
        if self.group.is_main:
            self._save()
        self.group.barrier()

    def _is_over(self, deadline: float) -> bool:
        return self.group.any_of(time.monotonic() > deadline)

    def _update(self) -> _Update:
        """One step of the optimiser."""
        network, rate = self.task.network, self.schedule.rate_at(self.step)
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = rate * parameters["scale"]
        network.train()
        loss, figures, data_s = self.task.loss(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(network.parameters(), self.schedule.clip_norm)
        self.optimizer.step()
        self.step += 1
        self.data_s += data_s
        return _Update(loss, norm, figures)

    def _look_at(self, update: _Update, bar: tqdm[Any]) -> None:
        """Check, show, log and save a step, each when it is due."""
        saving = time.monotonic() - self.saved_at > _SAVE_S
        validating = self.finished or self.step % self.schedule.validate_every == 0
        if saving or validating or self.step % _READ_STEPS == 0:
            update.check(self.step)
            bar.set_postfix({name: f"{float(x):.3f}" for name, x in update.figures.items()})
        if saving:
            self.saved_at = time.monotonic()
        if validating and self.group.is_main:
            self._validate(update)
        if saving and self.group.is_main:
            self._save()

    def _validate(self, update: _Update) -> None:
        """Append the step's and the validation's figures to the log."""
        elapsed = time.monotonic() - self.started
        images = (self.step - self.first_step) * self.task.images_per_step * self.group.size
        row: dict[str, float] = {"step": self.step, "loss": update.loss.item()}
        row |= {name: float(value) for name, value in update.figures.items()}
        row |= self.task.validate()
        row |= {"data_share": self.data_s / elapsed, "images_per_s": images / elapsed}
        with (self.folder / _LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.log(" ".join(f"{name} {value:.4g}" for name, value in row.items()))

    def _save(self) -> None:
        state = {
            "network": self.task.network.state_dict(),
            # Of use to none who go on from a finished run, and twice as large as the network.
            "optimizer": None if self.finished else self.optimizer.state_dict(),
            "task": self.task.state(),
            "recipe": self.recipe,
            "step": self.step,
            "trained_s": self.earlier_s + time.monotonic() - self.started,
            "world_size": self.group.size,
            "commit": self.commit,
        }
        write_state(self.folder / CHECKPOINT, state)


def _check_recipe(path: Path, before: dict[str, Any], recipe: dict[str, Any]) -> None:
    changed = sorted(k for k in before.keys() | recipe.keys() if before.get(k) != recipe.get(k))
    if changed:
        raise CheckpointError(
            f"{path} was trained by another recipe ({', '.join(changed)}); name another --output"
        )


def check_folder(checkpoint: Path, resume: bool) -> None:
    """CheckpointError where a run would start over a checkpoint, or go on from none."""
    if resume and not checkpoint.is_file():
        raise CheckpointError(f"{checkpoint} does not exist: start a run without --resume")
    if not resume and checkpoint.exists():
        raise CheckpointError(
            f"{checkpoint} exists: continue it with --resume or name another --output"
        )


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The state a run has written; CheckpointError where it is missing or unreadable."""
    check_folder(path, resume=True)
    return read_state(path)
