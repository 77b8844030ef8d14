"""Points of one image in another to some hundredths of a pixel, from roughly where they are.

Patches are aligned by Gauss-Newton (Lucas and Kanade 1981), free of their brightness and contrast.
"""

from __future__ import annotations

import cv2
import numpy as np

from superglue_ros.types import FloatArray, ImageArray

REACH_PX = 2.5
"""By which a point may move from where it was thought to be, along rows and across them."""

_REFINE_ITERATIONS = 3
"""More do not help, and where one image is blurred they do harm."""
_LEAST_FOUND = 0.6
"""Of the matches; where fewer look alike, the views are so far apart that refining does harm."""
_HALF_PX = 5
"""A patch has 11 x 11 pixels."""
_LEAST_CORRELATION = 0.7
_FLAT = 1e-3
"""Least that is divided by, of squares of gray levels."""
_AT_ONCE = 4096
"""Points; OpenCV's maps end at 32,767 rows."""


def refine_points(
    image0: ImageArray, image1: ImageArray, points0: FloatArray, points1: FloatArray
) -> FloatArray:
    """points1 (M, 2) of image1 moved to where it looks as image0 does at points0 (M, 2), both
    gray (H, W). Where it does not within `REACH_PX` they stay, and all do where that holds of too
    many."""
    found = align_points(image0, image1, points0, points1, _REFINE_ITERATIONS)
    alike = np.isfinite(found)
    if alike[:, 0].sum() < _LEAST_FOUND * len(found):
        return np.asarray(points1, np.float32)
    return np.asarray(np.where(alike, found, points1), np.float32)


def align_points(
    image0: ImageArray,
    image1: ImageArray,
    points0: FloatArray,
    start: FloatArray,
    iterations: int,
) -> FloatArray:
    """(N, 2) float32: points0 (N, 2) of image0 in image1, both gray (H, W), from `start` (N, 2)
    on; NaN where the patches do not correlate, the point went too far, or start is NaN."""
    found = np.full((len(points0), 2), np.nan, np.float32)
    rows = np.flatnonzero(np.isfinite(start).all(axis=1))
    exact = image0.astype(np.float32), image1.astype(np.float32)
    for first in range(0, len(rows), _AT_ONCE):
        some = rows[first : first + _AT_ONCE]
        near = points0[some].astype(np.float32), start[some].astype(np.float32)
        found[some] = _align(*exact, *near, iterations)
    return found


def _align(
    image0: FloatArray, image1: FloatArray, points: FloatArray, start: FloatArray, iterations: int
) -> FloatArray:
    """The same of float32 images and finite points."""
    around = _patches(image0, points, _HALF_PX + 1)
    wanted = _centred(around[:, 1:-1, 1:-1])
    square = np.maximum(_dot(wanted, wanted), _FLAT)
    slopes = [
        _centred(ahead - behind) / 2
        for ahead, behind in (
            (around[:, 1:-1, 2:], around[:, 1:-1, :-2]),
            (around[:, 2:, 1:-1], around[:, :-2, 1:-1]),
        )
    ]
    # What a slope has in common with the patch, a change of contrast explains as well.
    slopes = [slope - wanted * (_dot(slope, wanted) / square)[:, None] for slope in slopes]
    xx, xy, yy = (_dot(slopes[i], slopes[j]) for i, j in ((0, 0), (0, 1), (1, 1)))
    determinant = np.maximum(xx * yy - xy**2, np.maximum(1e-3 * xx * yy, _FLAT))
    at = start
    for _ in range(iterations):
        seen = _centred(_patches(image1, at, _HALF_PX))
        contrast = np.clip(square / np.maximum(_dot(seen, wanted), _FLAT), 0.3, 3)
        difference = seen * contrast[:, None] - wanted
        u, v = (_dot(slope, difference) for slope in slopes)
        step = np.stack([yy * u - xy * v, xx * v - xy * u], axis=1) / determinant[:, None]
        at = at - np.clip(step, -1, 1)
    seen = _centred(_patches(image1, at, _HALF_PX))
    correlation = _dot(seen, wanted) / np.sqrt(np.maximum(_dot(seen, seen), _FLAT) * square)
    height, width = image1.shape
    good = (correlation >= _LEAST_CORRELATION) & (np.abs(at - start) <= REACH_PX).all(axis=1)
    good &= ((at >= -0.5) & (at <= [width - 0.5, height - 0.5])).all(axis=1)
    return np.asarray(np.where(good[:, None], at, np.float32(np.nan)))


def _patches(image: FloatArray, at: FloatArray, half_px: int) -> FloatArray:
    """(N, S, S) of S = 2 half_px + 1 pixels around points (N, 2), beyond edges the edge's."""
    around = np.arange(-half_px, half_px + 1, dtype=np.float32)
    across, down = (axis.reshape(1, -1) for axis in np.meshgrid(around, around))
    x, y = at[:, :1] + across, at[:, 1:] + down
    values = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(values, np.float32).reshape(len(at), len(around), len(around))


def _centred(patches: FloatArray) -> FloatArray:
    """(N, S * S) of patches (N, S, S), without their means."""
    flat = patches.reshape(len(patches), -1)
    return np.asarray(flat - flat.mean(axis=1, keepdims=True))


def _dot(one: FloatArray, other: FloatArray) -> FloatArray:
    """(N,) products of the rows."""
    return np.asarray(np.einsum("ij,ij->i", one, other))
