"""Random rooms and streets for training: structure, clutter, thin things and repetition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from superglue_ros.types import FloatArray
from superglue_ros.world.scene import Material, SceneBuilder


@dataclass(frozen=True)
class Layout:
    """A scene and where cameras may be: `bounds` (2, 3) metres, low and high corners, and `lamps`
    (2, 3), between whose corners the lights are."""

    scene: SceneBuilder
    bounds: FloatArray
    lamps: FloatArray


class _Maker:
    """Draws materials and things for one scene; every texture layer may be used for anything."""

    def __init__(self, rng: np.random.Generator, layers: int) -> None:
        self.rng, self.layers = rng, layers

    def material(self, repeats_per_m: float | None = None, corner: float = 0.0) -> Material:
        """A random material; without repeats, once over the surface in half of the cases."""
        rng = self.rng
        if repeats_per_m is None:
            repeats_per_m = 0.0 if rng.random() < 0.5 else float(rng.uniform(0.3, 2.0))
        gloss = float(rng.uniform(0, 0.8)) if rng.random() < 0.3 else 0.0
        shade = float(rng.uniform(0.5, 1.2))
        shift = (float(rng.uniform()), float(rng.uniform()))
        tint = (shade, shade, shade)
        return Material(int(rng.integers(self.layers)), repeats_per_m, tint, gloss, corner, shift)

    def thing(self, place: SceneBuilder, size: float) -> None:
        """One object of about the size, standing at the place."""
        kinds: list[Callable[[SceneBuilder, float], None]] = [
            self.crate,
            self.crate,
            self.drum,
            self.ball,
            self.table,
            self.rack,
            self.pole,
            self.slab,
        ]
        kinds[int(self.rng.integers(len(kinds)))](place, size)

    def crate(self, place: SceneBuilder, size: float) -> None:
        """A box with others on it."""
        floor, half = 0.0, size * self.rng.uniform(0.35, 1.0, 3)
        for _ in range(int(self.rng.integers(1, 4))):
            top = place.place([0, 0, floor], self.rng.uniform(-0.6, 0.6))
            top.box([0, 0, half[2]], half, self.material(), self.material())
            floor, half = floor + 2 * half[2], half * self.rng.uniform(0.4, 0.8)

    def drum(self, place: SceneBuilder, size: float) -> None:
        """A can, barrel or pot, sometimes with a plant."""
        radius, height = size * self.rng.uniform(0.3, 0.7), size * self.rng.uniform(0.6, 2.4)
        place.cylinder([0, 0, 0], radius, height, self.material(), self.material())
        if self.rng.random() < 0.4:
            crown = size * self.rng.uniform(0.4, 1.0)
            place.sphere([0, 0, height + crown * 0.9], crown, self.material(1.0))

    def ball(self, place: SceneBuilder, size: float) -> None:
        """A ball."""
        radius = size * self.rng.uniform(0.3, 0.7)
        place.sphere([0, 0, radius], radius, self.material())

    def table(self, place: SceneBuilder, size: float) -> None:
        """A top on four thin legs, with small things on it."""
        wide, deep, high = size * self.rng.uniform([1.0, 0.6, 1.0], [2.0, 1.2, 1.6])
        wood = self.material(self.rng.uniform(0.5, 2.0))
        place.box([0, 0, high], [wide, deep, 0.03 * size + 0.01], wood)
        leg = 0.05 * size
        for x in (-wide + leg, wide - leg):
            for y in (-deep + leg, deep - leg):
                place.box([x, y, high / 2], [leg, leg, high / 2], wood, solid=False)
        for _ in range(int(self.rng.integers(0, 4))):
            at = self.rng.uniform(-0.7, 0.7, 2) * [wide, deep]
            on = place.place([*at, high + 0.03 * size + 0.01], self.rng.uniform(0, 3))
            (self.ball, self.drum, self.crate)[int(self.rng.integers(3))](on, size * 0.2)

    def rack(self, place: SceneBuilder, size: float) -> None:
        """Shelves with a row of the same packet on each."""
        wide, deep, count = size * self.rng.uniform(0.7, 1.6), size * 0.35, 3
        pitch = size * self.rng.uniform(0.5, 0.9)
        board, packet = self.material(), self.material(0.0)
        for x in (-wide, wide):
            place.box([x, 0, count * pitch / 2], [0.03, deep, count * pitch / 2], board)
        half = [wide / self.rng.integers(3, 6) * 0.8, deep * 0.8, pitch * 0.35]
        for level in range(count):
            floor = level * pitch
            place.box([0, 0, floor + 0.02], [wide, deep, 0.02], board, solid=False)
            for x in np.arange(-wide + half[0] * 1.2, wide - half[0], half[0] * 2.3):
                if self.rng.random() < 0.85:
                    place.box([x, 0, floor + 0.04 + half[2]], half, packet, solid=False)

    def pole(self, place: SceneBuilder, size: float) -> None:
        """A lamp post or sign: thin and tall."""
        height, radius = size * self.rng.uniform(2, 4), size * self.rng.uniform(0.03, 0.09)
        grip = self.material(1.0)
        place.cylinder([0, 0, 0], radius, height, grip, grip)
        if self.rng.random() < 0.6:
            half = size * self.rng.uniform(0.2, 0.6, 2)
            place.box([0, 0, height], [half[0], 0.02, half[1]], self.material(0.0), solid=False)

    def slab(self, place: SceneBuilder, size: float) -> None:
        """A board or screen that leans or stands free."""
        half = size * self.rng.uniform([0.8, 0.02, 0.6], [1.8, 0.06, 1.5])
        place.box([0, 0, half[2]], half, self.material(0.0), self.material())


def random_layout(rng: np.random.Generator, layers: int, street_share: float = 0.35) -> Layout:
    """A room, or with the given probability a street, using texture layers below `layers`.

    Raises ValueError where there is no layer.
    """
    if layers < 1:
        raise ValueError("a scene needs at least one texture layer")
    maker = _Maker(rng, layers)
    return _street(maker) if rng.random() < street_share else _room(maker)


def _room(maker: _Maker) -> Layout:
    rng, scene = maker.rng, SceneBuilder()
    x, y, height = rng.uniform([1.6, 1.6, 2.3], [5.0, 4.5, 4.2])
    walls = maker.material(rng.uniform(0.2, 1.0), 0.4)
    floor, ceiling = (maker.material(rng.uniform(0.2, 1.0), 0.4) for _ in range(2))
    scene.rectangle([0, 0, 0], [x, 0, 0], [0, y, 0], floor)
    scene.rectangle([0, 0, height], [x, 0, 0], [0, -y, 0], ceiling)
    for out, along in (((0, y), (x, 0)), ((0, -y), (-x, 0)), ((x, 0), (0, -y)), ((-x, 0), (0, y))):
        wall = walls if rng.random() < 0.6 else maker.material(rng.uniform(0.2, 1.0), 0.4)
        side, inward = np.array([*along, 0.0]), -np.array([*out, 0.0])
        centre = np.array([*out, height / 2])
        scene.rectangle(centre, side, [0, 0, height / 2], wall)
        print_ = maker.material(0.0)
        for _ in range(int(rng.integers(0, 5))):
            if rng.random() < 0.8:
                print_ = maker.material(0.0)
            half = rng.uniform(0.15, 0.7, 2)
            at = centre + side * rng.uniform(-0.8, 0.8) + [0, 0, rng.uniform(-0.3, 0.3) * height]
            at = at + inward / np.linalg.norm(inward) * rng.uniform(0.01, 0.05)
            scene.rectangle(at, side / np.linalg.norm(side) * half[0], [0, 0, half[1]], print_)
    _scatter(maker, scene, np.array([x, y]) * 0.9, int(rng.integers(5, 14)), 0.22, 0.6)
    low, high = np.array([-x, -y, 0.0]) * 0.93, np.array([x, y, 0.0]) * 0.93
    bounds = np.stack([low + [0, 0, 0.3], high + [0, 0, height - 0.3]])
    lamps = np.stack([low * 0.8 + [0, 0, height * 0.7], high * 0.8 + [0, 0, height - 0.1]])
    return Layout(scene, bounds, lamps)


def _street(maker: _Maker) -> Layout:
    rng, scene = maker.rng, SceneBuilder()
    half_length, half_width = rng.uniform(14, 26), rng.uniform(3.5, 8)
    ground = maker.material(rng.uniform(0.15, 0.5))
    scene.rectangle([0, 0, 0], [60, 0, 0], [0, 60, 0], ground)
    for side in (-1, 1):
        along = -half_length - 6.0
        front = maker.material(0.0)
        while along < half_length + 6:
            half = rng.uniform([2.0, 2, 1.8], [6.0, 4, 5.5])
            if rng.random() < 0.7:
                front = maker.material(0.0 if rng.random() < 0.7 else rng.uniform(0.15, 0.4))
            set_back = rng.uniform(0, 1.2)
            house = scene.place([along + half[0], side * (half_width + half[1] + set_back), 0])
            house.box([0, 0, half[2]], half, maker.material(0.3), front)
            along += 2 * half[0] + (rng.uniform(0.5, 3) if rng.random() < 0.3 else 0.0)
    for end in (-1, 1):
        end_wall = scene.place([end * (half_length + 14), 0, 0], np.pi / 2)
        end_wall.box([0, 0, 5], [half_width * 2, 2, rng.uniform(3, 6)], maker.material(0.2))
    if rng.random() < 0.4:
        hill = np.cumsum(rng.normal(0, 0.12, (6, 8)), axis=1)
        hill = hill - hill.max() + rng.uniform(0.2, 0.7)
        place = scene.place([rng.uniform(-half_length, 0), -half_width, 0.01])
        place.height_field(hill, float(rng.uniform(0.7, 1.5)), maker.material(0.5))
    reach = np.array([half_length, half_width * 0.95])
    _scatter(maker, scene, reach, int(rng.integers(10, 24)), 0.5, 1.3)
    bounds = np.array([[-half_length, -half_width, 0.5], [half_length, half_width, 3.5]]) * 0.92
    lamps = np.array([[-25.0, -25, 22], [25, 25, 45]])
    return Layout(scene, bounds, lamps)


def _scatter(
    maker: _Maker, scene: SceneBuilder, reach: FloatArray, count: int, low: float, high: float
) -> None:
    """Things all over the ground, and one kind of thing several times in a row."""
    rng = maker.rng
    for _ in range(count):
        place = scene.place([*rng.uniform(-1, 1, 2) * reach, 0], rng.uniform(0, 2 * np.pi))
        maker.thing(place, rng.uniform(low, high))
    start, yaw = rng.uniform(-0.8, 0.5, 2) * reach, rng.uniform(0, 2 * np.pi)
    step, size = rng.uniform(0.1, 0.3, 2) * reach, rng.uniform(low, high)
    same = int(rng.integers(2**31))
    for number in range(int(rng.integers(0, 5))):
        twin = _Maker(np.random.default_rng(same), maker.layers)
        (twin.crate, twin.drum, twin.slab, twin.table)[same % 4](
            scene.place([*(start + step * number), 0], yaw), size
        )
