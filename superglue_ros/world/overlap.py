"""Geometry between rendered views: relative poses and how much of one the other sees."""

from __future__ import annotations

import torch

from superglue_ros.world.raycast import View

DEPTH_TOLERANCE = 0.05
"""Relative difference of depth up to which two views see the same surface."""


def relative_pose(view: View, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """T_0to1 (N, 4, 4) from the views with indices first (N,) to those with indices second."""
    rotation = view.rotation[second].transpose(1, 2) @ view.rotation[first]
    between = (view.position[first] - view.position[second])[..., None]
    matrix = torch.eye(4, device=rotation.device).repeat(len(rotation), 1, 1)
    matrix[:, :3, :3] = rotation
    matrix[:, :3, 3:] = view.rotation[second].transpose(1, 2) @ between
    return matrix


def seen_share(
    depth0: torch.Tensor,
    depth1: torch.Tensor,
    k0: torch.Tensor,
    k1: torch.Tensor,
    pose: torch.Tensor,
    tolerance: float = DEPTH_TOLERANCE,
) -> torch.Tensor:
    """Share (N,) of view 0's pixels whose surface view 1 sees too.

    depth0, depth1: (N, H, W) z-depths, 0 unknown; k0, k1: (N, 3, 3); pose: T_0to1 (N, 4, 4).
    """
    _, height, width = depth0.shape
    y, x = torch.meshgrid(
        torch.arange(height, device=depth0.device, dtype=depth0.dtype),
        torch.arange(width, device=depth0.device, dtype=depth0.dtype),
        indexing="ij",
    )
    x, y, z = x.flatten(), y.flatten(), depth0.flatten(1)
    across = (x - k0[:, 0, 2:]) / k0[:, 0, :1]
    down = (y - k0[:, 1, 2:]) / k0[:, 1, 1:2]
    points = torch.stack([across * z, down * z, z], 1)  # (N, 3, H * W)
    moved = pose[:, :3, :3] @ points + pose[:, :3, 3:]
    far = moved[:, 2].clamp(min=1e-3)
    u = (k1[:, 0, :1] * moved[:, 0] / far + k1[:, 0, 2:]).round().clamp(-1, width)
    v = (k1[:, 1, 1:2] * moved[:, 1] / far + k1[:, 1, 2:]).round().clamp(-1, height)
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height) & (moved[:, 2] > 1e-3) & (z > 0)
    index = (v.clamp(0, height - 1) * width + u.clamp(0, width - 1)).long()
    there = depth1.flatten(1).gather(1, index)
    same = inside & ((there - far).abs() < tolerance * far)
    return same.float().mean(1)
