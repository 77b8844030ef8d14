"""A training run from its recipe to a weights file with its card."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from superglue_ros.errors import CheckpointError, SuperGlueRosError
from superglue_ros.networks.checkpoints import (
    WeightsFile,
    load_superglue,
    load_superpoint,
    read_weights,
    save_weights,
)
from superglue_ros.networks.precision import training_dtype
from superglue_ros.networks.superglue import SuperGlue
from superglue_ros.networks.superpoint import SuperPoint
from superglue_ros.training.data.homography_pairs import HomographyPairs
from superglue_ros.training.data.photos import PhotoBank, draw_procedural, photo_paths, read_photos
from superglue_ros.training.loop import CHECKPOINT, check_folder, read_checkpoint, run_training
from superglue_ros.training.recipes import RECIPES, read_recipe, to_dict
from superglue_ros.training.superglue.bank import Bank, make_bank
from superglue_ros.training.superglue.recipe import SuperGlueRecipe, SuperGlueStage
from superglue_ros.training.superglue.recipe import trial_of as superglue_trial
from superglue_ros.training.superglue.task import SuperGlueTask, network_figures, untrained
from superglue_ros.training.superglue.validation import (
    nearest_neighbours,
    validation_figures,
    validation_samples,
)
from superglue_ros.training.superpoint.batchnorm import BatchNormSuperPoint
from superglue_ros.training.superpoint.recipe import (
    OWN_LABELS,
    StageConfig,
    SuperPointRecipe,
    trial_of,
)
from superglue_ros.training.superpoint.task import SuperPointTask
from superglue_ros.training.team import Team, join_team, leave_team

DEFAULT_RECIPES = {
    "superpoint": RECIPES / "superpoint_cpu.yaml",
    "superglue": RECIPES / "superglue_cpu.yaml",
}
LICENCE = "Apache-2.0"
_ADAPTATION_S = 240.0
"""What making a stage's adapted labels takes at most."""
SUPERPOINT_METHOD = (
    'stages as in arXiv:1712.07629, those of labels "found" as in arXiv:1906.06195 and '
    "2304.06194; presence and place of a keypoint weigh the same; labels are sub-pixel and leave "
    "out what noise may hide; the descriptor learns by cross-entropy over sampled correspondences "
    "(InfoNCE); batch norms are folded away, weights rounded to bfloat16"
)
SUPERGLUE_METHOD = (
    "equation 10 of arXiv:1911.11763, matched and unmatched keypoints weighing the same; from "
    "optimal transport over the descriptors; the dustbin's score settled by the unbalanced loss"
)
"""Where the trainings differ from the papers', for the cards."""


