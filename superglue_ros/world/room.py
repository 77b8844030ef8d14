"""The furnished room of the demo flight."""

from __future__ import annotations

import numpy as np

from superglue_ros.world.scene import Material, SceneBuilder, Surfaces, stack_scenes

TEXTURES = (
    ["bricks", "planks", "plaster", "weave", "tiles", "concrete", "leaves"]
    + ["poster"] * 7
    + ["painting"] * 9
    + ["spines"] * 7
    + ["crate"] * 7
    + ["page"] * 3
    + ["weave"] * 3
    + ["planks"] * 2
)
ROOM = (4.2, 3.2, 2.8)
"""Half width, half depth and height of the room in metres."""


CORNER = 0.45
"""Share of light lost in the inner corners of the room."""


def _layers(kind: str) -> list[int]:
    return [index for index, name in enumerate(TEXTURES) if name == kind]


def flight_room(seed: int = 0) -> Surfaces:
    """The room of the demo: shell, pictures, shelves with books, table, crates, cans and a rug."""
    rng = np.random.default_rng([seed, 1])
    scene = SceneBuilder()
    half_x, half_y, height = ROOM
    up = np.array([0, 0, height / 2])
    x, y = np.array([half_x, 0, 0]), np.array([0, half_y, 0])
    scene.rectangle(
        np.zeros(3), x, y, Material(_layers("planks")[0], 0.6, gloss=0.1, corner=CORNER)
    )
    ceiling = Material(_layers("plaster")[0], 0.3, (0.95, 0.97, 1.0), corner=CORNER)
    scene.rectangle(2 * up, x, -y, ceiling)
    brick = Material(_layers("bricks")[0], 0.8, corner=CORNER)
    plain = Material(_layers("plaster")[0], 0.4, (0.9, 0.97, 1.0), corner=CORNER)
    tiled = Material(_layers("tiles")[0], 0.8, corner=CORNER)
    scene.rectangle(y + up, x, up, brick)
    scene.rectangle(-y + up, -x, up, tiled)
    scene.rectangle(x + up, -y, up, plain)
    scene.rectangle(-x + up, y, up, plain)
    _hang_pictures(scene, rng)
    _furnish(scene, rng)
    return stack_scenes([scene])


def _hang_pictures(scene: SceneBuilder, rng: np.random.Generator) -> None:
    prints = list(rng.permutation(_layers("poster") + _layers("painting") + _layers("page")))
    frame = Material(_layers("planks")[1], 2.0, (0.45, 0.45, 0.5), gloss=0.3)
    walls = (
        (np.array([0, ROOM[1], 0]), np.array([1.0, 0, 0]), (-3.5, -2.5, -0.55, 0.75, 3.5)),
        (np.array([ROOM[0], 0, 0]), np.array([0, -1.0, 0]), (-2.4, -1.1, 0.3, 1.6)),
        (np.array([-ROOM[0], 0, 0]), np.array([0, 1.0, 0]), (-2.2, -0.7, 0.8, 2.1)),
        (np.array([0, -ROOM[1], 0]), np.array([-1.0, 0, 0]), (-2.8, -0.9, 1.0, 2.9)),
    )
    for wall, along, places in walls:
        inward = np.cross(along, [0, 0, 1.0])
        for place in places:
            wide, high = rng.uniform(0.33, 0.5), rng.uniform(0.33, 0.52)
            centre = wall + along * place + np.array([0, 0, rng.uniform(1.5, 1.8)])
            upward = np.array([0, 0, 1.0])
            layer = int(prints.pop())
            back = centre + inward * 0.02
            scene.rectangle(back, along * (wide + 0.05), upward * (high + 0.05), frame)
            picture = Material(layer, 0.0, gloss=0.25)
            scene.rectangle(back + inward * 0.015, along * wide, upward * high, picture)


