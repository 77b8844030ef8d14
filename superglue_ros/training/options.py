"""What a training run is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from superglue_ros.errors import SuperGlueRosError


@dataclass(frozen=True)
class Run:
    """A recipe to train, and how.

    folder: of the run; textures: a folder of photographs, None for procedural images alone;
    worlds: a folder of furnished worlds, for recipes that have a bank of them; bank: one that an
    earlier run made, else the run makes its own; superpoint: the frozen features SuperGlue is
    trained on, the shipped ones by default; start: weights of the network to go on from, instead
    of from nothing; minutes: after which it stops, to be resumed; compiled: SuperPoint by
    torch.compile; trial: a few steps of all of it, to see that it runs.
    """

    recipe: Path
    folder: Path
    textures: Path | None = None
    worlds: Path | None = None
    bank: Path | None = None
    superpoint: Path | None = None
    start: Path | None = None
    minutes: float | None = None
    resume: bool = False
    device: str = "cpu"
    compiled: bool = False
    trial: bool = False

    def stage_folder(self, number: int, name: str) -> Path:
        """The folder of a stage, by its index and name."""
        return self.folder / f"{number + 1}_{name}"


def check_textures(textures: Path | None) -> None:
    """SuperGlueRosError where a folder of photographs was named and is none."""
    if textures is not None and not textures.is_dir():
        raise SuperGlueRosError(f"{textures} is no folder of photographs")
