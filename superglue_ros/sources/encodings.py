"""Pixels of files and of ROS image messages to gray or BGR uint8, without cv_bridge.

The one place where raw and compressed image data are decoded outside the nodes; the conventions
(names of bayer patterns, 16-bit scaled by 255/65535 where no `gray_range` does it) are those of
cv_bridge, so that a bag read here and the same bag played over ROS give the same pixels.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from superglue_ros.errors import ImageError
from superglue_ros.sources.image_headers import decoded_bytes, is_complete
from superglue_ros.types import FloatArray, ImageArray

_CHANNELS: dict[str, tuple[int, int]] = {
    "mono8": (1, 8), "8UC1": (1, 8), "mono16": (1, 16), "16UC1": (1, 16),
    "rgb8": (3, 8), "bgr8": (3, 8), "8UC3": (3, 8), "rgb16": (3, 16), "bgr16": (3, 16),
    "rgba8": (4, 8), "bgra8": (4, 8), "8UC4": (4, 8), "rgba16": (4, 16), "bgra16": (4, 16),
    "yuv422": (2, 8), "uyvy": (2, 8), "yuv422_yuy2": (2, 8), "yuyv": (2, 8),
}  # fmt: skip
"""Encodings of sensor_msgs/Image that are read: channels and bits per channel."""

_TO_BGR = {
    "rgb8": cv2.COLOR_RGB2BGR, "rgb16": cv2.COLOR_RGB2BGR,
    "rgba8": cv2.COLOR_RGBA2BGR, "rgba16": cv2.COLOR_RGBA2BGR,
    "bgra8": cv2.COLOR_BGRA2BGR, "bgra16": cv2.COLOR_BGRA2BGR, "8UC4": cv2.COLOR_BGRA2BGR,
    "yuv422": cv2.COLOR_YUV2BGR_UYVY, "uyvy": cv2.COLOR_YUV2BGR_UYVY,
    "yuv422_yuy2": cv2.COLOR_YUV2BGR_YUY2, "yuyv": cv2.COLOR_YUV2BGR_YUY2,
}  # fmt: skip

# OpenCV names a pattern by its second row's second and third pixel, ROS by the top-left 2x2.
_BAYER_TO_BGR = {
    "bayer_rggb": cv2.COLOR_BayerBG2BGR,
    "bayer_bggr": cv2.COLOR_BayerRG2BGR,
    "bayer_gbrg": cv2.COLOR_BayerGR2BGR,
    "bayer_grbg": cv2.COLOR_BayerGB2BGR,
}

ENCODINGS = tuple(_CHANNELS) + tuple(f"{name}{bits}" for name in _BAYER_TO_BGR for bits in (8, 16))
"""All names that `decode_raw` takes."""

_DEPTH_TYPES: dict[str, tuple[np.dtype[Any], float]] = {
    "16UC1": (np.dtype(np.uint16), 1000.0),
    "mono16": (np.dtype(np.uint16), 1000.0),
    "32FC1": (np.dtype(np.float32), 1.0),
}
"""Encodings of depth: what a pixel is, and how much of it a metre."""

To8Bit = Callable[[NDArray[Any]], ImageArray]
"""Pixels of 8 or 16 bits to 8; `to_uint8`, or a `gray_range.GrayRange` for a camera's images."""

_PNG = b"\x89PNG"
_MAX_DECODED_BYTES = 150_000_000
"""50 megapixels in colour; a file of some kilobytes can say that it has more."""

MAX_16_BIT = 65535

COMPRESSED_ENDS = ("/compressedDepth", "/compressed")
"""Of the names of image_transport's topics of compressed images."""

_DEPTH_HEADER = struct.Struct("<iff")
"""Before the PNG of `compressedDepth`: a number of the format, then A and B of 32FC1."""


