"""Depth images, paired with the matches of the keyframes that they belong to."""

from __future__ import annotations

from collections.abc import Callable

from superglue_ros.errors import ImageError
from superglue_ros.geometry import fit_depth
from superglue_ros.msg import Matches
from superglue_ros.nodes.conversions import AnyImage, stamp_to_ns
from superglue_ros.nodes.pairing import Synchronizer
from superglue_ros.one_camera import same_frame
from superglue_ros.sources.encodings import depth_of_message
from superglue_ros.types import FloatArray, FrameMatches

_QUEUE_SIZE = 60
"""Images that wait for their matches: two seconds of them, as a matcher on a CPU may be late."""


class DepthImages:
    """Depth (H, W) in metres of the keyframes, from images that come before the matches or after.

    tolerance_s: by which stamps may differ. report(cause, text) is told of depth that cannot be
    used or has another frame_id than the images, and of a keyframe for which none has come by the
    time that the next one is made.
    """

    def __init__(self, tolerance_s: float, report: Callable[[str, str], None]) -> None:
        self._tolerance_s = tolerance_s
        self._report = report
        self._pairs = Synchronizer(2, _QUEUE_SIZE, tolerance_s, self._on_pair)
        self._of_keyframes: dict[int, AnyImage] = {}
        self._decoded: tuple[int, FloatArray | None] | None = None

    def add(self, message: AnyImage) -> None:
        """Take in a depth image."""
        self._pairs.add(0, message)

    def add_matches(self, message: Matches) -> None:
        """Take in a frame's matches: where it becomes a keyframe, its depth is kept."""
        if message.is_keyframe:
            self._pairs.add(1, message)

    def _on_pair(self, depth: AnyImage, matches: Matches) -> None:
        frames = depth.header.frame_id, matches.header.frame_id
        if not same_frame(*frames):
            text = "depth of {!r}, images of {!r}: it must be registered to them".format(*frames)
            self._report("depth of another camera", text)
        stamp_ns = stamp_to_ns(matches.header.stamp)
        self._of_keyframes[stamp_ns] = depth
        if self._decoded is not None and self._decoded[0] == stamp_ns:
            self._decoded = None  # of the same stamp before the clock jumped back

    def of_keyframe(self, matches: FrameMatches) -> FloatArray | None:
        """Depth of the keyframe that the frame was matched against; None where there is none
        yet. That of keyframes before it is dropped."""
        stamp_ns = matches.keyframe_stamp_ns
        wanted = (stamp_ns, matches.stamp_ns)
        self._of_keyframes = {s: d for s, d in self._of_keyframes.items() if s in wanted}
        message = self._of_keyframes.get(stamp_ns)
        if message is None:
            if matches.is_keyframe and len(matches):
                text = f"no depth image within {self._tolerance_s:g} s of a keyframe"
                self._report("no depth", text)
            return None
        if self._decoded is None or self._decoded[0] != stamp_ns:
            self._decoded = stamp_ns, self._decode(message, matches.keyframe_image_size)
        return self._decoded[1]

    def _decode(self, message: AnyImage, size: tuple[int, int]) -> FloatArray | None:
        """The depth for images of (width, height)."""
        try:
            return fit_depth(depth_of_message(message), size)
        except ImageError as error:
            self._report("unusable depth", f"unusable depth image: {error}")
            return None
