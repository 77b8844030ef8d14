"""What light, lens and sensor do to an image; batched, on the training device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from superglue_ros.training.data.homographies import pixel_grid

_REACH = 10
"""Pixels around one that a blur mixes into it."""

_JPEG_LUMINANCE = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip

MOST_BLUR_PX = 4.0
"""Largest deviation that `_REACH` has room for."""


def check_photometry(strength: float, blur_px: float, blur_share: float = 0.0) -> None:
    """ValueError for what `augment_photometry` does not take."""
    if not 0 <= strength <= 1 or not 0.5 <= blur_px <= MOST_BLUR_PX:
        raise ValueError(f"photometric is in [0, 1], blur_px in [0.5, {MOST_BLUR_PX}]")
    if not 0 <= blur_share <= 1:
        raise ValueError(f"blur_share is in [0, 1], not {blur_share}")


def augment_photometry(
    images: Tensor,
    generator: torch.Generator,
    strength: float = 1.0,
    blur_px: float = 1.6,
    blur_share: float = 0.4,
) -> Tensor:
    """Images (B, H, W) in [0, 1] as a robot's camera gives them.

    That is under other exposure, gamma, shadow, vignetting, rolling brightness, motion and
    defocus blur, sensor noise and JPEG compression.

    strength 0 leaves them as they are, 1 is what a robot meets; blur_px: largest deviation of a
    Gaussian blur, about half the largest radius out of focus; blur_share: of images so blurred.
    """
    batch, height, width = images.shape
    device = images.device

    def uniform(low: float, high: float) -> Tensor:
        u = torch.rand(batch, 1, 1, generator=generator, device=device)
        return low + (high - low) * u

    def seldom(share: float) -> Tensor:
        return torch.rand(batch, 1, 1, generator=generator, device=device) < share * strength

    grid = pixel_grid(width, height, device) / torch.tensor((width, height), device=device) - 0.5
    x = images
    # A soft-edged shadow over one half-plane.
    direction = uniform(-torch.pi, torch.pi)
    side = direction.cos() * grid[..., 0] + direction.sin() * grid[..., 1] - uniform(-0.3, 0.3)
    shadow = 1 - uniform(0.2, 0.7) * torch.sigmoid(side * uniform(8, 80))
    x = torch.where(seldom(0.3), x * shadow, x)
    x = torch.where(seldom(0.3), x * (1 - uniform(0, 1) * (grid**2).sum(-1)), x)
    x = x.clamp(0, 1) ** (uniform(-0.5, 0.5) * strength).exp()
    x = (x - 0.5) * (1 + uniform(-0.4, 0.4) * strength) + 0.5 + uniform(-0.15, 0.15) * strength
    # Lamps on mains seen by a rolling shutter: bands across the rows.
    bands = (uniform(2, 14) * grid[..., 1] * torch.pi + uniform(0, 6)).sin()
    x = torch.where(seldom(0.1), x * (1 + uniform(0.05, 0.3) * bands), x)
    blurred = torch.where(
        uniform(0, 1) < 0.5,
        _blur(x, uniform(0.3, blur_px)),
        _defocus(x, uniform(0.8, 1.9 * blur_px)),
    )
    x = torch.where(seldom(blur_share), blurred, x)
    x = torch.where(seldom(0.15), _motion_blur(x, generator), x)
    noise = torch.randn(x.shape, generator=generator, device=device)
    # Photons arrive at random: bright pixels are noisier.
    deviation = (uniform(0, 1) ** 2 * 0.03) * (0.5 + x.clamp(0, 1)).sqrt()
    x = (x + noise * deviation * strength).clamp(0, 1)
    return torch.where(seldom(0.2), _jpeg(x, uniform(0.3, 2.0)), x).clamp(0, 1)


def _blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of each image (B, H, W) by its own sigma (B, 1, 1), at most 4 pixels."""
    taps = torch.arange(-_REACH, _REACH + 1, device=images.device, dtype=images.dtype)
    kernel = (-(taps**2) / (2 * sigma[:, 0] ** 2)).exp()
    kernel = kernel / kernel.sum(1, keepdim=True)
    batch = len(images)
    x = F.pad(images[None], (_REACH,) * 4, mode="reflect")
    x = F.conv2d(x, kernel[:, None, None], groups=batch)
    return F.conv2d(x, kernel[:, None, :, None], groups=batch)[0]


def _motion_blur(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image (B, H, W) smeared along a direction of its own, 3 to 9 pixels."""
    batch = len(images)
    device = images.device
    angle = torch.rand(batch, 1, 1, generator=generator, device=device) * torch.pi
    length = 1 + 3.5 * torch.rand(batch, 1, 1, generator=generator, device=device)
    grid = pixel_grid(9, 9, device) - 4
    along = grid[..., 0] * angle.cos() + grid[..., 1] * angle.sin()
    across = -grid[..., 0] * angle.sin() + grid[..., 1] * angle.cos()
    kernel = (1 - across.abs()).clamp(min=0) * (along.abs() <= length)
    kernel = kernel / kernel.sum((1, 2), keepdim=True)
    x = F.pad(images[None], (4, 4, 4, 4), mode="reflect")
    return F.conv2d(x, kernel[:, None], groups=batch)[0]


def _defocus(images: Tensor, radius: Tensor) -> Tensor:
    """Each image (B, H, W) under a disc of its own radius (B, 1, 1), at most 8 pixels."""
    grid = pixel_grid(2 * _REACH + 1, 2 * _REACH + 1, images.device) - _REACH
    kernel = (radius + 0.5 - grid.norm(dim=-1)).clamp(0, 1)
    kernel = kernel / kernel.sum((1, 2), keepdim=True)
    x = F.pad(images[None], (_REACH,) * 4, mode="reflect")
    return F.conv2d(x, kernel[:, None], groups=len(images))[0]


def _jpeg(images: Tensor, coarseness: Tensor) -> Tensor:
    """Images (B, H, W) with the cosine coefficients of their 8 x 8 blocks rounded as JPEG does,
    to multiples of the standard luminance table (ITU-T T.81, K.1) times coarseness (B, 1, 1)."""
    height, width = images.shape[1:]
    x = F.pad(images[:, None], (0, -width % 8, 0, -height % 8), mode="replicate")
    k = torch.arange(8, device=images.device, dtype=torch.float32)
    cosines = (torch.pi / 8 * (k + 0.5) * k[:, None]).cos() * 0.5
    cosines[0] /= 2**0.5
    basis = torch.kron(cosines, cosines)
    step = torch.tensor(_JPEG_LUMINANCE, device=images.device) / 255
    coefficients = basis @ F.pixel_unshuffle(x - 0.5, 8).flatten(2)
    step = step[:, None] * coarseness
    rounded = (coefficients / step).round() * step
    blocks = (basis.T @ rounded).unflatten(2, (x.shape[2] // 8, x.shape[3] // 8))
    return F.pixel_shuffle(blocks, 8)[:, 0, :height, :width] + 0.5
