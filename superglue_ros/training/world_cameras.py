"""Cameras of rendered training pairs: where they stand, and which two of them make a pair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from superglue_ros.training.world_layouts import Layout
from superglue_ros.training.world_overlap import relative_pose, seen_share
from superglue_ros.training.world_photometry import Draw
from superglue_ros.training.world_raycast import View
from superglue_ros.training.world_render import render_depth
from superglue_ros.training.world_scene import Surfaces, stack_scenes

SKETCH_WIDTH = 40
"""Width of the depth pictures by which cameras are chosen."""

MARGIN_M = 0.15
"""Cameras keep this far from things."""

TRIES = 12


@dataclass(frozen=True)
class Pool:
    """Scenes ready to be drawn from: surfaces of S scenes; bounds and lamps (S, 2, 3); colliders
    (S, N, 15): centre, half size, rotation to the box's axes, row by row."""

    surfaces: Surfaces
    bounds: torch.Tensor
    lamps: torch.Tensor
    colliders: torch.Tensor

    @staticmethod
    def of(layouts: list[Layout], device: torch.device) -> Pool:
        """The pool of these scenes on a device."""
        most = max(1, *(len(layout.scene.colliders) for layout in layouts))
        boxes = np.zeros((len(layouts), most, 15), np.float32)
        # Padding lies where no camera is.
        boxes[:, :, :3] = 1e6
        for index, layout in enumerate(layouts):
            for row, (centre, half, rotation) in enumerate(layout.scene.colliders):
                boxes[index, row] = np.concatenate([centre, half, rotation.T.ravel()])

        def tensor(values: list[np.ndarray]) -> torch.Tensor:
            return torch.from_numpy(np.array(values, np.float32)).to(device)

        return Pool(
            stack_scenes([layout.scene for layout in layouts]).to(device),
            tensor([layout.bounds for layout in layouts]),
            tensor([layout.lamps for layout in layouts]),
            torch.from_numpy(boxes).to(device),
        )

    def free_places(self, draw: Draw, scene: torch.Tensor) -> torch.Tensor:
        """A position (N, 3) in each of the scenes (N,) that is in no thing, where one is found."""
        low, high = self.bounds[scene].unbind(1)
        places = low[:, None] + draw.uniform(len(scene), TRIES, 3) * (high - low)[:, None]
        boxes = self.colliders[scene][:, None]
        away = places[:, :, None] - boxes[..., :3]
        local = (boxes[..., 6:].unflatten(-1, (3, 3)) @ away[..., None])[..., 0]
        inside = (local.abs() < boxes[..., 3:6] + MARGIN_M).all(-1).any(-1)
        first = (~inside).float().argmax(1)
        return places[torch.arange(len(scene), device=scene.device), first]


def draw_intrinsics(draw: Draw, count: int, width: int, height: int) -> torch.Tensor:
    """Pinhole cameras (N, 3, 3): fields of view of 45 to 90 degrees across."""
    focal = draw.log_uniform(count, low=0.5, high=1.2) * width
    matrix = torch.zeros(count, 3, 3, device=draw.device)
    matrix[:, 0, 0] = focal
    matrix[:, 1, 1] = focal * draw.uniform(count, low=0.97, high=1.03)
    matrix[:, 0, 2] = (width - 1) / 2 + width * 0.03 * draw.normal(count)
    matrix[:, 1, 2] = (height - 1) / 2 + height * 0.03 * draw.normal(count)
    matrix[:, 2, 2] = 1
    return matrix


