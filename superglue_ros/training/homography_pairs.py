"""Pairs of views of one flat image, with its strong corners as keypoint labels."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from superglue_ros.networks.superpoint import suppress_nonmaxima
from superglue_ros.training.homographies import (
    HomographyConfig,
    pixel_grid,
    random_homographies,
    similarity_matrix,
    translation_matrix,
    warp_points,
)
from superglue_ros.training.photometry import augment_photometry
from superglue_ros.training.photos import PhotoBank

_CANVAS = 1.5
"""Side of the labelled canvas over the side of a view."""


@dataclass(frozen=True)
class PairConfig:
    """size: (width, height) of a view; zoom: least and most pixels of the texture a pixel;
    max_corners: labels on the canvas; photometric: strength in [0, 1]."""

    size: tuple[int, int] = (160, 120)
    zoom: tuple[float, float] = (0.8, 5.0)
    roll_deg: float = 15.0
    max_corners: int = 200
    photometric: float = 1.0
    homography: HomographyConfig = field(default_factory=HomographyConfig)


@dataclass(frozen=True)
class HomographyPair:
    """A batch of pairs: images0/1 (B, 1, H, W) in [0, 1]; valid0/1 (B, H, W); H_0to1 (B, 3, 3);
    corners0/1 (B, C, 2) pixels of the same corners, corner_scores (B, C), 0 for padding."""

    images0: Tensor
    images1: Tensor
    valid0: Tensor
    valid1: Tensor
    H_0to1: Tensor
    corners0: Tensor
    corners1: Tensor
    corner_scores: Tensor


def corner_response(images: Tensor) -> Tensor:
    """Smaller eigenvalue (B, H, W) of the structure tensor of images (B, H, W) (Shi, Tomasi)."""
    x = F.pad(images[:, None], (1, 1, 1, 1), mode="replicate")
    smooth = x.new_tensor((1.0, 2.0, 1.0)) / 4
    slope = x.new_tensor((-1.0, 0.0, 1.0)) / 2
    dx = F.conv2d(x, (smooth[:, None] * slope[None])[None, None])
    dy = F.conv2d(x, (slope[:, None] * smooth[None])[None, None])
    products = torch.cat((dx * dx, dx * dy, dy * dy), dim=1)
    taps = torch.arange(-3, 4, device=x.device, dtype=x.dtype)
    window = (-(taps**2) / (2 * 1.2**2)).exp()
    window = (window / window.sum()).expand(3, 1, 1, -1)
    products = F.conv2d(F.pad(products, (3, 3, 3, 3), mode="replicate"), window, groups=3)
    products = F.conv2d(products, window.transpose(2, 3), groups=3)
    xx, xy, yy = products.unbind(1)
    return (xx + yy) / 2 - (((xx - yy) / 2) ** 2 + xy**2).clamp(min=1e-14).sqrt()


def find_corners(images: Tensor, valid: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The strongest local maxima of the corner response: pixels (B, C, 2), scores (B, C).

    A score is 0 where fewer than C stand out from flat ground and noise.
    """
    response = suppress_nonmaxima(corner_response(images).clamp(min=0), 4)
    response = response * valid
    response[:, :4] = response[:, -4:] = 0
    response[..., :4] = response[..., -4:] = 0
    least = (0.01 * response.amax((1, 2))).clamp(min=2e-4)
    values, indices = response.flatten(1).topk(count, dim=1)
    width = images.shape[2]
    points = torch.stack((indices % width, indices // width), dim=-1).float()
    return points, torch.where(values > least[:, None], values, 0.0)


class HomographyPairs:
    """Draws batches of pairs from a bank of textures; the generator's seed decides all."""

    def __init__(self, bank: PhotoBank, config: PairConfig, seed: int) -> None:
        self.bank = bank
        self.config = config
        self.generator = torch.Generator(bank.device).manual_seed(seed)

    @torch.no_grad()
    def sample(self, batch: int) -> HomographyPair:
        """A batch of pairs."""
        config, device = self.config, self.bank.device
        size = torch.tensor(config.size, device=device, dtype=torch.float32)
        index = torch.randint(len(self.bank), (batch,), generator=self.generator, device=device)
        to_texture, zoom = self._random_crops(index)
        H_0to1 = random_homographies(batch, config.size, config.homography, self.generator)
        H_1to0 = torch.linalg.inv(H_0to1)

        canvas_size = (int(config.size[0] * _CANVAS), int(config.size[1] * _CANVAS))
        margin = (torch.tensor(canvas_size, device=device) - size).div(2).floor().expand(batch, 2)
        canvas_to_0 = translation_matrix(-margin)
        canvas, inside = self._view(index, to_texture @ canvas_to_0, zoom, canvas_size)
        corners, scores = find_corners(canvas, inside, config.max_corners)
        corners0 = corners - margin[:, None]
        left, top = int(margin[0, 0]), int(margin[0, 1])
        width, height = config.size
        view0 = canvas[:, top : top + height, left : left + width]
        valid0 = inside[:, top : top + height, left : left + width]

        zoom1 = zoom * torch.linalg.det(H_1to0[:, :2, :2]).abs().sqrt()
        view1, valid1 = self._view(index, to_texture @ H_1to0, zoom1, config.size)
        grid0 = warp_points(pixel_grid(width, height, device).expand(batch, -1, -1, -1), H_1to0)
        labelled = ((grid0 >= -margin[0]) & (grid0 < size + margin[0])).all(-1)
        return HomographyPair(
            augment_photometry(view0, self.generator, config.photometric)[:, None],
            augment_photometry(view1, self.generator, config.photometric)[:, None],
            valid0,
            valid1 & labelled,
            H_0to1,
            corners0,
            warp_points(corners0, H_0to1),
            scores,
        )

    def _random_crops(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Homographies from view to texture pixels (B, 3, 3) and their zoom (B,)."""
        config, generator = self.config, self.generator
        batch, device = len(index), index.device

        def rand(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator, device=device)

        size = torch.tensor(config.size, device=device, dtype=torch.float32)
        texture_size = self.bank.sizes[index]
        low, high = (math.log(z) for z in config.zoom)
        most = (texture_size / size).amin(1) / 1.1
        zoom = (low + (high - low) * rand(batch)).exp()
        zoom = torch.minimum(zoom, most.clamp(min=config.zoom[0]))
        slack = (texture_size - size * zoom[:, None]).clamp(min=0)
        centre = texture_size / 2 + (rand(batch, 2) - 0.5) * slack
        angle = (rand(batch) * 2 - 1) * math.radians(config.roll_deg)
        middle = ((size - 1) / 2).expand(batch, 2)
        matrix = (
            translation_matrix(centre)
            @ similarity_matrix(angle, zoom)
            @ translation_matrix(-middle)
        )
        return matrix, zoom

    def _view(
        self, index: Tensor, to_texture: Tensor, zoom: Tensor, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        grid = pixel_grid(*size, index.device).expand(len(index), -1, -1, -1)
        return self.bank.sample(index, warp_points(grid, to_texture), zoom)
