"""Ground-truth assignment of keypoints between two views, by depth and pose or by a homography.

After SuperGlue (arXiv:1911.11763, appendix on training): keypoints that project onto each other
are matches, keypoints with nothing near their projection are unmatched, and those in between are
ignored by the loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from superglue_ros.types import UNMATCHED

IGNORED = -2
"""Value of a match index where the truth is not known or not clear."""

DEPTH_TOLERANCE = 0.05
"""Relative difference of depth up to which two views see the same surface."""


@dataclass(frozen=True)
class Assignment:
    """matches0 (B, N) int64: index of the partner among keypoints1, UNMATCHED (-1) where there is
    none, IGNORED (-2) where that is not known; matches1 (B, M) likewise into keypoints0."""

    matches0: torch.Tensor
    matches1: torch.Tensor


@dataclass(frozen=True)
class Projection:
    """Keypoints of one view in the other: points (B, N, 2), where they are known to be visible
    and where they are known not to be (B, N); neither means unknown. Both ways they decide the
    assignment of any of the keypoints."""

    points: torch.Tensor
    visible: torch.Tensor
    hidden: torch.Tensor


@torch.no_grad()
def ground_truth_assignment(
    keypoints0: torch.Tensor,
    keypoints1: torch.Tensor,
    depth0: torch.Tensor,
    depth1: torch.Tensor,
    K0: torch.Tensor,
    K1: torch.Tensor,
    T_0to1: torch.Tensor,
    *,
    match_px: float = 3.0,
    unmatched_px: float = 5.0,
    valid0: torch.Tensor | None = None,
    valid1: torch.Tensor | None = None,
) -> Assignment:
    """Assignment by projecting keypoints both ways.

    keypoints0 (B, N, 2) and keypoints1 (B, M, 2) in pixels; depth0, depth1 (B, H, W) z-depth in
    metres, 0 or NaN where unknown; K0, K1 (B, 3, 3); T_0to1 (B, 4, 4); valid0 (B, N), valid1
    (B, M) False for padding, which is ignored. Matched: within match_px both ways, mutually
    nearest, of consistent depth. Unmatched: occluded, outside, or nothing within unmatched_px.
    Raises ValueError for shapes that do not fit or match_px above unmatched_px.
    """
    _check(keypoints0, keypoints1, match_px, unmatched_px)
    batch = len(keypoints0)
    for name, matrix, size in (("K0", K0, 3), ("K1", K1, 3), ("T_0to1", T_0to1, 4)):
        if matrix.shape != (batch, size, size):
            raise ValueError(f"{name} must be ({batch}, {size}, {size}), not {(*matrix.shape,)}")
    for name, depth in (("depth0", depth0), ("depth1", depth1)):
        if depth.ndim != 3 or len(depth) != batch:
            raise ValueError(f"{name} must be ({batch}, H, W), not {(*depth.shape,)}")
    forth, back = project_both(keypoints0, keypoints1, depth0, depth1, K0, K1, T_0to1)
    return _assign(keypoints0, keypoints1, forth, back, match_px, unmatched_px, valid0, valid1)


def project_both(
    keypoints0: torch.Tensor,
    keypoints1: torch.Tensor,
    depth0: torch.Tensor,
    depth1: torch.Tensor,
    K0: torch.Tensor,
    K1: torch.Tensor,
    T_0to1: torch.Tensor,
) -> tuple[Projection, Projection]:
    """Keypoints of view 0 in view 1 and those of view 1 in view 0, by depth and pose; shapes as
    in `ground_truth_assignment`."""
    depth0, depth1 = _known(depth0), _known(depth1)
    forth = _project(keypoints0, depth0, depth1, K0, K1, T_0to1)
    return forth, _project(keypoints1, depth1, depth0, K1, K0, _inverse(T_0to1))


def projected_assignment(
    keypoints0: torch.Tensor,
    keypoints1: torch.Tensor,
    forth: Projection,
    back: Projection,
    match_px: float = 3.0,
    unmatched_px: float = 5.0,
) -> Assignment:
    """Assignment of keypoints (B, N, 2) and (B, M, 2) whose projections are known."""
    _check(keypoints0, keypoints1, match_px, unmatched_px)
    return _assign(keypoints0, keypoints1, forth, back, match_px, unmatched_px, None, None)


@torch.no_grad()
def homography_assignment(
    keypoints0: torch.Tensor,
    keypoints1: torch.Tensor,
    H_0to1: torch.Tensor,
    image_size: tuple[int, int],
    *,
    match_px: float = 3.0,
    unmatched_px: float = 5.0,
    valid0: torch.Tensor | None = None,
    valid1: torch.Tensor | None = None,
) -> Assignment:
    """Assignment of keypoints of two images that a homography H_0to1 (B, 3, 3) relates.

    image_size: (width, height) of both; the rest as in `ground_truth_assignment`.
    """
    _check(keypoints0, keypoints1, match_px, unmatched_px)
    if H_0to1.shape != (len(keypoints0), 3, 3):
        raise ValueError(f"H_0to1 must be ({len(keypoints0)}, 3, 3), not {(*H_0to1.shape,)}")
    forth = _warp(keypoints0, H_0to1, image_size)
    back = _warp(keypoints1, torch.linalg.inv(H_0to1.float()).to(H_0to1.dtype), image_size)
    return _assign(keypoints0, keypoints1, forth, back, match_px, unmatched_px, valid0, valid1)


def _check(
    keypoints0: torch.Tensor, keypoints1: torch.Tensor, match_px: float, unmatched_px: float
) -> None:
    for name, keypoints in (("keypoints0", keypoints0), ("keypoints1", keypoints1)):
        if keypoints.ndim != 3 or keypoints.shape[2] != 2:
            raise ValueError(f"{name} must be (B, N, 2), not {(*keypoints.shape,)}")
    if len(keypoints0) != len(keypoints1):
        raise ValueError(f"batches of {len(keypoints0)} and {len(keypoints1)} do not fit")
    if not 0 < match_px <= unmatched_px:
        raise ValueError(f"need 0 < match_px <= unmatched_px, not {match_px}, {unmatched_px}")


def _known(depth: torch.Tensor) -> torch.Tensor:
    """Depth with infinity where it is unknown, so that comparisons need no mask."""
    return torch.where((depth > 0) & depth.isfinite(), depth, torch.inf)


def _inverse(pose: torch.Tensor) -> torch.Tensor:
    inverse = pose.clone()
    inverse[:, :3, :3] = pose[:, :3, :3].transpose(1, 2)
    inverse[:, :3, 3:] = -inverse[:, :3, :3] @ pose[:, :3, 3:]
    return inverse


def _around(depth: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Depths (B, N, 9) of the 3x3 pixels about points (B, N, 2), the nearest one in the middle."""
    height, width = depth.shape[1:]
    offset = torch.tensor([-1, 0, 1], device=points.device)
    nearest = points.clamp(-4, 2**20).round().long()
    x = (nearest[..., 0, None] + offset.repeat(3)).clamp(0, width - 1)
    y = (nearest[..., 1, None] + offset.repeat_interleave(3)).clamp(0, height - 1)
    return depth.flatten(1).gather(1, (y * width + x).flatten(1)).reshape(x.shape)