def look_at(draw: Draw, position: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Rotations (N, 3, 3), camera to world, that look at targets, about upright: 5 degrees of
    roll, and up to 40 for one in ten."""
    forward = F.normalize(target - position + 1e-4, dim=1)
    up = torch.tensor([0.0, 0, 1], device=position.device).expand_as(forward)
    right = F.normalize(torch.linalg.cross(forward, up) + 1e-6, dim=1)
    down = torch.linalg.cross(forward, right)
    count = len(position)
    roll = 0.09 * draw.normal(count)
    tilted = (draw.uniform(count) < 0.1).float()
    roll = roll + tilted * draw.uniform(count, low=-0.7, high=0.7)
    cosine, sine = roll.cos()[:, None], roll.sin()[:, None]
    return torch.stack([cosine * right + sine * down, cosine * down - sine * right, forward], 2)


def sketch_of(view: View) -> View:
    """The same cameras with a small image."""
    scale = SKETCH_WIDTH / view.width
    matrix = view.intrinsics.clone()
    matrix[:, :2, :2] *= scale
    matrix[:, :2, 2] = (matrix[:, :2, 2] + 0.5) * scale - 0.5
    height = max(8, round(view.height * scale))
    return View(view.scene, view.rotation, view.position, matrix, SKETCH_WIDTH, height)


def choose_pairs(
    draw: Draw,
    pool: Pool,
    size: tuple[int, int],
    overlap: tuple[float, float],
    candidates: int,
    pairs: int,
) -> tuple[View, torch.Tensor]:
    """Cameras of B pairs (2B views, both of a pair in turn), and their overlap (B,).

    A first camera looks across its scene; candidates for the second, from near to anywhere, look
    more or less at the same place; the one whose overlap is nearest to the drawn one is taken, and
    of a few more pairs than asked for those that came nearest to the range.
    """
    count = pairs + (pairs + 1) // 2
    width, height = size
    scene = draw.integers(count, high=len(pool.surfaces))
    position, goal = pool.free_places(draw, scene), pool.free_places(draw, scene)
    rotation = look_at(draw, position, goal)
    first = View(scene, rotation, position, draw_intrinsics(draw, count, *size), width, height)
    small = sketch_of(first)
    depth0 = render_depth(pool.surfaces, small)
    target = _seen_points(draw, small, depth0, candidates)

    many = scene.repeat_interleave(candidates)
    start = position.repeat_interleave(candidates, 0)
    step = draw.log_uniform(count * candidates, 1, low=0.03, high=1.0)
    place = start + step * (pool.free_places(draw, many) - start)
    away = (target - place).norm(dim=1, keepdim=True)
    goal = target + away * 0.25 * draw.uniform(len(many), 1) * draw.normal(len(many), 3)
    matrix = draw_intrinsics(draw, len(many), *size)
    # Half of the pairs are of one camera.
    same = (draw.uniform(count) < 0.5).repeat_interleave(candidates)[:, None, None]
    matrix = torch.where(same, first.intrinsics.repeat_interleave(candidates, 0), matrix)
    second = View(many, look_at(draw, place, goal), place, matrix, width, height)
    share = _shares(pool, small, depth0, sketch_of(second), candidates)

    wanted = draw.uniform(count, low=overlap[0], high=overlap[1])
    best = (share - wanted[:, None]).abs().argmin(1)
    found = share.gather(1, best[:, None])[:, 0]
    outside = (overlap[0] - found).clamp(min=0) + (found - overlap[1]).clamp(min=0)
    kept = torch.argsort(outside, stable=True)[:pairs].sort().values
    chosen = kept * candidates + best[kept]

    def both(pick: Callable[[View], torch.Tensor]) -> torch.Tensor:
        return torch.stack([pick(first)[kept], pick(second)[chosen]], 1).flatten(0, 1)

    view = View(
        both(lambda v: v.scene),
        both(lambda v: v.rotation),
        both(lambda v: v.position),
        both(lambda v: v.intrinsics),
        width,
        height,
    )
    return view, found[kept]


def _seen_points(draw: Draw, view: View, depth: torch.Tensor, each: int) -> torch.Tensor:
    """World points (V * each, 3) that are seen at random pixels, 10 m away in the sky."""
    views = torch.arange(len(view), device=depth.device).repeat_interleave(each)
    x = draw.integers(len(views), high=view.width)
    y = draw.integers(len(views), high=view.height)
    z = depth[views, y, x]
    z = torch.where(z > 0, z, 10.0)[:, None]
    local = view.rays(views, x.float(), y.float()) * z
    return view.position[views] + (view.rotation[views] @ local[..., None])[..., 0]


def _shares(
    pool: Pool, small: View, depth0: torch.Tensor, second: View, candidates: int
) -> torch.Tensor:
    """Overlap (V, candidates) between each first view and its candidates, by small depths."""
    depth1 = render_depth(pool.surfaces, second)
    whose = torch.arange(len(small), device=depth0.device).repeat_interleave(candidates)
    together = View(
        torch.cat([small.scene, second.scene]),
        torch.cat([small.rotation, second.rotation]),
        torch.cat([small.position, second.position]),
        torch.cat([small.intrinsics, second.intrinsics]),
        small.width,
        small.height,
    )
    other = torch.arange(len(second), device=depth0.device) + len(small)
    pose, back = relative_pose(together, whose, other), relative_pose(together, other, whose)
    k0, k1, d0 = small.intrinsics[whose], second.intrinsics, depth0[whose]
    forth = seen_share(d0, depth1, k0, k1, pose)
    return torch.minimum(forth, seen_share(depth1, d0, k1, k0, back)).unflatten(
        0, (-1, candidates)
    )
