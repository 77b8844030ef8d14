"""Frames of ROS 1 and ROS 2 bags, read without ROS."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from superglue_ros.errors import SourceError
from superglue_ros.sources.bag_depths import BagDepths
from superglue_ros.sources.bag_files import BagFiles
from superglue_ros.sources.bag_reader import BagReader, Topic
from superglue_ros.sources.calibration import camera_from_info, load_calibration
from superglue_ros.sources.encodings import COMPRESSED_ENDS, image_of_message
from superglue_ros.sources.gray_range import GrayRange
from superglue_ros.sources.tables import stamps_repeat
from superglue_ros.types import CameraModel, Frame, ImageArray

logger = logging.getLogger(__name__)

_IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
_INFO = "sensor_msgs/msg/CameraInfo"

_STAMPS_TRIED = 30
"""Images whose stamps are looked at before it is decided whether a camera stamps at all."""
_INFOS_TRIED = 100


class BagSource:
    """Frames of one image topic of a bag, see `FrameSource`; stamps are those of the headers, or
    the times of recording where the headers' repeat.

    topic: the image topic, which may be left out where the bag has exactly one;
    camera_info_topic: by default `camera_info` beside the image topic, else the only one there is;
    calibration: a file used instead; depth_topic: of depth images registered to the images, raw
    or compressed, which go with those of nearly the same stamp; image_bits: see `ImageOptions`.
    Messages that cannot be decoded are logged, counted in `skipped`, and passed over. Raises
    SourceError.

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
        image_bits: int = 0,
    ) -> None:
        self.name = path.stem
        self.skipped = 0
        self.has_depth, self.is_stereo = depth_topic is not None, False
        self._path = path
        self._image_bits = image_bits
        self._files = BagFiles(path)
        self.camera: CameraModel | None = None
        self.info: Any = None
        info: Topic | None = None
        with BagReader(self._files.paths) as reader:
            images = [x for x in reader.topics if x.kind in _IMAGES]
            self._depth = _named(path, images, depth_topic, "image") if depth_topic else None
            self._topic = _choose_images(path, reader.topics, topic, self._depth)
            self._by_recording = self._stamps_repeat(reader)
            if calibration is None:
                infos = [x for x in reader.topics if x.kind == _INFO]
                info = _choose_info(path, infos, self._topic, camera_info_topic)
                self.info = _first_info(reader, info) if info else None
                self.camera = camera_from_info(self.info) if self.info is not None else None
        notes = [f"images: {_said(self._topic)}, of {_listing(images)}"]
        if self._depth is not None:
            notes.append(f"depth: {_said(self._depth)}")
        if len(self._files.paths) > 1:
            notes.append(f"files: {len(self._files.paths)} parts of one recording")
        if self._by_recording:
            notes.append("times: those of recording, for the stamps of the images repeat")
        if calibration is not None:
            given = load_calibration(calibration, self._first_size(), self._topic.name)
            self.camera = given.camera
            notes.append(f"calibration: {given.origin}")
        elif info is not None:
            notes.append(f"calibration: CameraInfo of {info.name}")
        self.notes = tuple(notes)

    @property
    def topic(self) -> str:
        """The image topic."""
        return self._topic.name

    def __len__(self) -> int:
        return self._topic.count

    def __iter__(self) -> Iterator[Frame]:
        return self.frames(GrayRange(self._image_bits))

    def frames(self, gray: GrayRange) -> Iterator[Frame]:
        """The frames from the first on, their images by a range of grey levels."""
        self.skipped = 0
        with ExitStack() as opened:
            reader = opened.enter_context(BagReader(self._files.paths))
            depths = None
            if self._depth is not None:
                other = opened.enter_context(BagReader(self._files.paths))
                depths = BagDepths(other, self._depth, self._by_recording)
            decode = partial(_image_and_frame, gray)
            for recorded in reader.decoded(self._topic, decode, self._skip):
                image, frame_id = recorded.value
                stamp_ns = recorded.stamp_ns(self._by_recording)
                frame = Frame(image, stamp_ns, frame_id=frame_id, camera=self.camera)
                if depths is not None:
                    frame = replace(frame, depth_m=depths.at(stamp_ns, recorded.logged_ns))
                yield frame

    def _skip(self, why: str) -> None:
        self.skipped += 1
        logger.warning("%s: %s", self.name, why)

    def _stamps_repeat(self, reader: BagReader) -> bool:
        """Whether the stamps of the first images repeat, see `stamps_repeat`."""
        # What is damaged is told of when the images are read.
        messages = reader.decoded(self._topic, lambda message: None, logger.debug)
        return stamps_repeat([x.header_ns for x in islice(messages, _STAMPS_TRIED)])

    def _first_size(self) -> tuple[int, int]:
        for frame in self:
            return frame.image.shape[1], frame.image.shape[0]
        raise SourceError(f"{self._path}: no readable image on {self.topic}")


