"""Scenes of the rendered world: flat patches and round surfaces with materials, as padded tensors.

The world has z up and metres. Every surface has a local frame: `axes` holds three half-vectors in
its columns; a world point X has local coordinates inverse(axes) (X - origin). Flat surfaces
lie in local z = 0 and are seen from the side of +z only; round ones are unit cylinders or spheres.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import ArrayLike

from superglue_ros.types import FloatArray

EMPTY, RECTANGLE, TRIANGLE, DISC, CYLINDER, SPHERE = range(6)
"""Kinds of surfaces; from CYLINDER on they are round."""


@dataclass(frozen=True)
class Material:
    """Texture layer, repeats of it per metre (0: once over the surface), tint (3,) BGR factors,
    gloss 0..1, corner: how much its border is darkened (the inner corners of a room), and the
    texture's shift in repeats."""

    layer: int = 0
    repeats_per_m: float = 1.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gloss: float = 0.0
    corner: float = 0.0
    offset: tuple[float, float] = (0.0, 0.0)


MATERIAL_SIZE = 12
"""Columns of `Surfaces.material`: layer, scale (2), offset (2), repeats per metre, tint (3),
gloss, corner, half the smaller extent in metres."""


@dataclass(frozen=True)
class Surfaces:
    """S scenes of P flat and R round surfaces each, padded with EMPTY.

    kind (S, P + R) int64, flat ones first; origin (S, P + R, 3); axes and inverse
    (S, P + R, 3, 3); material (S, P + R, 12); `flat` is P.
    """

    kind: torch.Tensor
    origin: torch.Tensor
    axes: torch.Tensor
    inverse: torch.Tensor
    material: torch.Tensor
    flat: int

    def to(self, device: torch.device | str) -> Surfaces:
        """The same on another device."""
        names = ("kind", "origin", "axes", "inverse", "material")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def take(self, scene: torch.Tensor) -> Surfaces:
        """The scenes with these indices (N,)."""
        names = ("kind", "origin", "axes", "inverse", "material")
        return replace(self, **{name: getattr(self, name)[scene] for name in names})

    def __len__(self) -> int:
        return len(self.kind)