@dataclass(frozen=True)
class Run:
    """What a run is asked for.

    textures: a folder of photographs, None for procedural images alone; worlds: a folder of
    furnished worlds, for recipes that have a bank of them; bank: one that is made already, in
    place of the run's own; superpoint: the frozen
    features SuperGlue is trained on, the shipped ones by default; start: weights of the network
    to go on from, instead of from nothing; minutes: after which it stops,
    to be resumed; compiled: SuperPoint by torch.compile; trial: a few steps of all of it, to see
    that it runs.
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


def train(network: str, run: Run) -> tuple[WeightsFile, bool]:
    """Train "superpoint" or "superglue" for a slice of time and write its weights and card.

    Returns the weights as they are now and whether the recipe has been trained to its end.
    Under torchrun all its processes train together.
    """
    deadline = math.inf if run.minutes is None else time.monotonic() + 60 * run.minutes
    team = join_team(run.device)
    try:
        if network == "superpoint":
            return _train_superpoint(run, team, deadline)
        return _train_superglue(run, team, deadline)
    finally:
        leave_team()


def _train_superpoint(run: Run, team: Team, deadline: float) -> tuple[WeightsFile, bool]:
    """Stage after stage, each in a folder of its own, from the network of the one before."""
    recipe = read_recipe(SuperPointRecipe, run.recipe)
    if run.trial:
        recipe = trial_of(recipe)
    if recipe.stages[0].labels in OWN_LABELS and run.start is None:
        raise SuperGlueRosError("the first stage has no network whose keypoints could label it")
    stages = _folders(run, [stage.name for stage in recipe.stages])
    banks, data = _banks(run.textures, recipe, team.device)
    torch.manual_seed(recipe.seed)
    network, begun_from = _start(run, recipe, banks[0])
    finished, slice_s = True, deadline - time.monotonic()
    for stage, place in zip(recipe.stages, stages):
        begun = run.resume and (place / CHECKPOINT).exists()
        late = deadline - time.monotonic() < _ADAPTATION_S < slice_s / 2
        if stage.labels == "adapted" and not begun and team.agree(late):
            # The next slice makes the labels, which this one might not have the time to.
            finished = False
            break
        place.mkdir(parents=True, exist_ok=True)
        labels = place / f"labels_{team.rank}.pt"
        if not begun:
            # Left by a run that was cut off before its first checkpoint.
            labels.unlink(missing_ok=True)
        task = SuperPointTask(recipe, stage, *banks, network, labels, team, run.compiled)
        finished = run_training(
            task,
            stage.schedule,
            place,
            recipe=to_dict(recipe) | data | {"stage": stage.name, "start": begun_from},
            deadline=deadline,
            resume=begun,
            team=team,
        )
        if not finished:
            break
    weights = run.folder / "superpoint.safetensors"
    if team.leads:
        done = [read_checkpoint(p / CHECKPOINT) for p in stages if (p / CHECKPOINT).exists()]
        card = _card("superpoint", run, done, task.validate(), team)
        card["method"] = SUPERPOINT_METHOD
        asked = ("labels", "smoothing_px", "agreement_weight", "keep_weight")
        pairs = [state["step"] * stage.batch for stage, state in zip(recipe.stages, done)]
        card |= _stages(recipe.stages, asked, done, pairs, begun_from)
        folded = network.folded()
        folded.config = recipe.keypoints()
        folded.round_weights()
        save_weights(folded, weights, card)
    team.wait()
    return read_weights(weights), finished


def _start(
    run: Run, recipe: SuperPointRecipe, bank: PhotoBank
) -> tuple[BatchNormSuperPoint, str | None]:
    """The network to train on, and the name of the weights it comes from, if from any."""
    if run.start is None:
        return BatchNormSuperPoint(), None
    plain, file = load_superpoint(run.start)
    stage = recipe.stages[0]
    plain.config = recipe.keypoints(smoothing_px=stage.smoothing_px)
    pair = HomographyPairs(bank, stage.pairs, recipe.seed).sample(16)
    images = torch.cat((pair.images0, pair.images1))
    network = BatchNormSuperPoint.unfolded(plain.to(bank.device), images)
    return network, f"{file.path.name} {file.short_hash}"


def _train_superglue(run: Run, team: Team, deadline: float) -> tuple[WeightsFile, bool]:
    """Stage after stage, each in a folder of its own, from the network of the one before."""
    if run.compiled:
        raise SuperGlueRosError("--compile is SuperPoint's")
    recipe = read_recipe(SuperGlueRecipe, run.recipe)
    if run.trial:
        recipe = superglue_trial(recipe)
    stages = _folders(run, [stage.name for stage in recipe.stages])
    banks, data = _banks(run.textures, recipe, team.device)
    recipe = replace(recipe, world=replace(recipe.world, photographs=run.textures))
    views = replace(recipe.bank.views, worlds=run.worlds, photographs=run.textures)
    recipe = replace(recipe, bank=replace(recipe.bank, views=views))
    features, features_file = load_superpoint(run.superpoint)
    dtype = training_dtype(team.device, recipe.bfloat16)
    features.prepare(team.device, dtype)
    furnished = _furnished(run, recipe, features, features_file.short_hash, team, deadline)
    # The leader alone validates.
    samples = validation_samples(recipe, features, banks[1]) if team.leads else {}
    network = untrained(recipe).to(team.device)
    before = run.folder / "before.json"
    if not run.resume and team.leads:
        # Untrained it is optimal transport over the descriptors: what training must beat.
        run.folder.mkdir(parents=True, exist_ok=True)
        figures = {
            "untrained": network_figures(network, samples, dtype),
            "nearest_neighbour": validation_figures(samples, nearest_neighbours),
        }
        before.write_text(json.dumps(figures) + "\n", encoding="utf-8")
    begun_from = _load_start(network, run.start, recipe)
    plain = to_dict(recipe)
    # A path says nothing about another machine.
    plain["world"]["photographs"] = None
    plain["bank"]["views"] |= {"worlds": None, "photographs": None}
    plain |= data | {"features": features_file.short_hash, "start": begun_from}
    finished = True
    for number, (stage, place) in enumerate(zip(recipe.stages, stages)):
        if stage.from_mean and number:
            before_it = stages[max(0, number - stage.from_mean) : number]
            ends = [read_checkpoint(p / CHECKPOINT)["network"] for p in before_it]
            network.load_state_dict(_mean(ends))
        task = SuperGlueTask(recipe, stage, network, features, banks[0], samples, team, furnished)
        finished = run_training(
            task,
            stage.schedule,
            place,
            recipe=plain | {"stage": stage.name},
            deadline=deadline,
            resume=run.resume and (place / CHECKPOINT).exists(),
            team=team,
        )
        if not finished:
            break
    weights = run.folder / "superglue.safetensors"
    if team.leads:
        done = [read_checkpoint(p / CHECKPOINT) for p in stages if (p / CHECKPOINT).exists()]
        if finished:
            # After the last checkpoint: the weights have it, and no slice waits for it.
            ends = [state["network"] for state in done[-recipe.averaged_stages :]]
            network.load_state_dict(_mean(ends))
            if recipe.attention_keypoints:
                network.sharpen_attention(recipe.attention_keypoints)
            task.settle_dustbin()
        card = _card("superglue", run, done, task.validate(), team)
        card["data"] += "; a procedurally rendered world"
        if furnished is not None:
            card["data"] += f"; {len(furnished.paths)} clusters of views of furnished worlds"
        card["method"] = SUPERGLUE_METHOD
        if finished and recipe.averaged_stages > 1:
            card["method"] += f"; the mean of the weights after the last {len(ends)} stages"
        card["features"] = f"{features_file.path.name} {features_file.short_hash}"
        asked = ("keypoints", "rendered_share", "apart_share", "bank_share", "reuse")
        pairs = [
            state["step"] * stage.batch // stage.reuse for stage, state in zip(recipe.stages, done)
        ]
        card |= _stages(recipe.stages, asked, done, pairs, begun_from)
        if before.is_file():
            for name, values in json.loads(before.read_text(encoding="utf-8")).items():
                card[f"validation_{name}"] = {k: round(v, 4) for k, v in values.items()}
        save_weights(network, weights, card)
    team.wait()
    return read_weights(weights), finished


def _furnished(
    run: Run,
    recipe: SuperGlueRecipe,
    features: SuperPoint,
    features_hash: str,
    team: Team,
    deadline: float,
) -> Bank | None:
    """The bank that a stage of the recipe asks for, made as far as time allows."""
    if not any(sum(stage.bank_counts) for stage in recipe.stages):
        return None
    folder = run.bank
    if folder is None:
        if run.worlds is None:
            raise SuperGlueRosError("the recipe has a bank: name --worlds, a folder of .glb files")
        folder = run.folder / "bank"
        make_bank(
            folder, recipe.bank, features, features_hash, team.device, recipe.seed,
            team=team, deadline=deadline,
        )  # fmt: skip
        team.wait()
    return Bank(folder, recipe.bank.views.overlap, team.device)


def _mean(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Tensor by tensor; the batch norms' counters, which are whole numbers, are the last's."""
    return {
        name: torch.stack([state[name] for state in states]).mean(0)
        if last.is_floating_point()
        else last
        for name, last in states[-1].items()
    }


