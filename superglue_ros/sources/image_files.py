"""Frames whose images are files: the iteration that all folder layouts share."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superglue_ros.errors import ImageError, SourceError
from superglue_ros.geometry.rectification import Rectification
from superglue_ros.sources.encodings import To8Bit, decode_compressed, decode_unchanged
from superglue_ros.sources.gray_range import GrayRange
from superglue_ros.sources.tables import NS_PER_S, stamps_repeat
from superglue_ros.types import CameraModel, FloatArray, Frame, ImageArray

logger = logging.getLogger(__name__)

DEFAULT_PERIOD_NS = NS_PER_S // 10
"""Between frames of folders that do not say when they were taken (10 Hz, KITTI's rate)."""

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".pgm", ".ppm", ".webp")
TUM_DEPTH_PER_METRE = 5000.0


@dataclass(frozen=True)
class FileEntry:
    """One frame's files: its image, and depth or the right image where there are some."""

    stamp_ns: int
    image: Path
    depth: Path | None = None
    right: Path | None = None


class ImageFileSource:
    """Frames of listed files, see `FrameSource`; an unreadable image is logged and skipped, and a
    frame whose depth or right image is unreadable comes without it, which is logged as well.

    depth_reader: (H, W) float32 metres of a depth file, or ImageError; by default TUM's;
    rectification: of right images that are no partners yet, see `rectify`. image_bits, to be set
    before the frames are read: see `ImageOptions`.
    """

    def __init__(
        self,
        name: str,
        entries: Sequence[FileEntry],
        camera: CameraModel | None = None,
        *,
        baseline_m: float | None = None,
        depth_reader: Callable[[Path], FloatArray] | None = None,
        notes: Sequence[str] = (),
        rectification: Rectification | None = None,
    ) -> None:
        self.name = name
        self.notes = tuple(notes)
        self.entries = tuple(entries)
        if stamps_repeat([entry.stamp_ns for entry in self.entries]):
            self.entries = tuple(
                replace(entry, stamp_ns=i * DEFAULT_PERIOD_NS)
                for i, entry in enumerate(self.entries)
            )
            self.notes += ("times: 10 Hz assumed, for most of those given repeat",)
        self.camera = camera
        self.skipped = 0
        self.image_bits = 0
        self.has_depth = any(entry.depth for entry in self.entries)
        self.is_stereo = rectification is None and any(entry.right for entry in self.entries)
        self.rectified_rotation: FloatArray | None = None
        self._baseline_m = baseline_m
        self._rectification = rectification
        self._read_depth = depth_reader or read_depth

    def rectify(self) -> None:
        """From now on, give pairs that were not taken rectified as such. The cameras are turned by
        that: `rectified_rotation` (3, 3) maps points of the left one as it was into it now."""
        if self._rectification is not None:
            self.camera = self._rectification.camera
            self.is_stereo = any(entry.right for entry in self.entries)
            self.rectified_rotation = self._rectification.left_rotation
            self._baseline_m = self._rectification.baseline_m

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Frame]:
        self.skipped = 0
        gray = GrayRange(self.image_bits)
        for entry in self.entries:
            try:
                yield self._frame(entry, gray)
            except ImageError as error:
                self.skipped += 1
                logger.warning("%s: skipped a frame: %s", self.name, error)

    def _frame(self, entry: FileEntry, gray: GrayRange) -> Frame:
        image = read_image(entry.image, gray)
        rectification = self._rectification if self.is_stereo else None
        if rectification is not None:
            image = rectification.left(image)
        frame = Frame(image, entry.stamp_ns, camera=self.camera)
        if entry.depth:
            try:
                frame = replace(frame, depth_m=self._read_depth(entry.depth))
            except ImageError as error:
                logger.warning("%s: a frame without depth: %s", self.name, error)
        if entry.right and self.is_stereo:
            try:
                right = read_image(entry.right, gray)
                right = right if rectification is None else rectification.right(right)
                frame = replace(frame, right=right, baseline_m=self._baseline_m)
            except ImageError as error:
                logger.warning("%s: a frame without its right image: %s", self.name, error)
        return frame


def read_image(path: str | Path, to_8_bit: To8Bit | None = None) -> ImageArray:
    """(H, W) gray or (H, W, 3) BGR uint8 pixels of a file; raises ImageError.

    to_8_bit: a `GrayRange` for the images of one camera; by default each is one of its own.
    """
    if to_8_bit is None:
        to_8_bit = GrayRange(say=logger.debug)
    return decode_compressed(_read_bytes(Path(path)), str(path), to_8_bit)


def read_pixels(path: Path) -> NDArray[Any]:
    """Pixels of a file in its own type; raises ImageError."""
    return decode_unchanged(_read_bytes(path), str(path))


def read_depth(path: str | Path, per_metre: float = TUM_DEPTH_PER_METRE) -> FloatArray:
    """(H, W) float32 metres of a uint16 depth image, 0 where unknown; raises ImageError."""
    pixels = read_pixels(Path(path))
    if pixels.dtype != np.uint16 or pixels.ndim != 2:
        raise ImageError(f"{path}: depth must be a single 16-bit channel, found {pixels.dtype}")
    return pixels.astype(np.float32) / np.float32(per_metre)


def read_depth_array(path: Path) -> FloatArray:
    """(H, W) float32 metres of a NumPy file; raises ImageError."""
    try:
        depth = np.load(path, allow_pickle=False)
    # Damaged headers fail in many ways.
    except Exception as error:
        raise ImageError(f"cannot read {path}: {error}") from error
    if not isinstance(depth, np.ndarray) or depth.ndim != 2 or depth.dtype.kind != "f":
        raise ImageError(f"{path}: depth must be one array (H, W) of floating-point numbers")
    return depth.astype(np.float32)


def list_images(folder: Path) -> list[Path]:
    """Image files of a folder in the natural order of their names (2 before 10), without hidden
    ones; raises SourceError if it is missing or has none."""
    try:
        paths = [
            path
            for path in folder.iterdir()
            if path.suffix.lower() in IMAGE_SUFFIXES
            # A Mac keeps what other file systems cannot hold of a.png in ._a.png.
            and not path.name.startswith(".")
            and path.is_file()
        ]
    except OSError as error:
        raise SourceError(f"cannot read folder {folder}: {error.strerror or error}") from error
    if not paths:
        raise SourceError(f"no images in {folder}")
    return sorted(paths, key=lambda path: natural_key(path.name))


def natural_key(name: str) -> tuple[list[tuple[str, int]], str]:
    """Sorts names by the numbers in them."""
    parts = re.findall(r"([^0-9]*)([0-9]*)", name)
    return [(text, int(number or -1)) for text, number in parts], name


def first_image_size(paths: Sequence[Path]) -> tuple[int, int]:
    """(width, height) of the first file that can be read; raises SourceError if none can."""
    for path in paths:
        try:
            image = read_image(path)
        except ImageError:
            continue
        return image.shape[1], image.shape[0]
    raise SourceError(f"none of the {len(paths)} images beside {paths[0]} can be read")


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror or error}") from error
