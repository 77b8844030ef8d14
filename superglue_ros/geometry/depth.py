"""Depth images: of single points, and at the resolution of another image."""

from __future__ import annotations

import numpy as np

from superglue_ros.errors import ImageError
from superglue_ros.types import FloatArray

_MAX_STEP = 0.05
"""Share of the depth by which it may change from a pixel to its neighbours; at an edge of a thing
it is not clear on which side a point lies."""


def depth_of_points(depth_m: FloatArray, points: FloatArray) -> FloatArray:
    """(M,) metres at points (M, 2) pixels of a depth image (H, W), that of the nearest pixel; NaN
    outside, where the image has no depth (0, NaN or infinite) and at edges of things."""
    height, width = depth_m.shape
    found = np.full(len(points), np.nan)
    with np.errstate(invalid="ignore"):
        inside = ((points >= -0.5) & (points < [width - 0.5, height - 0.5])).all(axis=1)
    columns, rows = np.floor(points[inside] + 0.5).astype(np.int64).T
    around = np.arange(-1, 2)
    near = depth_m[
        np.clip(rows[:, None, None] + around[:, None], 0, height - 1),
        np.clip(columns[:, None, None] + around, 0, width - 1),
    ].astype(float)
    near[~(np.isfinite(near) & (near > 0))] = np.nan
    depth = near[:, 1, 1]
    # A neighbour without depth is no edge.
    steps = np.where(np.isnan(near), 0.0, np.abs(near - depth[:, None, None]))
    with np.errstate(invalid="ignore"):
        smooth = steps.max(axis=(1, 2), initial=0.0) <= _MAX_STEP * depth
    found[inside] = np.where(smooth, depth, np.nan)
    return found


def fit_depth(depth_m: FloatArray, image_size: tuple[int, int]) -> FloatArray:
    """Depth (H, W) for images of (width, height): as it is, or, registered at a whole fraction of
    their resolution, each of its pixels for all those of the image that it covers; of a multiple
    every n-th. Raises ImageError for other sizes."""
    height, width = depth_m.shape
    if (width, height) == image_size:
        return depth_m
    times = _times((width, height), image_size)
    if times:
        return depth_m.repeat(times, axis=0).repeat(times, axis=1)
    times = _times(image_size, (width, height))
    if times:
        return depth_m[times // 2 :: times, times // 2 :: times]
    text = "depth of {}x{} for images of {}x{}: it must be registered to them"
    raise ImageError(text.format(width, height, *image_size))


def _times(size: tuple[int, int], multiple: tuple[int, int]) -> int:
    """How often a size goes into another in both directions; 0 for no whole number."""
    times = multiple[0] // size[0] if min(size) > 0 else 0
    return times if (size[0] * times, size[1] * times) == multiple else 0
