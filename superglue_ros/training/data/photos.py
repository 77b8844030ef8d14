"""Photographs and procedural drawings as one bank of gray textures on the training device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from superglue_ros.errors import SourceError
from superglue_ros.types import ImageArray

PYRAMID_LEVELS = 4
VALIDATION_STRIDE = 8
"""Every eighth photograph, in the order of their names, is kept for validation."""

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


class PhotoBank:
    """Gray images of any sizes with their pyramids in one flat uint8 tensor.

    Views of many images are sampled in one batch with no loop over them: `sample`.
    """

    def __init__(self, images: Sequence[ImageArray], device: torch.device) -> None:
        """images: gray uint8 arrays, each at least 16 pixels a side; ValueError for none."""
        if not images:
            raise ValueError("a texture bank needs at least one image")
        chunks: list[ImageArray] = []
        table: list[list[tuple[int, int, int]]] = []
        offset = 0
        for image in images:
            rows = []
            level = image
            for _ in range(PYRAMID_LEVELS):
                rows.append((offset, level.shape[1], level.shape[0]))
                chunks.append(np.ascontiguousarray(level).reshape(-1))
                offset += level.size
                half = (max(level.shape[1] // 2, 2), max(level.shape[0] // 2, 2))
                level = np.asarray(cv2.resize(level, half, interpolation=cv2.INTER_AREA), np.uint8)
            table.append(rows)
        self.pixels = torch.from_numpy(np.concatenate(chunks)).to(device)
        self.table = torch.tensor(table, device=device)
        self.device = device

    def __len__(self) -> int:
        return len(self.table)

    @property
    def sizes(self) -> Tensor:
        """Width and height (P, 2) of the images, pixels."""
        return self.table[:, 0, 1:].float()

    def sample(self, index: Tensor, points: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Bilinear gray values (B, H, W) in [0, 1] and whether the point is inside (B, H, W).

        index (B,): image; points (B, H, W, 2): its pixels; scale (B,): pixels of the image from
        one sample to the next, which picks the pyramid level.
        """
        level = scale.log2().round().long().clamp(0, PYRAMID_LEVELS - 1)
        offset, width, height = self.table[index, level].T[..., None, None]
        # A level spans the whole image, whether or not its sides halve exactly.
        whole = self.sizes[index][:, None, None]
        x = (points[..., 0] + 0.5) * (width / whole[..., 0]) - 0.5
        y = (points[..., 1] + 0.5) * (height / whole[..., 1]) - 0.5
        inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
        x0 = torch.minimum(x.clamp(min=0), (width - 1).float())
        y0 = torch.minimum(y.clamp(min=0), (height - 1).float())
        left, top = x0.long(), y0.long()
        right, bottom = torch.minimum(left + 1, width - 1), torch.minimum(top + 1, height - 1)
        fx, fy = x0 - left, y0 - top

        def at(column: Tensor, row: Tensor) -> Tensor:
            return self.pixels[offset + row * width + column].float()

        upper = torch.lerp(at(left, top), at(right, top), fx)
        lower = torch.lerp(at(left, bottom), at(right, bottom), fx)
        return torch.lerp(upper, lower, fy) / 255, inside


def photo_paths(folder: Path) -> list[Path]:
    """Files of the photographs of a folder, in order."""
    return sorted(p for p in folder.glob("*") if p.suffix.lower() in _SUFFIXES)


def read_photos(
    folder: Path, *, validation: bool, longest_side: int = 1024, stride: int = VALIDATION_STRIDE
) -> list[ImageArray]:
    """Gray photographs of a folder, its validation split or the rest, shrunk to `longest_side`.

    Raises SourceError if the folder holds no readable image.
    """
    chosen = [p for i, p in enumerate(photo_paths(folder)) if (i % stride == 0) == validation]
    images = []
    for path in tqdm(chosen, desc="photographs", unit="image", leave=False):
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if image is None:
            raise SourceError(f"{path} is not a readable image")
        factor = longest_side / max(image.shape)
        if factor < 1:
            image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        images.append(np.asarray(image, np.uint8))
    if not images:
        raise SourceError(f"{folder} holds no photographs (.jpg, .png, .webp, .bmp)")
    return images


