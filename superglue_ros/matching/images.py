"""Images as the networks take them."""

from __future__ import annotations

import cv2
import numpy as np

from superglue_ros.errors import ImageError
from superglue_ros.types import ImageArray

MIN_SIDE = 16
"""Smallest image side in pixels that can be matched."""


def as_gray(image: ImageArray) -> ImageArray:
    """A gray (H, W) uint8 image of a gray or BGR one; ImageError for any other."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise ImageError(f"an image must be a uint8 array, not {kind}")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ImageError(f"an image must be (H, W) or (H, W, 3), not {image.shape}")
    if min(image.shape[:2]) < MIN_SIDE:
        height, width = image.shape[:2]
        raise ImageError(f"an image of {width} x {height} is under {MIN_SIDE} pixels a side")
    if image.ndim == 3:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
    # torch wants to write where it reads: pixels that view a message are copied.
    return np.require(image, requirements=("C", "W"))


def shrink(image: ImageArray, longer_side: int) -> ImageArray:
    """The image with its longer side at most `longer_side`; 0 leaves it as it is."""
    factor = longer_side / max(image.shape[:2])
    if longer_side == 0 or factor >= 1:
        return image
    height, width = (max(round(side * factor), MIN_SIDE) for side in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
