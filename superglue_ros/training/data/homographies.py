"""Random homographies and how they move points; batched, on the training device."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_FULL_SCALE = 2.5
"""Most zoom, in or out, of the pairs that full_scale_share says."""


@dataclass(frozen=True)
class HomographyConfig:
    """How far the second view of a pair is from the first.

    rotation_deg: most in-plane rotation; full_rotation_share: share of pairs turned by any angle;
    max_scale: most zoom, in or out; perspective: corner jitter, translation: shift, as shares of
    the image's size; full_scale_share: share of pairs zoomed in or out by up to 2.5.
    """

    rotation_deg: float = 30.0
    full_rotation_share: float = 0.0
    max_scale: float = 1.6
    perspective: float = 0.18
    translation: float = 0.2
    full_scale_share: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.full_rotation_share <= 1 and 0 <= self.full_scale_share <= 1):
            raise ValueError("full_rotation_share and full_scale_share are in [0, 1]")
        if not 0 <= self.perspective < 1:
            raise ValueError("perspective is in [0, 1)")
        if self.max_scale < 1 or min(self.rotation_deg, self.translation) < 0:
            raise ValueError("max_scale is at least 1, rotation_deg and translation at least 0")


def warp_points(points: Tensor, homography: Tensor) -> Tensor:
    """Points (B, ..., 2) moved by homographies (B, 3, 3)."""
    flat = points.flatten(1, -2)
    moved = flat @ homography[:, :, :2].transpose(1, 2) + homography[:, None, :, 2]
    depth = moved[..., 2:]
    depth = torch.where(depth.abs() < 1e-6, 1e-6, depth)
    return (moved[..., :2] / depth).view_as(points)


def inverse(homography: Tensor) -> Tensor:
    """Inverse homographies (B, 3, 3); unlike `torch.linalg.inv` it does not wait for the GPU."""
    return torch.linalg.inv_ex(homography).inverse


def magnification(homography: Tensor) -> Tensor:
    """Target pixels (B,) a source pixel of homographies (B, 3, 3), where their depth is 1."""
    return torch.linalg.det(homography).abs().sqrt()


def pixel_grid(width: int, height: int, device: torch.device) -> Tensor:
    """Pixel coordinates (H, W, 2) as (x, y)."""
    y, x = torch.meshgrid(
        torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij"
    )
    return torch.stack((x, y), dim=-1).float()


def translation_matrix(offset: Tensor) -> Tensor:
    """Homographies (B, 3, 3) that add offset (B, 2)."""
    matrix = torch.eye(3, device=offset.device).repeat(len(offset), 1, 1)
    matrix[:, :2, 2] = offset
    return matrix


def similarity_matrix(angle: Tensor, scale: Tensor) -> Tensor:
    """Homographies (B, 3, 3) that turn by angle (B,) radians and scale by (B,) about 0."""
    matrix = torch.zeros(len(angle), 3, 3, device=angle.device)
    cos, sin = angle.cos() * scale, angle.sin() * scale
    matrix[:, 0, 0], matrix[:, 0, 1] = cos, -sin
    matrix[:, 1, 0], matrix[:, 1, 1] = sin, cos
    matrix[:, 2, 2] = 1
    return matrix


def random_homographies(
    batch: int, size: tuple[int, int], config: HomographyConfig, generator: torch.Generator
) -> Tensor:
    """Homographies (B, 3, 3) among images of size (width, height), about their centre."""
    device = generator.device

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device) * 2 - 1

    extent = torch.tensor(size, device=device, dtype=torch.float32)
    centre = ((extent - 1) / 2).expand(batch, 2)
    angle = uniform(batch) * math.radians(config.rotation_deg)
    full = torch.rand(batch, generator=generator, device=device) < config.full_rotation_share
    angle = torch.where(full, uniform(batch) * math.pi, angle)
    scale = (uniform(batch) * math.log(config.max_scale)).exp()
    # Without a share nothing more is drawn, so that pairs are those of always.
    if config.full_scale_share:
        wide = torch.rand(batch, generator=generator, device=device) < config.full_scale_share
        scale = torch.where(wide, (uniform(batch) * math.log(_FULL_SCALE)).exp(), scale)
    tilt = torch.eye(3, device=device).repeat(batch, 1, 1)
    # The bottom row moves a corner at half the extent by about `perspective` of its distance.
    tilt[:, 2, :2] = uniform(batch, 2) * config.perspective * 2 / extent
    shear = torch.eye(3, device=device).repeat(batch, 1, 1)
    shear[:, :2, :2] += uniform(batch, 2, 2) * config.perspective / 2
    shift = uniform(batch, 2) * config.translation * extent
    return (
        translation_matrix(centre + shift)
        @ similarity_matrix(angle, scale)
        @ shear
        @ tilt
        @ translation_matrix(-centre)
    )
