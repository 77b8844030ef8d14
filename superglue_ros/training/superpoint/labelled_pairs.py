"""Pairs of views of labelled images: shapes, corners, and what homographic adaptation labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from superglue_ros.errors import CheckpointError
from superglue_ros.networks.keypoints import CELL
from superglue_ros.networks.superpoint import SuperPoint
from superglue_ros.training.data.crops import Crops, corner_crops
from superglue_ros.training.data.homography_pairs import HomographyPair, HomographyPairs
from superglue_ros.training.data.photos import PhotoBank
from superglue_ros.training.data.shapes import ShapeImages
from superglue_ros.training.process_group import ProcessGroup
from superglue_ros.training.superpoint.adaptation import adapt_labels, load_crops, save_crops
from superglue_ros.training.superpoint.losses import detector_loss, detector_targets
from superglue_ros.training.superpoint.recipe import StageConfig
from superglue_ros.training.superpoint.supervision import Supervision, label_correspondences

_CROP = 1.5
"""Side of a labelled crop over the side of a view."""


class LabelledPairs:
    """Batches of a stage whose labels are drawn with the images, anew every `renew_steps`."""

    def __init__(
        self,
        stage: StageConfig,
        pairs: HomographyPairs,
        seed: int,
        labels_file: Path | None,
        adapting: Callable[[], SuperPoint],
    ) -> None:
        """pairs: of the textures; seed: of the labels; labels_file: where adapted labels are kept,
        so that a resumed run need not make them again; adapting: gives the network that labels,
        ready for inference."""
        self.stage = stage
        self.pairs = pairs
        self._textures = pairs.bank
        self._labels_file = labels_file
        self._adapting = adapting
        self._label_generator = torch.Generator(pairs.bank.device).manual_seed(seed)
        self._drawn_from = self._label_generator.get_state().cpu()
        self._drawn_at = -1

    @property
    def generator(self) -> torch.Generator:
        """What the pairs are drawn with."""
        return self.pairs.generator

    def sample(self, step: int) -> HomographyPair:
        """The batch of a step, whose labels are drawn first where there are none yet, or old."""
        stage = self.stage
        old = stage.renew_steps and step - self._drawn_at >= stage.renew_steps
        if self.pairs.crops is None or old:
            self._drawn_at = step
            self._draw()
        return self.pairs.sample(stage.batch)

    def supervise(
        self, step: int, pair: HomographyPair, logits: Tensor, descriptors: Tensor
    ) -> Supervision:
        """The detector learns the labels; the correspondences are those that both views show."""
        presence, place = _detector_loss(pair, logits)
        figures = {"presence": presence.detach(), "place": place.detach()}
        count = self.stage.correspondences
        return Supervision(
            presence + place, figures, lambda: label_correspondences(pair, count, self.generator)
        )

    def state(self) -> dict[str, Any]:
        """States of the generators, and the step that drew the labels."""
        return {
            "generator": self.generator.get_state().cpu(),
            "labels": self._drawn_from,
            "drawn_at": self._drawn_at,
        }

    def restore(self, state: dict[str, Any], group: ProcessGroup) -> None:
        """Go on where `state` was given; CheckpointError where the adapted labels are missing."""
        group.restore_generator(self.generator, state["generator"])
        group.restore_generator(self._label_generator, state["labels"])
        self._drawn_at = state["drawn_at"]
        if self._drawn_at < 0:
            return
        file = self._labels_file
        if self.stage.labels == "adapted" and file is not None and not file.is_file():
            raise CheckpointError(f"{file} is missing: its labels are of an earlier network")
        self._draw()

    def _draw(self) -> None:
        """The stage's images with their labels, from the label generator as it is."""
        self._drawn_from = self._label_generator.get_state().cpu()
        stage = self.stage
        size = (int(stage.pairs.size[0] * _CROP), int(stage.pairs.size[1] * _CROP))
        if stage.labels == "shapes":
            self.pairs.bank, self.pairs.crops = self._shapes(size)
        elif stage.labels == "corners":
            self.pairs.crops = self._corners(size)
        else:
            self.pairs.crops = self._adapted(size)

    def _shapes(self, size: tuple[int, int]) -> tuple[PhotoBank, Crops]:
        stage, device = self.stage, self._textures.device
        shapes = ShapeImages(size, self._label_generator)
        images, points, scores = shapes.draw(stage.crops, stage.max_labels)
        bank = PhotoBank(list((images * 255).round().byte().cpu().numpy()), device)
        index = torch.arange(len(images), device=device)
        place = torch.eye(3, device=device).repeat(len(images), 1, 1)
        zoom = torch.ones(len(images), device=device)
        return bank, Crops(index, place, zoom, size, points, scores)

    def _corners(self, size: tuple[int, int]) -> Crops:
        stage = self.stage
        return corner_crops(
            self._textures,
            stage.crops,
            size,
            stage.pairs.zoom,
            stage.max_labels,
            self._label_generator,
        )

    def _adapted(self, size: tuple[int, int]) -> Crops:
        bank, file = self._textures, self._labels_file
        if file is not None and file.is_file():
            return load_crops(file, bank)
        crops = adapt_labels(
            self._adapting(),
            bank,
            self._corners(size),
            self.stage.adaptation,
            self._label_generator,
        )
        if file is None:
            return crops
        save_crops(file, crops, bank)
        # Read again, so that a resumed run trains on the very same.
        return load_crops(file, bank)


def _detector_loss(pair: HomographyPair, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Of logits (2B, 65, h, w), in the cells that both the texture and the labels cover."""
    height, width = pair.images0.shape[-2:]
    rows, columns = logits.shape[-2:]
    targets, valid = [], []
    for labels, inside in ((pair.labels0, pair.valid0), (pair.labels1, pair.valid1)):
        shares, known = detector_targets(labels, pair.label_scores, (width, height))
        whole = inside[:, : rows * CELL, : columns * CELL].unflatten(1, (rows, CELL))
        targets.append(shares)
        valid.append(known & whole.unflatten(3, (columns, CELL)).all(4).all(2))
    return detector_loss(logits, torch.cat(targets), torch.cat(valid))