def draw_procedural(count: int, seed: int, size: tuple[int, int] = (640, 480)) -> list[ImageArray]:
    """Drawings of overlapping shapes, boards, strokes and letters over noise, gray uint8."""
    rng = np.random.default_rng(seed)
    return [_drawing(rng, size) for _ in range(count)]


def _fractal_noise(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    width, height = size
    noise = np.zeros((height, width), np.float32)
    for octave in range(6):
        cells = 3 * 2**octave
        grid = rng.normal(size=(cells, cells)).astype(np.float32)
        noise += cv2.resize(grid, size, interpolation=cv2.INTER_CUBIC) * 0.6**octave
    return noise / np.abs(noise).max()


def _drawing(rng: np.random.Generator, size: tuple[int, int]) -> ImageArray:
    width, height = size
    ground = np.full((height, width), rng.uniform(30, 220), np.float32)
    image = _clip(ground + _fractal_noise(rng, size) * rng.uniform(5, 60))
    for _ in range(int(rng.integers(15, 90))):
        layer = image.copy()
        colour = float(rng.uniform(0, 255))
        centre = rng.uniform((0, 0), (width, height))
        radius = float(np.exp(rng.uniform(np.log(6), np.log(120))))
        _draw_shape(rng, layer, centre, radius, colour)
        if rng.random() < 0.5:
            changed = layer != image
            texture = layer + _fractal_noise(rng, size) * rng.uniform(5, 50)
            layer[changed] = _clip(texture)[changed]
        image = layer
    return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 0.9)), np.uint8)


def _clip(values: np.ndarray) -> ImageArray:
    return np.clip(values, 0, 255).astype(np.uint8)


def _draw_shape(
    rng: np.random.Generator, layer: np.ndarray, centre: np.ndarray, radius: float, colour: float
) -> None:
    kind = rng.integers(6)
    middle = (int(centre[0]), int(centre[1]))
    if kind == 0:
        corners = int(rng.integers(3, 8))
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        radii = radius * rng.uniform(0.4, 1.0, corners)
        points = centre + radii[:, None] * np.stack((np.cos(angles), np.sin(angles)), axis=1)
        cv2.fillPoly(layer, [points.astype(np.int32)], colour, cv2.LINE_AA)
    elif kind == 1:
        end = centre + rng.normal(size=2) * radius * 2
        thickness = int(rng.integers(1, 8))
        cv2.line(layer, middle, (int(end[0]), int(end[1])), colour, thickness, cv2.LINE_AA)
    elif kind == 2:
        axes = (int(radius), int(radius * rng.uniform(0.3, 1)))
        cv2.ellipse(layer, middle, axes, rng.uniform(0, 180), 0, 360, colour, -1, cv2.LINE_AA)
    elif kind == 3:
        text = "".join(chr(c) for c in rng.integers(33, 126, int(rng.integers(1, 9))))
        font = int(rng.integers(0, 8))
        cv2.putText(layer, text, middle, font, radius / 30, colour, int(rng.integers(1, 4)))
    elif kind == 4:
        _draw_board(rng, layer, centre, radius, colour)
    else:
        for angle in np.linspace(0, 2 * np.pi, int(rng.integers(3, 9)), endpoint=False):
            end = centre + radius * np.array((np.cos(angle), np.sin(angle)))
            cv2.line(layer, middle, (int(end[0]), int(end[1])), colour, 2, cv2.LINE_AA)


def _draw_board(
    rng: np.random.Generator, layer: np.ndarray, centre: np.ndarray, radius: float, colour: float
) -> None:
    squares = int(rng.integers(2, 7))
    other = float(rng.uniform(0, 255))
    square = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    corners = centre + radius * rng.uniform(0.6, 1.4, (4, 2)) * square
    grid = np.array(((0, 0), (squares, 0), (squares, squares), (0, squares)), np.float32)
    warp = cv2.getPerspectiveTransform(grid, corners.astype(np.float32))
    for i in range(squares):
        for j in range(squares):
            cell = np.array([[(i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1)]], np.float32)
            points = cv2.perspectiveTransform(cell, warp)
            shade = colour if (i + j) % 2 else other
            cv2.fillPoly(layer, [points.astype(np.int32)], shade, cv2.LINE_AA)
