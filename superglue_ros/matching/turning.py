"""Images and points turned by quarters about the view's axis."""

from __future__ import annotations

import numpy as np

from superglue_ros.types import FloatArray, ImageArray


def turn_image(gray: ImageArray, quarter_turns: int) -> ImageArray:
    """The image (H, W) turned counter-clockwise."""
    if quarter_turns % 4 == 0:
        return gray
    return np.ascontiguousarray(np.rot90(gray, quarter_turns))


def turn_points(points: FloatArray, size: tuple[int, int], quarter_turns: int) -> FloatArray:
    """Where `turn_image` takes points (N, 2) in pixels of an image of a size (width, height)."""
    for _ in range(quarter_turns % 4):
        points = np.stack((points[:, 1], size[0] - 1 - points[:, 0]), axis=1)
        size = size[1], size[0]
    return points
