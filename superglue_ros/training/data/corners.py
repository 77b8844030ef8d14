"""Corners of clean images by the structure tensor, with sub-pixel places."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from superglue_ros.networks.keypoints import suppress_nonmaxima

CORNER_RESPONSE = 5e-4
IGNORED_RESPONSE = 1e-4
"""Corner responses from which on a corner is a keypoint, or ignored: noise may hide it."""

MARGIN = 4
"""Pixels along an image's edge without keypoints, as in `SuperPointConfig.border`."""

_RADIUS = 4


def within_margin(points: Tensor, size: tuple[int, int]) -> Tensor:
    """Which points (..., 2) in pixels lie far enough from the edge of a (width, height) image."""
    limit = torch.tensor(size, device=points.device) - 1 - MARGIN
    return ((points >= MARGIN) & (points <= limit)).all(-1)


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

    A score is negative for a corner to ignore, since noise may hide it, and 0 where fewer than C
    stand out.
    """
    response = corner_response(images).clamp(min=0)
    points, values = strongest_maxima(response * valid, count)
    ignored = torch.where(values > IGNORED_RESPONSE, -values, 0.0)
    scores = torch.where(values > CORNER_RESPONSE, values, ignored)
    return refine_maxima(response, points), scores


def strongest_maxima(response: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The strongest local maxima of a map (B, H, W): pixels (B, C, 2), values (B, C)."""
    height, width = response.shape[1:]
    inside = torch.zeros_like(response)
    inner = slice(MARGIN, height - MARGIN), slice(MARGIN, width - MARGIN)
    inside[:, inner[0], inner[1]] = suppress_nonmaxima(response, _RADIUS)[:, inner[0], inner[1]]
    values, indices = inside.flatten(1).topk(min(count, height * width), dim=1)
    return torch.stack((indices % width, indices // width), dim=-1).float(), values


def refine_maxima(response: Tensor, points: Tensor) -> Tensor:
    """Sub-pixel places of maxima (B, C, 2) of a map (B, H, W): the vertices of the parabolas
    through the logarithms of a maximum and its neighbours, along x and along y."""
    height, width = response.shape[1:]
    x, y = points.long().unbind(-1)
    x, y = x.clamp(1, width - 2), y.clamp(1, height - 2)
    logs = response.clamp(min=1e-12).log().flatten(1)

    def at(dx: int, dy: int) -> Tensor:
        return logs.gather(1, (y + dy) * width + x + dx)

    def vertex(before: Tensor, middle: Tensor, after: Tensor) -> Tensor:
        curvature = (before + after - 2 * middle).clamp(max=-1e-6)
        return ((before - after) / (2 * curvature)).clamp(-0.5, 0.5)

    middle = at(0, 0)
    offsets = vertex(at(-1, 0), middle, at(1, 0)), vertex(at(0, -1), middle, at(0, 1))
    return points + torch.stack(offsets, dim=-1)
