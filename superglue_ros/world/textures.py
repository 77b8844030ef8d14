"""Procedural textures of the rendered world: materials, print and art, all drawn from a seed.

Each painter returns a (size, size, 3) uint8 BGR image. Materials repeat without a seam; prints
(posters, spines, labels) are made for one repeat.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import cv2
import numpy as np

from superglue_ros.types import FloatArray, ImageArray

Painter = Callable[[np.random.Generator, int], ImageArray]


def fractal_noise(
    rng: np.random.Generator, size: int, cells: int = 4, octaves: int = 5, gain: float = 0.55
) -> FloatArray:
    """Seamless noise of several scales: (size, size) float32 with mean 0 and deviation 1."""
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        count = cells * 2**octave
        if count > size // 2:
            break
        grid = np.pad(rng.normal(size=(count, count)).astype(np.float32), 2, mode="wrap")
        scale = size // count
        fine = cv2.resize(grid, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        fine = fine[2 * scale : 2 * scale + count * scale, 2 * scale : 2 * scale + count * scale]
        total += gain**octave * cv2.resize(fine, (size, size))
    return (total - total.mean()) / (total.std() + 1e-6)


def colour(
    rng: np.random.Generator,
    hue: tuple[float, float] = (0.0, 1.0),
    saturation: tuple[float, float] = (0.2, 0.8),
    value: tuple[float, float] = (0.3, 0.95),
) -> FloatArray:
    """One BGR colour in 0..255, uniform in the given ranges of hue, saturation and value."""
    rgb = colorsys.hsv_to_rgb(rng.uniform(*hue) % 1, rng.uniform(*saturation), rng.uniform(*value))
    return np.array(rgb[::-1], np.float32) * 255


def _finish(picture: FloatArray) -> ImageArray:
    return np.ascontiguousarray(np.clip(picture, 0, 255).astype(np.uint8))


def _courses(
    rng: np.random.Generator,
    size: int,
    rows: int,
    columns: int,
    joint: int,
    shift: float,
    base: FloatArray,
    spread: float,
) -> FloatArray:
    """Rows of rectangles, each with a value of its own, each row shifted: bricks, planks."""
    y, x = np.mgrid[0:size, 0:size]
    row = y * rows // size
    offset = (np.round(np.arange(rows) * shift * size / columns) % size).astype(int)
    moved = (x + offset[row]) % size
    column = moved * columns // size
    values = rng.normal(1.0, spread, (rows, columns)).astype(np.float32)
    hues = rng.normal(0.0, spread * 20, (rows, columns, 3)).astype(np.float32)
    picture = base * values[row, column][..., None] + hues[row, column]
    in_joint = (y % (size / rows) < joint) | (moved % (size / columns) < joint)
    picture[in_joint] = picture[in_joint] * 0.3 + 70 * rng.uniform(0.4, 1.6)
    return picture


def bricks(rng: np.random.Generator, size: int) -> ImageArray:
    """A brick wall."""
    base = colour(rng, (-0.02, 0.08), (0.35, 0.65), (0.45, 0.75))
    rows = int(rng.choice([8, 12, 16]))
    picture = _courses(rng, size, rows, rows // 2, max(2, size // 110), 0.5, base, 0.17)
    picture += 9 * fractal_noise(rng, size, 8)[..., None]
    return _finish(picture + rng.normal(0, 5, (size, size, 1)))


def tiles(rng: np.random.Generator, size: int) -> ImageArray:
    """Floor or wall tiles of slightly different tones, some with a motif."""
    count = int(rng.choice([4, 6, 8]))
    base = colour(rng, saturation=(0.05, 0.35), value=(0.5, 0.9))
    picture = _courses(rng, size, count, count, max(2, size // 170), 0.0, base, 0.12)
    if rng.random() < 0.6:
        dark = colour(rng, value=(0.1, 0.45))
        y, x = np.mgrid[0:size, 0:size] * count / size
        u, v = np.abs(x % 1 - 0.5), np.abs(y % 1 - 0.5)
        motif = [u + v < 0.25, np.hypot(u, v) < 0.3, np.maximum(u, v) < 0.2, u + v > 0.8]
        picture[motif[rng.integers(len(motif))]] = dark
    return _finish(picture + 7 * fractal_noise(rng, size, 4)[..., None])


def planks(rng: np.random.Generator, size: int) -> ImageArray:
    """Wooden planks with grain and knots."""
    base = colour(rng, (0.05, 0.1), (0.35, 0.6), (0.4, 0.8))
    rows = int(rng.choice([6, 8, 10]))
    picture = _courses(rng, size, rows, 2, max(1, size // 200), 0.37, base, 0.1)
    grain = fractal_noise(rng, size, 4, 6, 0.75)
    grain = np.roll(cv2.resize(grain[: size // 8], (size, size)), rng.integers(size), axis=1)
    picture += 10 * grain[..., None]
    for _ in range(rows * 2):
        centre = tuple(int(c) for c in rng.integers(size // 20, size - size // 20, 2))
        axes = (int(rng.integers(3, 9) * size / 512) + 1, int(rng.integers(2, 5) * size / 512) + 1)
        cv2.ellipse(picture, centre, axes, 0, 0, 360, (base * 0.45).tolist(), -1, cv2.LINE_AA)
    return _finish(picture + rng.normal(0, 3, (size, size, 1)))


def plaster(rng: np.random.Generator, size: int) -> ImageArray:
    """A painted wall: nearly plain, with faint stains, specks and a few cracks."""
    base = colour(rng, saturation=(0.03, 0.3), value=(0.6, 0.95))
    picture = base + rng.uniform(3, 9) * fractal_noise(rng, size, 2, 6, 0.6)[..., None]
    for _ in range(int(rng.integers(0, 5))):
        steps = np.cumsum(rng.normal(0, size / 45, (14, 2)) + rng.normal(0, size / 60, 2), axis=0)
        path = (rng.uniform(0.2, 0.8, 2) * size + steps).astype(np.int32)
        cv2.polylines(picture, [path], False, (base * 0.7).tolist(), 1, cv2.LINE_AA)
    return _finish(picture + rng.normal(0, 2, (size, size, 1)))


def concrete(rng: np.random.Generator, size: int) -> ImageArray:
    """Rough stone, concrete or asphalt: noise of all scales and pits."""
    base = colour(rng, saturation=(0.0, 0.15), value=(0.3, 0.75))
    picture = base + rng.uniform(10, 24) * fractal_noise(rng, size, 4, 7, 0.7)[..., None]
    specks = rng.random((size, size)) < rng.uniform(0.002, 0.02)
    specks = cv2.dilate(specks.astype(np.uint8), np.ones((2, 2), np.uint8)) > 0
    picture[specks] *= rng.uniform(0.4, 1.5)
    return _finish(picture + rng.normal(0, 5, (size, size, 1)))


def leaves(rng: np.random.Generator, size: int) -> ImageArray:
    """Overlapping discs and polygons of all sizes, wrapped around: natural-image statistics."""
    hue = rng.uniform()
    width = rng.uniform(0.1, 0.5)
    picture = np.zeros((size, size, 3), np.uint8)
    picture[:] = colour(rng).astype(np.uint8)
    radii = np.sort(size / 4 / (1 + rng.pareto(1.3, 260) * 1.6))[::-1].clip(size / 120, size / 4)
    for radius in radii:
        paint = colour(rng, (hue - width, hue + width), (0.1, 0.8), (0.15, 0.95)).tolist()
        centre = rng.uniform(0, size, 2)
        corners = int(rng.integers(3, 9))
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        outline = radius * np.stack([np.cos(angles), np.sin(angles)], 1)
        for wrap in np.ndindex(3, 3):
            moved = centre + (np.array(wrap) - 1) * size
            if (np.abs(moved - size / 2) > size / 2 + radius).any():
                continue
            if corners > 6:
                middle = (int(moved[0]), int(moved[1]))
                cv2.circle(picture, middle, int(radius), paint, -1, cv2.LINE_AA)
            else:
                points = (outline + moved).astype(np.int32)
                cv2.fillPoly(picture, [points], paint, cv2.LINE_AA)
    return _finish(picture + 6 * fractal_noise(rng, size, 8)[..., None])


def weave(rng: np.random.Generator, size: int) -> ImageArray:
    """A woven rug or cloth: bands, diamonds and threads."""
    picture = np.zeros((size, size, 3), np.float32)
    hue = rng.uniform()
    inks = [colour(rng, (hue - 0.18, hue + 0.18), (0.2, 0.6), (0.15, 0.85)) for _ in range(4)]
    edges = np.sort(rng.choice(np.arange(1, 24), 9, replace=False)) * size // 24
    bands = np.searchsorted(edges, np.arange(size), side="right")
    picture[:] = np.array(inks)[bands % 4][:, None]
    y, x = np.mgrid[0:size, 0:size]
    pitch = size / int(rng.choice([8, 12, 16]))
    diamonds = np.abs(x % pitch - pitch / 2) + np.abs(y % pitch - pitch / 2) < pitch * 0.3
    picture[diamonds & (bands % 2 == 0)[:, None]] = inks[int(rng.integers(4))]
    threads = np.where((x // 2 + y // 2) % 2 == 0, 0.92, 1.06)[..., None]
    return _finish(picture * threads + 5 * fractal_noise(rng, size, 8)[..., None])
