"""What the runner of a training's stages asks of a recipe, of its stages and of a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from superglue_ros.networks.superglue import SuperGlue
from superglue_ros.networks.superpoint import SuperPoint
from superglue_ros.training.loop import Task
from superglue_ros.training.schedule import ScheduleConfig


class Stage(Protocol):
    """One stage of a recipe; it goes on from the network of the stage before."""

    @property
    def name(self) -> str:
        """Its folder's, after its number."""

    @property
    def schedule(self) -> ScheduleConfig:
        """How long it trains, at which rates."""

    def new_pairs(self, steps: int) -> int:
        """Pairs that a process draws for so many steps."""

    def card(self) -> dict[str, Any]:
        """The options that a card of weights tells."""


class Recipe(Protocol):
    """A whole run: its stages, in their order."""

    @property
    def stages(self) -> Sequence[Stage]:
        """At least one."""

    def trial(self) -> Recipe:
        """The same with a few small steps a stage: does all of it run?"""


class NetworkTraining(Protocol):
    """A network with the data of its recipe, which is trained stage after stage."""

    def record(self) -> dict[str, Any]:
        """Recipe and data, as a checkpoint holds them: a resumed run must have the same."""

    def prepare(self, deadline: float) -> None:
        """Make what the stages share and the run's folder keeps, until `time.monotonic()` passes
        the deadline."""

    def preparation_s(self, number: int) -> float:
        """Seconds that a stage, by its index, may take before its first step."""

    def begin_stage(self, number: int, folder: Path, resumed: bool) -> Task:
        """The task of a stage, by its index; folder: the stage's own."""

    def finish(self, checkpoints: Sequence[dict[str, Any]]) -> None:
        """Make the network what its weights are to be, once all stages are trained;
        checkpoints: each stage's last."""

    def weights(self) -> SuperPoint | SuperGlue:
        """The network as its file of weights holds it."""

    def card(self) -> dict[str, Any]:
        """A card's entries of this network's own; they replace common ones of the same name."""
