"""One door to every kind of source."""

from __future__ import annotations

from pathlib import Path

from superglue_ros.errors import SourceError
from superglue_ros.sources.bag_files import BAG_SUFFIXES, is_bag
from superglue_ros.sources.bag_pairs import StereoBagSource
from superglue_ros.sources.bags import BagSource
from superglue_ros.sources.folders import open_folder
from superglue_ros.sources.source import FrameSource
from superglue_ros.sources.video import VIDEO_SUFFIXES, VideoSource


def open_source(
    path: str | Path,
    *,
    topic: str | None = None,
    camera_info_topic: str | None = None,
    calibration: str | Path | None = None,
    depth_topic: str | None = None,
    right_topic: str | None = None,
    rectify: bool = False,
    image_bits: int = 0,
) -> FrameSource:
    """Frames of a bag, a video or a folder of images in one of the layouts of docs/sources.md.

    topic, camera_info_topic: of a bag, where it has more than one; depth_topic: of a bag's depth
    images, right_topic: of its right ones, none by default; rectify: make pairs of a folder that
    were not taken rectified such; calibration: a file that replaces the source's own; image_bits:
    see `ImageOptions`. Raises SourceError.
    """
    path = Path(path)
    calibration = Path(calibration) if calibration is not None else None
    if not path.exists():
        raise SourceError(f"{path} does not exist")
    if right_topic is not None and is_bag(path):
        if topic is None or calibration is not None or depth_topic is not None:
            raise SourceError("--right-topic needs --topic, and no --calibration or --depth-topic")
        return StereoBagSource(path, topic, right_topic, camera_info_topic, image_bits)
    if is_bag(path):
        return BagSource(
            path,
            topic=topic,
            camera_info_topic=camera_info_topic,
            calibration=calibration,
            depth_topic=depth_topic,
            image_bits=image_bits,
        )
    if any(name is not None for name in (topic, camera_info_topic, depth_topic, right_topic)):
        raise SourceError(f"{path} is no bag and has no topics")
    if path.is_dir():
        source = open_folder(path, calibration)
        source.image_bits = image_bits
        if rectify:
            source.rectify()
        return source
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return VideoSource(path, calibration)
    raise SourceError(
        f"{path} is neither a folder, a bag ({' '.join(BAG_SUFFIXES)}) "
        f"nor a video ({' '.join(VIDEO_SUFFIXES)})"
    )
