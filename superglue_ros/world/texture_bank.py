"""Textures of the rendered world on a device, with mip maps, sampled at any place and scale."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from superglue_ros.errors import SourceError
from superglue_ros.types import ImageArray

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


class TextureBank:
    """L square textures with their halvings down to one pixel, as uint8 (all pixels, C).

    Fewer than 2^31 pixels in all, since 32-bit addresses are the faster ones on a CPU.
    """

    def __init__(self, layers: ImageArray, device: torch.device | str = "cpu") -> None:
        """layers: (L, size, size, C) uint8, size a power of two.

        Raises ValueError for other shapes.
        """
        if layers.ndim != 4 or layers.dtype != np.uint8 or not len(layers):
            raise ValueError(f"textures must be (L, S, S, C) uint8, not {layers.shape}")
        self.count, self.size, self.channels = len(layers), layers.shape[1], layers.shape[3]
        if layers.shape[2] != self.size or self.size & (self.size - 1):
            raise ValueError(f"textures must be square, a power of two wide, not {layers.shape}")
        levels = [torch.from_numpy(np.ascontiguousarray(layers))]
        while levels[-1].shape[1] > 1:
            fine = levels[-1].to(torch.float32)
            half = fine.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).mean((2, 4))
            levels.append((half + 0.5).to(torch.uint8))
        starts = np.cumsum([0] + [level[..., 0].numel() for level in levels[:-1]])
        self.starts = torch.from_numpy(starts.astype(np.int32)).to(device)
        self.pixels = torch.cat([level.flatten(0, 2) for level in levels]).to(device)

    def sample(
        self, layer: torch.Tensor, u: torch.Tensor, v: torch.Tensor, footprint: torch.Tensor
    ) -> torch.Tensor:
        """Colours (C, ...) in 0..1 of the layers (...) at u right and v up, in repeats, averaged
        over a footprint (...) in repeats: bilinear in the two nearest levels."""
        level = torch.log2((footprint * self.size).clamp(min=1.0))
        level = level.clamp(max=len(self.starts) - 1.001)
        coarse = level.int()
        near = self._bilinear(layer, u, v, coarse)
        far = self._bilinear(layer, u, v, coarse + 1)
        return torch.lerp(near, far, level - coarse) * (1 / 255)

    def _bilinear(
        self, layer: torch.Tensor, u: torch.Tensor, v: torch.Tensor, level: torch.Tensor
    ) -> torch.Tensor:
        size = self.size >> level
        x, y = u * size - 0.5, -v * size - 0.5
        left, top = x.floor(), y.floor()
        fx, fy = x - left, y - top
        wrap = size - 1
        x0, y0 = left.int() & wrap, top.int() & wrap
        x1, y1 = (x0 + 1) & wrap, (y0 + 1) & wrap
        start = self.starts.index_select(0, level.flatten()).reshape(level.shape)
        base = start + layer * (size * size)
        row0, row1 = base + y0 * size, base + y1 * size
        a, b, c, d = (self._fetch(i) for i in (row0 + x0, row0 + x1, row1 + x0, row1 + x1))
        return torch.lerp(torch.lerp(a, b, fx), torch.lerp(c, d, fx), fy)

    def _fetch(self, index: torch.Tensor) -> torch.Tensor:
        """Pixels (C, ...) as floats."""
        return self.pixels.index_select(0, index.flatten()).T.float().unflatten(1, index.shape)


def load_photographs(folder: Path | str, size: int, limit: int | None = None) -> ImageArray:
    """Square crops (L, size, size, 3) BGR of a folder's pictures, sorted by name.

    Raises SourceError where the folder holds no readable picture.
    """
    paths = sorted(p for p in Path(folder).glob("*") if p.suffix.lower() in PHOTO_SUFFIXES)
    crops = []
    for path in paths[:limit]:
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if picture is None:
            continue
        side = min(picture.shape[:2])
        top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
        crop = picture[top : top + side, left : left + side]
        crops.append(cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA))
    if not crops:
        raise SourceError(f"no readable pictures in {folder}")
    return np.stack(crops)
