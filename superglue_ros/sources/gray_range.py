"""From the grey levels that a camera uses to the 256 that are matched."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superglue_ros.options import check_options, option
from superglue_ros.sources.encodings import MAX_16_BIT, to_uint8
from superglue_ros.types import ImageArray

logger = logging.getLogger(__name__)

FEW_LEVELS = 16
"""Of 256; an image of fewer has hardly any keypoints."""

_FEWEST_BITS = 8
_NARROW = 1 / 8
"""Of a camera's range; what fills less of it, as a thermal camera's image does, gets bounds of its
own."""
_MARGIN = 0.1
"""Of the grey levels in use, kept free above and below them."""
_LEAST_SPAN = 64
"""Grey levels between the bounds: the noise of a covered camera is not to fill 256 of them."""
_STEP = 0.05
"""Of what is between the bounds, by which each may move from one image to the next."""
_RARE = 1e-3
"""Share of pixels, dark and bright, by which the grey levels in use are not judged."""
_SAMPLES_A_SIDE = 64


@dataclass(frozen=True)
class ImageOptions:
    """How pixels become the 8 bits that are matched; ValueError for a value that is none."""

    image_bits: int = option(
        0,
        "Bits that the grey levels of 16-bit images have, as 10 or 12; 0: by the images, whose "
        "bounds are followed slowly; 16: none is stretched",
        unit="bits",
        range=(0, 16),
    )

    def __post_init__(self) -> None:
        check_options(self)
        if 0 < self.image_bits < _FEWEST_BITS:
            raise ValueError(f"image_bits must be 0 or 8 to 16, not {self.image_bits}")


class GrayRange:
    """Maps the images of one camera, or of a rig's cameras, to 8 bits, one after the other.

    16-bit images that use fewer bits are stretched by the bits that have been seen, so that 10
    bits in 16 become the same 8 as they do in a camera; those that use less than an eighth of
    that, by bounds around their own grey levels. The bounds move a little from image to image, as
    frames are matched to a keyframe that was taken with others; where most pixels are beyond them,
    they jump. 8-bit images stay as they are.

    bits: see `ImageOptions.image_bits`; say: gets one line, once, on images that are stretched,
    and one on those that have few grey levels and are not.
    levels: of 256, that the last image would have without being stretched; bounds: of its grey
    levels that are stretched, None where they are not.
    """

    def __init__(self, bits: int = 0, say: Callable[[str], object] = logger.warning) -> None:
        self._bits = bits
        self._say = say
        self._said: set[bool] = set()
        self._most_bits = _FEWEST_BITS
        self._moving: tuple[float, float] | None = None
        self.levels = 256
        self.bounds: tuple[int, int] | None = None

    def __call__(self, image: NDArray[Any]) -> ImageArray:
        """The image, gray or in colour, in 8 bits; ImageError where it has neither 8 nor 16."""
        if image.dtype not in (np.uint8, np.uint16):
            return to_uint8(image)
        step = max(min(image.shape[:2]) // _SAMPLES_A_SIDE, 1)
        sample = image[::step, ::step].ravel()
        rare = int(_RARE * len(sample))
        ends = np.partition(sample, (rare, len(sample) - 1 - rare))
        low, high = int(ends[rare]), int(ends[len(sample) - 1 - rare])
        if image.dtype == np.uint8:
            self.levels, self.bounds = high - low + 1, None
        else:
            self.levels = round(high / 257) - round(low / 257) + 1
            self._follow(image, sample, low, high)
        self._tell()
        return to_uint8(image, *(self.bounds or (0, MAX_16_BIT)))

    @property
    def few(self) -> bool:
        """Whether the last image has few grey levels, and no more by being stretched."""
        return self.bounds is None and self.levels < FEW_LEVELS

    def __str__(self) -> str:
        said = f"{self.levels} of 256"
        return f"{said}, {self.bounds[0]} to {self.bounds[1]} stretched" if self.bounds else said

    def _follow(self, image: NDArray[Any], sample: NDArray[Any], low: int, high: int) -> None:
        """Take in a 16-bit image, its sample, and the grey levels of that."""
        if self._bits:
            self._moving = 0, 2**self._bits - 1
        elif self._moving is None or high > low:
            target = self._target(int(image.max()), low, high)
            self._moving = self._moved(sample, target)
        bounds = round(self._moving[0]), round(self._moving[1])
        self.bounds = None if bounds == (0, MAX_16_BIT) else bounds

    def _target(self, largest: int, low: int, high: int) -> tuple[float, float]:
        """Where the bounds are to be for an image."""
        self._most_bits = max(self._most_bits, largest.bit_length())
        first_bare = self._moving is None and high == low
        if first_bare or high - low >= _NARROW * 2**self._most_bits:
            return 0, 2**self._most_bits - 1
        middle, half = (low + high) / 2, max((0.5 + _MARGIN) * (high - low), _LEAST_SPAN / 2)
        start = max(middle - half, 0)
        return start, min(start + 2 * half, MAX_16_BIT)

    def _moved(self, sample: NDArray[Any], target: tuple[float, float]) -> tuple[float, float]:
        if self._moving is None:
            return target
        low, high = self._moving
        if np.mean((sample < low) | (sample > high)) > 0.5:
            return target
        step = _STEP * (high - low)
        low, high = (
            was + min(max(to - was, -step), step) for was, to in zip(self._moving, target)
        )
        return low, high

    def _tell(self) -> None:
        stretched = self.bounds is not None
        if stretched in self._said or not (stretched or self.few):
            return
        self._said.add(stretched)
        text = f"images use {self.levels} of 256 grey levels"
        if self.bounds is not None:
            text += f": {self.bounds[0]} to {self.bounds[1]} of {MAX_16_BIT} are stretched to them"
        self._say(text)
