"""Frames of a video file."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import cv2

from superglue_ros.errors import SourceError
from superglue_ros.sources.calibration import load_calibration
from superglue_ros.sources.encodings import to_gray_or_bgr
from superglue_ros.types import CameraModel, Frame

logger = logging.getLogger(__name__)

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
FALLBACK_FPS = 30.0
MAX_FPS = 10_000.0


class VideoSource:
    """Frames of a video, see `FrameSource`; stamps count from 0 at the container's frame rate."""

    def __init__(self, path: Path, calibration: Path | None = None) -> None:
        capture = _open(path)
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        size = tuple(
            int(capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        capture.release()
        self.name = path.stem
        self.skipped = 0
        self.has_depth = self.is_stereo = False
        self.camera: CameraModel | None = None
        self._path = path
        self._count = max(count, 0)
        self._fps = fps if 0 < fps < MAX_FPS else FALLBACK_FPS
        said = "as the file says" if self._fps == fps else "assumed, the file does not say"
        self.notes: tuple[str, ...] = (f"times: {self._fps:g} frames a second, {said}",)
        if calibration is not None:
            given = load_calibration(calibration, (size[0], size[1]))
            self.camera = given.camera
            self.notes += (f"calibration: {given.origin}",)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Frame]:
        capture = _open(self._path)
        read = 0
        try:
            while True:
                good, image = capture.read()
                if not good:
                    break
                stamp_ns = round(read * 1e9 / self._fps)
                yield Frame(to_gray_or_bgr(image), stamp_ns, camera=self.camera)
                read += 1
        finally:
            capture.release()
        if read < self._count:
            logger.warning("%s: ended after %d of %d frames", self._path, read, self._count)


def _is_container(path: Path) -> bool:
    """Whether a file begins as a video of VIDEO_SUFFIXES does; FFmpeg takes many seconds to find
    out that others are none."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return False
    boxes = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
    return head.startswith((b"RIFF", b"\x1a\x45\xdf\xa3", b"\0\0\1", b"G")) or head[4:8] in boxes


def _open(path: Path) -> cv2.VideoCapture:
    if not _is_container(path):
        raise SourceError(f"cannot read {path} as a video")
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise SourceError(f"cannot read {path} as a video")
    return capture
