"""Pairs of views of one flat image, with keypoint labels where the image has some."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from superglue_ros.networks.keypoints import CELL
from superglue_ros.training.data.corners import within_margin
from superglue_ros.training.data.crops import Crops, random_places, render_view
from superglue_ros.training.data.homographies import (
    HomographyConfig,
    inverse,
    magnification,
    pixel_grid,
    random_homographies,
    translation_matrix,
    warp_points,
)
from superglue_ros.training.data.photometry import augment_photometry, check_photometry
from superglue_ros.training.data.photos import PhotoBank

_FIRST_VIEW = HomographyConfig(rotation_deg=20.0, max_scale=1.25, perspective=0.1, translation=0.1)
"""How far the first view of a labelled crop is from the crop itself."""


@dataclass(frozen=True)
class PairConfig:
    """size: (width, height) of a view; zoom: least and most pixels of the texture a pixel;
    roll_deg: most turn of the first view of a texture, labelled crops are turned by any angle;
    photometric, blur_px, blur_share: see `augment_photometry`; homography: from first to second
    view."""

    size: tuple[int, int] = (160, 120)
    zoom: tuple[float, float] = (0.8, 5.0)
    roll_deg: float = 15.0
    photometric: float = 1.0
    blur_px: float = 1.6
    blur_share: float = 0.4
    homography: HomographyConfig = field(default_factory=HomographyConfig)

    def __post_init__(self) -> None:
        if len(self.size) != 2 or min(self.size) < CELL:
            raise ValueError(f"size is (width, height), at least {CELL} each, not {self.size}")
        if len(self.zoom) != 2 or not 0 < self.zoom[0] <= self.zoom[1]:
            raise ValueError(f"zoom is (least, most), above 0, not {self.zoom}")
        check_photometry(self.photometric, self.blur_px, self.blur_share)


@dataclass(frozen=True)
class HomographyPair:
    """A batch of pairs: images0/1 (B, 1, H, W) in [0, 1]; valid0/1 (B, H, W); H_0to1 (B, 3, 3);
    labels0/1 (B, C, 2) pixels of the same labels, label_scores (B, C) as in `Crops`."""

    images0: Tensor
    images1: Tensor
    valid0: Tensor
    valid1: Tensor
    H_0to1: Tensor
    labels0: Tensor
    labels1: Tensor
    label_scores: Tensor


@dataclass(frozen=True)
class _FirstViews:
    """Where first views lie: texture index (B,), to its pixels (B, 3, 3), zoom (B,), to the pixels
    of the crop (the texture's own where there is none), labels (B, C, 2) and their scores."""

    index: Tensor
    to_texture: Tensor
    zoom: Tensor
    to_crop: Tensor
    labels: Tensor
    scores: Tensor


class HomographyPairs:
    """Draws batches of pairs from a bank of textures; the generator's seed decides all.

    With labelled crops the views are of these, else of any place of the bank, without labels.
    """

    def __init__(
        self, bank: PhotoBank, config: PairConfig, seed: int, crops: Crops | None = None
    ) -> None:
        self.bank = bank
        self.config = config
        self.crops = crops
        self.generator = torch.Generator(bank.device).manual_seed(seed)

    @torch.no_grad()
    def sample(self, batch: int) -> HomographyPair:
        """A batch of pairs."""
        config, generator = self.config, self.generator
        H_0to1 = random_homographies(batch, config.size, config.homography, generator)
        first = self._anywhere(batch) if self.crops is None else self._of_crops(batch, self.crops)
        H_1to0 = inverse(H_0to1)
        views = []
        identity = torch.eye(3, device=H_0to1.device).repeat(batch, 1, 1)
        for to_first in (identity, H_1to0):
            view, valid = render_view(
                self.bank,
                first.index,
                first.to_texture @ to_first,
                first.zoom * magnification(to_first),
                config.size,
            )
            if self.crops is not None:
                valid = valid & _inside(first.to_crop @ to_first, config.size, self.crops.size)
            seen = augment_photometry(
                view, generator, config.photometric, config.blur_px, config.blur_share
            )
            views.append((seen, valid))
        (image0, valid0), (image1, valid1) = views
        return HomographyPair(
            image0[:, None],
            image1[:, None],
            valid0,
            valid1,
            H_0to1,
            first.labels,
            warp_points(first.labels, H_0to1),
            first.scores,
        )

    def _anywhere(self, batch: int) -> _FirstViews:
        config, device = self.config, self.bank.device
        index = torch.randint(len(self.bank), (batch,), generator=self.generator, device=device)
        to_texture, zoom = random_places(
            self.bank, index, config.size, config.zoom, config.roll_deg, self.generator
        )
        labels, scores = to_texture.new_zeros(batch, 0, 2), to_texture.new_zeros(batch, 0)
        return _FirstViews(index, to_texture, zoom, to_texture, labels, scores)

    def _of_crops(self, batch: int, crops: Crops) -> _FirstViews:
        size, device = self.config.size, self.bank.device
        pick = torch.randint(len(crops), (batch,), generator=self.generator, device=device)
        sizes = torch.tensor((crops.size, size), device=device, dtype=torch.float32)
        margin = ((sizes[0] - sizes[1]) / 2).expand(batch, 2)
        shaken = random_homographies(batch, size, _FIRST_VIEW, self.generator)
        to_crop = translation_matrix(margin) @ shaken
        return _FirstViews(
            crops.index[pick],
            crops.to_texture[pick] @ to_crop,
            crops.zoom[pick] * magnification(shaken),
            to_crop,
            warp_points(crops.points[pick], inverse(to_crop)),
            crops.scores[pick],
        )


def _inside(to_crop: Tensor, size: tuple[int, int], crop_size: tuple[int, int]) -> Tensor:
    """Where (B, H, W) the views' pixels fall inside the crops, where all labels are known."""
    grid = pixel_grid(*size, to_crop.device).expand(len(to_crop), -1, -1, -1)
    return within_margin(warp_points(grid, to_crop), crop_size)


def shown(points: Tensor, valid: Tensor) -> Tensor:
    """Which points (B, N, 2) in pixels views show, away from their edge; valid (B, H, W)."""
    height, width = valid.shape[1:]
    x, y = points.round().long().unbind(-1)
    pixels = y.clamp(0, height - 1) * width + x.clamp(0, width - 1)
    return within_margin(points, (width, height)) & valid.flatten(1).gather(1, pixels)
