"""Where points of a rectified pair's left image lie in the right one.

Semi-global matching (Hirschmueller 2008) of shrunk images says roughly where, alignment of the
patches in the full ones to some hundredths of a pixel.
"""

from __future__ import annotations

import cv2
import numpy as np

from superglue_ros.errors import ImageError
from superglue_ros.matching.alignment import align_points
from superglue_ros.matching.images import as_gray, shrink
from superglue_ros.types import FloatArray, ImageArray

MAX_DISPARITY_SHARE = 0.15
"""Of the image's width; what is nearer is not found."""

_SEARCH_PX = 480
"""Longer side of the images that are searched: the time of a search grows with its cube."""
_BLOCK_PX = 5
_ITERATIONS = 5
"""Of the alignment, across rows as well, since no rig is rectified perfectly."""
_ROW_SPREAD_PX = 1.0
"""By which a point's change of row may differ from the median of all: a rig is off by much the
same everywhere."""
_FEW_POINTS = 50
_LEAST_SHARE = 0.15
"""Of keypoints found; some 5 % are by chance."""
_MOST_ROWS_PX = 1.5


def find_right_points(left: ImageArray, right: ImageArray, points: FloatArray) -> FloatArray:
    """(N, 2) float32 pixels of the right of two rectified images, gray or BGR, where points
    (N, 2) of the left one are seen; NaN where they are not found.

    A point lies to the left of where it was, in the same row but for what the rectification is
    off by. Raises ImageError for two sizes, and for images that are none.
    """
    grays = as_gray(left), as_gray(right)
    if grays[0].shape != grays[1].shape:
        sizes = (" x ".join(map(str, gray.shape[::-1])) for gray in grays)
        raise ImageError("the left image of a pair has {} pixels, the right {}".format(*sizes))
    if not len(points):
        return np.zeros((0, 2), np.float32)
    found = align_points(*grays, points, _search(*grays, points), _ITERATIONS)
    if np.isfinite(found).any():
        down = found[:, 1] - points[:, 1]
        found[np.abs(down - np.nanmedian(down)) > _ROW_SPREAD_PX] = np.nan
    found[~(found[:, 0] < points[:, 0])] = np.nan
    return found


def check_rectified(points: FloatArray, right_points: FloatArray) -> None:
    """ImageError where images in which points (N, 2) were found at right_points (N, 2) are hardly
    a rectified pair: few are found, or their rows differ."""
    count, found = len(points), np.isfinite(right_points[:, 0])
    if count >= _FEW_POINTS and found.sum() < _LEAST_SHARE * count:
        text = f"{found.sum()} of {count} keypoints are found in the right image"
        raise ImageError(f"{text}: the pair is hardly rectified")
    if found.sum() >= _FEW_POINTS:
        down = float(np.median((right_points - points)[found, 1]))
        if abs(down) > _MOST_ROWS_PX:
            text = f"the rows of the right image are off by {down:.1f} pixels"
            raise ImageError(f"{text}: the pair is not rectified")


def _search(left: ImageArray, right: ImageArray, points: FloatArray) -> FloatArray:
    """(N, 2) float32: the points in the right image to a pixel or two, NaN where not known."""
    small = shrink(left, _SEARCH_PX), shrink(right, _SEARCH_PX)
    scale = np.array(small[0].shape[::-1]) / left.shape[::-1]
    disparities = max(16, round(MAX_DISPARITY_SHARE * small[0].shape[1] / 16) * 16)
    matcher = cv2.StereoSGBM.create(
        minDisparity=0,
        numDisparities=disparities,
        blockSize=_BLOCK_PX,
        P1=8 * _BLOCK_PX**2,
        P2=32 * _BLOCK_PX**2,
        disp12MaxDiff=1,
        uniquenessRatio=10,
        speckleWindowSize=100,
        speckleRange=2,
    )
    # The columns that the search would leave out are searched as well, beyond the right image's
    # edge.
    border = [
        cv2.copyMakeBorder(gray, 0, 0, disparities, 0, cv2.BORDER_REPLICATE) for gray in small
    ]
    disparity = matcher.compute(*border)[:, disparities:]
    height, width = disparity.shape
    columns, rows = np.floor((points + 0.5) * scale).astype(np.int64).T
    found = disparity[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)]
    # Disparities come in sixteenths of a pixel, negative where there is none.
    across = np.where(found >= 0, found / (16 * scale[0]), np.nan)
    return np.stack([points[:, 0] - across, points[:, 1]], axis=1).astype(np.float32)
