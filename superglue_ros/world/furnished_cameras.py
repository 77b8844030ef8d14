"""Where cameras stand in furnished worlds: clusters that see one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from superglue_ros.errors import SourceError
from superglue_ros.types import FloatArray
from superglue_ros.world.cameras import ZOOM
from superglue_ros.world.furnished import FurnishedWorld, world_files
from superglue_ros.world.furnished_render import Camera, render_depth
from superglue_ros.world.overlap import seen_share

SKETCH_WIDTH = 64
"""Pixels across of the depth pictures by which cameras are chosen."""


LEAST_MEDIAN_M = 1.2


TRIES = 200
"""Draws until a world is given up."""


@dataclass(frozen=True)
class FurnishedConfig:
    """What is drawn from furnished worlds.

    worlds: folder of .glb files; names: of those to use, all if empty; leave_out: of those kept
    for validation; photographs: folder of pictures that replace some textures; size: (width,
    height) in pixels; overlap: range of the smaller share of each picture that the other sees,
    (0, 0) for pairs without common surface; views: of a cluster; stray: of these views those that
    look anywhere; turned: share of cameras rolled by any angle; zoomed: share of the other cameras
    of a cluster that have 0.4 to 2.5 times the anchor's focal length; dressed: clusters until the
    world is dressed anew. Raises ValueError for values out of range.
    """

    worlds: Path | None = None
    names: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    photographs: Path | None = None
    size: tuple[int, int] = (640, 480)
    overlap: tuple[float, float] = (0.05, 0.8)
    views: int = 8
    stray: int = 1
    turned: float = 0.1
    zoomed: float = 0.0
    dressed: int = 12

    def __post_init__(self) -> None:
        low, high = self.overlap
        if not 0 <= low <= high <= 1:
            raise ValueError(f"overlap {self.overlap} is no range within 0..1")
        if len(self.size) != 2 or min(self.size) < 32:
            raise ValueError(f"size is (width, height), at least 32 each, not {self.size}")
        if not 0 <= self.stray <= self.views - 2 or self.dressed < 1:
            raise ValueError("a cluster needs two views beside the stray ones, dressed 1 or more")
        if not (0 <= self.turned <= 1 and 0 <= self.zoomed <= 1):
            raise ValueError(f"turned and zoomed are shares, not {self.turned}, {self.zoomed}")

    def chosen(self) -> list[Path]:
        """The files to use; SourceError where there is no folder or a name is missing."""
        if self.worlds is None:
            raise SourceError("a folder of furnished worlds is needed")
        files = world_files(self.worlds)
        for name in self.names:
            if name not in files:
                raise SourceError(f"{self.worlds} has no world {name}; it has {', '.join(files)}")
        wanted = [name for name in self.names or files if name not in self.leave_out]
        if not wanted:
            raise SourceError(f"{self.worlds} has no world but those left out")
        return [files[name] for name in wanted]


def draw_cameras(
    world: FurnishedWorld, rng: np.random.Generator, config: FurnishedConfig
) -> list[Camera]:
    """Cameras of a cluster: an anchor, others that see between 5 and 80 % of what it sees, from
    steps of 0.2 m up to the other side of the room, and stray ones that look anywhere."""
    for _ in range(TRIES):
        anchor = _anywhere(world, rng, config)
        if anchor is None:
            continue
        camera, sketch = anchor
        others = _around(world, rng, config, camera, sketch)
        if len(others) < (2 if config.views - config.stray > 3 else 1):
            continue
        cameras = [camera, *others[: config.views - config.stray - 1]]
        while len(cameras) < config.views:
            stray = _anywhere(world, rng, config)
            if stray is not None:
                cameras.append(stray[0])
        return cameras
    raise SourceError(f"{world.name} has no place from which two views see the same")


def _anywhere(
    world: FurnishedWorld, rng: np.random.Generator, config: FurnishedConfig
) -> tuple[Camera, FloatArray] | None:
    """A camera and its small depths, if it does not look at a wall close by."""
    place = world.free_places(rng, 1)[0]
    yaw, pitch = rng.uniform(-np.pi, np.pi), rng.uniform(-0.3, 0.12)
    away = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
    rotation = _look(away, _roll(rng, config.turned))
    camera = Camera(rotation, place, _matrix(rng, config), config.size)
    sketch = render_depth(world, camera.small(SKETCH_WIDTH))
    return (camera, sketch) if _open(sketch) else None


def _around(
    world: FurnishedWorld,
    rng: np.random.Generator,
    config: FurnishedConfig,
    anchor: Camera,
    sketch: FloatArray,
) -> list[Camera]:
    """Cameras about an anchor whose overlap with it is right, in random order."""
    count = 4 * config.views
    step = np.exp(rng.uniform(np.log(0.2), np.log(6.0), count))
    angle = rng.uniform(-np.pi, np.pi, count)
    places = anchor.position + np.stack(
        [step * np.cos(angle), step * np.sin(angle), np.zeros(count)], 1
    )
    share = np.minimum(step, 1.0)
    places[:, 2] += share * (rng.uniform(0.3, 1.8, count) - anchor.position[2])
    places = places.astype(np.float32)
    places = places[world.is_free(places)]
    if not len(places):
        return []
    small = anchor.small(SKETCH_WIDTH)
    points = anchor.position + small.rays() * sketch.reshape(-1, 1)
    cameras = []
    for place in places:
        target = points[rng.integers(len(points))]
        away = target - place
        away[2] = np.clip(away[2], -0.35 * np.hypot(*away[:2]), 0.2 * np.hypot(*away[:2]))
        if np.linalg.norm(away[:2]) < 0.5:
            continue
        matrix = anchor.matrix if rng.random() < 0.5 else _matrix(rng, config)
        # Without zoom nothing more is drawn, so that the cameras are those of always.
        if config.zoomed and rng.random() < config.zoomed:
            zoom = np.exp(rng.uniform(-np.log(ZOOM), np.log(ZOOM)))
            matrix = anchor.matrix * [[zoom, 1, 1], [1, zoom, 1], [1, 1, 1]]
        cameras.append(Camera(_look(away, _roll(rng, config.turned)), place, matrix, config.size))
    kept = []
    for camera in cameras:
        depth = render_depth(world, camera.small(SKETCH_WIDTH))
        if not _open(depth):
            continue
        overlap = overlaps([small, camera.small(SKETCH_WIDTH)], np.stack([sketch, depth]))[0, 1]
        if 0.05 <= overlap <= 0.8:
            kept.append(camera)
    return kept


def _open(depth: FloatArray) -> bool:
    return bool(np.median(depth) > LEAST_MEDIAN_M and (depth > 0).mean() > 0.98)


def _matrix(rng: np.random.Generator, config: FurnishedConfig) -> FloatArray:
    """Pinhole cameras of 40 to 90 degrees across."""
    width, height = config.size
    focal = width / 2 / np.tan(np.radians(rng.uniform(40, 90) / 2))
    centre = [(width - 1) / 2 + rng.normal(0, 0.02) * width, (height - 1) / 2]
    centre[1] += rng.normal(0, 0.02) * height
    return np.array([[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1.0]])


def _roll(rng: np.random.Generator, turned: float) -> float:
    """Radians: about 5 degrees, up to 40 for one in ten, and any for the share `turned`."""
    if rng.random() < turned:
        return float(rng.uniform(-np.pi, np.pi))
    tilted = rng.uniform(-0.7, 0.7) if rng.random() < 0.1 else 0.0
    return float(0.09 * rng.normal() + tilted)


def _look(away: FloatArray, roll: float) -> FloatArray:
    """Rotation (3, 3), camera to world, that looks along a direction, upright but for roll."""
    forward = away / np.linalg.norm(away)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    cosine, sine = np.cos(roll), np.sin(roll)
    return np.stack([cosine * right + sine * down, cosine * down - sine * right, forward], 1)


def overlaps(cameras: Sequence[Camera], depths: FloatArray) -> Tensor:
    """(V, V) smaller share of both pictures that the other sees, by their z-depths (V, H, W)."""
    count = len(cameras)
    depth = torch.from_numpy(np.ascontiguousarray(depths))
    rotation = torch.from_numpy(np.stack([c.rotation for c in cameras])).float()
    position = torch.from_numpy(np.stack([c.position for c in cameras])).float()
    matrix = torch.from_numpy(np.stack([c.matrix for c in cameras])).float()
    first, second = torch.nonzero(~torch.eye(count, dtype=torch.bool), as_tuple=True)
    pose = torch.eye(4).repeat(len(first), 1, 1)
    back = rotation[second].transpose(1, 2)
    pose[:, :3, :3] = back @ rotation[first]
    pose[:, :3, 3:] = back @ (position[first] - position[second])[..., None]
    share = torch.ones(count, count)
    share[first, second] = seen_share(
        depth[first], depth[second], matrix[first], matrix[second], pose
    )
    return torch.minimum(share, share.T)


def apart(config: FurnishedConfig) -> FurnishedConfig:
    """The same for pairs without common surface: half of the views look anywhere."""
    return replace(config, overlap=(0.0, 0.0), stray=config.views - 2)
