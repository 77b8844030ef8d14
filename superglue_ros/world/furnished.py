"""Furnished worlds from .glb files: textured triangles, cast by Embree, and where a camera fits.

World coordinates are metres with z up and the floor at 0. trimesh reads the files and embreex
casts the rays; both are asked for by the extra [train] and imported where a world is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from superglue_ros.errors import SourceError, SuperGlueRosError
from superglue_ros.types import FloatArray, ImageArray, IntArray

MISSED = -1
"""Triangle of a ray that hits nothing."""

FLOOR_M = 0.08
"""Least clearance of what a downward ray may call the floor, either way of 0."""

CEILING_M = 2.0
NEAREST_M = 0.3
"""A camera has nothing nearer than this around it."""

MEDIAN_M = 0.7
SURROUNDINGS = 128
"""Directions in which a place is felt for what is near."""


@dataclass(frozen=True)
class Model:
    """T textured triangles: corners (T, 3, 3) metres, uv (T, 3, 2) in repeats of the texture with
    v upwards, texture (T,) index into textures, each (H, W, 3) RGB."""

    corners: FloatArray
    uv: FloatArray
    texture: IntArray
    textures: tuple[ImageArray, ...]


@dataclass(frozen=True)
class Hits:
    """What N rays meet: triangle (N,) int32 or MISSED, depth (N,) in lengths of the rays, and the
    place in the triangle as the shares u, v (N,) of its second and third corner."""

    triangle: IntArray
    depth: FloatArray
    u: FloatArray
    v: FloatArray


def world_files(folder: Path) -> dict[str, Path]:
    """The .glb files of a folder by their names without suffix; SourceError where it has none."""
    files = {path.stem: path for path in sorted(folder.glob("*.glb"))} if folder.is_dir() else {}
    if not files:
        raise SourceError(f"{folder} holds no furnished worlds (.glb)")
    return files


def load_model(path: Path) -> Model:
    """The textured triangles of a .glb file; SourceError for what is none."""
    trimesh = _needed("trimesh")
    try:
        scene = trimesh.load_scene(str(path), process=False)
    except Exception as error:  # trimesh raises many kinds for a damaged file
        raise SourceError(f"{path} is no readable .glb: {error}") from error
    corners, uvs, owner = [], [], []
    textures: list[ImageArray] = []
    for mesh in scene.dump():
        if not hasattr(mesh, "faces") or not len(mesh.faces):
            continue
        corners.append(np.asarray(mesh.vertices, np.float32)[mesh.faces])
        uv = getattr(mesh.visual, "uv", None)
        texture = _texture(mesh)
        if uv is None:
            uv = np.zeros((len(mesh.vertices), 2))
        uvs.append(np.asarray(uv, np.float32)[mesh.faces])
        owner.append(np.full(len(mesh.faces), len(textures), np.int32))
        textures.append(texture)
    if not corners:
        raise SourceError(f"{path} holds no triangles")
    V, UV, M = np.concatenate(corners), np.concatenate(uvs), np.concatenate(owner)
    area = np.linalg.norm(np.cross(V[:, 1] - V[:, 0], V[:, 2] - V[:, 0]), axis=1)
    kept = area > 1e-9
    return Model(V[kept], UV[kept], M[kept], tuple(textures))


def _texture(mesh: Any) -> ImageArray:
    """(H, W, 3) RGB of a mesh's material, one pixel for a plain colour."""
    material = getattr(mesh.visual, "material", None)
    for name in ("baseColorTexture", "image"):
        image = getattr(material, name, None)
        if image is not None:
            return np.asarray(image.convert("RGB"), np.uint8)
    colour = getattr(material, "main_color", (160, 160, 160))
    return np.asarray(colour, np.uint8)[None, None, :3]


def _needed(name: str) -> Any:
    """A module of the extra [train]; SuperGlueRosError where it is not installed."""
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SuperGlueRosError(
            f"furnished worlds need trimesh and embreex, the extra [train]: {error}"
        ) from error