def _project(
    keypoints: torch.Tensor,
    depth: torch.Tensor,
    other_depth: torch.Tensor,
    K: torch.Tensor,
    other_K: torch.Tensor,
    pose: torch.Tensor,
) -> Projection:
    around = _around(depth, keypoints)
    nearest, middle = around.amin(2), around[..., 4]
    # A corner on an outline belongs to the nearer surface, whichever side its pixel falls on.
    z = torch.where(nearest < (1 - DEPTH_TOLERANCE) * middle, nearest, middle)
    known = z.isfinite()
    z = torch.where(known, z, 1.0)
    rays = torch.linalg.solve(K[:, None], _homogeneous(keypoints)[..., None])[..., 0]
    moved = (rays * z[..., None]) @ pose[:, :3, :3].transpose(1, 2) + pose[:, None, :3, 3]
    far = moved[..., 2]
    image = moved @ other_K.transpose(1, 2)
    points = image[..., :2] / far.clamp(min=1e-6)[..., None]
    height, width = other_depth.shape[1:]
    inside = (far > 1e-6) & _inside(points, width, height)
    there = _around(other_depth, points)
    measured = there[..., 4].isfinite()
    same = ((there - far[..., None]).abs() <= DEPTH_TOLERANCE * far[..., None]).any(2)
    return Projection(points, known & inside & same, known & (~inside | (measured & ~same)))