def _choose_images(
    path: Path, topics: list[Topic], wanted: str | None, depth: Topic | None
) -> Topic:
    images = [x for x in topics if x.kind in _IMAGES and not x.name.endswith("/compressedDepth")]
    if wanted is not None:
        return _named(path, images, wanted, "image")
    # Topics that were listened to in vain, and the compressed sibling of a raw one, which shows
    # the same frames, need no choice.
    distinct = [x for x in images if x.count] or images
    names = {x.name for x in distinct}
    distinct = [x for x in distinct if _raw_name(x.name) not in names - {x.name}]
    if depth is not None:
        distinct = [x for x in distinct if _raw_name(x.name) != _raw_name(depth.name)]
    if len(distinct) == 1:
        return distinct[0]
    text = f"{len(distinct)} image topics where one is needed: {_listing(distinct)}"
    if distinct:
        raise SourceError(f"{path}: {text}; choose one with --topic")
    others = [_said(x) for x in topics[:8]]
    raise SourceError(f"{path}: {text}; it has {', '.join(others) or 'no topics'}")


def _named(path: Path, topics: list[Topic], wanted: str, what: str) -> Topic:
    for topic in topics:
        if topic.name == wanted:
            return topic
    raise SourceError(f"{path}: no {what} topic {wanted}; it has {_listing(topics)}")


def _choose_info(
    path: Path, infos: list[Topic], images: Topic, wanted: str | None
) -> Topic | None:
    if wanted is not None:
        return _named(path, infos, wanted, "CameraInfo")
    base = _raw_name(images.name).rpartition("/")[0]
    for info in infos:
        if info.name == f"{base}/camera_info":
            return info
    return infos[0] if len(infos) == 1 else None


def _first_info(reader: BagReader, topic: Topic) -> Any:
    """The first CameraInfo with a calibration, or the first; some drivers publish some before they
    have read theirs."""
    first = None
    messages = reader.decoded(topic, _info_and_calibrated, logger.warning)
    for recorded in islice(messages, _INFOS_TRIED):
        info, calibrated = recorded.value
        if calibrated:
            return info
        first = info if first is None else first
    return first


def _info_and_calibrated(message: Any) -> tuple[Any, bool]:
    return message, bool(np.any(camera_from_info(message).matrix))


def _image_and_frame(gray: GrayRange, message: Any) -> tuple[ImageArray, str]:
    return image_of_message(message, gray), message.header.frame_id or "camera"


def _raw_name(topic: str) -> str:
    """The raw sibling of a topic of compressed images."""
    for end in COMPRESSED_ENDS:
        topic = topic.removesuffix(end)
    return topic


def _said(topic: Topic) -> str:
    return f"{topic.name} ({topic.kind}, {topic.count} messages)"


def _listing(topics: list[Topic]) -> str:
    return ", ".join(sorted({topic.name for topic in topics})) or "none"
