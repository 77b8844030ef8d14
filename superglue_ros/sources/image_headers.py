"""What the bytes of an image file say before they are decoded: whether all are there, and how
large the picture is."""

from __future__ import annotations

import re
import struct

_PNG = b"\x89PNG"
_JPEG = b"\xff\xd8\xff"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_ALONE = {0x01, *range(0xD0, 0xD9)}
"""JPEG markers without a length behind them."""
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG markers before which the size of the picture comes."""
_TIFF_TYPES = {1: "B", 3: "H", 4: "I"}


def is_complete(data: bytes) -> bool:
    """False for PNG and JPEG that are cut off: what a decoder makes of those is partly invented.

    What follows the end does not matter: drivers pad to the size of their buffers, with zeros or
    with what was there before.
    """
    if data.startswith(_PNG):
        return _png_ends(data)
    if data.startswith(_JPEG):
        return _jpeg(data)[1]
    return True


def decoded_bytes(data: bytes) -> int:
    """Bytes of the pixels that a PNG, JPEG, BMP, TIFF, PNM or WebP file says it has; 0 where it
    does not say."""
    try:
        if data.startswith(_PNG):
            width, height, depth, kind = struct.unpack_from(">IIBB", data, 16)
            return int(width * height * _PNG_CHANNELS.get(kind, 4) * (2 if depth == 16 else 1))
        if data.startswith(_JPEG):
            return _jpeg(data)[0]
        if data.startswith(b"BM"):
            width, height, _, bits = struct.unpack_from("<iiHH", data, 18)
            return abs(width * height) * (4 if bits == 32 else 3)
        if data[:4] in (b"II*\0", b"MM\0*"):
            return _tiff(data)
        if data[:1] == b"P" and data[1:2] in b"123456":
            return _pnm(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
    except struct.error:
        return 0
    return 0


def _png_ends(data: bytes) -> bool:
    position = 8
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind == b"IEND":
            return True
        position += 12 + length
    return False


def _jpeg(data: bytes) -> tuple[int, bool]:
    """Bytes of the pixels, and whether the end is there. A preview inside has an end of its own,
    so that the segments up to the picture are passed over."""
    size, position = 0, 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            break
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker in _ALONE:
            position += 2
        elif marker == 0xD9:
            return size, True
        else:
            length = int.from_bytes(data[position + 2 : position + 4], "big")
            if marker in _FRAMES and position + 10 <= len(data):
                height, width, channels = struct.unpack_from(">HHB", data, position + 5)
                size = width * height * max(channels, 1)
            if marker == 0xDA:
                break
            position += 2 + length
    # In the picture's data a byte of 0xFF has a zero behind it.
    return size, data.find(b"\xff\xd9", position) >= 0


def _tiff(data: bytes) -> int:
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, start)
    values = {256: 0, 257: 0, 258: 8, 277: 1}
    for i in range(count):
        tag, kind, amount = struct.unpack_from(order + "HHI", data, start + 2 + 12 * i)
        if tag not in values or kind not in _TIFF_TYPES:
            continue
        place = start + 10 + 12 * i
        if amount * struct.calcsize(_TIFF_TYPES[kind]) > 4:
            (place,) = struct.unpack_from(order + "I", data, place)
        (values[tag],) = struct.unpack_from(order + _TIFF_TYPES[kind], data, place)
    return values[256] * values[257] * max(values[258] // 8, 1) * max(values[277], 1)


def _pnm(data: bytes) -> int:
    """Of a text header: kind, width, height, and all but for bitmaps the largest value."""
    words = re.sub(rb"#[^\n]*", b"", data[:1000]).split(None, 4)
    numbers = [int(word) if word.isdigit() else 0 for word in words[1:4]] + [0] * 3
    channels = 3 if data[1:2] in b"36" else 1
    return numbers[0] * numbers[1] * channels * (2 if numbers[2] > 255 else 1)


def _webp(data: bytes) -> int:
    kind = data[12:16]
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
    elif kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (x & 0x3FFF for x in struct.unpack_from("<HH", data, 26))
    return width * height * 4
