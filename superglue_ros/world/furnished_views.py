"""Cameras in furnished worlds: clusters of views that see one another, and pairs of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from superglue_ros.errors import SourceError
from superglue_ros.types import FloatArray, ImageArray
from superglue_ros.world.furnished import FurnishedWorld, world_files
from superglue_ros.world.furnished_render import Camera, DressedWorld, Lighting, render_depth
from superglue_ros.world.overlap import seen_share
from superglue_ros.world.pairs import RenderedPairs
from superglue_ros.world.photometry import Draw, expose
from superglue_ros.world.texture_bank import PHOTO_SUFFIXES

SKETCH_WIDTH = 64
"""Pixels across of the depth pictures by which cameras are chosen."""

OVERLAP_STRIDE = 4
"""Every which pixel each way the overlap of finished views is measured at."""

APART = 0.002
"""Views that share less than this, either way, show nothing in common."""

LEAST_MEDIAN_M = 1.2
CORNERS_PER_PIXEL = 60 / (640 * 480)
"""Views with fewer corners show next to nothing."""

CORNER = 0.002
"""Least eigenvalue of the structure tensor, of gray values in 0..1, that makes a corner."""

PHOTOGRAPH_SIDE = 512
TRIES = 200
"""Draws until a world is given up."""


@dataclass(frozen=True)
class FurnishedConfig:
    """What is drawn from furnished worlds.

    worlds: folder of .glb files; names: of those to use, all if empty; leave_out: of those kept
    for validation; photographs: folder of pictures that replace some textures; size: (width,
    height) in pixels; overlap: range of the smaller share of each picture that the other sees,
    (0, 0) for pairs without common surface; views: of a cluster; stray: of these views those that
    look anywhere; turned: share of cameras rolled by any angle; dressed: clusters until the
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
    dressed: int = 12

    def __post_init__(self) -> None:
        low, high = self.overlap
        if not 0 <= low <= high <= 1:
            raise ValueError(f"overlap {self.overlap} is no range within 0..1")
        if len(self.size) != 2 or min(self.size) < 32:
            raise ValueError(f"size is (width, height), at least 32 each, not {self.size}")
        if not 0 <= self.stray <= self.views - 2 or self.dressed < 1:
            raise ValueError("a cluster needs two views beside the stray ones, dressed 1 or more")
        if not 0 <= self.turned <= 1:
            raise ValueError(f"turned is a share, not {self.turned}")

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


@dataclass(frozen=True)
class Cluster:
    """V views of one world: images (V, 1, H, W) in 0..1, depth (V, H, W) z-depth in metres, 0
    where unknown; K (V, 3, 3) pixels; rotation (V, 3, 3) camera to world and position (V, 3);
    overlap (V, V): the smaller share of both pictures that the other sees."""

    world: str
    images: Tensor
    depth: Tensor
    K: Tensor
    rotation: Tensor
    position: Tensor
    overlap: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def pose(self, first: Tensor, second: Tensor) -> Tensor:
        """T_0to1 (N, 4, 4) from views first (N,) to views second (N,)."""
        back = self.rotation[second].transpose(1, 2)
        matrix = torch.eye(4).repeat(len(first), 1, 1)
        matrix[:, :3, :3] = back @ self.rotation[first]
        matrix[:, :3, 3:] = back @ (self.position[first] - self.position[second])[..., None]
        return matrix


