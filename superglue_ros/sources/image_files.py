"""Frames whose images are files: the iteration that all folder layouts share."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from superglue_ros.errors import ImageError, SourceError
from superglue_ros.sources.encodings import decode_compressed, decode_unchanged
from superglue_ros.types import CameraModel, FloatArray, Frame, ImageArray

logger = logging.getLogger(__name__)

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
    frame whose depth or right image is unreadable comes without it, which is logged as well."""

    def __init__(
        self,
        name: str,
        entries: Sequence[FileEntry],
        camera: CameraModel | None = None,
        *,
        baseline_m: float | None = None,
        depth_per_metre: float = TUM_DEPTH_PER_METRE,
    ) -> None:
        self.name = name
        self.entries = tuple(entries)
        self.camera = camera
        self.skipped = 0
        self.has_depth = any(entry.depth for entry in self.entries)
        self.is_stereo = any(entry.right for entry in self.entries)
        self._baseline_m = baseline_m
        self._depth_per_metre = depth_per_metre

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Frame]:
        self.skipped = 0
        for entry in self.entries:
            try:
                yield self._frame(entry)
            except ImageError as error:
                self.skipped += 1
                logger.warning("%s: skipped a frame: %s", self.name, error)

    def _frame(self, entry: FileEntry) -> Frame:
        frame = Frame(read_image(entry.image), entry.stamp_ns, camera=self.camera)
        try:
            if entry.depth:
                depth_m = read_depth(entry.depth, self._depth_per_metre)
                frame = replace(frame, depth_m=depth_m)
            if entry.right:
                right = read_image(entry.right)
                frame = replace(frame, right=right, baseline_m=self._baseline_m)
        except ImageError as error:
            logger.warning("%s: a frame without depth: %s", self.name, error)
        return frame


def read_image(path: str | Path) -> ImageArray:
    """(H, W) gray or (H, W, 3) BGR uint8 pixels as stored in a file; raises ImageError."""
    return decode_compressed(_read_bytes(Path(path)), str(path))


def read_depth(path: str | Path, per_metre: float = TUM_DEPTH_PER_METRE) -> FloatArray:
    """(H, W) float32 metres of a uint16 depth image, 0 where unknown; raises ImageError."""
    pixels = decode_unchanged(_read_bytes(Path(path)), str(path))
    if pixels.dtype != np.uint16 or pixels.ndim != 2:
        raise ImageError(f"{path}: depth must be a single 16-bit channel, found {pixels.dtype}")
    return pixels.astype(np.float32) / np.float32(per_metre)


def list_images(folder: Path) -> list[Path]:
    """Image files of a folder by name; raises SourceError if it is missing or has none."""
    try:
        paths = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
    except OSError as error:
        raise SourceError(f"cannot read folder {folder}: {error}") from error
    if not paths:
        raise SourceError(f"no images in {folder}")
    return sorted(paths)


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
