"""Messages of two topics that belong together by their stamps: message_filters' classes.

They are message_filters' own where a ROS has it. The wheels have none, so that two of the same
calls stand in for what this package uses of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import product
from typing import Any

from superglue_ros.errors import LateFrame
from superglue_ros.nodes.conversions import NS_PER_S, stamp_to_ns
from superglue_ros.stamps import StampOrder


class StandInFilter:
    """Passes messages on to whoever registered (message_filters.SimpleFilter)."""

    def __init__(self) -> None:
        self._callbacks: list[tuple[Callable[..., object], tuple[Any, ...]]] = []

    def registerCallback(self, callback: Callable[..., object], *arguments: Any) -> int:
        """Call back with each message and these arguments after it; the connection's number."""
        self._callbacks.append((callback, arguments))
        return len(self._callbacks) - 1

    def signalMessage(self, *message: Any) -> None:
        """Pass a message on, or several that belong together."""
        for callback, arguments in self._callbacks:
            callback(*message, *arguments)


class StandInSynchronizer(StandInFilter):
    """Passes on messages, one of each filter, whose stamps are less than `slop` seconds apart:
    with each that comes those nearest to it (message_filters.ApproximateTimeSynchronizer).

    queue_size: messages of each filter that wait for others; the oldest goes first.
    """

    def __init__(self, fs: Sequence[Any], queue_size: int, slop: float) -> None:
        super().__init__()
        self._queue_size, self._slop_ns = queue_size, slop * NS_PER_S
        self._queues: list[dict[int, Any]] = [{} for _ in fs]
        for index, source in enumerate(fs):
            source.registerCallback(self._add, index)

    def _add(self, message: Any, index: int) -> None:
        stamp_ns, queue = stamp_to_ns(message.header.stamp), self._queues[index]
        queue[stamp_ns] = message
        while len(queue) > self._queue_size:
            del queue[min(queue)]
        candidates = [sorted(q, key=lambda other: abs(other - stamp_ns)) for q in self._queues]
        candidates[index] = [stamp_ns] if stamp_ns in queue else []
        for stamps in product(*candidates):
            if max(stamps) - min(stamps) < self._slop_ns:
                self.signalMessage(*(q.pop(s) for q, s in zip(self._queues, stamps)))
                return


try:
    from message_filters import ApproximateTimeSynchronizer, SimpleFilter
except ImportError:
    ApproximateTimeSynchronizer, SimpleFilter = StandInSynchronizer, StandInFilter


class Synchronizer:
    """Gives messages of several topics that were taken together to `callback`.

    queue_size: messages of each topic that wait for the others; tolerance_s: by which stamps may
    differ. Where the clock of topic 0 jumped back it begins anew: in message_filters' queues, from
    which the earliest goes first, nothing that comes then would last. drop() is called for each
    message of topic 0 that leaves the queue alone, which message_filters does not tell.
    """

    def __init__(
        self,
        topics: int,
        queue_size: int,
        tolerance_s: float,
        callback: Callable[..., None],
        drop: Callable[[], None] = lambda: None,
    ) -> None:
        self._topics, self._queue_size = topics, queue_size
        self._tolerance_s, self._callback, self._drop = tolerance_s, callback, drop
        self._order = StampOrder()
        self._waiting: set[int] = set()
        self._begin()

    def _begin(self) -> None:
        for _ in self._waiting:
            self._drop()
        self._waiting.clear()
        self._filters = [SimpleFilter() for _ in range(self._topics)]
        # Messages are to be less than a slop apart.
        joined = ApproximateTimeSynchronizer(
            self._filters, self._queue_size, self._tolerance_s + 1e-9
        )
        joined.registerCallback(self._on_joined)

    def add(self, topic: int, message: Any) -> None:
        """Take in a message of a topic, by its place; a late one may still be of use."""
        if topic == 0:
            stamp_ns = stamp_to_ns(message.header.stamp)
            with suppress(LateFrame):
                if self._order.follow(stamp_ns):
                    self._begin()
            if stamp_ns in self._waiting:
                # In message_filters' queue it takes the place of the one before.
                self._drop()
            self._waiting.add(stamp_ns)
        self._filters[topic].signalMessage(message)
        if len(self._waiting) > self._queue_size:
            self._waiting.remove(min(self._waiting))
            self._drop()

    def _on_joined(self, first: Any, *others: Any) -> None:
        self._waiting.discard(stamp_to_ns(first.header.stamp))
        self._callback(first, *others)