def decode_raw(
    data: NDArray[np.uint8] | bytes,
    *,
    width: int,
    height: int,
    encoding: str,
    step: int,
    big_endian: bool = False,
    to_8_bit: To8Bit | None = None,
) -> ImageArray:
    """Image of a sensor_msgs/Image: (H, W) gray or (H, W, 3) BGR uint8.

    `step` is the length of a row in bytes and may include padding. Raises ImageError for an
    unknown encoding, an empty image, and data shorter than step x height.
    """
    channels, bits = _layout(encoding)
    if channels == 2 and width % 2:  # two pixels share their colour
        raise ImageError(f"no {encoding} image has {width}x{height} pixels")
    pixels: NDArray[Any] = _rows(data, width, height, encoding, step, channels * bits)
    if bits == 16:
        pixels = pixels.view(">u2" if big_endian else "<u2").astype(np.uint16)
    shape = (height, width) if channels == 1 else (height, width, channels)
    pixels = pixels.reshape(shape)
    conversion = _TO_BGR.get(encoding, _BAYER_TO_BGR.get(encoding.rstrip("0123456789")))
    if conversion is not None:
        pixels = cv2.cvtColor(pixels, conversion)
    return (to_8_bit or to_uint8)(pixels)


def image_of_message(message: Any, to_8_bit: To8Bit | None = None) -> ImageArray:
    """Image of a sensor_msgs/Image or CompressedImage of any library, see `decode_raw` and
    `decode_compressed`."""
    if _is_compressed(message):
        return decode_compressed(message.data, to_8_bit=to_8_bit)
    return decode_raw(
        np.frombuffer(message.data, np.uint8),
        width=message.width,
        height=message.height,
        encoding=message.encoding,
        step=message.step,
        big_endian=bool(message.is_bigendian),
        to_8_bit=to_8_bit,
    )


def depth_of_message(message: Any) -> FloatArray:
    """Depth (H, W) float32 metres of a sensor_msgs/Image or CompressedImage of any library, as
    REP 118 has it: 16UC1 (or mono16) in millimetres, 0 where unknown; 32FC1 in metres, NaN or
    infinite where unknown.

    Compressed ones are PNG as image_transport's plugins `compressed` and `compressedDepth` send
    it. Raises ImageError as `decode_raw` does.
    """
    if _is_compressed(message):
        return _decode_compressed_depth(message.data, message.format)
    encoding = message.encoding
    dtype, per_metre = _depth_type(encoding)
    size = message.width, message.height
    rows = _rows(message.data, *size, encoding, message.step, dtype.itemsize * 8)
    depth = rows.view(dtype.newbyteorder(">" if message.is_bigendian else "<"))
    return depth.astype(np.float32) / np.float32(per_metre)


def _decode_compressed_depth(data: NDArray[np.uint8] | bytes, how: str) -> FloatArray:
    """how: a CompressedImage's `format`, as "32FC1; compressedDepth png"."""
    encoding, _, codec = (part.strip() for part in how.partition(";"))
    _, per_metre = _depth_type(encoding)
    buffer = np.frombuffer(data, np.uint8)
    quantised = encoding == "32FC1"
    if "compressedDepth" in codec:
        header, buffer = buffer[: _DEPTH_HEADER.size], buffer[_DEPTH_HEADER.size :]
    elif quantised:
        raise ImageError(f"32FC1 depth is compressed by compressedDepth, not by {codec!r}")
    if buffer[:4].tobytes() != _PNG:
        raise ImageError(f"compressed depth must be a PNG, {how!r} has none")
    pixels = decode_unchanged(buffer, "depth image")
    if pixels.dtype != np.uint16 or pixels.ndim != 2:
        raise ImageError("compressed depth must have one channel of 16 bits")
    depth = pixels.astype(np.float32)
    if not quantised:
        return depth / np.float32(per_metre)
    # The sender keeps A / depth + B in 16 bits, and 0 where it knows none.
    _, a, b = _DEPTH_HEADER.unpack(header.tobytes())
    with np.errstate(divide="ignore"):
        return np.where(pixels > 0, np.float32(a) / (depth - np.float32(b)), np.float32(np.nan))


