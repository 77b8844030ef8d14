"""A training run from its recipe to a weights file with its card."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Sequence
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
    if network == "superpoint":
        return _train_superpoint(recipe_path, folder, textures, minutes, resume, device)
    return _train_superglue(recipe_path, folder, textures, superpoint, minutes, resume, device)


def _train_superpoint(
    recipe_path: Path,
    folder: Path,
    textures: Path | None,
    minutes: float | None,
    resume: bool,
    device: str,
) -> tuple[WeightsFile, bool]:
    """Stage after stage, each in a folder of its own, from the network of the one before."""
    recipe = read_recipe(SuperPointRecipe, recipe_path)
    banks = _banks(textures, recipe, torch.device(device))
    stages = [folder / f"{i}_{stage.name}" for i, stage in enumerate(recipe.stages, 1)]
    network, finished, task = None, True, None
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    for stage, place in zip(recipe.stages, stages):
        place.mkdir(parents=True, exist_ok=True)
        task = SuperPointTask(recipe, stage, *banks, network, place / "labels.pt")
        left = None if deadline is None else max(0.0, deadline - time.monotonic()) / 60
        finished = run_training(
            task,
            stage.schedule,
            place,
            recipe=to_dict(recipe) | {"stage": stage.name},
            minutes=left,
            resume=resume and (place / CHECKPOINT).exists(),
        )
        network = task.network
        if not finished:
            break
    if task is None or network is None:
        raise ValueError("a recipe without stages")
    done = [read_checkpoint(p / CHECKPOINT) for p in stages if (p / CHECKPOINT).exists()]
    card = _card("superpoint", recipe_path.name, done, textures, task.validate(), device)
    card["stages"] = {
        stage.name: {
            "labels": stage.labels,
            "steps": state["step"],
            "pairs_seen": state["step"] * stage.batch,
            "minutes": round(state["trained_s"] / 60, 1),
        }
        for stage, state in zip(recipe.stages, done)
    }
    card["pairs_seen"] = sum(stage["pairs_seen"] for stage in card["stages"].values())
    return save_weights(network.folded(), folder / "superpoint.safetensors", card), finished


def _train_superglue(
    recipe_path: Path,
    folder: Path,
    textures: Path | None,
    superpoint: Path | None,
    minutes: float | None,
    resume: bool,
    device: str,
) -> tuple[WeightsFile, bool]:
    recipe = read_recipe(SuperGlueRecipe, recipe_path)
    banks = _banks(textures, recipe, torch.device(device))
    recipe = replace(recipe, world=replace(recipe.world, photographs=textures))
    features, features_file = load_superpoint(superpoint)
    task = SuperGlueTask(recipe, features, *banks)
    plain = to_dict(recipe)
    plain["world"]["photographs"] = None  # a path says nothing about another machine
    untrained = folder / "untrained.json"
    if not resume:
        # Untrained it is optimal transport over the descriptors: what training must beat.
        folder.mkdir(parents=True, exist_ok=True)
        untrained.write_text(json.dumps(task.validate()) + "\n", encoding="utf-8")
    finished = run_training(
        task, recipe.schedule, folder, recipe=plain, minutes=minutes, resume=resume
    )
    done = [read_checkpoint(folder / CHECKPOINT)]
    card = _card("superglue", recipe_path.name, done, textures, task.validate(), device)
    card["data"] += "; a procedurally rendered world"
    card["features"] = f"{features_file.path.name} {features_file.short_hash}"
    card["pairs_seen"] = card["steps"] * recipe.batch // recipe.reuse
    if untrained.is_file():
        values = json.loads(untrained.read_text(encoding="utf-8"))
        card["validation_untrained"] = {key: round(value, 4) for key, value in values.items()}
    return save_weights(task.network, folder / "superglue.safetensors", card), finished


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
    checkpoints: Sequence[dict[str, Any]],
    textures: Path | None,
    scores: dict[str, float],
    device: str,
) -> dict[str, Any]:
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu"
    return {
        "network": network,
        "licence": LICENCE,
        "data": "homographies of photographs free to use and of procedural images"
        if textures
        else "homographies of procedural images alone",
        "recipe": recipe,
        "commit": source_commit(),
        "device": f"{name}, {platform.machine()}, torch {torch.__version__}",
        "minutes": round(sum(state["trained_s"] for state in checkpoints) / 60, 1),
        "steps": sum(state["step"] for state in checkpoints),
        "validation": {key: round(value, 4) for key, value in scores.items()},
    }


def check_textures(textures: Path | None) -> None:
    """SuperGlueRosError where a folder of photographs was named and is none."""
    if textures is not None and not textures.is_dir():
        raise SuperGlueRosError(f"{textures} is no folder of photographs")