def _folders(run: Run, names: Sequence[str]) -> list[Path]:
    """One a stage; CheckpointError where the run would start over, or go on from nothing."""
    folders = [run.folder / f"{number}_{name}" for number, name in enumerate(names, 1)]
    for folder in folders[:1] if run.resume else folders:
        check_folder(folder / CHECKPOINT, run.resume)
    return folders


def _load_start(network: SuperGlue, start: Path | None, recipe: SuperGlueRecipe) -> str | None:
    """Give the network the weights to go on from, if there are any; their name."""
    if start is None:
        return None
    plain, file = load_superglue(start)
    if plain.config.num_layers != recipe.network.num_layers:
        raise CheckpointError(
            f"{file.path} has {plain.config.num_layers} layers, the recipe "
            f"{recipe.network.num_layers}"
        )
    network.load_state_dict(plain.state_dict())
    return f"{file.path.name} {file.short_hash}"


def _banks(
    textures: Path | None, recipe: Any, device: torch.device
) -> tuple[tuple[PhotoBank, PhotoBank], dict[str, str | None]]:
    """Images to train on and to validate on, and what a resumed run must find again of them."""
    images = draw_procedural(recipe.drawings, recipe.seed)
    if textures is None:
        held_out = draw_procedural(max(2, recipe.drawings // 8), recipe.seed + 1)
    else:
        images = read_photos(textures, validation=False) + images
        held_out = read_photos(textures, validation=True)
    banks = PhotoBank(images, device), PhotoBank(held_out, device)
    return banks, {"photographs": None if textures is None else _digest(textures)}


def _digest(folder: Path) -> str:
    """Of the names and sizes of a folder's photographs."""
    listing = [f"{path.name} {path.stat().st_size}" for path in photo_paths(folder)]
    return hashlib.sha256("\n".join(listing).encode()).hexdigest()[:8]


def _card(
    network: str,
    run: Run,
    checkpoints: Sequence[dict[str, Any]],
    scores: dict[str, float],
    team: Team,
) -> dict[str, Any]:
    cuda = team.device.type == "cuda"
    device = f"{team.size} x {torch.cuda.get_device_name(team.device)}" if cuda else "cpu"
    return {
        "network": network,
        "licence": LICENCE,
        "data": "homographies of photographs free to use and of procedural images"
        if run.textures
        else "homographies of procedural images alone",
        "recipe": run.recipe.name + (", a trial" if run.trial else ""),
        "commit": ", ".join(dict.fromkeys(state["commit"] for state in checkpoints)),
        "device": f"{device}, {platform.machine()}, torch {torch.__version__}",
        "minutes": round(sum(state["trained_s"] for state in checkpoints) / 60, 1),
        "steps": sum(state["step"] for state in checkpoints),
        "validation": {key: round(value, 4) for key, value in scores.items()},
    }


def _stages(
    stages: Sequence[StageConfig | SuperGlueStage],
    asked: Sequence[str],
    checkpoints: Sequence[dict[str, Any]],
    pairs: Sequence[int],
    begun_from: str | None,
) -> dict[str, Any]:
    """A card's part on what each stage was asked for and did; pairs: those of one process."""
    rows: dict[str, dict[str, Any]] = {
        stage.name: {name: getattr(stage, name) for name in asked}
        | {
            "steps": state["step"],
            "pairs_seen": own * state["team_size"],
            "minutes": round(state["trained_s"] / 60, 1),
        }
        for stage, state, own in zip(stages, checkpoints, pairs)
    }
    card: dict[str, Any] = {"start": begun_from} if begun_from else {}
    return card | {"stages": rows, "pairs_seen": sum(row["pairs_seen"] for row in rows.values())}


def check_textures(textures: Path | None) -> None:
    """SuperGlueRosError where a folder of photographs was named and is none."""
    if textures is not None and not textures.is_dir():
        raise SuperGlueRosError(f"{textures} is no folder of photographs")
