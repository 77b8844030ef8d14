"""Printed matter of the rendered world: posters, pages, labels, book spines, crates, façades."""

from __future__ import annotations

import cv2
import numpy as np

from superglue_ros.types import ImageArray
from superglue_ros.world.textures import (
    Painter,
    bricks,
    colour,
    concrete,
    fractal_noise,
    leaves,
    planks,
    plaster,
    tiles,
    weave,
)

_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX)
_LETTERS = np.array(list("ABCDEFGHKLMNOPRSTUVWXYZ0123456789"))


def _word(rng: np.random.Generator, length: int) -> str:
    return "".join(rng.choice(_LETTERS, length))


def _write(
    picture: ImageArray,
    rng: np.random.Generator,
    corner: tuple[int, int],
    height: float,
    ink: list[float],
    length: int,
) -> None:
    font = int(rng.choice(_FONTS))
    thickness = max(1, round(height / 9))
    cv2.putText(
        picture, _word(rng, length), corner, font, height / 22, ink, thickness, cv2.LINE_AA
    )


def _ink(rng: np.random.Generator, paper: np.ndarray) -> list[float]:
    """A colour that stands out from the paper."""
    dark = paper.mean() > 120
    ink = colour(rng, value=(0.05, 0.35) if dark else (0.8, 1.0), saturation=(0.1, 0.6))
    return [float(c) for c in ink]


