"""Pictures and depths of the rendered world, with anti-aliased edges where wanted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from superglue_ros.world.raycast import View, ViewedSurfaces, Visibility, cast
from superglue_ros.world.scene import Surfaces
from superglue_ros.world.shading import Lights, Shader
from superglue_ros.world.texture_bank import TextureBank

SUBSAMPLES = ((-0.375, -0.125), (0.125, -0.375), (-0.125, 0.375), (0.375, 0.125))
"""Pixel offsets of the four samples of an edge pixel (a rotated grid)."""

NEIGHBOURS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
"""Pixels whose surfaces an edge pixel's samples may meet."""

CPU_SAMPLES, GPU_SAMPLES = 2**15, 2**23
"""Samples shaded at once: few enough to stay in a processor's cache, many for a GPU."""


@dataclass(frozen=True)
class Picture:
    """image (V, C, H, W) light, 1 is white; depth (V, H, W) z-depth in metres, 0 where nothing is
    met; surface (V, H, W) int64, -1 there."""

    image: torch.Tensor
    depth: torch.Tensor
    surface: torch.Tensor


@torch.no_grad()
def render(
    surfaces: Surfaces, bank: TextureBank, view: View, lights: Lights, antialias: bool = True
) -> Picture:
    """Pictures of all views at once, on the surfaces' device."""
    seen = ViewedSurfaces.of(surfaces, view)
    first = cast(seen, view)
    shader = Shader(surfaces, seen, bank, view, lights)
    image = _shade_pixels(shader, view, first, bank.channels)
    if antialias:
        _smooth_edges(image, first, seen, shader, view)
    return Picture(image, _depth(first), first.surface)


@torch.no_grad()
def render_depth(surfaces: Surfaces, view: View) -> torch.Tensor:
    """Only the z-depths (V, H, W) in metres, 0 where nothing is met."""
    return _depth(cast(ViewedSurfaces.of(surfaces, view), view))


def _depth(visible: Visibility) -> torch.Tensor:
    w = visible.inverse_depth
    return torch.where(w > 0, 1 / w.clamp(min=1e-6), 0.0)


def _shade_pixels(shader: Shader, view: View, first: Visibility, channels: int) -> torch.Tensor:
    device = first.surface.device
    pixels = view.width * view.height
    limit = CPU_SAMPLES if device.type == "cpu" else GPU_SAMPLES
    group, span = max(1, limit // pixels), min(pixels, limit)
    index = torch.arange(pixels, device=device)
    x, y = (index % view.width).float()[None], (index // view.width).float()[None]
    surface, near = first.surface.flatten(1), first.inverse_depth.flatten(1)
    image = torch.empty(len(view), channels, pixels, device=device)
    for start in range(0, len(view), group):
        rows = slice(start, min(start + group, len(view)))
        for left in range(0, pixels, span):
            some = slice(left, left + span)
            image[rows, :, some] = shader(
                rows, x[:, some], y[:, some], surface[rows, some], near[rows, some]
            )
    return image.unflatten(2, (view.height, view.width))


def _smooth_edges(
    image: torch.Tensor, first: Visibility, seen: ViewedSurfaces, shader: Shader, view: View
) -> None:
    """Replace the pixels of image (V, C, H, W) at surfaces' borders by the mean of samples."""
    padded = F.pad(first.surface[:, None].float(), (1, 1, 1, 1), mode="replicate")[:, 0].long()
    around = torch.stack(
        [padded[:, 1 + y : 1 + y + view.height, 1 + x : 1 + x + view.width] for x, y in NEIGHBOURS]
    )
    edge = (around != around[:1]).any(0)
    for index in range(len(view)):
        y, x = torch.nonzero(edge[index], as_tuple=True)
        candidates = around[:, index, y, x].repeat(1, len(SUBSAMPLES))  # (5, n * 4)
        moves = torch.tensor(SUBSAMPLES, device=image.device).repeat_interleave(len(y), 0)
        sample_x = x.float().repeat(len(SUBSAMPLES)) + moves[:, 0]
        sample_y = y.float().repeat(len(SUBSAMPLES)) + moves[:, 1]
        views = torch.full_like(sample_x, index, dtype=torch.int64)
        rays = view.rays(views, sample_x, sample_y)
        count = len(NEIGHBOURS)
        w = seen.inverse_depth(
            views.repeat(count), candidates.flatten().clamp(min=0), rays.repeat(count, 1)
        )
        nearest, which = (w.reshape(count, -1) * (candidates >= 0)).max(0)
        surface = candidates.gather(0, which[None])[0]
        surface = torch.where(nearest > 0, surface, -1)
        one = slice(index, index + 1)
        light = shader(one, sample_x[None], sample_y[None], surface[None], nearest[None])
        image[index, :, y, x] = light[0].unflatten(1, (len(SUBSAMPLES), -1)).mean(1)
