"""How stamps follow one another: a frame that comes late is no clock that jumped back."""

from __future__ import annotations

from enum import Enum

LATE_NS = 1_000_000_000
"""What is earlier by more is no late frame: a bag has started over, or a clock was set."""

LATE_IN_A_ROW = 10
"""So many late frames in a row are a clock that was set back by a little."""

DEPTH_TOLERANCE_S = 0.02
"""By which the stamps of an image and of the depth image that goes with it may differ."""


class Order(Enum):
    """What a stamp is beside the newest before it."""

    NEXT = "next"
    LATE = "late"
    JUMPED_BACK = "jumped back"


class StampOrder:
    """Judges stamps in the order in which they come."""

    def __init__(self) -> None:
        self._newest_ns: int | None = None
        self._late = 0

    def behind_s(self, stamp_ns: int) -> float:
        """Seconds by which a stamp is earlier than the newest before it, negative if later."""
        return 0.0 if self._newest_ns is None else (self._newest_ns - stamp_ns) * 1e-9

    def follow(self, stamp_ns: int) -> Order:
        """Order of the next stamp, which is the newest from now on unless it is late."""
        order = Order.NEXT
        if self._newest_ns is not None and stamp_ns < self._newest_ns:
            self._late += 1
            near = self._newest_ns - stamp_ns < LATE_NS and self._late < LATE_IN_A_ROW
            order = Order.LATE if near else Order.JUMPED_BACK
        if order is not Order.LATE:
            self._newest_ns, self._late = stamp_ns, 0
        return order
