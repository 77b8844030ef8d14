"""What SuperPoint is trained on in one stage, its loss and its validation figures."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from superglue_ros.errors import CheckpointError
from superglue_ros.networks.keypoints import CELL, sample_descriptors
from superglue_ros.networks.precision import training_dtype
from superglue_ros.networks.superpoint import SuperPoint, use_channels_last
from superglue_ros.training.data.crops import Crops, corner_crops
from superglue_ros.training.data.homographies import inverse, warp_points
from superglue_ros.training.data.homography_pairs import HomographyPair, HomographyPairs, shown
from superglue_ros.training.data.photos import PhotoBank
from superglue_ros.training.data.shapes import ShapeImages
from superglue_ros.training.superpoint.adaptation import adapt_labels, load_crops, save_crops
from superglue_ros.training.superpoint.batchnorm import BatchNormSuperPoint
from superglue_ros.training.superpoint.found_again import Candidates, find_candidates
from superglue_ros.training.superpoint.losses import (
    agreement_loss,
    descriptor_loss,
    detector_loss,
    detector_targets,
    found_loss,
    kept_loss,
)
from superglue_ros.training.superpoint.recipe import FOUND, StageConfig, SuperPointRecipe
from superglue_ros.training.superpoint.validation import pair_figures
from superglue_ros.training.team import RANK_SEED, Team

_CROP = 1.5
"""Side of a labelled crop over the side of a view."""

_VALIDATION_SEED = 1_000_003


class _Heads(nn.Module):
    """SuperPoint's dense outputs as a module's own call, which compiling and sharing ask for."""

    def __init__(self, network: SuperPoint) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.dense(images)


class SuperPointTask:
    """Detector, and descriptor where the stage says so, on pairs of labelled views."""

    def __init__(
        self,
        recipe: SuperPointRecipe,
        stage: StageConfig,
        train_bank: PhotoBank,
        validation_bank: PhotoBank,
        network: BatchNormSuperPoint,
        labels_file: Path | None = None,
        team: Team | None = None,
        compiled: bool = False,
    ) -> None:
        """network: what the stage before has trained; labels_file: where adapted labels are kept,
        so that a resumed run need not make them again; compiled: by torch.compile."""
        self.recipe = recipe
        self.stage = stage
        self.device = train_bank.device
        self._dtype = training_dtype(self.device, recipe.bfloat16)
        self.network = network
        self.network.config = recipe.keypoints(smoothing_px=stage.smoothing_px)
        self.network.to(self.device)
        # The network goes on from labels of its own, which norms of each batch would shake.
        self.network.norms_frozen = stage.labels == FOUND
        use_channels_last(self.network)
        self._before = self._inference_network() if stage.keep_weight else None
        self._team = team or Team(device=self.device)
        heads = _Heads(self.network)
        if compiled:
            heads.compile()
        self._heads = self._team.share(heads)
        self._textures = train_bank
        self._labels_file = labels_file
        number = recipe.stages.index(stage)
        self._label_generator = torch.Generator(self.device).manual_seed(
            recipe.seed + 1000 * (number + 1) + RANK_SEED * self._team.rank
        )
        self._label_state = self._label_generator.get_state().cpu()
        self._drawn_at = -1
        self.data = HomographyPairs(
            train_bank, stage.pairs, recipe.seed + number + RANK_SEED * self._team.rank
        )
        validation = HomographyPairs(validation_bank, recipe.validation, _VALIDATION_SEED)
        self._validation = [validation.sample(8) for _ in range(recipe.validation_batches)]

    @property
    def images_per_step(self) -> int:
        """Two a pair."""
        return 2 * self.stage.batch

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All parameters, at the recipe's rate."""
        return [{"params": list(self.network.parameters()), "scale": 1.0}]

    def _draw(self) -> tuple[PhotoBank, Crops]:
        """The stage's images with their labels, from the label generator as it is."""
        stage, generator = self.stage, self._label_generator
        self._label_state = generator.get_state().cpu()
        size = (int(stage.pairs.size[0] * _CROP), int(stage.pairs.size[1] * _CROP))
        if stage.labels == "shapes":
            images, points, scores = ShapeImages(size, generator).draw(
                stage.crops, stage.max_labels
            )
            bank = PhotoBank(list((images * 255).round().byte().cpu().numpy()), self.device)
            index = torch.arange(len(images), device=self.device)
            place = torch.eye(3, device=self.device).repeat(len(images), 1, 1)
            zoom = torch.ones(len(images), device=self.device)
            return bank, Crops(index, place, zoom, size, points, scores)
        bank, file = self._textures, self._labels_file
        if stage.labels == "adapted" and file is not None and file.is_file():
            return bank, load_crops(file, bank)
        crops = corner_crops(
            bank, stage.crops, size, stage.pairs.zoom, stage.max_labels, generator
        )
        if stage.labels == "corners":
            return bank, crops
        network = self._inference_network()
        crops = adapt_labels(network, bank, crops, stage.adaptation, generator)
        if file is None:
            return bank, crops
        save_crops(file, crops, bank)
        # Read again, so that a resumed run trains on the very same.
        return bank, load_crops(file, bank)

    def _inference_network(self) -> SuperPoint:
        return self.network.folded().prepare(self.device, self._dtype)

    def loss(self, step: int) -> tuple[Tensor, dict[str, Tensor], float]:
        """Detector and descriptor loss of the next batch of pairs."""
        started = time.monotonic()
        stage = self.stage
        if stage.labels != FOUND:
            self._renew(step)
        pair = self.data.sample(stage.batch)
        data_s = time.monotonic() - started
        images = torch.cat((pair.images0, pair.images1)).to(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, self._dtype is torch.bfloat16):
            logits, descriptors = self._heads(images)
        if stage.labels == FOUND:
            seen = self._candidates(step, pair, logits, descriptors)
            loss = found_loss(logits, seen.pixels, seen.labels, seen.known)
            figures = {"found": loss.detach()}
        else:
            presence, place = self._detector_loss(pair, logits)
            loss = presence + place
            figures = {"presence": presence.detach(), "place": place.detach()}
        if self._before is not None:
            with torch.no_grad():
                before = self._before.dense(images)
            place, moved = kept_loss(logits, descriptors, *before)
            loss = loss + stage.keep_weight * (place + moved)
            figures |= {"place_moved": place.detach(), "descriptor_moved": moved.detach()}
        if not stage.descriptor_weight and not stage.agreement_weight:
            return loss, figures, data_s
        if stage.labels == FOUND:
            points0, points1, valid, sure = self._seen_correspondences(pair, seen)
        else:
            points0, points1, valid, sure = self._correspondences(pair)
        if stage.agreement_weight:
            l0, l1 = logits.chunk(2)
            window = self.recipe.subpixel_radius, self.recipe.subpixel_power
            agreement = agreement_loss(
                l0, l1, points0, points1, sure, pair.H_0to1, window, self.data.generator
            )
            loss = loss + stage.agreement_weight * agreement
            figures["agreement_px"] = agreement.detach()
        if stage.descriptor_weight:
            d0, d1 = descriptors.chunk(2)
            descriptor, right = descriptor_loss(
                sample_descriptors(points0, d0), sample_descriptors(points1, d1), points1, valid
            )
            loss = loss + stage.descriptor_weight * descriptor
            figures |= {"descriptor": descriptor.detach(), "right": right}
        return loss, figures, data_s

    def _renew(self, step: int) -> None:
        """Draw the stage's labelled images where there are none yet, or they are old."""
        old = self.stage.renew_steps and step - self._drawn_at >= self.stage.renew_steps
        if self.data.crops is None or old:
            self._drawn_at = step
            self.data.bank, self.data.crops = self._draw()

    def _candidates(
        self, step: int, pair: HomographyPair, logits: Tensor, descriptors: Tensor
    ) -> Candidates:
        config = self.stage.found
        width, height = self.stage.pairs.size
        # Multiples of the golden ratio are spread evenly, and no device waits for a random one.
        count = config.count(width * height, step * 0.618034 % 1)
        valid = torch.cat((pair.valid0, pair.valid1))
        to_other = torch.cat((pair.H_0to1, inverse(pair.H_0to1)))
        return find_candidates(
            logits, descriptors, valid, to_other, count, self.network.config, config
        )

    def _detector_loss(self, pair: HomographyPair, logits: Tensor) -> tuple[Tensor, Tensor]:
        size = self.stage.pairs.size
        targets, valid = [], []
        for labels, inside in ((pair.labels0, pair.valid0), (pair.labels1, pair.valid1)):
            shares, known = detector_targets(labels, pair.label_scores, size)
            rows, columns = logits.shape[-2:]
            whole = inside[:, : rows * CELL, : columns * CELL].unflatten(1, (rows, CELL))
            targets.append(shares)
            valid.append(known & whole.unflatten(3, (columns, CELL)).all(4).all(2))
        return detector_loss(logits, torch.cat(targets), torch.cat(valid))

    def _correspondences(self, pair: HomographyPair) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Points of both views (B, N, 2), whether they count and whether they are sure labels:
        labels seen in both views first, then random ones."""
        generator = self.data.generator
        batch, count = len(pair.images0), self.stage.correspondences
        size = torch.tensor(self.stage.pairs.size, device=self.device, dtype=torch.float32)
        random = torch.rand(batch, 2 * count, 2, generator=generator, device=self.device)
        random = random * (size - 1)
        points0 = torch.cat((pair.labels0, random), dim=1)
        points1 = warp_points(points0, pair.H_0to1)
        valid = torch.ones(points0.shape[:2], dtype=torch.bool, device=self.device)
        valid[:, : pair.labels0.shape[1]] = pair.label_scores != 0
        valid &= shown(points0, pair.valid0) & shown(points1, pair.valid1)
        rank = torch.rand(valid.shape, generator=generator, device=self.device)
        rank[:, : pair.labels0.shape[1]] += 1
        sure = F.pad(pair.label_scores > 0, (0, random.shape[1]))
        return _take(count, rank, points0, points1, valid, sure)

    def _seen_correspondences(
        self, pair: HomographyPair, seen: Candidates
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The same of the first views' own keypoints, those that are matched being sure."""
        batch = len(pair.images0)
        points0, valid, sure = seen.places[:batch], seen.known[:batch], seen.matched[:batch]
        rank = torch.rand(valid.shape, generator=self.data.generator, device=self.device)
        count = min(self.stage.correspondences, valid.shape[1])
        return _take(count, rank, points0, warp_points(points0, pair.H_0to1), valid, sure)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Repeatability, localisation and mutual-nearest matching at 3 px of 300 keypoints."""
        network = self._inference_network()
        network.config = self.recipe.keypoints(max_keypoints=300, keypoint_threshold=0.0)
        rows = []
        for pair in self._validation:
            k0, k1 = network(pair.images0), network(pair.images1)
            rows.append(pair_figures(pair, k0, k1))
        return {key: sum(r[key] for r in rows) / len(rows) for key in rows[0]}

    def state(self) -> dict[str, Any]:
        """States of the pairs' and the labels' generators."""
        return {
            "generator": self.data.generator.get_state().cpu(),
            "labels": self._label_state,
            "drawn_at": self._drawn_at,
            "device": self.device.type,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up the data where the checkpoint left them; CheckpointError where it cannot."""
        self._team.check_device(state["device"])
        self._team.take_up(self.data.generator, state["generator"])
        self._team.take_up(self._label_generator, state["labels"])
        self._drawn_at = state["drawn_at"]
        if self._drawn_at < 0:
            return
        file = self._labels_file
        if self.stage.labels == "adapted" and file is not None and not file.is_file():
            raise CheckpointError(f"{file} is missing: its labels are of an earlier network")
        self.data.bank, self.data.crops = self._draw()


def _take(
    count: int, rank: Tensor, points0: Tensor, points1: Tensor, valid: Tensor, sure: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Points of both views (B, count, 2), whether they count and whether they are sure, of the
    valid ones that rank highest."""
    chosen = (rank * valid).topk(count, dim=1).indices
    places = chosen[..., None].expand(-1, -1, 2)
    valid = valid.gather(1, chosen)
    sure = valid & sure.gather(1, chosen)
    return points0.gather(1, places), points1.gather(1, places), valid, sure
