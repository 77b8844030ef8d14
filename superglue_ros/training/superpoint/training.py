"""SuperPoint's training, as the runner of stages asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from superglue_ros.errors import SuperGlueRosError
from superglue_ros.networks.checkpoints import load_superpoint
from superglue_ros.networks.superpoint import SuperPoint
from superglue_ros.training.cards import file_label
from superglue_ros.training.data.homography_pairs import HomographyPairs
from superglue_ros.training.data.image_banks import open_banks
from superglue_ros.training.data.photos import PhotoBank
from superglue_ros.training.options import Run
from superglue_ros.training.process_group import ProcessGroup
from superglue_ros.training.recipes import to_dict
from superglue_ros.training.superpoint.batchnorm import BatchNormSuperPoint
from superglue_ros.training.superpoint.recipe import OWN_LABELS, SuperPointRecipe
from superglue_ros.training.superpoint.task import SuperPointTask

METHOD = (
    'stages as in arXiv:1712.07629, those of labels "repeatable" as in arXiv:1906.06195 and '
    "2304.06194; presence and place of a keypoint weigh the same; labels are sub-pixel and leave "
    "out what noise may hide; the descriptor learns by cross-entropy over sampled correspondences "
    "(InfoNCE); batch norms are folded away, weights rounded to bfloat16"
)
"""Where the training differs from the paper's, for the card."""

_ADAPTATION_S = 240.0
"""What making a stage's adapted labels takes at most."""


class SuperPointTraining:
    """SuperPoint with batch norms, on photographs and procedural images."""

    def __init__(self, recipe: SuperPointRecipe, run: Run, group: ProcessGroup) -> None:
        """SuperGlueRosError where the first stage's labels need a network and there is none."""
        if recipe.stages[0].labels in OWN_LABELS and run.start is None:
            raise SuperGlueRosError(
                "the first stage has no network whose keypoints could label it"
            )
        self.recipe = recipe
        self._group = group
        self._compiled = run.compiled
        self._images = open_banks(run.textures, recipe.drawings, recipe.seed, group.device)
        torch.manual_seed(recipe.seed)
        self._start: str | None = None
        self.network = BatchNormSuperPoint()
        if run.start is not None:
            self.network, self._start = _load_start(run.start, recipe, self._images.training)

    def record(self) -> dict[str, Any]:
        """Recipe and data, as a checkpoint holds them."""
        data = {"photographs": self._images.photographs, "start": self._start}
        return to_dict(self.recipe) | data

    def prepare(self, deadline: float) -> None:
        """Nothing: each stage makes its own labels."""

    def preparation_s(self, number: int) -> float:
        """Seconds that homographic adaptation may take."""
        return _ADAPTATION_S if self.recipe.stages[number].labels == "adapted" else 0.0

    def begin_stage(self, number: int, folder: Path, resumed: bool) -> SuperPointTask:
        """The task of a stage, whose adapted labels are kept in its folder."""
        labels = folder / f"labels_{self._group.rank}.pt"
        if not resumed:
            # Left by a run that was cut off before its first checkpoint.
            labels.unlink(missing_ok=True)
        return SuperPointTask(
            self.recipe,
            self.recipe.stages[number],
            self._images.training,
            self._images.validation,
            self.network,
            labels,
            self._group,
            self._compiled,
        )

    def finish(self, checkpoints: Sequence[dict[str, Any]]) -> None:
        """Nothing: the weights are the last stage's."""

    def weights(self) -> SuperPoint:
        """The plain network, its batch norms folded away."""
        folded = self.network.folded()
        folded.config = self.recipe.keypoints()
        folded.round_weights()
        return folded

    def card(self) -> dict[str, Any]:
        """A card's entries of SuperPoint's own."""
        return {"method": METHOD} | ({"start": self._start} if self._start else {})


def _load_start(
    start: Path, recipe: SuperPointRecipe, bank: PhotoBank
) -> tuple[BatchNormSuperPoint, str]:
    """A network to train on from weights, and their name."""
    plain, file = load_superpoint(start)
    stage = recipe.stages[0]
    plain.config = recipe.keypoints(smoothing_px=stage.smoothing_px)
    pair = HomographyPairs(bank, stage.pairs, recipe.seed).sample(16)
    images = torch.cat((pair.images0, pair.images1))
    return BatchNormSuperPoint.unfolded(plain.to(bank.device), images), file_label(file)
