"""Pixels of image messages and back: by this package's own decoder, or by cv_bridge.

The own one is what bags are read with, and needs no compiled package. A cv_bridge that works gives
the same pixels, of more encodings, but for rows whose padding is no whole number of pixels; the
one that goes with the ROS 2 wheels does not work: it ignores padding, reads 16UC1 as 8 bit, and
fails on colour with OpenCV 5.
"""

from __future__ import annotations

import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from superglue_ros.errors import ImageError
from superglue_ros.nodes.conversions import AnyImage, image_message
from superglue_ros.sources.encodings import To8Bit, image_of_message, to_gray_or_bgr, to_uint8
from superglue_ros.types import ImageArray

_GRAY = ("mono8", "8UC1", "mono16", "16UC1")
_PADDING = 12
"""Bytes: a whole number of pixels of each."""
_PROBED = {"mono8": 1, "16UC1": 2, "rgb8": 3, "bgra8": 4}
"""Encodings that a cv_bridge is tried on, and their bytes a pixel."""


@dataclass(frozen=True)
class Decoder:
    """image: (H, W) gray or (H, W, 3) BGR uint8 of a message, ImageError where there is none;
    message: of such an image, with a header."""

    image: Callable[[AnyImage], ImageArray]
    message: Callable[[ImageArray, Header], Image]


def make_decoder(name: str, to_8_bit: To8Bit = to_uint8) -> Decoder:
    """The decoder own or cv_bridge; ValueError where cv_bridge is missing, or does not give
    the pixels that it should. to_8_bit: what makes the pixels of its images such."""
    if name == "own":
        return Decoder(partial(image_of_message, to_8_bit=to_8_bit), image_message)
    try:
        import cv_bridge
    except ImportError as error:
        raise ValueError(f"decoder: there is no cv_bridge ({error})") from error
    probed = _cv_bridge_decoder(cv_bridge, to_uint8)
    wrong = [encoding for encoding in _PROBED if not _agrees(probed, encoding)]
    if wrong:
        raise ValueError(
            f"decoder: this cv_bridge gives wrong pixels of {', '.join(wrong)}: use own"
        )
    return _cv_bridge_decoder(cv_bridge, to_8_bit)


def _cv_bridge_decoder(cv_bridge: Any, to_8_bit: To8Bit) -> Decoder:
    bridge = cv_bridge.CvBridge()

    def image(message: AnyImage) -> ImageArray:
        try:
            if not isinstance(message, Image):
                pixels = bridge.compressed_imgmsg_to_cv2(message, "passthrough")
                return to_gray_or_bgr(pixels, to_8_bit)
            dtype, channels = bridge.encoding_to_dtype_with_channels(message.encoding)
            if message.step % (np.dtype(dtype).itemsize * channels):
                raise ImageError(f"rows of {message.step} bytes are no whole {message.encoding}")
            colour = "bgr16" if message.encoding.endswith("16") else "bgr8"
            wanted = "passthrough" if message.encoding in _GRAY else colour
            pixels = np.asarray(bridge.imgmsg_to_cv2(message, wanted))
        except Exception as error:
            # It raises whatever OpenCV and numpy do.
            raise ImageError(f"cv_bridge: {' '.join(str(error).split())}") from error
        if not pixels.size:
            raise ImageError(f"empty image of {message.width}x{message.height}")
        return to_gray_or_bgr(pixels, to_8_bit)

    def to_message(picture: ImageArray, header: Header) -> Image:
        encoding = "mono8" if picture.ndim == 2 else "bgr8"
        return bridge.cv2_to_imgmsg(picture, encoding, header)

    return Decoder(image, to_message)


def _agrees(decoder: Decoder, encoding: str) -> bool:
    """Whether a decoder reads a padded image, and writes it, as the own one does."""
    rng, row = np.random.default_rng(0), 16 * _PROBED[encoding] + _PADDING
    message = Image(height=16, width=16, encoding=encoding, step=row)
    message.data = array.array("B", rng.integers(0, 256, 16 * row, np.uint8).tobytes())
    expected = image_of_message(message)
    try:
        written = decoder.message(expected, Header())
        found = decoder.image(message)
    except Exception:  # it is asked here whether it works
        return False
    return np.array_equal(found, expected) and written == image_message(expected, Header())
