"""What light, lens and sensor do to an image; batched, on the training device."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from superglue_ros.training.homographies import pixel_grid


def augment_photometry(
    images: Tensor, generator: torch.Generator, strength: float = 1.0
) -> Tensor:
    """Images (B, H, W) in [0, 1] under other exposure, gamma, shadow, vignetting, blur and noise.

    strength 0 leaves them as they are, 1 is what a robot meets.
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
    x = torch.where(seldom(0.35), _blur(x, uniform(0.3, 1.6)), x)
    x = torch.where(seldom(0.15), _motion_blur(x, generator), x)
    noise = torch.randn(x.shape, generator=generator, device=device)
    x = x + noise * uniform(0, 0.03) * strength
    return x.clamp(0, 1)


def _blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of each image (B, H, W) by its own sigma (B, 1, 1)."""
    taps = torch.arange(-4, 5, device=images.device, dtype=images.dtype)
    kernel = (-(taps**2) / (2 * sigma[:, 0] ** 2)).exp()
    kernel = kernel / kernel.sum(1, keepdim=True)
    batch = len(images)
    x = F.pad(images[None], (4, 4, 4, 4), mode="reflect")
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
