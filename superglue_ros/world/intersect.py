"""Where a ray meets one surface of the rendered world, in the surface's local frame."""

from __future__ import annotations

import torch

from superglue_ros.world.scene import DISC, SPHERE, TRIANGLE

NEAR_M = 0.05
"""Surfaces nearer than this to the image plane are not seen."""


def flat_lines(gain: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Lines (..., 3, 3) whose products with a ray are s w, t w, and the inverse depth w; all zero
    where the camera is behind the surface."""
    height = -shift[..., 2]
    above = height > 1e-4
    w = torch.where(above[..., None], -gain[..., 2, :] / height.clamp(min=1e-4)[..., None], 0.0)
    s = gain[..., 0, :] - shift[..., :1] * w
    t = gain[..., 1, :] - shift[..., 1:2] * w
    return torch.stack([s * above[..., None], t * above[..., None], w], -2)


def inside_flat(
    kind: torch.Tensor, s: torch.Tensor, t: torch.Tensor, w: torch.Tensor
) -> torch.Tensor:
    """w where |s|, |t| <= w and the kind's own border holds, else 0."""
    hit = (torch.maximum(s.abs(), t.abs()) <= w) & (w < 1 / NEAR_M)
    if bool((kind == TRIANGLE).any()):
        hit &= (s + t <= 0) | (kind != TRIANGLE)
    if bool((kind == DISC).any()):
        hit &= (s * s + t * t <= w * w) | (kind != DISC)
    return w * hit


def meet_round(
    kind: torch.Tensor, d: tuple[torch.Tensor, ...], shift: torch.Tensor
) -> torch.Tensor:
    """Inverse depth of the near side of x² + y² + m z² = 1, with m 1 for a sphere and 0 for a
    cylinder of |z| <= 1; 0 where it is missed or the camera is inside."""
    x, y, z = d
    qx, qy, qz = shift.unbind(-1)
    m = (kind == SPHERE).to(x.dtype)
    c = qx * qx + qy * qy + m * qz * qz - 1
    b = x * qx + y * qy + m * z * qz
    a = x * x + y * y + m * z * z
    root = b * b - a * c
    w = (b + root.clamp(min=0).sqrt()) / c.clamp(min=1e-6)
    hit = (root >= 0) & (w > 0) & (w < 1 / NEAR_M) & (c > 1e-6)
    hit &= (m > 0) | ((z - qz * w).abs() <= w)
    return torch.where(hit, w, 0.0)