class FurnishedWorld:
    """One furnished world whose triangles rays can be cast at."""

    def __init__(self, name: str, model: Model) -> None:
        """SuperGlueRosError where embreex is missing."""
        core, mesh = _needed("embreex.rtcore_scene"), _needed("embreex.mesh_construction")
        self.name = name
        self.model = model
        self._scene = core.EmbreeScene()
        self._mesh = mesh.TriangleMesh(self._scene, np.ascontiguousarray(model.corners))
        a, b, c = (model.corners[:, i] for i in range(3))
        cross = np.cross(b - a, c - a)
        area = np.linalg.norm(cross, axis=1)
        self.normals = (cross / area[:, None]).astype(np.float32)
        (du1, dv1), (du2, dv2) = (model.uv[:, i].T - model.uv[:, 0].T for i in (1, 2))
        self.repeats_per_m = np.sqrt(np.abs(du1 * dv2 - du2 * dv1) / area).astype(np.float32)
        """Of each triangle's texture (T,), as the root of its area in repeats."""
        points = model.corners.reshape(-1, 3)
        self.bounds = np.stack([points.min(0), points.max(0)])

    @staticmethod
    def load(path: Path) -> FurnishedWorld:
        """The world of a .glb file, named after it."""
        return FurnishedWorld(path.stem, load_model(path))

    def cast(self, origins: FloatArray, rays: FloatArray) -> Hits:
        """What rays (N, 3) from origins (N, 3) meet first; a ray (x, y, 1) turned into the world
        keeps its depth the camera's z."""
        found = self._scene.run(
            np.ascontiguousarray(origins, np.float32),
            np.ascontiguousarray(rays, np.float32),
            output=1,
        )
        return Hits(found["primID"], found["tfar"], found["u"], found["v"])

    def is_free(self, places: FloatArray) -> np.ndarray:
        """Whether a camera fits at places (N, 3): above the floor and under a ceiling, with
        something all around, but nothing near."""
        count = len(places)
        rays = np.concatenate([[[0, 0, -1], [0, 0, 1]], _sphere(SURROUNDINGS)]).astype(np.float32)
        hits = self.cast(np.repeat(places, len(rays), 0), np.tile(rays, (count, 1)))
        depth = np.where(hits.triangle != MISSED, hits.depth, np.inf).reshape(count, -1)
        around, height = depth[:, 2:], places[:, 2]
        free = np.abs(height - depth[:, 0]) < FLOOR_M
        free &= (depth[:, 1] + height > CEILING_M) & np.isfinite(depth[:, 1])
        free &= (np.isfinite(around).mean(1) > 0.97) & (around.min(1) > NEAREST_M)
        return free & (np.median(around, axis=1) > MEDIAN_M)

    def free_places(self, rng: np.random.Generator, count: int) -> FloatArray:
        """`count` random places (N, 3) where a camera fits, 0.3 to 1.8 m high.

        Raises SourceError where the world has next to none.
        """
        low, high = self.bounds[0].copy(), self.bounds[1].copy()
        low[2], high[2] = 0.3, 1.8
        found = np.zeros((0, 3), np.float32)
        for _ in range(200):
            places = rng.uniform(low, high, (max(8, 3 * count), 3)).astype(np.float32)
            found = np.concatenate([found, places[self.is_free(places)]])
            if len(found) >= count:
                return found[:count]
        raise SourceError(f"{self.name} has no room for a camera")


def _sphere(count: int) -> FloatArray:
    """Unit vectors (N, 3) spread evenly: a Fibonacci lattice."""
    index = np.arange(count) + 0.5
    z = 1 - 2 * index / count
    angle = np.pi * (1 + 5**0.5) * index
    flat = np.sqrt(1 - z * z)
    return np.stack([flat * np.cos(angle), flat * np.sin(angle), z], 1)
