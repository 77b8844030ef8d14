"""Gray textures of any sizes with their mip maps, looked up by the million on a CPU.

Each texel holds the four that a bilinear lookup to its right and below needs, so that one access
to memory serves all.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from superglue_ros.types import FloatArray, ImageArray, IntArray


class TexturePool:
    """Gray textures (H, W) uint8, wrapped both ways, with halvings down to one texel."""

    def __init__(self, images: Sequence[ImageArray]) -> None:
        pyramids = [_pyramid(image) for image in images]
        self.levels = max(len(pyramid) for pyramid in pyramids)
        table, parts, start = [], [], 0
        for pyramid in pyramids:
            # Where a texture has no coarser level its last one stands for it.
            rows = []
            for level in pyramid:
                rows.append((start, level.shape[1], level.shape[0]))
                parts.append(_packed(level))
                start += level.size
            table += rows + [rows[-1]] * (self.levels - len(rows))
        self._texels = np.concatenate(parts)
        starts, widths, heights = np.array(table, np.int32).T
        self._start, self._width = starts.copy(), widths.copy()
        self._size = np.stack([widths, heights], 1).astype(np.float32)
        self.texels_per_repeat = np.sqrt(self._size[:: self.levels].prod(1))
        """Of each texture, the root of its area."""

    def __len__(self) -> int:
        return len(self.texels_per_repeat)

    def sample(
        self, texture: IntArray, u: FloatArray, v: FloatArray, level: FloatArray
    ) -> FloatArray:
        """Gray values (N,) in 0..255 of textures (N,) at u right and v down, in repeats, between
        the two mip levels next to `level` (N,): trilinear."""
        level = np.clip(level, 0, self.levels - 1.001)
        fine = level.astype(np.int32)
        row = texture * np.int32(self.levels) + fine
        u, v = u - np.floor(u), v - np.floor(v)
        near = self._bilinear(row, u, v)
        near += (self._bilinear(row + np.int32(1), u, v) - near) * (level - fine)
        return near

    def _bilinear(self, row: IntArray, u: FloatArray, v: FloatArray) -> FloatArray:
        size = self._size.take(row, 0)
        width, height = size[:, 0], size[:, 1]
        x, y = u * width, v * height
        x -= np.float32(0.5)
        y -= np.float32(0.5)
        left, top = np.floor(x), np.floor(y)
        x -= left
        y -= top
        left += width * (left < 0)
        top += height * (top < 0)
        index = (top * width + left).astype(np.int32)
        index += self._start.take(row)
        packed = self._texels.take(index)
        a = (packed & 255).astype(np.float32)
        b = ((packed >> 8) & 255).astype(np.float32)
        c = ((packed >> 16) & 255).astype(np.float32)
        d = (packed >> 24).astype(np.float32)
        b -= a
        b *= x
        a += b
        d -= c
        d *= x
        c += d
        c -= a
        c *= y
        a += c
        return a


def _pyramid(image: ImageArray) -> list[ImageArray]:
    levels = [np.ascontiguousarray(image)]
    while max(levels[-1].shape) > 1:
        height, width = (max(1, side // 2) for side in levels[-1].shape)
        smaller = cv2.resize(levels[-1], (width, height), interpolation=cv2.INTER_AREA)
        levels.append(np.asarray(smaller, np.uint8).reshape(height, width))
    return levels


def _packed(level: ImageArray) -> np.ndarray:
    """Each texel and its three neighbours to the right and below in one uint32, flat."""
    wide = level.astype(np.uint32)
    right = np.roll(wide, -1, 1)
    both = wide | right << 8
    return (both | np.roll(both, -1, 0) << 16).reshape(-1)
