"""One training loop for every network: schedule, slices, checkpoints, progress, log."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from superglue_ros.errors import CheckpointError, SuperGlueRosError
from superglue_ros.provenance import source_commit
from superglue_ros.training.checkpoint_files import read_state, write_state
from superglue_ros.training.process_group import ProcessGroup

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class ScheduleConfig:
    """steps of the whole run; learning_rate after `warmup_steps`, then a cosine to its
    `last_share` of it; clip_norm bounds the gradient; validation every `validate_every` steps."""

    steps: int = 4000
    learning_rate: float = 2e-3
    last_share: float = 0.0
    weight_decay: float = 1e-4
    warmup_steps: int = 100
    clip_norm: float = 1.0
    validate_every: int = 500

    def __post_init__(self) -> None:
        if self.steps < 1 or self.warmup_steps < 0 or self.validate_every < 1:
            raise ValueError("steps, validate_every must be positive, warmup_steps not negative")
        if self.learning_rate <= 0 or self.clip_norm <= 0 or self.weight_decay < 0:
            raise ValueError("learning_rate, clip_norm must be positive, weight_decay at least 0")
        if not 0 <= self.last_share <= 1:
            raise ValueError("last_share must be in [0, 1]")

    def rate_at(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        warm = min(1.0, (step + 1) / max(self.warmup_steps, 1))
        falling = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.learning_rate * warm * (self.last_share + (1 - self.last_share) * falling)

    def shortened(self) -> ScheduleConfig:
        """The same with a few steps, for a trial."""
        return replace(self, steps=2, validate_every=1, warmup_steps=1)


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


def run_training(
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
    group = group or ProcessGroup()
    folder.mkdir(parents=True, exist_ok=True)
    optimizer = torch.optim.AdamW(
        task.parameter_groups(),
        lr=schedule.learning_rate,
        weight_decay=schedule.weight_decay,
        fused=group.device.type == "cuda",
    )
    step, trained_s = 0, 0.0
    check_folder(folder / CHECKPOINT, resume)
    if resume:
        step, trained_s = _resume(task, optimizer, folder / CHECKPOINT, recipe, schedule.steps)
        if step >= schedule.steps:
            return True
    started, waited, first = time.monotonic(), 0.0, step
    # The first step saves what may have been long in the making: adapted labels.
    last_saved = -math.inf
    commit = source_commit()

    def snapshot() -> dict[str, Any]:
        finished = step >= schedule.steps
        return {
            "network": task.network.state_dict(),
            # Of use to none who go on from a finished run, and twice as large as the network.
            "optimizer": None if finished else optimizer.state_dict(),
            "task": task.state(),
            "recipe": recipe,
            "step": step,
            "trained_s": trained_s + time.monotonic() - started,
            "world_size": group.size,
            "commit": commit,
        }

    bar = tqdm(
        total=schedule.steps, initial=step, unit="step", smoothing=0.05, disable=not group.is_main
    )
    with bar:
        while step < schedule.steps:
            late = time.monotonic() > deadline
            if (late or group.size > 1) and group.any_of(late):
                break
            for parameters in optimizer.param_groups:
                parameters["lr"] = schedule.rate_at(step) * parameters["scale"]
            task.network.train()
            loss, figures, data_s = task.loss(step)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(task.network.parameters(), schedule.clip_norm)
            optimizer.step()
            step += 1
            waited += data_s
            bar.update()
            # Reading a figure waits for the GPU, so not at every step.
            due = time.monotonic() - last_saved > 120
            validating = step % schedule.validate_every == 0 or step == schedule.steps
            if step % 10 == 0 or due or validating:
                _check(loss, norm, step)
                bar.set_postfix({key: f"{float(value):.3f}" for key, value in figures.items()})
            if due:
                last_saved = time.monotonic()
            if not group.is_main:
                continue
            if validating:
                elapsed = time.monotonic() - started
                row = {"step": step, "loss": loss.item()}
                row |= {key: float(value) for key, value in figures.items()} | task.validate()
                row["data_share"] = waited / elapsed
                images = (step - first) * task.images_per_step * group.size
                row["images_per_s"] = images / elapsed
                _append(folder / "log.jsonl", row)
                log(" ".join(f"{k} {v:.4g}" for k, v in row.items()))
            if due:
                write_state(folder / CHECKPOINT, snapshot())
    if step > first:
        _check(loss, norm, step)
    if group.is_main:
        write_state(folder / CHECKPOINT, snapshot())
    group.barrier()
    return step >= schedule.steps


def _check(loss: Tensor, norm: Tensor, step: int) -> None:
    # The gradient is every process's, and what it has spoilt must not become the checkpoint.
    for name, value in (("loss", loss), ("gradient's norm", norm)):
        if not bool(torch.isfinite(value)):
            raise SuperGlueRosError(f"the {name} is {float(value)} at step {step}")


def _append(path: Path, row: dict[str, float]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


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


def _resume(
    task: Task,
    optimizer: torch.optim.Optimizer,
    path: Path,
    recipe: dict[str, Any],
    last_step: int,
) -> tuple[int, float]:
    state = read_checkpoint(path)
    before = state["recipe"]
    changed = sorted(k for k in before.keys() | recipe.keys() if before.get(k) != recipe.get(k))
    if changed:
        raise CheckpointError(
            f"{path} was trained by another recipe ({', '.join(changed)}); name another --output"
        )
    task.network.load_state_dict(state["network"])
    if state["step"] < last_step:
        optimizer.load_state_dict(state["optimizer"])
        task.restore(state["task"])
    return int(state["step"]), float(state["trained_s"])
