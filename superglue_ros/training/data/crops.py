"""Crops of textures with keypoint labels: what training pairs are views of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from superglue_ros.training.data.corners import find_corners
from superglue_ros.training.data.homographies import (
    pixel_grid,
    similarity_matrix,
    translation_matrix,
    warp_points,
)
from superglue_ros.training.data.photos import PhotoBank

_CHUNK = 64
"""Crops rendered at once while they are labelled."""

_CANDIDATES = 3
"""Random crops of which the one with most corners is taken: photographs are mostly smooth."""


@dataclass(frozen=True)
class Crops:
    """P places in a texture bank, and their labels.

    index (P,): texture; to_texture (P, 3, 3): crop's to texture's pixels; zoom (P,): texture
    pixels a crop pixel; size: (width, height) of every crop; points (P, C, 2): labels, pixels of
    the crop; scores (P, C): positive for a keypoint, negative for one that the loss ignores, since
    noise may hide it, 0 for padding. Keypoints nearer to a crop's edge than `MARGIN` pixels need
    not be labelled.
    """

    index: Tensor
    to_texture: Tensor
    zoom: Tensor
    size: tuple[int, int]
    points: Tensor
    scores: Tensor

    def __len__(self) -> int:
        return len(self.index)


def random_places(
    bank: PhotoBank,
    index: Tensor,
    size: tuple[int, int],
    zoom: tuple[float, float],
    roll_deg: float,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Homographies to texture pixels (B, 3, 3) of views of textures, and their zooms (B,).

    index (B,): the textures; size: of the view; zoom: least and most texture pixels a view pixel,
    less where the texture is too small for it; roll_deg: most in-plane rotation.
    """
    batch, device = len(index), index.device

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device)

    extent = torch.tensor(size, device=device, dtype=torch.float32)
    texture_size = bank.sizes[index]
    low, high = (math.log(z) for z in zoom)
    most = (texture_size / extent).amin(1) / 1.1
    scale = (low + (high - low) * rand(batch)).exp()
    scale = torch.minimum(scale, most.clamp(min=zoom[0]))
    slack = (texture_size - extent * scale[:, None]).clamp(min=0)
    centre = texture_size / 2 + (rand(batch, 2) - 0.5) * slack
    angle = (rand(batch) * 2 - 1) * math.radians(roll_deg)
    middle = ((extent - 1) / 2).expand(batch, 2)
    place = translation_matrix(centre) @ similarity_matrix(angle, scale)
    return place @ translation_matrix(-middle), scale


def render_view(
    bank: PhotoBank, index: Tensor, to_texture: Tensor, zoom: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Views (B, H, W) in [0, 1] at the places given, and where they lie on the texture."""
    grid = pixel_grid(*size, index.device).expand(len(index), -1, -1, -1)
    return bank.sample(index, warp_points(grid, to_texture), zoom)


def corner_crops(
    bank: PhotoBank,
    count: int,
    size: tuple[int, int],
    zoom: tuple[float, float],
    max_labels: int,
    generator: torch.Generator,
) -> Crops:
    """Random crops labelled with their strong corners (Shi, Tomasi), the richer of a few tries."""
    chunks = []
    for first in range(0, count, _CHUNK):
        batch = min(_CHUNK, count - first)
        tries = []
        for _ in range(_CANDIDATES):
            index = torch.randint(len(bank), (batch,), generator=generator, device=bank.device)
            place, scale = random_places(bank, index, size, zoom, 180.0, generator)
            view, inside = render_view(bank, index, place, scale, size)
            tries.append((index, place, scale, *find_corners(view, inside, max_labels)))
        richest = torch.stack([(t[-1] > 0).sum(1) for t in tries]).argmax(0)
        rows = torch.arange(batch, device=bank.device)
        chunks.append([torch.stack(part)[richest, rows] for part in zip(*tries)])
    index, place, scale, points, scores = (torch.cat(part) for part in zip(*chunks))
    return Crops(index, place, scale, size, points, scores)
