"""Frames of ROS 1 and ROS 2 bags, read without ROS."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from superglue_ros.errors import SourceError
from superglue_ros.sources.bag_depths import BagDepths
from superglue_ros.sources.calibration import camera_from_info, read_calibration
from superglue_ros.sources.encodings import COMPRESSED_ENDS, image_of_message
from superglue_ros.sources.tables import NS_PER_S
from superglue_ros.types import Frame

logger = logging.getLogger(__name__)

BAG_SUFFIXES = (".bag", ".mcap", ".db3")
_IMAGE = "sensor_msgs/msg/Image"
_COMPRESSED = "sensor_msgs/msg/CompressedImage"
_INFO = "sensor_msgs/msg/CameraInfo"


class BagSource:
    """Frames of one image topic of a bag, see `FrameSource`; stamps are those of the headers.

    topic: the image topic, which may be left out where the bag has exactly one;
    camera_info_topic: by default `camera_info` beside the image topic, else the only one there is;
    calibration: a file used instead; depth_topic: of depth images registered to the images, raw
    or compressed, which go with those of nearly the same stamp. Messages that cannot be decoded
    are logged, counted in `skipped`, and passed over. Raises SourceError.

    info: the CameraInfo message that `camera` is of, None where it is of none.
    """

    def __init__(
        self,
        path: Path,
        *,
        topic: str | None = None,
        camera_info_topic: str | None = None,
        calibration: Path | None = None,
        depth_topic: str | None = None,
    ) -> None:
        self.name = path.stem
        self.skipped = 0
        self.has_depth, self.is_stereo = depth_topic is not None, False
        self._path = path
        with _opened(path) as reader:
            self._depth_topic = _check_depth_topic(path, reader, depth_topic)
            self.topic = _choose_image_topic(path, reader, topic, depth_topic)
            connections = [x for x in reader.connections if x.topic == self.topic]
            self._count = sum(connection.msgcount for connection in connections)
            info_topic = None
            if calibration is None:
                info_topic = _choose_info_topic(path, reader, self.topic, camera_info_topic)
            self.info = _first_info(reader, info_topic)
            self.camera = camera_from_info(self.info) if self.info is not None else None
        if calibration is not None:
            self.camera = read_calibration(calibration, self._first_size())

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Frame]:
        self.skipped = 0
        with ExitStack() as opened:
            reader = opened.enter_context(_opened(self._path))
            connections = [x for x in reader.connections if x.topic == self.topic]
            messages = reader.messages(connections)
            depths = None
            if self._depth_topic is not None:
                depths = BagDepths(opened.enter_context(_opened(self._path)), self._depth_topic)
            while True:
                try:
                    connection, logged_ns, data = next(messages)
                except StopIteration:
                    return
                # A cut or damaged file fails in as many ways as there are storages.
                except Exception as error:
                    logger.warning("%s: cannot be read any further: %s", self._path, error)
                    self.skipped += 1
                    return
                frame = self._decode(reader, connection.msgtype, data, logged_ns)
                if frame is not None and depths is not None:
                    depth_m = depths.at(frame.stamp_ns, logged_ns)
                    frame = replace(frame, depth_m=depth_m)
                if frame is not None:
                    yield frame

    def _decode(self, reader: AnyReader, kind: str, data: bytes, logged_ns: int) -> Frame | None:
        try:
            message: Any = reader.deserialize(data, kind)
            image = image_of_message(message)
            stamp = message.header.stamp
        # Deserialising damaged bytes raises whatever they happen to hit first.
        except Exception as error:
            self.skipped += 1
            logger.warning("%s: skipped a message of %s: %s", self.name, self.topic, error)
            return None
        # Drivers that do not stamp leave zero; the time of recording is the best there is then.
        stamp_ns = stamp.sec * NS_PER_S + stamp.nanosec or logged_ns
        frame_id = message.header.frame_id or "camera"
        return Frame(image, stamp_ns, frame_id=frame_id, camera=self.camera)

    def _first_size(self) -> tuple[int, int]:
        for frame in self:
            return frame.image.shape[1], frame.image.shape[0]
        raise SourceError(f"{self._path}: no readable image on {self.topic}")


@contextmanager
def _opened(path: Path) -> Iterator[AnyReader]:
    """The bag's reader, open; every way in which a file can be no bag becomes SourceError."""
    try:
        # Bags older than ROS 2 Iron do not hold the definitions of their messages.
        store = get_typestore(Stores.ROS2_JAZZY)
        reader = AnyReader([_bag_path(path)], default_typestore=store)
        reader.open()
    except SourceError:
        raise
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise SourceError(f"cannot read bag {path}: {reason}") from error
    try:
        yield reader
    finally:
        reader.close()


def _bag_path(path: Path) -> Path:
    if not path.is_dir() or (path / "metadata.yaml").is_file():
        return path
    files = [entry for entry in sorted(path.iterdir()) if entry.suffix in BAG_SUFFIXES]
    if len(files) != 1:
        raise SourceError(f"{path}: {len(files)} bag files and no metadata.yaml")
    return files[0]


def _choose_image_topic(
    path: Path, reader: AnyReader, wanted: str | None, depth_topic: str | None
) -> str:
    kinds = {x.topic: x.msgtype for x in reader.connections}
    images = {
        topic for topic, kind in kinds.items()
        if kind in (_IMAGE, _COMPRESSED) and not topic.endswith("/compressedDepth")
    }  # fmt: skip
    if wanted is not None:
        if wanted not in images:
            raise SourceError(f"{path}: no image topic {wanted}; it has {_listing(images)}")
        return wanted
    # The compressed sibling of a raw topic shows the same frames.
    distinct = {t for t in images if _raw_topic(t) not in images - {t}}
    if depth_topic is not None:
        distinct = {t for t in distinct if _raw_topic(t) != _raw_topic(depth_topic)}
    if len(distinct) != 1:
        hint = "; choose one with --topic" if distinct else ""
        raise SourceError(
            f"{path}: {len(distinct)} image topics where one is needed: {_listing(distinct)}{hint}"
        )
    return distinct.pop()


def _raw_topic(topic: str) -> str:
    """The raw sibling of a topic of compressed images."""
    for end in COMPRESSED_ENDS:
        topic = topic.removesuffix(end)
    return topic


def _check_depth_topic(path: Path, reader: AnyReader, wanted: str | None) -> str | None:
    images = {x.topic for x in reader.connections if x.msgtype in (_IMAGE, _COMPRESSED)}
    if wanted is not None and wanted not in images:
        raise SourceError(f"{path}: no image topic {wanted}; it has {_listing(images)}")
    return wanted


def _choose_info_topic(
    path: Path, reader: AnyReader, image_topic: str, wanted: str | None
) -> str | None:
    infos = {x.topic for x in reader.connections if x.msgtype == _INFO}
    if wanted is not None:
        if wanted not in infos:
            raise SourceError(f"{path}: no CameraInfo topic {wanted}; it has {_listing(infos)}")
        return wanted
    base = _raw_topic(image_topic).rpartition("/")[0]
    if f"{base}/camera_info" in infos:
        return f"{base}/camera_info"
    return infos.pop() if len(infos) == 1 else None


def _first_info(reader: AnyReader, topic: str | None) -> Any:
    """The first CameraInfo, None without."""
    connections = [x for x in reader.connections if x.topic == topic]
    if not connections:
        return None
    for connection, _, data in reader.messages(connections):
        return reader.deserialize(data, connection.msgtype)
    return None


def _listing(topics: set[str]) -> str:
    return ", ".join(sorted(topics)) or "none"
