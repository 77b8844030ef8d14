"""SuperGlue's training, as the runner of stages asks for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from superglue_ros.errors import CheckpointError, SuperGlueRosError
from superglue_ros.networks.checkpoints import load_superglue, load_superpoint
from superglue_ros.networks.precision import training_dtype
from superglue_ros.networks.superglue import SuperGlue
from superglue_ros.training.cards import file_label, image_data, rounded
from superglue_ros.training.data.image_banks import open_banks
from superglue_ros.training.loop import CHECKPOINT, read_checkpoint
from superglue_ros.training.options import Run
from superglue_ros.training.process_group import ProcessGroup
from superglue_ros.training.recipes import to_dict
from superglue_ros.training.superglue.bank import Bank, make_bank
from superglue_ros.training.superglue.recipe import SuperGlueRecipe
from superglue_ros.training.superglue.task import SuperGlueTask, network_figures, untrained
from superglue_ros.training.superglue.validation import (
    nearest_neighbours,
    validation_figures,
    validation_samples,
)

METHOD = (
    "equation 10 of arXiv:1911.11763, matched and unmatched keypoints weighing the same; from "
    "optimal transport over the descriptors; the dustbin's score calibrated on the unbalanced loss"
)
"""Where the training differs from the paper's, for the card."""


class SuperGlueTraining:
    """SuperGlue on the features of a frozen SuperPoint, of homographies, a rendered world, and a
    bank of furnished ones."""

    def __init__(self, recipe: SuperGlueRecipe, run: Run, group: ProcessGroup) -> None:
        """SuperGlueRosError where the run is to be compiled, CheckpointError for weights to go on
        from that have another number of layers than the recipe."""
        if run.compiled:
            raise SuperGlueRosError("--compile is SuperPoint's")
        self.recipe = _with_folders(recipe, run)
        self._run = run
        self._group = group
        self._images = open_banks(run.textures, recipe.drawings, recipe.seed, group.device)
        self._superpoint, self._features = load_superpoint(run.superpoint)
        dtype = training_dtype(group.device, recipe.bfloat16)
        self._superpoint.prepare(group.device, dtype)
        # The main process alone validates.
        self._validation = (
            validation_samples(self.recipe, self._superpoint, self._images.validation)
            if group.is_main
            else {}
        )
        self.network = untrained(self.recipe).to(group.device)
        self._furnished: Bank | None = None
        self._baselines = run.folder / "before.json"
        if not run.resume and group.is_main:
            self._write_baselines(dtype)
        self._start = _load_start(self.network, run.start, recipe)
        self._begun_with = {k: v.clone() for k, v in self.network.state_dict().items()}
        self._averaged = 1
        self._task: SuperGlueTask

    def record(self) -> dict[str, Any]:
        """Recipe, data and features, as a checkpoint holds them."""
        values = to_dict(self.recipe)
        # A path says nothing about another machine.
        values["world"]["photographs"] = None
        values["bank"]["views"] |= {"worlds": None, "photographs": None}
        return values | {
            "photographs": self._images.photographs,
            "features": self._features.short_hash,
            "start": self._start,
        }

    def prepare(self, deadline: float) -> None:
        """Make the bank that a stage of the recipe asks for, as far as time allows, or open it."""
        if not any(sum(stage.bank_counts) for stage in self.recipe.stages):
            return
        folder = self._run.bank
        if folder is None:
            if self._run.worlds is None:
                raise SuperGlueRosError(
                    "the recipe has a bank: name --worlds, a folder of .glb files"
                )
            folder = self._run.folder / "bank"
            make_bank(
                folder,
                self.recipe.bank,
                self._superpoint,
                self._features.short_hash,
                self._group.device,
                self.recipe.seed,
                group=self._group,
                deadline=deadline,
            )
            self._group.barrier()
        self._furnished = Bank(folder, self.recipe.bank.views.overlap, self._group.device)

    def preparation_s(self, number: int) -> float:
        """None: pairs are rendered, or drawn from the bank, as they are needed."""
        return 0.0

    def begin_stage(self, number: int, folder: Path, resumed: bool) -> SuperGlueTask:
        """The task of a stage."""
        stage = self.recipe.stages[number]
        if number and not resumed:
            self.network.load_state_dict(self._beginning(number))
        self._task = SuperGlueTask(
            self.recipe,
            stage,
            self.network,
            self._superpoint,
            self._images.training,
            self._validation,
            self._group,
            self._furnished,
        )
        return self._task

    def _beginning(self, number: int) -> dict[str, Tensor]:
        """The weights that a stage begins with."""
        earlier = range(max(0, number - max(1, self.recipe.stages[number].from_mean)), number)
        ends = [self._end_of(i) for i in earlier]
        return average_weights(ends) if ends else self._begun_with

    def _end_of(self, number: int) -> dict[str, Tensor]:
        """The weights that a stage has ended with."""
        folder = self._run.stage_folder(number, self.recipe.stages[number].name)
        return read_checkpoint(folder / CHECKPOINT)["network"]

    def finish(self, checkpoints: Sequence[dict[str, Any]]) -> None:
        """Average the weights that the last stages ended with and calibrate the dustbin's score
        of what comes out."""
        ends = [state["network"] for state in checkpoints[-self.recipe.averaged_stages :]]
        self._averaged = len(ends)
        weights = average_weights(ends)
        if self.recipe.start_share:
            begun_with = self._beginning(len(checkpoints) - len(ends))
            weights = mix_weights(weights, begun_with, self.recipe.start_share)
        self.network.load_state_dict(weights)
        if self.recipe.attention_keypoints:
            self.network.sharpen_attention(self.recipe.attention_keypoints)
        self._task.calibrate_dustbin()

    def weights(self) -> SuperGlue:
        """The network itself."""
        return self.network

    def card(self) -> dict[str, Any]:
        """A card's entries of SuperGlue's own."""
        method = METHOD
        if self._averaged > 1:
            method += f"; the mean of the weights after the last {self._averaged} stages"
        if self.recipe.start_share:
            method += f"; {self.recipe.start_share:g} of it the weights that these began with"
        data = f"{image_data(self._run)}; a procedurally rendered world"
        if self._furnished is not None:
            data += f"; {len(self._furnished.paths)} clusters of views of furnished worlds"
        card: dict[str, Any] = {
            "data": data,
            "method": method,
            "features": file_label(self._features),
        }
        if self._start:
            card["start"] = self._start
        if self._baselines.is_file():
            baselines = json.loads(self._baselines.read_text(encoding="utf-8"))
            card |= {f"validation_{name}": rounded(own) for name, own in baselines.items()}
        return card

    def _write_baselines(self, dtype: torch.dtype) -> None:
        """Figures that training must beat: those of nearest neighbours, and of the untrained
        network, which is optimal transport over the descriptors."""
        figures = {
            "untrained": network_figures(self.network, self._validation, dtype),
            "nearest_neighbour": validation_figures(self._validation, nearest_neighbours),
        }
        self._baselines.parent.mkdir(parents=True, exist_ok=True)
        self._baselines.write_text(json.dumps(figures) + "\n", encoding="utf-8")


def _with_folders(recipe: SuperGlueRecipe, run: Run) -> SuperGlueRecipe:
    """The recipe with the folders of the run's photographs and furnished worlds."""
    views = replace(recipe.bank.views, worlds=run.worlds, photographs=run.textures)
    world = replace(recipe.world, photographs=run.textures)
    return replace(recipe, world=world, bank=replace(recipe.bank, views=views))


def average_weights(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Mean of state dicts, tensor by tensor (Wortsman et al., arXiv:2203.05482); the batch norms'
    counters, which are whole numbers, are the last's."""
    return {
        name: torch.stack([state[name] for state in states]).mean(0)
        if last.is_floating_point()
        else last
        for name, last in states[-1].items()
    }


def mix_weights(
    first: dict[str, Tensor], second: dict[str, Tensor], share: float
) -> dict[str, Tensor]:
    """First weights with a share of the second, tensor by tensor; the batch norms' counters are
    the first's."""
    return {
        name: torch.lerp(own, second[name].to(own), share) if own.is_floating_point() else own
        for name, own in first.items()
    }


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
    return file_label(file)
