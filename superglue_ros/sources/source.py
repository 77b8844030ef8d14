"""What every source of frames offers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from superglue_ros.types import CameraModel, Frame


class FrameSource(Protocol):
    """Frames in the order they were taken, read lazily; every iteration starts at the first.

    name: of the sequence, for reports; camera: its calibration, None if unknown; skipped: frames
    that could not be decoded in the last iteration (each was logged); len() counts the frames
    stored, 0 where the container does not say.
    """

    @property
    def name(self) -> str: ...

    @property
    def camera(self) -> CameraModel | None: ...

    @property
    def skipped(self) -> int: ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Frame]: ...


def measures_depth(source: FrameSource) -> bool:
    """Whether the first frame comes with depth or with a right image."""
    first = next(iter(source), None)
    return first is not None and not (first.depth_m is None and first.right is None)
