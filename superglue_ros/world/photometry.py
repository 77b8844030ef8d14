"""Lights and photometry of rendered training pairs, drawn anew for each of the two views."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from superglue_ros.world.raycast import View
from superglue_ros.world.scene import Surfaces
from superglue_ros.world.shading import Lights, ShadowMap, shadow_map

SHADOW_PIXELS = 128
SHADOW_TANGENT = 2.0
"""Half the width of a shadow map at a distance of 1: the light shines on a cone of 63 degrees."""

LIGHTS = 2


class Draw:
    """Random numbers on a device from one seed."""

    def __init__(self, device: torch.device, seed: int) -> None:
        self.device = device
        self.generator = torch.Generator(device).manual_seed(seed)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
        """Uniform numbers of the shape."""
        unit = torch.rand(shape, generator=self.generator, device=self.device)
        return low + (high - low) * unit

    def normal(self, *shape: int) -> torch.Tensor:
        """Normal numbers of the shape, deviation 1."""
        return torch.randn(shape, generator=self.generator, device=self.device)

    def log_uniform(self, *shape: int, low: float, high: float) -> torch.Tensor:
        """Numbers whose logarithm is uniform."""
        return low * (high / low) ** self.uniform(*shape)

    def integers(self, *shape: int, high: int) -> torch.Tensor:
        """Integers from 0 to high - 1."""
        return torch.randint(high, shape, generator=self.generator, device=self.device)


def draw_lights(
    draw: Draw, surfaces: Surfaces, view: View, lamps: torch.Tensor, shadows: bool, change: bool
) -> Lights:
    """Lights of B pairs of gray views (2B views, both of a pair in turn).

    lamps: (B, 2, 3), the corners between which lights are; with `change`, half of the pairs have
    other lights in the second view.
    """
    pairs = len(lamps)
    moved = (draw.uniform(pairs, 1, 1, 1) < (0.5 if change else 0.0)).float()

    def both(values: torch.Tensor) -> torch.Tensor:
        """(B, 2, ...) as (2B, ...), the second view like the first where nothing moved."""
        keep = moved.reshape(pairs, *[1] * (values.ndim - 2))
        second = values[:, 0] + (values[:, 1] - values[:, 0]) * keep
        return torch.stack([values[:, 0], second], 1).flatten(0, 1)

    extent = lamps[:, 1] - lamps[:, 0]
    place = draw.uniform(pairs, 2, LIGHTS, 3)
    position = both(lamps[:, None, None, 0] + place * extent[:, None, None])
    strength = both(draw.uniform(pairs, 2, LIGHTS, 1, low=0.0, high=1.3))
    reach = extent.norm(dim=1)[:, None].expand(pairs, LIGHTS).repeat_interleave(2, 0)
    ambient = both(draw.uniform(pairs, 2, 1, low=0.2, high=0.7))
    sky = both(draw.uniform(pairs, 2, 1, low=0.5, high=1.0))
    shadow = _shadows(surfaces, view, position[:, 0]) if shadows else None
    return Lights(ambient, position, strength, reach, sky, shadow)


def _shadows(surfaces: Surfaces, view: View, position: torch.Tensor) -> ShadowMap:
    """Depth maps seen downwards from the lights (V, 3), one for each view."""
    count, device = len(position), position.device
    down = torch.diag(torch.tensor([1.0, -1.0, -1.0], device=device)).expand(count, 3, 3)
    half = SHADOW_PIXELS / 2
    focal = half / SHADOW_TANGENT
    matrix = torch.tensor([[focal, 0, half], [0, focal, half], [0, 0, 1.0]], device=device).expand(
        count, 3, 3
    )
    lamp = View(view.scene, down, position, matrix, SHADOW_PIXELS, SHADOW_PIXELS)
    return shadow_map(surfaces, lamp)


def expose(draw: Draw, image: torch.Tensor) -> torch.Tensor:
    """Pictures (V, 1, H, W) as a camera would take them: blur, exposure, gamma and noise of each
    view's own; 0..1."""
    views = len(image)
    sigma = draw.uniform(views, low=-0.6, high=1.2).clamp(min=0.25)
    image = _blur(image, sigma)
    mean = image.mean((1, 2, 3), keepdim=True).clamp(min=0.02)
    target = draw.log_uniform(views, 1, 1, 1, low=0.28, high=0.65)
    gamma = draw.log_uniform(views, 1, 1, 1, low=0.7, high=1.4)
    image = (image * (target / mean)).clamp(min=1e-4)
    # A soft shoulder, as in a camera's curve, rather than clipping at white.
    image = 1 - torch.exp(-1.3 * image**gamma)
    noise = draw.log_uniform(views, 1, 1, 1, low=0.003, high=0.04)
    return (image + noise * draw.normal(*image.shape)).clamp(0, 1)


def _blur(image: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Gaussian blur (V, 1, H, W) with a deviation (V,) in pixels for each view."""
    offset = torch.arange(-3, 4, device=image.device, dtype=image.dtype)
    weights = torch.exp(-0.5 * (offset / sigma[:, None]) ** 2)
    weights = weights / weights.sum(1, keepdim=True)
    views, _, height, width = image.shape
    stacked = F.pad(image.transpose(0, 1), (3, 3, 3, 3), mode="replicate")
    stacked = F.conv2d(stacked, weights[:, None, None], groups=views)
    stacked = F.conv2d(stacked, weights[:, None, :, None], groups=views)
    return stacked.transpose(0, 1).reshape(views, 1, height, width)