class FurnishedViews:
    """Draws clusters and pairs; the same config and seed give the same."""

    def __init__(self, config: FurnishedConfig, seed: int = 0) -> None:
        self.config = config
        self._files = config.chosen()
        self._seed = seed
        self._drawn = 0
        self._dressed: tuple[int, DressedWorld] | None = None
        self._worlds: dict[Path, FurnishedWorld] = {}

    @cached_property
    def _photographs(self) -> list[ImageArray]:
        folder = self.config.photographs
        return [] if folder is None else _gray_photographs(folder)

    def cluster(self, index: int) -> Cluster:
        """Cluster number `index`, which depends on the seed and the number alone."""
        dress = self._dress(index // self.config.dressed)
        rng = np.random.default_rng([self._seed, 1, index])
        for _ in range(TRIES):
            cluster = _pictures(dress, rng, draw_cameras(dress.world, rng, self.config))
            if cluster is not None:
                return cluster
        raise SourceError(f"{dress.world.name} shows too little to match")

    def sample(self, batch: int) -> RenderedPairs:
        """The next pairs whose overlap is in the config's range, each of a cluster of its own."""
        if batch < 1:
            raise ValueError(f"a batch must have at least one pair, not {batch}")
        found = [self._pair() for _ in range(batch)]
        return RenderedPairs(*(torch.cat(parts) for parts in zip(*found)))

    def _pair(self) -> tuple[Tensor, ...]:
        low, high = self.config.overlap
        for _ in range(TRIES):
            cluster = self.cluster(self._drawn)
            self._drawn += 1
            rng = np.random.default_rng([self._seed, 2, self._drawn])
            pairs = np.argwhere(np.triu(_within(cluster.overlap.numpy(), low, high), 1))
            if not len(pairs):
                continue
            pair = rng.permutation(pairs[rng.integers(len(pairs))])
            i, j = (torch.tensor([int(k)]) for k in pair)
            views = cluster.images, cluster.depth, cluster.K
            both = [part[k] for part in views for k in (i, j)]
            return (*both, cluster.pose(i, j), cluster.overlap[i, j])
        raise SourceError(f"no views of the furnished worlds have an overlap of {low} to {high}")

    def _dress(self, number: int) -> DressedWorld:
        if self._dressed is None or self._dressed[0] != number:
            rng = np.random.default_rng([self._seed, 0, number])
            path = self._files[int(rng.choice(len(self._files), p=self._shares()))]
            if path not in self._worlds:
                self._worlds[path] = FurnishedWorld.load(path)
            self._dressed = number, DressedWorld(self._worlds[path], rng, self._photographs)
        return self._dressed[1]

    def _shares(self) -> FloatArray:
        """How often each world is drawn: by the root of its file's size, which is its variety."""
        sizes = np.sqrt([path.stat().st_size for path in self._files])
        return sizes / sizes.sum()


def _within(overlap: FloatArray, low: float, high: float) -> np.ndarray:
    if high == 0:
        return overlap < APART
    return (overlap >= low) & (overlap <= high)


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
        if len(others) < 2 - 1 + (config.views - config.stray > 3):
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
        cameras.append(Camera(_look(away, _roll(rng, config.turned)), place, matrix, config.size))
    kept = []
    for camera in cameras:
        depth = render_depth(world, camera.small(SKETCH_WIDTH))
        if not _open(depth):
            continue
        overlap = _overlaps([small, camera.small(SKETCH_WIDTH)], np.stack([sketch, depth]))[0, 1]
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


def _pictures(
    dress: DressedWorld, rng: np.random.Generator, cameras: Sequence[Camera]
) -> Cluster | None:
    """The views under lights that may change from one to the next, as a camera takes them; without
    those that show next to nothing, None where fewer than half are left."""
    lights = Lighting.draw(rng, dress.world, cameras[0].position)
    changing = rng.random() < 0.3
    images, depths, kept = [], [], []
    for camera in cameras:
        if changing and rng.random() < 0.5:
            lights = Lighting.draw(rng, dress.world, cameras[0].position)
        image, depth = dress.picture(camera, lights)
        if _corners(image) >= CORNERS_PER_PIXEL * image.size:
            images.append(image)
            depths.append(depth)
            kept.append(camera)
    if len(kept) < max(2, len(cameras) // 2):
        return None
    cameras = kept
    middle = slice(OVERLAP_STRIDE // 2, None, OVERLAP_STRIDE)
    overlap = _overlaps(
        [camera.small(camera.size[0] // OVERLAP_STRIDE) for camera in cameras],
        np.stack(depths)[:, middle, middle],
    )
    draw = Draw(torch.device("cpu"), int(rng.integers(2**31)))
    return Cluster(
        dress.world.name,
        expose(draw, torch.from_numpy(np.stack(images))[:, None]),
        torch.from_numpy(np.stack(depths)),
        torch.from_numpy(np.stack([c.matrix for c in cameras])).float(),
        torch.from_numpy(np.stack([c.rotation for c in cameras])).float(),
        torch.from_numpy(np.stack([c.position for c in cameras])).float(),
        overlap,
    )


def _overlaps(cameras: Sequence[Camera], depths: FloatArray) -> Tensor:
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


def _corners(image: FloatArray) -> int:
    """Corners of a picture (H, W) without noise, at half its size."""
    bright = np.clip(image * (110 / max(float(image.mean()), 0.02)), 0, 255).astype(np.uint8)
    small = cv2.resize(bright, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    strength = cv2.cornerMinEigenVal(small.astype(np.float32) / 255, 3)
    peaks = (strength == cv2.dilate(strength, np.ones((7, 7), np.uint8))) & (strength > CORNER)
    return int(peaks.sum())


def _gray_photographs(folder: Path) -> list[ImageArray]:
    """The pictures of a folder in gray, at most 512 pixels a side."""
    pictures = []
    for path in sorted(p for p in folder.glob("*") if p.suffix.lower() in PHOTO_SUFFIXES):
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if image is None:
            continue
        factor = min(1.0, PHOTOGRAPH_SIDE / max(image.shape))
        small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        pictures.append(np.asarray(small, np.uint8))
    if not pictures:
        raise SourceError(f"no readable pictures in {folder}")
    return pictures


def apart(config: FurnishedConfig) -> FurnishedConfig:
    """The same for pairs without common surface: half of the views look anywhere."""
    return replace(config, overlap=(0.0, 0.0), stray=config.views - 2)
