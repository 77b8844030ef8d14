"""Visibility in the rendered world: which surface each pixel's ray meets first, and how far.

With a ray r = (x, y, 1) in the camera, z its depth, and a surface's local frame, a point of the
ray has local coordinates z G r - q with G = inverse(axes) R, q = inverse(axes) (origin - camera).
So a flat surface's inverse depth is linear in the pixel, and so are its edges: a whole tile of
pixels can be tested, and only the few surfaces that can touch a tile are cast in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from superglue_ros.world.intersect import NEAR_M, flat_lines, inside_flat, meet_round
from superglue_ros.world.scene import CYLINDER, EMPTY, TRIANGLE, Surfaces

TILE, SMALL_TILE, SMALL_WIDTH = 16, 8, 80
"""Pixels of a tile's side, and of one in images up to SMALL_WIDTH wide."""


@dataclass(frozen=True)
class View:
    """V cameras in the scenes: scene (V,) int64, rotation (V, 3, 3) camera to world, position
    (V, 3), and intrinsics (V, 3, 3) of images of width x height pixels."""

    scene: torch.Tensor
    rotation: torch.Tensor
    position: torch.Tensor
    intrinsics: torch.Tensor
    width: int
    height: int

    def __len__(self) -> int:
        return len(self.scene)

    def rays(self, view: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Rays (N, 3) with z = 1 through the pixels (x, y) of the views with these indices."""
        k = self.intrinsics[view]
        across = (x - k[:, 0, 2]) / k[:, 0, 0]
        return torch.stack([across, (y - k[:, 1, 2]) / k[:, 1, 1], torch.ones_like(across)], 1)


@dataclass(frozen=True)
class ViewedSurfaces:
    """The surfaces of every view's scene as seen from it: kind (V, P), gain (V, P, 3, 3) = G and
    shift (V, P, 3) = q of the module's first lines."""

    kind: torch.Tensor
    gain: torch.Tensor
    shift: torch.Tensor
    flat: int

    @staticmethod
    def of(surfaces: Surfaces, view: View) -> ViewedSurfaces:
        inverse = surfaces.inverse[view.scene]
        offset = surfaces.origin[view.scene] - view.position[:, None]
        return ViewedSurfaces(
            surfaces.kind[view.scene],
            inverse @ view.rotation[:, None],
            (inverse @ offset[..., None])[..., 0],
            surfaces.flat,
        )

    def inverse_depth(
        self, view: torch.Tensor, surface: torch.Tensor, rays: torch.Tensor
    ) -> torch.Tensor:
        """Inverse depth (N,) at which ray n of a view meets a surface; 0 where it does not."""
        kind, shift = self.kind[view, surface], self.shift[view, surface]
        d = (self.gain[view, surface] @ rays[..., None])[..., 0]
        flat = _cast_flat_rays(kind, d, shift)
        round_ = torch.nonzero(kind >= CYLINDER)[:, 0]
        if len(round_):
            near = meet_round(kind[round_], d[round_].unbind(1), shift[round_])
            flat[round_] = near
        return flat


@dataclass(frozen=True)
class Visibility:
    """surface (V, H, W) int64, -1 where nothing is met; inverse_depth (V, H, W) 1/m, 0 there."""

    surface: torch.Tensor
    inverse_depth: torch.Tensor


def cast(surfaces: ViewedSurfaces, view: View) -> Visibility:
    """The first surface along every pixel's ray."""
    tile = SMALL_TILE if view.width <= SMALL_WIDTH else TILE
    across, down = -(-view.width // tile), -(-view.height // tile)
    device = surfaces.gain.device
    size = (len(view) * across * down, tile * tile)
    nearest = torch.zeros(size, device=device)
    winner = torch.full(size, -1, dtype=torch.int64, device=device)
    focal = view.intrinsics[:, [0, 1], [0, 1]]
    start_x = torch.arange(across, device=device) * tile
    start_y = torch.arange(down, device=device) * tile
    corner = torch.stack(torch.meshgrid(start_x, start_y, indexing="xy"), -1).reshape(-1, 2)
    corner_rays = (corner - view.intrinsics[:, None, :2, 2]) / focal[:, None]
    step = torch.arange(tile, device=device, dtype=torch.float32)
    inside = torch.stack(torch.meshgrid(step, step, indexing="xy"), -1).reshape(-1, 2)
    # Rows 1, x, y: a linear function of the pixel is a product with its three coefficients.
    basis = torch.cat([torch.ones_like(inside[:, :1]), inside], 1).T.contiguous()

    for touched, evaluate in (
        (_flat_tiles(surfaces, corner_rays, focal, tile), _cast_flat),
        (_round_tiles(surfaces, view, corner, tile), _cast_round_tiles),
    ):
        _cast_tiles(surfaces, touched, evaluate, corner_rays, focal, basis, nearest, winner)

    def image(values: torch.Tensor) -> torch.Tensor:
        grid = values.reshape(len(view), down, across, tile, tile).transpose(2, 3)
        grid = grid.reshape(len(view), down * tile, across * tile)
        return grid[:, : view.height, : view.width].contiguous()

    return Visibility(image(winner), image(nearest))


Evaluate = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def _cast_tiles(
    surfaces: ViewedSurfaces,
    touched: torch.Tensor,
    evaluate: Evaluate,
    corner_rays: torch.Tensor,
    focal: torch.Tensor,
    basis: torch.Tensor,
    nearest: torch.Tensor,
    winner: torch.Tensor,
) -> None:
    """Update nearest and winner (V*T, 256) with the surfaces that may touch tiles, (K, 3) rows of
    (view, tile, surface) sorted by view and tile."""
    if not len(touched):
        return
    tiles_per_view = corner_rays.shape[1]
    view, tile, surface = touched.unbind(1)
    kind, shift = surfaces.kind[view, surface], surfaces.shift[view, surface]
    gain = surfaces.gain[view, surface]
    at_corner = torch.cat([corner_rays[view, tile], torch.ones_like(shift[:, :1])], 1)
    first = (gain @ at_corner[..., None])[..., 0]
    slope = gain[..., :2] / focal[view][:, None]
    coefficients = torch.cat([first[..., None], slope], 2)  # (K, 3 local axes, 3)

    cell = view * tiles_per_view + tile
    # Surface by surface stays in a CPU's cache; a GPU would mostly launch kernels.
    update = _update_by_rank if cell.device.type == "cpu" else _update_at_once
    update(
        cell,
        surface,
        lambda rows: evaluate(kind[rows], coefficients[rows], shift[rows], basis),
        nearest,
        winner,
    )


Depths = Callable[[torch.Tensor | slice], torch.Tensor]


def _update_by_rank(
    cell: torch.Tensor,
    surface: torch.Tensor,
    depths: Depths,
    nearest: torch.Tensor,
    winner: torch.Tensor,
) -> None:
    """The k-th surface of every tile at once, so that no tile is written twice in one step."""
    count = torch.bincount(cell, minlength=len(nearest))
    rank = torch.arange(len(cell), device=cell.device) - (count.cumsum(0) - count)[cell]
    order = torch.argsort(rank, stable=True)
    sizes = torch.bincount(rank).tolist()
    start = 0
    for size in sizes:
        rows = order[start : start + size]
        start += size
        depth = depths(rows)
        cells = cell[rows]
        best, owner = nearest.index_select(0, cells), winner.index_select(0, cells)
        owner = torch.where(depth > best, surface[rows][:, None], owner)
        nearest.index_copy_(0, cells, torch.maximum(depth, best))
        winner.index_copy_(0, cells, owner)


def _update_at_once(
    cell: torch.Tensor,
    surface: torch.Tensor,
    depths: Depths,
    nearest: torch.Tensor,
    winner: torch.Tensor,
) -> None:
    """All surfaces of all tiles at once; of equal depths the first in order wins, as there."""
    depth = depths(slice(None))
    place = cell[:, None].expand_as(depth)
    best = nearest.scatter_reduce(0, place, depth, "amax")
    row = torch.arange(len(cell), device=cell.device)[:, None].expand_as(depth)
    wins = (depth > nearest[cell]) & (depth == best[cell])
    first = torch.full_like(winner, len(cell))
    first.scatter_reduce_(0, place, torch.where(wins, row, len(cell)), "amin")
    owner = surface[first.clamp(max=len(cell) - 1)]
    winner.copy_(torch.where(first < len(cell), owner, winner))
    nearest.copy_(best)


def _flat_tiles(
    surfaces: ViewedSurfaces, corner_rays: torch.Tensor, focal: torch.Tensor, tile: int
) -> torch.Tensor:
    """(K, 3) of (view, tile, flat surface) that may meet: no edge has the whole tile outside."""
    kind = surfaces.kind[:, : surfaces.flat]
    s, t, w = flat_lines(
        surfaces.gain[:, : surfaces.flat], surfaces.shift[:, : surfaces.flat]
    ).unbind(2)
    third = torch.where((kind == TRIANGLE)[..., None], -(s + t), w)
    lines = torch.stack([w - s, w + s, w - t, w + t, third], 2)  # (V, P, 5, 3)

    # First with the whole image as one tile: most surfaces are out of sight or turned away.
    last = corner_rays[:, -1] + tile / focal
    middle, half = (corner_rays[:, 0] + last) / 2, (last - corner_rays[:, 0]) / 2
    meets = _may_meet(lines, middle[:, None], half)[..., 0]
    meets &= (kind != EMPTY) & (w != 0).any(-1)
    most = int(meets.sum(1).max())
    order = torch.argsort(meets.byte(), dim=1, descending=True, stable=True)[:, :most]
    few = lines.gather(1, order[..., None, None].expand(-1, -1, 5, 3))
    half = tile / 2 / focal
    touched = _may_meet(few, corner_rays + half[:, None], half)
    touched &= meets.gather(1, order)[..., None]
    view, which, surface = torch.nonzero(touched.transpose(1, 2), as_tuple=True)
    return torch.stack([view, which, order[view, surface]], 1)


def _may_meet(lines: torch.Tensor, centre: torch.Tensor, half: torch.Tensor) -> torch.Tensor:
    """(V, P, T): whether all lines (V, P, 5, 3) are somewhere not negative in rectangles of rays
    about centres (V, T, 2), of half sizes (V, 2)."""
    rays = torch.cat([centre, torch.ones_like(centre[..., :1])], 2)
    reach = (lines[..., :2].abs() * half[:, None, None]).sum(-1)
    values = (lines.flatten(1, 2) @ rays.transpose(1, 2)).unflatten(1, lines.shape[1:3])
    return (values >= -reach[..., None]).all(2)


def _cast_flat(
    kind: torch.Tensor, coefficients: torch.Tensor, shift: torch.Tensor, basis: torch.Tensor
) -> torch.Tensor:
    s, t, w = (flat_lines(coefficients, shift) @ basis).unbind(1)
    return inside_flat(kind[:, None], s, t, w)


def _cast_flat_rays(kind: torch.Tensor, d: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    s, t, w = flat_lines(d[..., None], shift)[..., 0].unbind(1)
    return inside_flat(kind, s, t, w)


def _cast_round_tiles(
    kind: torch.Tensor, coefficients: torch.Tensor, shift: torch.Tensor, basis: torch.Tensor
) -> torch.Tensor:
    return meet_round(kind[:, None], (coefficients @ basis).unbind(1), shift[:, None])


def _round_tiles(
    surfaces: ViewedSurfaces, view: View, corner: torch.Tensor, tile: int
) -> torch.Tensor:
    """(K, 3) of (view, tile, round surface) that may meet, by the bounding box's corners."""
    kind = surfaces.kind[:, surfaces.flat :]
    if not kind.shape[1]:
        return torch.zeros((0, 3), dtype=torch.int64, device=kind.device)
    signs = torch.tensor([-1.0, 1.0], device=kind.device)
    cube = torch.cartesian_prod(signs, signs, signs).T  # (3, 8)
    gain, shift = surfaces.gain[:, surfaces.flat :], surfaces.shift[:, surfaces.flat :]
    points = torch.linalg.solve(gain, cube + shift[..., None])  # camera frame (V, R, 3, 8)
    pixels = view.intrinsics[:, None] @ points
    depth = points[:, :, 2]
    pixels = pixels[:, :, :2] / depth.clamp(min=NEAR_M)[:, :, None]
    behind = (depth < NEAR_M).any(-1)
    low = torch.where(behind[..., None], -torch.inf, pixels.amin(-1))
    high = torch.where(behind[..., None], torch.inf, pixels.amax(-1))
    seen = (kind != EMPTY) & (depth > NEAR_M).any(-1)
    first = corner.to(low.dtype)
    meets = (low[:, None] <= first[None, :, None] + tile).all(-1)
    meets &= (high[:, None] >= first[None, :, None]).all(-1) & seen[:, None]
    found = torch.nonzero(meets)
    found[:, 2] += surfaces.flat
    return found
