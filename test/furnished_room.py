"""A furnished room as a .glb file, made by trimesh: noise on its walls, two boxes in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SIZE_M = (7.0, 6.0, 2.6)


def write_room(path: Path, texels: int = 128) -> None:
    """Axes as the worlds': z up, the floor at 0, one corner at the origin."""
    import trimesh
    from PIL import Image

    rng = np.random.default_rng(0)
    scene = trimesh.Scene()

    def add(points: np.ndarray, name: str) -> None:
        coarse = rng.integers(0, 255, (16, 16, 3), np.uint8)
        image = Image.fromarray(coarse).resize((texels, texels), Image.Resampling.BICUBIC)
        material = trimesh.visual.material.PBRMaterial(baseColorTexture=image)
        uv = np.array([[0, 0], [2, 0], [2, 2], [0, 2]], float)
        visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
        faces = [[0, 1, 2], [0, 2, 3]]
        mesh = trimesh.Trimesh(points, faces, visual=visual, process=False)
        scene.add_geometry(mesh, geom_name=name)

    def add_box(low: np.ndarray, high: np.ndarray, name: str) -> None:
        pick = np.array([[a, b, d] for a in (0, 1) for b in (0, 1) for d in (0, 1)])
        eight = np.where(pick, high, low).astype(float)
        for number, face in enumerate(
            ([0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3])
        ):
            add(eight[face], f"{name}_{number}")

    add_box(np.zeros(3), np.array(SIZE_M), "room")
    add_box(np.array([2.5, 2.0, 0.0]), np.array([3.3, 2.9, 0.8]), "table")
    add_box(np.array([5.2, 4.2, 0.0]), np.array([5.9, 4.9, 1.9]), "shelf")
    scene.export(str(path))
