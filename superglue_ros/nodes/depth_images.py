"""Depth images of the last seconds, found again by the stamp of the image they belong to."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from sensor_msgs.msg import Image

from superglue_ros.errors import ImageError
from superglue_ros.nodes.conversions import depth_from_image, stamp_to_ns
from superglue_ros.types import FloatArray, FrameMatches

_KEPT = 60
"""Images: two seconds at 30 a second, which a matcher on a CPU may be late by."""


class DepthImages:
    """Depth (H, W) in metres of the keyframes, from images that come before the matches or after.

    tolerance_s: by which stamps may differ. report(cause, text) is told of depth that cannot be
    used, and of a keyframe for which none has come by the time that the next one is made.
    """

    def __init__(self, tolerance_s: float, report: Callable[[str, str], None]) -> None:
        self._tolerance_ns = round(tolerance_s * 1e9)
        self._report = report
        self._images: deque[Image] = deque(maxlen=_KEPT)
        self._of_keyframe: tuple[int, FloatArray] | None = None
        self._next: tuple[int, Image] | None = None
        self.count = 0

    def add(self, message: Image) -> None:
        """Take in a depth image."""
        self.count += 1
        self._images.append(message)

    def of_keyframe(self, matches: FrameMatches) -> FloatArray | None:
        """Depth of the keyframe that the frame was matched against; None where there is none yet.

        That of a frame that becomes the next keyframe is kept for the matches to come.
        """
        depth = self._depth(matches)
        if matches.is_keyframe:
            if depth is None and len(matches):
                text = f"no depth image within {self._tolerance_ns * 1e-9:g} s of a keyframe"
                self._report("no depth", text)
            message = self._nearest(matches.stamp_ns)
            self._next = None if message is None else (matches.stamp_ns, message)
        return depth

    def _depth(self, matches: FrameMatches) -> FloatArray | None:
        stamp_ns = matches.keyframe_stamp_ns
        if self._of_keyframe is not None and self._of_keyframe[0] == stamp_ns:
            return self._of_keyframe[1]
        kept = self._next is not None and self._next[0] == stamp_ns
        message = self._next[1] if kept and self._next else self._nearest(stamp_ns)
        depth = None if message is None else self._decoded(message, matches.keyframe_image_size)
        if depth is not None:
            self._of_keyframe = stamp_ns, depth
        return depth

    def _nearest(self, stamp_ns: int) -> Image | None:
        def apart(message: Image) -> int:
            return abs(stamp_to_ns(message.header.stamp) - stamp_ns)

        nearest = min(self._images, key=apart, default=None)
        return nearest if nearest is not None and apart(nearest) <= self._tolerance_ns else None

    def _decoded(self, message: Image, size: tuple[int, int]) -> FloatArray | None:
        """The depth of images of (width, height)."""
        try:
            depth = depth_from_image(message)
        except ImageError as error:
            self._report("unusable depth", f"unusable depth image: {error}")
            return None
        if depth.shape != (size[1], size[0]):
            text = f"depth of {depth.shape[1]}x{depth.shape[0]} for images of {size[0]}x{size[1]}"
            self._report("unusable depth", f"{text}: it must be registered to them")
            return None
        return depth
