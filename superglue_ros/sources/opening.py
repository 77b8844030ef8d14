"""One door to every kind of source."""

from __future__ import annotations

from pathlib import Path

from superglue_ros.errors import SourceError
from superglue_ros.sources.bag_pairs import StereoBagSource
from superglue_ros.sources.bags import BAG_SUFFIXES, BagSource
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
) -> FrameSource:
    """Frames of a bag, a video or a folder (KITTI, TUM, EuRoC, plain images), as it is found.

    topic, camera_info_topic: of a bag, where it has more than one; depth_topic: of a bag's depth
    images, right_topic: of its right ones, none by default; rectify: make pairs of a folder that
    were not taken rectified such; calibration: a file that replaces the source's own (KITTI, TUM,
    EuRoC or ROS yaml). Raises SourceError.
    """
    path = Path(path)
    calibration = Path(calibration) if calibration is not None else None
    if not path.exists():
        raise SourceError(f"{path} does not exist")
    if right_topic is not None and _is_bag(path):
        if topic is None or calibration is not None or depth_topic is not None:
            raise SourceError("--right-topic needs --topic, and no --calibration or --depth-topic")
        return StereoBagSource(path, topic, right_topic, camera_info_topic)
    if _is_bag(path):
        return BagSource(
            path,
            topic=topic,
            camera_info_topic=camera_info_topic,
            calibration=calibration,
            depth_topic=depth_topic,
        )
    if any(name is not None for name in (topic, camera_info_topic, depth_topic, right_topic)):
        raise SourceError(f"{path} is no bag and has no topics")
    if path.is_dir():
        source = open_folder(path, calibration)
        if rectify:
            source.rectify()
        return source
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return VideoSource(path, calibration)
    raise SourceError(
        f"{path} is neither a folder, a bag ({' '.join(BAG_SUFFIXES)}) "
        f"nor a video ({' '.join(VIDEO_SUFFIXES)})"
    )


def _is_bag(path: Path) -> bool:
    if path.is_dir():
        return (path / "metadata.yaml").is_file() or any(
            entry.suffix in BAG_SUFFIXES for entry in path.iterdir()
        )
    return path.suffix in BAG_SUFFIXES
