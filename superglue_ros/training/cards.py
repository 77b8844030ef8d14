"""The card beside a file of trained weights: what they were trained on, by what, how well."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from superglue_ros.networks.checkpoints import WeightsFile
from superglue_ros.training.network_training import Stage
from superglue_ros.training.options import Run
from superglue_ros.training.process_group import ProcessGroup

LICENCE = "Apache-2.0"


def run_card(
    network: str,
    run: Run,
    checkpoints: Sequence[dict[str, Any]],
    figures: Mapping[str, float],
    group: ProcessGroup,
) -> dict[str, Any]:
    """Entries that the cards of all networks have; checkpoints: each stage's last; figures: the
    validation's."""
    cuda = group.device.type == "cuda"
    device = f"{group.size} x {torch.cuda.get_device_name(group.device)}" if cuda else "cpu"
    return {
        "network": network,
        "licence": LICENCE,
        "data": image_data(run),
        "recipe": run.recipe.name + (", a trial" if run.trial else ""),
        "commit": ", ".join(dict.fromkeys(state["commit"] for state in checkpoints)),
        "device": f"{device}, {platform.machine()}, torch {torch.__version__}",
        "minutes": _minutes(checkpoints),
        "steps": sum(state["step"] for state in checkpoints),
        "validation": rounded(figures),
    }


def stages_card(stages: Sequence[Stage], checkpoints: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What each stage so far was asked for and did, and the pairs of all."""
    rows: dict[str, dict[str, Any]] = {
        stage.name: stage.card()
        | {
            "steps": state["step"],
            "pairs_seen": stage.new_pairs(state["step"]) * state["world_size"],
            "minutes": _minutes([state]),
        }
        for stage, state in zip(stages, checkpoints)
    }
    return {"stages": rows, "pairs_seen": sum(row["pairs_seen"] for row in rows.values())}


def image_data(run: Run) -> str:
    """The images that a run trains on."""
    if run.textures is None:
        return "homographies of procedural images alone"
    return "homographies of photographs free to use and of procedural images"


def file_label(file: WeightsFile) -> str:
    """A weights file as cards name it."""
    return f"{file.path.name} {file.short_hash}"


def rounded(figures: Mapping[str, float]) -> dict[str, float]:
    """Figures to four decimals."""
    return {name: round(value, 4) for name, value in figures.items()}


def _minutes(checkpoints: Sequence[dict[str, Any]]) -> float:
    return round(sum(state["trained_s"] for state in checkpoints) / 60, 1)
