"""Gray pictures and depths of a furnished world, dressed in other textures, tones and lights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from superglue_ros.types import FloatArray, ImageArray
from superglue_ros.world.furnished import MISSED, FurnishedWorld
from superglue_ros.world.furnished_textures import TexturePool

EXCHANGED = 0.25
"""Share of the materials that get a photograph, or another material's texture, as their own."""

_BLOCK = 2**15
"""Pixels shaded at once, few enough for a processor's cache."""


@dataclass(frozen=True)
class Camera:
    """rotation (3, 3) camera to world, position (3,) metres, matrix (3, 3) of images of
    size = (width, height) pixels."""

    rotation: FloatArray
    position: FloatArray
    matrix: FloatArray
    size: tuple[int, int]

    def small(self, width: int) -> Camera:
        """The same with an image of so many pixels across."""
        scale = width / self.size[0]
        matrix = self.matrix.copy()
        matrix[:2, :2] *= scale
        matrix[:2, 2] = (matrix[:2, 2] + 0.5) * scale - 0.5
        return Camera(
            self.rotation, self.position, matrix, (width, max(4, round(self.size[1] * scale)))
        )

    def rays(self) -> FloatArray:
        """Rays (H * W, 3) in the world whose length is one of depth."""
        width, height = self.size
        x = (np.arange(width, dtype=np.float32) - self.matrix[0, 2]) / self.matrix[0, 0]
        y = (np.arange(height, dtype=np.float32) - self.matrix[1, 2]) / self.matrix[1, 1]
        turned = self.rotation.astype(np.float32)
        rays = y[:, None, None] * turned[:, 1] + turned[:, 2]
        rays = rays + x[None, :, None] * turned[:, 0].astype(np.float32)
        return rays.reshape(-1, 3).astype(np.float32)


@dataclass(frozen=True)
class Lighting:
    """ambient light, and L lamps: places (L, 3) metres, strengths (L,), reach in metres."""

    ambient: float
    places: FloatArray
    strengths: FloatArray
    reach: float

    @staticmethod
    def draw(rng: np.random.Generator, world: FurnishedWorld, about: FloatArray) -> Lighting:
        """Two lamps above and around a place (3,)."""
        offset = rng.normal(0, 2.5, (2, 3))
        places = about + offset
        ceiling = min(float(world.bounds[1, 2]), 5.0)
        places[:, 2] = rng.uniform(0.5 * ceiling, 0.98 * ceiling, 2)
        strengths = rng.uniform(0, 1.2, 2)
        return Lighting(
            float(rng.uniform(0.25, 0.8)),
            places.astype(np.float32),
            strengths.astype(np.float32),
            float(rng.uniform(1.5, 6.0)),
        )


def render_depth(world: FurnishedWorld, camera: Camera) -> FloatArray:
    """z-depths (H, W) in metres, 0 where nothing is met."""
    rays = camera.rays()
    hits = world.cast(np.broadcast_to(camera.position.astype(np.float32), rays.shape), rays)
    depth = np.where(hits.triangle != MISSED, hits.depth, np.float32(0))
    return depth.reshape(camera.size[::-1])


