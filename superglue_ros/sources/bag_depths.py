"""Depth images of a bag beside the images that they belong to."""

from __future__ import annotations

import logging
from collections import deque
from typing import Any

from superglue_ros.errors import ImageError
from superglue_ros.sources.bag_reader import BagReader, Recorded, Topic
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
        # Only the images that are asked for are decoded.
        self._messages = reader.decoded(topic, lambda message: message, logger.warning)
        self._by_recording = by_recording
        self._latest: deque[Recorded[Any]] = deque(maxlen=_KEPT)

    def at(self, stamp_ns: int, logged_ns: int) -> FloatArray | None:
        """Depth (H, W) metres of the image stamped and recorded so; None where there is none."""

        def away_ns(depth: Recorded[Any]) -> int:
            return abs(depth.stamp_ns(self._by_recording) - stamp_ns)

        while not self._latest or self._latest[-1].logged_ns < logged_ns + _AHEAD_NS:
            following = next(self._messages, None)
            if following is None:
                break
            self._latest.append(following)
        nearest = min(self._latest, key=away_ns, default=None)
        if nearest is None or away_ns(nearest) > DEPTH_TOLERANCE_S * NS_PER_S:
            return None
        try:
            return depth_of_message(nearest.value)
        except ImageError as error:
            logger.warning("a frame without depth: %s", error)
            return None