def _warp(keypoints: torch.Tensor, homography: torch.Tensor, size: tuple[int, int]) -> Projection:
    moved = _homogeneous(keypoints) @ homography.transpose(1, 2)
    scale = moved[..., 2]
    # A homography's sign is free; points behind have another sign of scale than the centre.
    centre = homography.new_tensor([(size[0] - 1) / 2, (size[1] - 1) / 2, 1.0])
    front = scale * (homography[:, 2:] @ centre) > 0
    points = moved[..., :2] / torch.where(scale.abs() < 1e-9, 1e-9, scale)[..., None]
    visible = front & _inside(points, *size)
    return Projection(points, visible, ~visible)


def _homogeneous(points: torch.Tensor) -> torch.Tensor:
    return torch.cat([points, torch.ones_like(points[..., :1])], -1)


def _inside(points: torch.Tensor, width: int, height: int) -> torch.Tensor:
    x, y = points.unbind(-1)
    return (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)


def _assign(
    keypoints0: torch.Tensor,
    keypoints1: torch.Tensor,
    forth: Projection,
    back: Projection,
    match_px: float,
    unmatched_px: float,
    valid0: torch.Tensor | None,
    valid1: torch.Tensor | None,
) -> Assignment:
    batch, count0, count1 = len(keypoints0), keypoints0.shape[1], keypoints1.shape[1]
    valid0 = keypoints0.new_ones((batch, count0), dtype=torch.bool) if valid0 is None else valid0
    valid1 = keypoints1.new_ones((batch, count1), dtype=torch.bool) if valid1 is None else valid1
    if valid0.shape != (batch, count0) or valid1.shape != (batch, count1):
        raise ValueError(f"masks {(*valid0.shape,)}, {(*valid1.shape,)} do not fit the keypoints")
    in1 = _distances(forth.points, keypoints1).masked_fill(~valid1[:, None], torch.inf)
    in0 = _distances(back.points, keypoints0).masked_fill(~valid0[:, None], torch.inf)
    if count0 and count1:
        both = forth.visible[..., None] & back.visible[:, None]
        both = both & valid0[..., None] & valid1[:, None]
        error = torch.maximum(in1, in0.transpose(1, 2)).masked_fill(~both, torch.inf)
        matches0 = mutual_nearest(error, match_px)
        matches1 = mutual_nearest(error.transpose(1, 2), match_px)
    else:
        matches0 = torch.full((batch, count0), UNMATCHED, device=keypoints0.device)
        matches1 = torch.full((batch, count1), UNMATCHED, device=keypoints1.device)
    return Assignment(
        _mark(matches0, forth, in1, valid0, unmatched_px),
        _mark(matches1, back, in0, valid1, unmatched_px),
    )


def _distances(points: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    # cdist takes their product, which loses what sub-pixel errors need, or on a GPU for ever.
    return torch.hypot(
        points[:, :, None, 0] - others[:, None, :, 0],
        points[:, :, None, 1] - others[:, None, :, 1],
    )


def mutual_nearest(error: torch.Tensor, limit: float = math.inf) -> torch.Tensor:
    """Column (B, N) of each row's least error (B, N, M), if it is the column's least too and
    within the limit; else UNMATCHED. N and M are at least 1."""
    least, column = error.min(2)
    row = error.argmin(1)
    mutual = row.gather(1, column) == torch.arange(error.shape[1], device=error.device)
    return torch.where(mutual & (least <= limit), column, UNMATCHED)


def _mark(
    matches: torch.Tensor,
    projection: Projection,
    distance: torch.Tensor,
    valid: torch.Tensor,
    unmatched_px: float,
) -> torch.Tensor:
    """Tell the unmatched from the ignored."""
    lonely = (distance > unmatched_px).all(2)
    unmatched = projection.hidden | (projection.visible & lonely)
    ignored = (matches == UNMATCHED) & ~(unmatched & valid)
    return torch.where(ignored, IGNORED, matches)
