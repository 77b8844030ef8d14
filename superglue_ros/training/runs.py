"""A training run from its recipe to a weights file with its card."""

from __future__ import annotations

import json
import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from superglue_ros.errors import SuperGlueRosError
from superglue_ros.networks.checkpoints import WeightsFile, load_superpoint, save_weights
from superglue_ros.provenance import source_commit
from superglue_ros.training.loop import CHECKPOINT, read_checkpoint, run_training
from superglue_ros.training.photos import PhotoBank, draw_procedural, read_photos
from superglue_ros.training.recipes import RECIPES, read_recipe, to_dict
from superglue_ros.training.superglue_task import SuperGlueRecipe, SuperGlueTask
from superglue_ros.training.superpoint_task import SuperPointRecipe, SuperPointTask

DEFAULT_RECIPES = {
    "superpoint": RECIPES / "superpoint_cpu.yaml",
    "superglue": RECIPES / "superglue_cpu.yaml",
}
LICENCE = "Apache-2.0"


def train(
    network: str,
    recipe_path: Path,
    folder: Path,
    *,
    textures: Path | None,
    superpoint: Path | None = None,
    minutes: float | None = None,
    resume: bool = False,
    device: str = "cpu",
) -> tuple[WeightsFile, bool]:
    """Train "superpoint" or "superglue" for a slice of time and write its weights and card.

    textures: a folder of photographs, None for procedural images alone; superpoint: the frozen
    features SuperGlue is trained on, the shipped ones by default. Returns the weights as they are
    now and whether the recipe has been trained to its end.
    """
    kind: Any = SuperPointRecipe if network == "superpoint" else SuperGlueRecipe
    recipe = read_recipe(kind, recipe_path)
    target = torch.device(device)
    banks = _banks(textures, recipe, target)
    task: SuperPointTask | SuperGlueTask
    if network == "superpoint":
        task = SuperPointTask(recipe, *banks)
    else:
        recipe = replace(recipe, world=replace(recipe.world, photographs=textures))
        features, _ = load_superpoint(superpoint)
        task = SuperGlueTask(recipe, features, *banks)
    plain = to_dict(recipe)
    if network == "superglue":
        plain["world"]["photographs"] = None  # a path says nothing about another machine
        if not resume:
            # Untrained it is optimal transport over the descriptors: what training must beat.
            folder.mkdir(parents=True, exist_ok=True)
            untrained = json.dumps(task.validate()) + "\n"
            (folder / "untrained.json").write_text(untrained, encoding="utf-8")
    finished = run_training(
        task, recipe.schedule, folder, recipe=plain, minutes=minutes, resume=resume
    )
    weights = task.network.folded() if isinstance(task, SuperPointTask) else task.network
    card = _card(network, recipe_path.name, folder, textures, task.validate(), device)
    return save_weights(weights, folder / f"{network}.safetensors", card), finished


def _banks(
    textures: Path | None, recipe: Any, device: torch.device
) -> tuple[PhotoBank, PhotoBank]:
    drawings = draw_procedural(recipe.drawings, recipe.seed)
    if textures is None:
        held_out = draw_procedural(max(2, recipe.drawings // 8), recipe.seed + 1)
        return PhotoBank(drawings, device), PhotoBank(held_out, device)
    return (
        PhotoBank(read_photos(textures, validation=False) + drawings, device),
        PhotoBank(read_photos(textures, validation=True), device),
    )


def _card(
    network: str,
    recipe: str,
    folder: Path,
    textures: Path | None,
    scores: dict[str, float],
    device: str,
) -> dict[str, Any]:
    state = read_checkpoint(folder / CHECKPOINT)
    untrained = folder / "untrained.json"
    card: dict[str, Any] = {
        "network": network,
        "licence": LICENCE,
        "data": "photographs free to use and procedural images"
        if textures
        else "procedural images alone",
        "recipe": recipe,
        "commit": source_commit(),
        "device": f"{device}, {platform.machine()}, torch {torch.__version__}",
        "minutes": round(state["trained_s"] / 60, 1),
        "steps": state["step"],
        "pairs_seen": state["step"] * state["recipe"]["batch"] // state["recipe"].get("reuse", 1),
        "validation": {key: round(value, 4) for key, value in scores.items()},
    }
    if untrained.is_file():
        values = json.loads(untrained.read_text(encoding="utf-8"))
        card["validation_untrained"] = {key: round(value, 4) for key, value in values.items()}
    return card


def check_textures(textures: Path | None) -> None:
    """SuperGlueRosError where a folder of photographs was named and is none."""
    if textures is not None and not textures.is_dir():
        raise SuperGlueRosError(f"{textures} is no folder of photographs")
