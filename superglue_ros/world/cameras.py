"""Cameras of rendered training pairs: where they stand, and which two of them make a pair."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F

from superglue_ros.world.layouts import Layout
from superglue_ros.world.overlap import relative_pose, seen_share
from superglue_ros.world.photometry import Draw
from superglue_ros.world.raycast import View
from superglue_ros.world.render import render_depth
from superglue_ros.world.scene import Surfaces, stack_scenes

SKETCH_WIDTH = 40
"""Width of the depth pictures by which cameras are chosen."""

MARGIN_M = 0.15
"""Cameras keep this far from things."""

TRIES = 12
"""Random places tried for one that is free."""

NEAREST = 0.01
"""Step to the nearest candidate for a second view, as a share of the way across the scene."""

ZOOM = 2.5
"""Zoomed second views have focal lengths up to so many times as long or short."""

ASTRAY = 0.85
"""Candidates that stray farther than this look anywhere."""


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


def draw_roll(draw: Draw, count: int) -> torch.Tensor:
    """Angles (N,) in radians: about 5 degrees, and up to 40 for one in ten."""
    tilted = (draw.uniform(count) < 0.1).float()
    return 0.09 * draw.normal(count) + tilted * draw.uniform(count, low=-0.7, high=0.7)


def look_at(position: torch.Tensor, target: torch.Tensor, roll: torch.Tensor) -> torch.Tensor:
    """Rotations (N, 3, 3), camera to world, that look at targets (N, 3), upright but for roll."""
    # The small numbers keep a look straight up or at its own place defined.
    forward = F.normalize(target - position + 1e-4, dim=1)
    up = torch.tensor([0.0, 0, 1], device=position.device).expand_as(forward)
    across = torch.linalg.cross(forward, up)
    right = F.normalize(across + 1e-6 * torch.tensor([1.0, 0, 0], device=position.device), dim=1)
    forward = F.normalize(forward - (forward * right).sum(1, keepdim=True) * right, dim=1)
    down = torch.linalg.cross(forward, right)
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
    turned: float = 0.0,
    zoomed: float = 0.0,
) -> View:
    """Cameras of B pairs: 2B views, both of a pair in turn.

    turned, zoomed: shares of pairs whose second view is rolled by any angle, and has another focal
    length.

    A first camera looks across its scene; of the candidates for the second the one whose overlap
    is nearest to the drawn one is taken, and of a few more pairs than asked for those that came
    nearest to the range.
    """
    count = pairs + (pairs + 1) // 2
    scene = draw.integers(count, high=len(pool.surfaces))
    position, goal = pool.free_places(draw, scene), pool.free_places(draw, scene)
    roll = draw_roll(draw, count)
    matrix = draw_intrinsics(draw, count, *size)
    first = View(scene, look_at(position, goal, roll), position, matrix, *size)
    small = sketch_of(first)
    depth = render_depth(pool.surfaces, small)
    # How far a candidate strays: from 0, the first view again, to 1, anywhere looking anywhere.
    rank = torch.arange(candidates, device=draw.device).repeat(count)
    stray = (rank + draw.uniform(len(rank))) / candidates
    stray = stray if overlap[1] > 0 else torch.ones_like(stray)
    second = _candidates(draw, pool, first, roll, _seen_points(draw, small, depth, stray), stray)
    if turned:
        second = _turned(draw, second, candidates, turned)
    if zoomed:
        second = _zoomed(draw, second, candidates, zoomed)
    share = _shares(pool, small, depth, sketch_of(second), candidates)

    wanted = draw.uniform(count, low=overlap[0], high=overlap[1])
    best = (share - wanted[:, None]).abs().argmin(1)
    found = share.gather(1, best[:, None])[:, 0]
    outside = (overlap[0] - found).clamp(min=0) + (found - overlap[1]).clamp(min=0)
    kept = torch.argsort(outside, stable=True)[:pairs].sort().values
    chosen = kept * candidates + best[kept]

    def both(pick: Callable[[View], torch.Tensor]) -> torch.Tensor:
        return torch.stack([pick(first)[kept], pick(second)[chosen]], 1).flatten(0, 1)

    return View(
        both(lambda v: v.scene),
        both(lambda v: v.rotation),
        both(lambda v: v.position),
        both(lambda v: v.intrinsics),
        *size,
    )


def _candidates(
    draw: Draw,
    pool: Pool,
    first: View,
    roll: torch.Tensor,
    target: torch.Tensor,
    stray: torch.Tensor,
) -> View:
    """Second cameras (V * candidates) that look about at targets (V * candidates, 3), the less so
    the more they stray (V * candidates,)."""
    size = first.width, first.height
    each = len(stray) // len(first)

    def again(values: torch.Tensor) -> torch.Tensor:
        return values.repeat_interleave(each, 0)

    scene, start = again(first.scene), again(first.position)
    far = stray[:, None]
    place = start + NEAREST ** (1 - far) * (pool.free_places(draw, scene) - start)
    away = (target - place).norm(dim=1, keepdim=True)
    goal = target + 0.3 * far * away * draw.normal(len(scene), 3)
    goal = torch.where(far > ASTRAY, pool.free_places(draw, scene), goal)
    rolls = again(roll) + stray * draw_roll(draw, len(scene))
    # Half of the pairs are of one camera.
    other = again((draw.uniform(len(first)) < 0.5).float()) * stray
    own, drawn = again(first.intrinsics), draw_intrinsics(draw, len(scene), *size)
    matrix = torch.lerp(own, drawn, other[:, None, None])
    return View(scene, look_at(place, goal, rolls), place, matrix, *size)


def _turned(draw: Draw, views: View, each: int, share: float) -> View:
    """Views (V * each) of which those of a share of the V are rolled by any angle."""
    count = len(views) // each
    chosen = (draw.uniform(count) < share) * draw.uniform(count, low=-math.pi, high=math.pi)
    roll = chosen.repeat_interleave(each)
    cosine, sine = roll.cos()[:, None], roll.sin()[:, None]
    right, down, forward = views.rotation.unbind(2)
    right, down = cosine * right + sine * down, cosine * down - sine * right
    return replace(views, rotation=torch.stack([right, down, forward], 2))


def _zoomed(draw: Draw, views: View, each: int, share: float) -> View:
    """Views (V * each) of which those of a share of the V have other focal lengths."""
    count = len(views) // each
    factor = draw.log_uniform(count, low=1 / ZOOM, high=ZOOM)
    factor = torch.where(draw.uniform(count) < share, factor, 1.0).repeat_interleave(each)
    matrix = views.intrinsics.clone()
    matrix[:, [0, 1], [0, 1]] *= factor[:, None]
    return replace(views, intrinsics=matrix)


def _seen_points(draw: Draw, view: View, depth: torch.Tensor, stray: torch.Tensor) -> torch.Tensor:
    """World points (V * candidates, 3) that are seen about the middle of the views, the farther
    from it the more a candidate strays, (V * candidates,); 10 m away in the sky."""
    each = len(stray) // len(view)
    views = torch.arange(len(view), device=depth.device).repeat_interleave(each)
    off = 0.5 * stray[:, None] * draw.uniform(len(stray), 2, low=-1, high=1) + 0.5
    x, y = (off * off.new_tensor([view.width - 1, view.height - 1])).round().long().unbind(1)
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
