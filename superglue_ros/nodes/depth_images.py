"""Depth images of the last seconds, found again by the stamp of the image they belong to."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress

from superglue_ros.errors import ImageError, LateFrame
from superglue_ros.nodes.conversions import AnyImage, stamp_to_ns
from superglue_ros.nodes.health import Rate
from superglue_ros.sources.encodings import depth_of_message
from superglue_ros.stamps import StampOrder
from superglue_ros.types import FloatArray, FrameMatches

_KEPT_NS = 2_000_000_000
"""A matcher on a CPU may be late by so much."""
_KEPT_BYTES = 200_000_000


class DepthImages:
    """Depth (H, W) in metres of the keyframes, from images that come before the matches or after.

    tolerance_s: by which stamps may differ. report(cause, text) is told of depth that cannot be
    used, and of a keyframe for which none has come by the time that the next one is made.
    """

    def __init__(self, tolerance_s: float, report: Callable[[str, str], None]) -> None:
        self._tolerance_s = tolerance_s
        self._report = report
        self.received = Rate()
        self._order = StampOrder()
        self._clear()

    def _clear(self) -> None:
        self._images: deque[tuple[int, AnyImage]] = deque()
        self._messages: dict[int, AnyImage] = {}
        """Of the keyframe and of the next one, by their stamps."""
        self._decoded: tuple[int, FloatArray | None] | None = None

    def add(self, message: AnyImage) -> None:
        """Take in a depth image; a clock that jumped back leaves no other."""
        self.received.tick()
        stamp_ns = stamp_to_ns(message.header.stamp)
        with suppress(LateFrame):  # which may still be of use
            if self._order.follow(stamp_ns):
                self._clear()
        self._images.append((stamp_ns, message))
        total = sum(len(image.data) for _, image in self._images)
        while stamp_ns - self._images[0][0] > _KEPT_NS or (
            total > _KEPT_BYTES and len(self._images) > 1
        ):
            total -= len(self._images.popleft()[1].data)

    def of_keyframe(self, matches: FrameMatches) -> FloatArray | None:
        """Depth of the keyframe that the frame was matched against; None where there is none yet.

        That of a frame that becomes the next keyframe is kept for the matches to come.
        """
        now, later = matches.keyframe_stamp_ns, matches.stamp_ns
        wanted = (now, later) if matches.is_keyframe else (now,)
        found = {stamp: self._messages.get(stamp) or self._nearest(stamp) for stamp in wanted}
        self._messages = {stamp: image for stamp, image in found.items() if image is not None}
        message = self._messages.get(now)
        if message is None:
            if matches.is_keyframe and len(matches):
                text = f"no depth image within {self._tolerance_s:g} s of a keyframe"
                self._report("no depth", text)
            return None
        if self._decoded is None or self._decoded[0] != now:
            self._decoded = now, self._decode(message, matches.keyframe_image_size)
        return self._decoded[1]

    def _nearest(self, stamp_ns: int) -> AnyImage | None:
        """The image nearest to a stamp, once a nearer one is no longer to be expected."""
        if not self._images:
            return None
        apart, message = min(
            ((abs(stamp - stamp_ns), image) for stamp, image in self._images),
            key=lambda entry: entry[0],
        )
        awaited = apart and self._images[-1][0] < stamp_ns
        return None if awaited or apart > self._tolerance_s * 1e9 else message

    def _decode(self, message: AnyImage, size: tuple[int, int]) -> FloatArray | None:
        """The depth of images of (width, height)."""
        try:
            depth = depth_of_message(message)
        except ImageError as error:
            self._report("unusable depth", f"unusable depth image: {error}")
            return None
        if depth.shape != (size[1], size[0]):
            text = f"depth of {depth.shape[1]}x{depth.shape[0]} for images of {size[0]}x{size[1]}"
            self._report("unusable depth", f"{text}: it must be registered to them")
            return None
        return depth