def poster(rng: np.random.Generator, size: int) -> ImageArray:
    """A framed poster: a picture of shapes, a headline and lines of small print."""
    paper = colour(rng, saturation=(0.1, 0.7), value=(0.25, 0.98))
    picture = np.zeros((size, size, 3), np.uint8)
    picture[:] = paper.astype(np.uint8)
    top = int(size * rng.uniform(0.5, 0.68))
    painted = painting(rng, size)
    inset = size // 14
    window = painted[: top - inset, : size - 2 * inset]
    picture[inset:top, inset : size - inset] = window
    ink = _ink(rng, paper)
    _write(picture, rng, (inset, top + size // 8), size / 9, ink, 7)
    line = top + size // 5
    while line < size - inset:
        _write(picture, rng, (inset, line), size / 34, ink, int(rng.integers(14, 28)))
        line += size // 24
    cv2.rectangle(picture, (0, 0), (size - 1, size - 1), _ink(rng, paper), size // 40)
    return picture


def painting(rng: np.random.Generator, size: int) -> ImageArray:
    """Abstract art: a graded ground, overlapping shapes, strokes and dots."""
    ramp = np.linspace(0, 1, size, dtype=np.float32)[:, None, None]
    ground = colour(rng) * (1 - ramp) + colour(rng) * ramp
    ground = ground + 10 * fractal_noise(rng, size, 4)[..., None]
    picture = np.ascontiguousarray(np.clip(ground, 0, 255).astype(np.uint8))
    for _ in range(int(rng.integers(9, 22))):
        paint = colour(rng, saturation=(0.3, 1.0), value=(0.1, 1.0)).tolist()
        centre = rng.integers(0, size, 2)
        reach = size * rng.uniform(0.04, 0.24)
        if rng.random() < 0.35:
            cv2.circle(
                picture,
                (int(centre[0]), int(centre[1])),
                int(reach * 0.7),
                paint,
                int(rng.choice([-1, 3, 8])),
                cv2.LINE_AA,
            )
        else:
            outline = centre + rng.normal(0, reach, (int(rng.integers(3, 6)), 2))
            cv2.fillPoly(picture, [cv2.convexHull(outline.astype(np.int32))], paint, cv2.LINE_AA)
    for _ in range(int(rng.integers(3, 9))):
        start, end = rng.integers(0, size, (2, 2)).tolist()
        paint = colour(rng).tolist()
        cv2.line(picture, start, end, paint, int(rng.integers(1, 7)), cv2.LINE_AA)
    return picture


def page(rng: np.random.Generator, size: int) -> ImageArray:
    """A page or notice board: paragraphs, boxes and a diagram."""
    paper = colour(rng, saturation=(0.0, 0.15), value=(0.8, 1.0))
    picture = np.zeros((size, size, 3), np.uint8)
    picture[:] = paper.astype(np.uint8)
    ink = _ink(rng, paper)
    line = size // 12
    while line < size * 0.95:
        height = size / float(rng.choice([28, 28, 28, 14]))
        if rng.random() < 0.15:
            box = int(size * rng.uniform(0.1, 0.2))
            left = int(rng.integers(size // 12, size // 2))
            paint = colour(rng).tolist()
            corner = (left + int(box * 1.6), min(size - 4, line + box))
            cv2.rectangle(picture, (left, line), corner, paint, int(rng.choice([-1, 2, 4])))
            line += box + size // 14
            continue
        _write(
            picture, rng, (size // 14, line + int(height)), height, ink, int(rng.integers(6, 26))
        )
        line += int(height * 1.7)
    return picture


def spines(rng: np.random.Generator, size: int) -> ImageArray:
    """A shelf of books seen from the front."""
    picture = np.full((size, size, 3), 25, np.uint8)
    left = 0
    while left < size:
        width = int(rng.integers(size // 30, size // 11))
        top = int(size * rng.uniform(0.02, 0.25))
        paint = colour(rng, saturation=(0.1, 0.9), value=(0.15, 0.95))
        cv2.rectangle(picture, (left, top), (left + width - 2, size), paint.tolist(), -1)
        label = np.zeros((width, size - top, 3), np.uint8)
        label[:] = paint.astype(np.uint8)
        _write(label, rng, (size // 10, width * 3 // 4), width * 0.6, _ink(rng, paint), 12)
        for stripe in rng.integers(0, size - top, 3):
            label[:, stripe : stripe + size // 80] = colour(rng).astype(np.uint8)
        spine = label.transpose(1, 0, 2)[:, ::-1][:, : max(0, size - left)]
        picture[top:, left : left + spine.shape[1]] = spine
        picture[top:, max(0, left + width - 2) : left + width] = 20
        left += width
    return picture


def crate(rng: np.random.Generator, size: int) -> ImageArray:
    """A cardboard box or packet with tape, arrows, a bar code and a label."""
    base = colour(rng, (0.04, 0.12), (0.2, 0.6), (0.5, 0.85))
    if rng.random() < 0.5:
        base = colour(rng, saturation=(0.3, 0.9), value=(0.3, 0.9))
    ground = base + 5 * fractal_noise(rng, size, 4)[..., None] + rng.normal(0, 3, (size, size, 1))
    picture = np.ascontiguousarray(np.clip(ground, 0, 255).astype(np.uint8))
    tape = (base * rng.uniform(0.6, 1.25)).clip(0, 255).tolist()
    middle = size // 2
    cv2.rectangle(picture, (0, middle - size // 22), (size, middle + size // 22), tape, -1)
    x, y = (int(v) for v in rng.uniform(0.06, 0.4, 2) * size)
    cv2.rectangle(picture, (x, y), (x + size // 2, y + size // 3), (235, 238, 240), -1)
    bar = x + size // 30
    while bar < x + size // 4:
        width = int(rng.integers(1, 6) * size / 512) + 1
        cv2.rectangle(
            picture, (bar, y + size // 40), (bar + width, y + size // 7), (15, 15, 15), -1
        )
        bar += width + int(rng.integers(2, 6) * size / 512) + 1
    for row in range(3):
        _write(
            picture,
            rng,
            (x + size // 30, y + size // 5 + row * size // 22),
            size / 26,
            [20, 20, 20],
            12,
        )
    _write(picture, rng, (size // 12, size - size // 10), size / 7, _ink(rng, base), 5)
    cv2.rectangle(picture, (2, 2), (size - 3, size - 3), (base * 0.6).tolist(), size // 60)
    return picture


def facade(rng: np.random.Generator, size: int) -> ImageArray:
    """A house front: rows of windows with frames, panes and sills on a material."""
    picture = (bricks, plaster, concrete)[int(rng.integers(3))](rng, size)
    rows, columns = int(rng.integers(2, 5)), int(rng.integers(2, 6))
    frame = colour(rng, saturation=(0.0, 0.3), value=(0.2, 1.0)).tolist()
    high, wide = rng.uniform(0.45, 0.7), rng.uniform(0.4, 0.65)
    for row, column in np.ndindex(rows, columns):
        top = int((row + (1 - high) / 2) * size / rows)
        left = int((column + (1 - wide) / 2) * size / columns)
        bottom, right = int(top + high * size / rows), int(left + wide * size / columns)
        glass = colour(rng, (0.5, 0.7), (0.1, 0.5), (0.08, 0.6))
        cv2.rectangle(picture, (left, top), (right, bottom), glass.tolist(), -1)
        if rng.random() < 0.5:
            curtain = colour(rng, saturation=(0, 0.5), value=(0.5, 0.95)).tolist()
            drop = int(top + (bottom - top) * rng.uniform(0.2, 0.9))
            cv2.rectangle(picture, (left, top), ((left + right) // 2, drop), curtain, -1)
        cv2.rectangle(picture, (left, top), (right, bottom), frame, max(2, size // 120))
        middle = (left + right) // 2
        cv2.line(picture, (middle, top), (middle, bottom), frame, max(1, size // 170))
        sill = (left - size // 80, bottom), (right + size // 80, bottom + size // 60)
        cv2.rectangle(picture, *sill, frame, -1)
    return picture


MATERIALS: tuple[Painter, ...] = (bricks, tiles, planks, plaster, concrete, leaves, weave)
PRINTS: tuple[Painter, ...] = (poster, painting, page, spines, crate)
PAINTERS: dict[str, Painter] = {p.__name__: p for p in (*MATERIALS, *PRINTS, facade)}


def paint(kinds: list[str], size: int, seed: int) -> ImageArray:
    """Textures of the named kinds, each from a seed of its own: (L, size, size, 3) uint8 BGR.

    Raises ValueError for an unknown kind.
    """
    unknown = set(kinds) - set(PAINTERS)
    if unknown:
        raise ValueError(f"unknown textures {sorted(unknown)}; known are {sorted(PAINTERS)}")
    layers = [
        PAINTERS[kind](np.random.default_rng([seed, index]), size)
        for index, kind in enumerate(kinds)
    ]
    return np.stack(layers) if layers else np.zeros((0, size, size, 3), np.uint8)
