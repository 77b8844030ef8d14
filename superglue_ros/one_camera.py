"""Which messages of a stream are of the same camera: two may send on one topic."""

from __future__ import annotations

from superglue_ros.errors import OtherCamera

GONE_NS = 5_000_000_000
"""A camera of which nothing has come for so long, by the stamps of another, is gone."""

OTHERS_IN_A_ROW = 100
"""So is one of which nothing is among so many of others, whatever their stamps."""


class OneCamera:
    """Judges by their frame_id the images of one stream, or what was made of them, in the order in
    which they come.

    expected: the frame_id to take, which is never given up; "" for that of the first.
    """

    def __init__(self, expected: str = "") -> None:
        self._expected = bool(expected)
        self.frame_id: str | None = expected or None
        self._seen_ns: int | None = None
        self._others = 0

    def follow(self, frame_id: str, stamp_ns: int) -> str:
        """Take in the next image: "" or, where the camera before is gone, the reason to start
        anew with this one.

        Raises OtherCamera for an image of another camera; it counts for nothing.
        """
        before, reason = self.frame_id, ""
        if before is not None and same_frame(frame_id, before):
            before = None
        if before is not None:
            self._others += 1
            gone = self._seen_ns is not None and abs(stamp_ns - self._seen_ns) > GONE_NS
            if self._expected or not (gone or self._others >= OTHERS_IN_A_ROW):
                raise OtherCamera(f"it is of the camera {frame_id!r}, not of {before!r}")
            reason = f"images of the camera {frame_id!r}, before of {before!r}"
        self.frame_id, self._seen_ns, self._others = frame_id, stamp_ns, 0
        return reason


def same_frame(first: str, second: str) -> bool:
    """Whether two frame_id mean one frame; those of ROS 1 begin with a slash."""
    return first.lstrip("/") == second.lstrip("/")