def _depth_type(encoding: str) -> tuple[np.dtype[Any], float]:
    if encoding not in _DEPTH_TYPES:
        raise ImageError(f"depth images are {', '.join(_DEPTH_TYPES)}, not {encoding!r}")
    return _DEPTH_TYPES[encoding]


def _is_compressed(message: Any) -> bool:
    return not hasattr(message, "encoding")


def _rows(
    data: NDArray[np.uint8] | bytes,
    width: int,
    height: int,
    encoding: str,
    step: int,
    pixel_bits: int,
) -> NDArray[np.uint8]:
    """(H, bytes of a row) without the padding."""
    if width <= 0 or height <= 0:
        raise ImageError(f"empty image of {width}x{height}")
    row = width * pixel_bits // 8
    if step < row:
        raise ImageError(f"step of {step} bytes is under the {row} of a {encoding} row")
    buffer = np.frombuffer(data, np.uint8)
    if len(buffer) < step * (height - 1) + row:
        raise ImageError(f"{len(buffer)} bytes of data for {height} rows of {step}")
    rows = np.lib.stride_tricks.as_strided(buffer, (height, row), (step, 1), writeable=False)
    return np.ascontiguousarray(rows)


def decode_compressed(
    data: NDArray[np.uint8] | bytes, name: str = "image", to_8_bit: To8Bit | None = None
) -> ImageArray:
    """Image of a file's bytes or a sensor_msgs/CompressedImage: gray or BGR uint8.

    Raises ImageError if the data are empty, truncated or of no known format.
    """
    return to_gray_or_bgr(decode_unchanged(data, name), to_8_bit)


def decode_unchanged(data: NDArray[np.uint8] | bytes, name: str = "image") -> NDArray[Any]:
    """Pixels of a file's bytes in the file's own type (depth images are uint16).

    Raises ImageError if the data are empty, truncated or of no known format.
    """
    buffer = np.frombuffer(data, np.uint8)
    if not len(buffer):
        raise ImageError(f"{name} is empty")
    content = buffer.tobytes()
    if not is_complete(content):
        raise ImageError(f"{name} is truncated")
    if decoded_bytes(content) > _MAX_DECODED_BYTES:
        raise ImageError(f"{name} has more pixels than fit {_MAX_DECODED_BYTES} bytes")
    try:
        image = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageError(f"{name} cannot be decoded: {error.err or 'bad data'}") from error
    if image is None:
        raise ImageError(f"{name} is damaged or no image")
    return image


def to_gray_or_bgr(image: NDArray[Any], to_8_bit: To8Bit | None = None) -> ImageArray:
    """(H, W) gray or (H, W, 3) BGR uint8 of decoded pixels with 1 to 4 channels."""
    if image.ndim == 3 and image.shape[2] == 4:
        image = image[:, :, :3]
    elif image.ndim == 3 and image.shape[2] < 3:
        image = image[:, :, 0]
    return (to_8_bit or to_uint8)(np.ascontiguousarray(image))


def to_uint8(image: NDArray[Any], low: int = 0, high: int = MAX_16_BIT) -> ImageArray:
    """The image in 8 bits: of 16, low becomes 0 and high 255, and what is beyond them, too; raises
    ImageError for other types."""
    if image.dtype == np.uint8:
        return image
    if image.dtype == np.uint16:
        if low:
            image = np.maximum(image, np.uint16(low)) - np.uint16(low)
        return cv2.convertScaleAbs(image, alpha=255.0 / (high - low)).astype(np.uint8, copy=False)
    raise ImageError(f"pixels of type {image.dtype} are neither 8 nor 16 bit")


def _layout(encoding: str) -> tuple[int, int]:
    if encoding.rstrip("0123456789") in _BAYER_TO_BGR and encoding in ENCODINGS:
        return 1, 16 if encoding.endswith("16") else 8
    if encoding not in _CHANNELS:
        raise ImageError(f"unknown image encoding {encoding!r}")
    return _CHANNELS[encoding]
