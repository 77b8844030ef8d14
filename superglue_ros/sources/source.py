"""What every source of frames offers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from superglue_ros.types import CameraModel, Frame


class FrameSource(Protocol):
    """Frames in the order they were taken, read lazily; every iteration starts at the first.

    name: of the sequence, for reports; camera: its calibration, None if unknown; skipped: frames
    that could not be decoded in the last iteration (each was logged); has_depth, is_stereo:
    whether frames come with depth_m, with a right image; notes: what it chose and took for
    granted (layout, topics, calibration, times), a line each; len() counts the frames stored, 0
    where the container does not say.
    """

    @property
    def name(self) -> str: ...

    @property
    def camera(self) -> CameraModel | None: ...

    @property
    def skipped(self) -> int: ...

    @property
    def notes(self) -> tuple[str, ...]: ...

    @property
    def has_depth(self) -> bool: ...

    @property
    def is_stereo(self) -> bool: ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Frame]: ...