class DressedWorld:
    """A furnished world under textures and tones of its own, ready to be pictured."""

    def __init__(
        self,
        world: FurnishedWorld,
        rng: np.random.Generator,
        photographs: Sequence[ImageArray] = (),
        exchanged: float = EXCHANGED,
    ) -> None:
        """photographs: gray (H, W) pictures that take the place of some materials' textures;
        exchanged: share of the materials whose texture is another."""
        self.world = world
        own = [_gray(texture, rng) for texture in world.model.textures]
        few = [photographs[i] for i in rng.permutation(len(photographs))[:40]]
        self.pool = TexturePool([*own, *few])
        owner = np.arange(len(own), dtype=np.int32)
        other = rng.random(len(own)) < exchanged
        # Half of them photographs, where there are any: each other is another material's.
        drawn = rng.integers(0, len(own), len(own))
        if few:
            photograph = rng.random(len(own)) < 0.5
            drawn = np.where(photograph, len(own) + rng.integers(0, len(few), len(own)), drawn)
        owner[other] = drawn[other]
        gain = rng.uniform(0.6, 1.3, len(own)) * np.where(rng.random(len(own)) < 0.03, -1, 1)
        base = rng.uniform(-30, 30, len(own))
        self._table = _triangle_table(world, self.pool, owner, gain, base)
        self._texture = owner[world.model.texture]

    def picture(self, camera: Camera, lights: Lighting) -> tuple[FloatArray, FloatArray]:
        """Light (H, W), 1 is white, and z-depth (H, W) in metres, 0 where nothing is met."""
        rays = camera.rays()
        position = camera.position.astype(np.float32)
        hits = self.world.cast(np.broadcast_to(position, rays.shape), rays)
        image = np.empty(len(rays), np.float32)
        focal = float(camera.matrix[0, 0] + camera.matrix[1, 1]) / 2
        log_focal = np.float32(np.log2(focal))
        for start in range(0, len(rays), _BLOCK):
            some = slice(start, start + _BLOCK)
            triangle = hits.triangle[some]
            depth, u, v = hits.depth[some], hits.u[some], hits.v[some]
            image[some] = self._shade(
                triangle, depth, u, v, rays[some], position, log_focal, lights
            )
        missed = hits.triangle == MISSED
        image[missed] = 0.5
        depth = np.where(missed, np.float32(0), hits.depth)
        shape = camera.size[::-1]
        return image.reshape(shape), depth.reshape(shape)

    def _shade(
        self,
        triangle: np.ndarray,
        depth: FloatArray,
        u: FloatArray,
        v: FloatArray,
        rays: FloatArray,
        position: FloatArray,
        log_focal: np.float32,
        lights: Lighting,
    ) -> FloatArray:
        triangle = np.maximum(triangle, 0)
        row = self._table.take(triangle, 0)
        s = row[:, 0] + u * row[:, 2] + v * row[:, 4]
        t = row[:, 1] + u * row[:, 3] + v * row[:, 5]
        nx, ny, nz = row[:, 6], row[:, 7], row[:, 8]
        dx, dy, dz = rays[:, 0], rays[:, 1], rays[:, 2]
        towards = nx * dx + ny * dy + nz * dz
        square = dx * dx + dy * dy + dz * dz
        # A slanted surface's pixel is as much longer as the cosine is smaller; half of it counts.
        cosine = np.maximum(np.abs(towards), np.float32(0.02))
        depth = np.minimum(depth, np.float32(1e3))
        level = np.log2(depth * depth * np.sqrt(square) / cosine) * np.float32(0.5)
        level += row[:, 9] - log_focal
        value = self.pool.sample(self._texture.take(triangle), s, t, level)
        value = np.clip(value * row[:, 10] + row[:, 11], 4, 255)
        light = np.full(len(value), lights.ambient, np.float32)
        facing = np.where(towards > 0, np.float32(-1), np.float32(1))
        x, y, z = (position[i] + depth * rays[:, i] for i in range(3))
        for place, strength in zip(lights.places, lights.strengths):
            lx, ly, lz = place[0] - x, place[1] - y, place[2] - z
            away = lx * lx + ly * ly + lz * lz
            share = (nx * lx + ny * ly + nz * lz) * facing / np.sqrt(away + np.float32(1e-4))
            share /= 1 + away * np.float32(1 / lights.reach**2)
            light += strength * np.maximum(share, 0)
        return value * light * np.float32(1 / 255)


def _gray(texture: ImageArray, rng: np.random.Generator) -> ImageArray:
    """(H, W) of an RGB texture, its channels mixed by chance about their luminance."""
    weights = np.array([0.3, 0.59, 0.11]) * rng.uniform(0.2, 1.8, 3)
    mixed = cv2.transform(texture, (weights / weights.sum())[None].astype(np.float32))
    return np.asarray(mixed, np.uint8).reshape(texture.shape[:2])


def _triangle_table(
    world: FurnishedWorld, pool: TexturePool, owner: np.ndarray, gain: FloatArray, base: FloatArray
) -> FloatArray:
    """(T, 12) float32: first corner's place in the texture (v down) and the steps to the others,
    normal, logarithm of texels a metre, gain and offset of the gray value."""
    material = world.model.texture
    uv = world.model.uv * np.array([1, -1], np.float32) + np.array([0, 1], np.float32)
    texels = np.maximum(world.repeats_per_m * pool.texels_per_repeat[owner[material]], 1e-3)
    g = gain[material]
    table = [
        *uv[:, 0].T, *(uv[:, 1] - uv[:, 0]).T, *(uv[:, 2] - uv[:, 0]).T, *world.normals.T,
        np.log2(texels), g, base[material] + np.where(g < 0, 255 * -g, 127 * (1 - g)),
    ]  # fmt: skip
    return np.ascontiguousarray(np.stack(table, 1), np.float32)
