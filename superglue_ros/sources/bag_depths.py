"""Depth images of a bag beside the images that they belong to."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from typing import Any

from superglue_ros.errors import ImageError, SourceError
from superglue_ros.sources.bag_reader import BagReader, Topic
from superglue_ros.sources.encodings import depth_of_message
from superglue_ros.sources.tables import NS_PER_S
from superglue_ros.stamps import DEPTH_TOLERANCE_S
from superglue_ros.types import FloatArray

logger = logging.getLogger(__name__)

_AHEAD_NS = 500_000_000
"""By which a depth image may have been recorded later than its image."""
_KEPT = 60


class BagDepths:
    """Depth by stamp, asked for in the order of recording; reads on in the bag as it must.

    by_recording: its stamps are the times of recording, as those of the images are.
    """

    def __init__(self, reader: BagReader, topic: Topic, by_recording: bool = False) -> None:
        self._messages = self._read(reader, topic, by_recording)
        self._latest: deque[tuple[int, Any]] = deque(maxlen=_KEPT)
        self._read_ns = 0

    def at(self, stamp_ns: int, logged_ns: int) -> FloatArray | None:
        """Depth (H, W) metres of the image stamped and recorded so; None where there is none."""
        while self._read_ns < logged_ns + _AHEAD_NS:
            following = next(self._messages, None)
            if following is None:
                break
            self._read_ns, depth_ns, message = following
            self._latest.append((depth_ns, message))
        nearest = min(self._latest, key=lambda entry: abs(entry[0] - stamp_ns), default=None)
        if nearest is None or abs(nearest[0] - stamp_ns) > DEPTH_TOLERANCE_S * NS_PER_S:
            return None
        try:
            return depth_of_message(nearest[1])
        except ImageError as error:
            logger.warning("a frame without depth: %s", error)
            return None

    @staticmethod
    def _read(
        reader: BagReader, topic: Topic, by_recording: bool
    ) -> Iterator[tuple[int, int, Any]]:
        """When each was recorded, its stamp, and the message."""
        messages = reader.messages(topic)
        while True:
            try:
                logged_ns, data = next(messages)
            except StopIteration:
                return
            except SourceError as error:
                logger.warning("%s: %s", topic.name, error)
                return
            try:
                message: Any = reader.deserialise(data, topic)
                stamp = message.header.stamp
            # Deserialising damaged bytes raises whatever they happen to hit first.
            except Exception as error:
                logger.warning("skipped a message of %s: %s", topic.name, error)
                continue
            stamp_ns = stamp.sec * NS_PER_S + stamp.nanosec
            yield logged_ns, logged_ns if by_recording else stamp_ns or logged_ns, message