@dataclass
class SceneBuilder:
    """Collects the surfaces of one scene; lengths in metres, angles in radians.

    `frame` is (4, 4), applied to everything added; `colliders` are (centre, half size, rotation)
    of the solids, for cameras to keep out of.
    """

    frame: FloatArray = field(default_factory=lambda: np.eye(4))
    kinds: list[int] = field(default_factory=list)
    origins: list[FloatArray] = field(default_factory=list)
    axes: list[FloatArray] = field(default_factory=list)
    materials: list[list[float]] = field(default_factory=list)
    colliders: list[tuple[FloatArray, FloatArray, FloatArray]] = field(default_factory=list)

    def place(self, position: ArrayLike, yaw: float = 0.0) -> SceneBuilder:
        """A builder of the same scene whose frame stands at `position`, turned about z."""
        cosine, sine = np.cos(yaw), np.sin(yaw)
        local = np.eye(4)
        local[:2, :2] = [[cosine, -sine], [sine, cosine]]
        local[:3, 3] = position
        return SceneBuilder(
            self.frame @ local,
            self.kinds,
            self.origins,
            self.axes,
            self.materials,
            self.colliders,
        )

    def surface(
        self,
        kind: int,
        origin: ArrayLike,
        u: ArrayLike,
        v: ArrayLike,
        material: Material,
        w: ArrayLike | None = None,
    ) -> None:
        """Add one surface with half-vectors u and v; a flat one faces along u x v.

        Raises ValueError for half-vectors that span nothing.
        """
        u, v = np.asarray(u, float), np.asarray(v, float)
        normal = np.cross(u, v)
        length = np.linalg.norm(normal)
        if not length > 1e-9:
            raise ValueError(f"half-vectors {u} and {v} span no surface")
        w = normal / length if w is None else np.asarray(w, float)
        rotation = self.frame[:3, :3]
        self.kinds.append(kind)
        self.origins.append(rotation @ np.asarray(origin, float) + self.frame[:3, 3])
        self.axes.append(rotation @ np.stack([u, v, w], 1))
        wide, high = float(np.linalg.norm(u)), float(np.linalg.norm(v))
        if kind == CYLINDER:
            wide, high = np.pi * wide, float(np.linalg.norm(w))
        elif kind == SPHERE:
            wide, high = np.pi * wide, np.pi / 2 * high
        repeats = material.repeats_per_m
        density = repeats or 0.5 / min(wide, high)
        scale = [0.5, 0.5] if repeats == 0 else [wide * repeats, high * repeats]
        shift = [offset + (0.5 if repeats == 0 else 0.0) for offset in material.offset]
        row = [float(material.layer), *scale, *shift, density, *material.tint]
        self.materials.append([*row, material.gloss, material.corner, min(wide, high)])

    def rectangle(self, origin: ArrayLike, u: ArrayLike, v: ArrayLike, material: Material) -> None:
        """Add a rectangle that faces along u x v."""
        self.surface(RECTANGLE, origin, u, v, material)

    def box(
        self,
        centre: ArrayLike,
        half: ArrayLike,
        material: Material,
        sides: Material | None = None,
        solid: bool = True,
    ) -> None:
        """Add a box with the local axes; `sides` covers the four upright faces."""
        centre, half = np.asarray(centre, float), np.asarray(half, float)
        x, y, z = np.diag(half)
        sides = sides or material
        self.rectangle(centre + z, x, y, material)
        self.rectangle(centre - z, x, -y, material)
        for out, along in ((-y, x), (x, y), (y, -x), (-x, -y)):
            self.rectangle(centre + out, along, z, sides)
        if solid:
            self.collide(centre, half)

    def cylinder(
        self, base: ArrayLike, radius: float, height: float, material: Material, top: Material
    ) -> None:
        """Add an upright cylinder with closed ends, standing at `base`."""
        base = np.asarray(base, float)
        x, y, z = np.diag([radius, radius, height / 2])
        self.surface(CYLINDER, base + z, x, y, material, z)
        self.surface(DISC, base + 2 * z, x, y, top)
        self.surface(DISC, base, x, -y, top)
        self.collide(base + z, np.array([radius, radius, height / 2]))

    def sphere(self, centre: ArrayLike, radius: float, material: Material) -> None:
        """Add a sphere."""
        x, y, z = np.eye(3) * radius
        self.surface(SPHERE, centre, x, y, material, z)
        self.collide(np.asarray(centre, float), np.full(3, radius))

    def height_field(self, heights: FloatArray, spacing: float, material: Material) -> None:
        """Add a terrain of (N, M) heights over the local x, y grid, two triangles per cell."""
        rows, columns = heights.shape
        y, x = np.mgrid[0:rows, 0:columns] * spacing
        points = np.stack([x, y, heights], -1)
        for row, column in np.ndindex(rows - 1, columns - 1):
            a, b = points[row, column], points[row, column + 1]
            c, d = points[row + 1, column], points[row + 1, column + 1]
            for corner, u, v in ((a, b - a, c - a), (d, c - d, b - d)):
                self.surface(TRIANGLE, corner + (u + v) / 2, u / 2, v / 2, material)

    def collide(self, centre: ArrayLike, half: ArrayLike) -> None:
        """Keep cameras out of a box with the local axes."""
        rotation, middle = self.frame[:3, :3], np.asarray(centre, float)
        place = rotation @ middle + self.frame[:3, 3]
        self.colliders.append((place, np.asarray(half, float), rotation))


def stack_scenes(builders: list[SceneBuilder], pad_to: tuple[int, int] = (0, 0)) -> Surfaces:
    """Padded tensors of several scenes; `pad_to` is the least number of (flat, round) surfaces.

    Raises ValueError for an empty list.
    """
    if not builders:
        raise ValueError("no scenes to stack")
    kinds = [np.array(b.kinds, np.int64) for b in builders]
    flat = max(pad_to[0], *(int((k < CYLINDER).sum()) for k in kinds))
    curved = max(pad_to[1], *(int((k >= CYLINDER).sum()) for k in kinds))
    shape = (len(builders), flat + curved)
    kind = np.full(shape, EMPTY)
    origin = np.zeros((*shape, 3), np.float32)
    axes = np.tile(np.eye(3), (*shape, 1, 1))
    material = np.zeros((*shape, MATERIAL_SIZE), np.float32)
    for index, (builder, all_kinds) in enumerate(zip(builders, kinds)):
        for chosen, start in ((all_kinds < CYLINDER, 0), (all_kinds >= CYLINDER, flat)):
            where = slice(start, start + int(chosen.sum()))
            if where.start == where.stop:
                continue
            kind[index, where] = all_kinds[chosen]
            origin[index, where] = np.array(builder.origins)[chosen]
            axes[index, where] = np.array(builder.axes)[chosen]
            material[index, where] = np.array(builder.materials)[chosen]
    return Surfaces(
        torch.from_numpy(kind),
        torch.from_numpy(origin),
        torch.from_numpy(axes.astype(np.float32)),
        torch.from_numpy(np.linalg.inv(axes).astype(np.float32)),
        torch.from_numpy(material),
        flat,
    )
