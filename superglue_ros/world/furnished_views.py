"""Clusters of views of furnished worlds, and pairs of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from superglue_ros.errors import SourceError
from superglue_ros.types import FloatArray, ImageArray
from superglue_ros.world.furnished import FurnishedWorld
from superglue_ros.world.furnished_cameras import (
    TRIES,
    FurnishedConfig,
    draw_cameras,
    overlaps,
)
from superglue_ros.world.furnished_render import Camera, DressedWorld, Lighting
from superglue_ros.world.pairs import RenderedPairs
from superglue_ros.world.photometry import Draw, expose
from superglue_ros.world.texture_bank import PHOTO_SUFFIXES

OVERLAP_STRIDE = 4
"""Every which pixel each way the overlap of finished views is measured at."""

APART = 0.002
"""Views that share less than this, either way, show nothing in common."""

CORNERS_PER_PIXEL = 60 / (640 * 480)
"""Views with fewer corners show next to nothing."""

CORNER = 0.002
"""Least eigenvalue of the structure tensor, of gray values in 0..1, that makes a corner."""

PHOTOGRAPH_SIDE = 512


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
    overlap = overlaps(
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