def _furnish(scene: SceneBuilder, rng: np.random.Generator) -> None:
    rug = Material(_layers("weave")[1], 0.0)
    scene.place([0.2, 0.2, 0.012], 0.35).rectangle(np.zeros(3), [1.5, 0, 0], [0, 1.0, 0], rug)
    _shelf(scene.place([1.9, ROOM[1] - 0.22, 0]), rng, 1.0)
    _shelf(scene.place([-1.55, ROOM[1] - 0.22, 0]), rng, 0.55)
    _shelf(scene.place([ROOM[0] - 0.22, -2.2, 0], -np.pi / 2), rng, 0.7)
    _table(scene.place([0.5, 0.9, 0], 0.25), rng)
    crates = _layers("crate")
    for x, y, size, yaw in (
        (-3.2, 2.5, 0.42, 0.2),
        (-2.55, 2.75, 0.3, -0.3),
        (3.3, 2.3, 0.38, 0.6),
        (3.45, 0.9, 0.3, 1.2),
        (-3.5, 0.6, 0.34, 0.1),
        (-1.3, 1.5, 0.26, 0.7),
        (2.2, -1.0, 0.3, 0.4),
    ):
        place = scene.place([x, y, 0], yaw)
        high = size * rng.uniform(0.6, 1.0)
        material = Material(int(rng.choice(crates)), 0.0)
        place.box([0, 0, high], [size, size * rng.uniform(0.7, 1), high], material)
        small = size * rng.uniform(0.4, 0.6)
        top = Material(int(rng.choice(crates)), 0.0)
        upper = place.place([size * 0.2, 0, 2 * high], rng.uniform(0.2, 0.9))
        upper.box([0, 0, small], [small, small, small], top)
    column = Material(_layers("concrete")[0], 0.6, (1.0, 1.05, 1.1))
    scene.cylinder([2.9, -0.2, 0], 0.2, ROOM[2], column, column)
    scene.cylinder([-2.3, -0.4, 0], 0.2, ROOM[2], column, column)
    for x, y in ((-0.6, 2.6), (-2.0, 2.2), (2.9, 1.6)):
        pot = Material(_layers("weave")[2], 1.5)
        scene.cylinder([x, y, 0], 0.18, rng.uniform(0.35, 0.6), pot, column)
        ball = Material(_layers("leaves")[0], 1.0)
        scene.sphere([x, y, 0.75], 0.3, ball)


def _shelf(scene: SceneBuilder, rng: np.random.Generator, half_width: float) -> None:
    """A bookcase with its back to +y: boards, books of different depths, and a few packets."""
    wood = Material(_layers("planks")[2], 0.8, (0.75, 0.8, 0.85), gloss=0.08)
    spines = _layers("spines")
    depth, pitch = 0.2, 0.36
    for side in (-1, 1):
        scene.box([side * half_width, 0, 0.95], [0.02, depth, 0.95], wood)
    scene.box([0, depth - 0.01, 0.95], [half_width, 0.01, 0.95], wood)
    for level in range(6):
        scene.box([0, 0, 0.02 + level * pitch], [half_width, depth, 0.018], wood)
    for level in range(5):
        left, floor = -half_width + 0.03, 0.04 + level * pitch
        while left < half_width - 0.2:
            wide = rng.uniform(0.1, 0.24)
            wide = min(wide, (half_width - 0.03 - left) / 2)
            centre = [left + wide, rng.uniform(-0.02, 0.06), floor + 0.14]
            shift = (float(rng.uniform()), 0.0)
            books = Material(int(rng.choice(spines)), 0.0, offset=shift)
            scene.box(centre, [wide - 0.005, 0.11, 0.14], books, solid=False)
            left += 2 * wide + (0.05 if rng.random() < 0.3 else 0.0)


def _table(scene: SceneBuilder, rng: np.random.Generator) -> None:
    """A table with legs, books, cans and a globe."""
    wood = Material(_layers("planks")[1], 0.7, (0.8, 0.9, 1.0), gloss=0.3)
    scene.box([0, 0, 0.74], [0.8, 0.45, 0.025], wood)
    for x in (-0.74, 0.74):
        for y in (-0.4, 0.4):
            scene.box([x, y, 0.36], [0.035, 0.035, 0.36], wood)
    for x in (-0.55, -0.1, 0.4):
        label = Material(int(rng.choice(_layers("crate"))), 0.0)
        book = scene.place([x, rng.uniform(-0.2, 0.2), 0.765], rng.uniform(-0.6, 0.6))
        book.box([0, 0, 0.08], [0.15, 0.1, 0.08], label)
    can = Material(_layers("poster")[0], 0.0, gloss=0.4)
    scene.cylinder([0.1, -0.25, 0.765], 0.06, 0.2, can, wood)
    scene.cylinder([0.65, 0.2, 0.765], 0.05, 0.24, can, wood)
    scene.sphere([-0.3, 0.28, 0.9], 0.13, Material(_layers("painting")[1], 1.2, gloss=0.4))
