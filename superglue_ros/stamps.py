"""How stamps follow one another: a frame that comes late is no clock that jumped back."""

from __future__ import annotations

from superglue_ros.errors import LateFrame

LATE_NS = 1_000_000_000
"""What is earlier by more is no late frame: a bag has started over, or a clock was set."""

LATE_IN_A_ROW = 10
"""So many late frames in a row are a clock that was set back by a little."""

DEPTH_TOLERANCE_S = 0.02
"""By which the stamps of an image and of the depth image that goes with it may differ."""

PAIR_TOLERANCE_S = 0.005
"""By which the stamps of the two images of a stereo pair may differ."""


class StampOrder:
    """Judges the stamps of one stream in the order in which they come.

    late_ns: what is earlier than the newest by less is late. It is 0 for what has been judged
    already, as the matcher's results: what is earlier there is a clock that jumped back.
    """

    def __init__(self, late_ns: int = LATE_NS) -> None:
        self._late_ns = late_ns
        self._newest_ns: int | None = None
        self._late = 0

    def follow(self, stamp_ns: int) -> str:
        """Take in the next stamp: "" or, where the clock jumped back, the reason to start anew.

        Raises LateFrame for a stamp that comes a little after a later one; it counts for nothing.
        """
        newest_ns = self._newest_ns
        behind_ns = 0 if newest_ns is None else newest_ns - stamp_ns
        if behind_ns > 0:
            self._late += 1
            if behind_ns < self._late_ns and self._late < LATE_IN_A_ROW:
                raise LateFrame(f"it comes late, {behind_ns * 1e-9:.3f} s behind the newest")
        self._newest_ns, self._late = stamp_ns, 0
        return f"the clock jumped back by {behind_ns * 1e-9:.3f} s" if behind_ns > 0 else ""
