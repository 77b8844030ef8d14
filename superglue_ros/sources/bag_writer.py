"""Frames to a rosbag2, without ROS."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.errors import WriterError
from rosbags.typesys import Stores, get_typestore

from superglue_ros.errors import SourceError
from superglue_ros.sources.tables import NS_PER_S
from superglue_ros.types import CameraModel, Frame

METADATA_VERSION = 5
"""Of metadata.yaml: the newest that ROS 2 Humble has, which later distributions read as well."""

_WRITTEN_VERSION: Literal[8] = 8
"""The oldest that rosbags writes. Up to it the qualities of a topic are text, as Humble wants
them; what else it has more than 5 is left out."""
_LATER_FIELDS = "custom_data", "ros_distro"
_LATER_TOPIC_FIELDS = ("type_description_hash",)

STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}


def write_bag(
    path: str | Path,
    frames: Iterable[Frame],
    *,
    image_topic: str = "/camera/image_raw",
    info_topic: str = "/camera/camera_info",
    depth_topic: str | None = None,
    right_topic: str | None = None,
    storage: str = "mcap",
) -> int:
    """Write frames as sensor_msgs/Image (mono8, bgr8), each with a CameraInfo if it has a camera.

    depth_topic, right_topic: where the frames' depths (32FC1, metres) and right images go, nowhere
    by default; a CameraInfo goes beside the right images.
    The bag is a new folder at `path`, which ROS 2 Humble plays as well as later ones (mcap by
    rosbag2_storage_mcap, which this package depends on). Returns the number of frames; raises
    SourceError if it cannot be written, ValueError for an unknown storage.
    """
    if storage not in STORAGES:
        raise ValueError(f"storage {storage!r} is none of {', '.join(STORAGES)}")
    store = get_typestore(Stores.ROS2_JAZZY)
    count = 0
    try:
        with Writer(path, version=_WRITTEN_VERSION, storage_plugin=STORAGES[storage]) as bag:
            image_type, info_type = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo"
            images = bag.add_connection(image_topic, image_type, typestore=store)
            infos = bag.add_connection(info_topic, info_type, typestore=store)
            depths = None
            if depth_topic is not None:
                depths = bag.add_connection(depth_topic, image_type, typestore=store)
            if right_topic is not None:
                beside = right_topic.rpartition("/")[0] + "/camera_info"
                rights = bag.add_connection(right_topic, image_type, typestore=store)
                right_infos = bag.add_connection(beside, info_type, typestore=store)
            for frame in frames:
                header = _header(store, frame)
                if frame.camera is not None:
                    info = _camera_info(store, header, frame.camera)
                    bag.write(infos, frame.stamp_ns, store.serialize_cdr(info, info_type))
                if depths is not None and frame.depth_m is not None:
                    depth = _image(store, header, np.asarray(frame.depth_m, np.float32), "32FC1")
                    bag.write(depths, frame.stamp_ns, store.serialize_cdr(depth, image_type))
                image = _image(store, header, frame.image)
                bag.write(images, frame.stamp_ns, store.serialize_cdr(image, image_type))
                if right_topic is not None and frame.right is not None:
                    right = _image(store, header, frame.right)
                    bag.write(rights, frame.stamp_ns, store.serialize_cdr(right, image_type))
                    if frame.camera is not None:
                        info = _camera_info(store, header, frame.camera, frame.baseline_m or 0.0)
                        data = store.serialize_cdr(info, info_type)
                        bag.write(right_infos, frame.stamp_ns, data)
                count += 1
        _write_older_metadata(Path(path) / "metadata.yaml")
    except (WriterError, OSError) as error:
        raise SourceError(f"cannot write bag {path}: {error}") from error
    return count


def _write_older_metadata(path: Path) -> None:
    """Write a bag's metadata anew, as those of METADATA_VERSION."""
    metadata = yaml.safe_load(path.read_text())
    said = metadata["rosbag2_bagfile_information"]
    said["version"] = METADATA_VERSION
    for name in _LATER_FIELDS:
        del said[name]
    for topic in said["topics_with_message_count"]:
        for name in _LATER_TOPIC_FIELDS:
            del topic["topic_metadata"][name]
    path.write_text(yaml.safe_dump(metadata, sort_keys=False))


def _header(store: Any, frame: Frame) -> Any:
    sec, nanosec = divmod(frame.stamp_ns, NS_PER_S)
    stamp = store.types["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec)
    return store.types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame.frame_id)


def _image(store: Any, header: Any, pixels: NDArray[Any], encoding: str | None = None) -> Any:
    rows = np.ascontiguousarray(pixels).view(np.uint8)
    height, width = pixels.shape[:2]
    return store.types["sensor_msgs/msg/Image"](
        header=header,
        height=height,
        width=width,
        encoding=encoding or ("mono8" if pixels.ndim == 2 else "bgr8"),
        is_bigendian=0,
        step=rows[0].size,
        data=rows.ravel(),
    )


def _camera_info(store: Any, header: Any, camera: CameraModel, baseline_m: float = 0.0) -> Any:
    projection = np.zeros((3, 4))
    projection[:, :3] = camera.matrix
    projection[0, 3] = -camera.matrix[0, 0] * baseline_m
    rectified = camera.model == "none"
    region = store.types["sensor_msgs/msg/RegionOfInterest"](
        x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
    )
    return store.types["sensor_msgs/msg/CameraInfo"](
        header=header,
        height=camera.height,
        width=camera.width,
        distortion_model="plumb_bob" if rectified else camera.model,
        d=np.zeros(5) if rectified else np.asarray(camera.distortion, float),
        k=np.asarray(camera.matrix, float).ravel(),
        r=np.eye(3).ravel(),
        p=projection.ravel(),
        binning_x=0,
        binning_y=0,
        roi=region,
    )
