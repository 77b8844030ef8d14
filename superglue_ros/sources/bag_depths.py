"""Depth images of a bag beside the images that they belong to."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from typing import Any

from rosbags.highlevel import AnyReader

from superglue_ros.errors import ImageError
from superglue_ros.sources.encodings import decode_depth
from superglue_ros.sources.trajectories import NS_PER_S
from superglue_ros.types import FloatArray

logger = logging.getLogger(__name__)

_TOLERANCE_NS = 20_000_000
_KEPT = 10


class BagDepths:
    """Depth by stamp, asked for in the order of the stamps; reads on in the bag as it must."""

    def __init__(self, reader: AnyReader, topic: str) -> None:
        self._messages = self._read(reader, topic)
        self._latest: deque[tuple[int, Any]] = deque(maxlen=_KEPT)

    def at(self, stamp_ns: int) -> FloatArray | None:
        """Depth (H, W) metres of the image stamped so, of at most 20 ms before or after."""
        while not self._latest or self._latest[-1][0] < stamp_ns:
            following = next(self._messages, None)
            if following is None:
                break
            self._latest.append(following)
        found = min(self._latest, key=lambda entry: abs(entry[0] - stamp_ns), default=None)
        if found is None or abs(found[0] - stamp_ns) > _TOLERANCE_NS:
            return None
        message = found[1]
        try:
            return decode_depth(
                message.data,
                width=message.width,
                height=message.height,
                encoding=message.encoding,
                step=message.step,
                big_endian=bool(message.is_bigendian),
            )
        except ImageError as error:
            logger.warning("a frame without depth: %s", error)
            return None

    @staticmethod
    def _read(reader: AnyReader, topic: str) -> Iterator[tuple[int, Any]]:
        connections = [x for x in reader.connections if x.topic == topic]
        try:
            for connection, _, data in reader.messages(connections):
                message: Any = reader.deserialize(data, connection.msgtype)
                stamp = message.header.stamp
                yield stamp.sec * NS_PER_S + stamp.nanosec, message
        # Damaged bytes fail in as many ways as there are storages.
        except Exception as error:
            logger.warning("%s cannot be read any further: %s", topic, error)
