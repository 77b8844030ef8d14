"""Bags of ROS 1 and ROS 2 with whatever fields a test wants, without ROS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rosbags import rosbag1, rosbag2
from rosbags.typesys import Stores, get_typestore


class BagMaker:
    """A rosbag2 or rosbag1 of image messages with whatever fields a test wants.

    options: of a rosbag2's Writer; compression: of the Writer's `set_compression`.
    """

    def __init__(
        self, path: Path, ros1: bool = False, compression: tuple = (), **options: Any
    ) -> None:
        self.ros1 = ros1
        self.store = get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_JAZZY)
        self.writer: Any = (
            rosbag1.Writer(path) if ros1 else rosbag2.Writer(path, version=9, **options)
        )
        if compression:
            self.writer.set_compression(*compression)
        self.writer.open()
        self.connections: dict[str, Any] = {}

    def header(self, stamp_ns: int) -> Any:
        time = self.store.types["builtin_interfaces/msg/Time"](
            sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9
        )
        extra = {"seq": 0} if self.ros1 else {}
        return self.store.types["std_msgs/msg/Header"](stamp=time, frame_id="cam", **extra)

    def write(self, topic: str, kind: str, logged_ns: int, **values: Any) -> None:
        message = self.store.types[kind](**values)
        serialise = self.store.serialize_ros1 if self.ros1 else self.store.serialize_cdr
        self.write_raw(topic, kind, logged_ns, bytes(serialise(message, kind)))

    def write_raw(
        self, topic: str, kind: str, logged_ns: int, data: bytes, **definition: str
    ) -> None:
        """definition: `msgdef` and `rihs01`, for types that no ROS distribution has."""
        if topic not in self.connections:
            connection = self.writer.add_connection(
                topic, kind, **(definition or {"typestore": self.store})
            )
            self.connections[topic] = connection
        self.writer.write(self.connections[topic], logged_ns, data)

    def image(
        self,
        stamp_ns: int,
        image: np.ndarray,
        topic: str = "/image",
        logged_ns: int | None = None,
        **fields: Any,
    ) -> None:
        values: dict[str, Any] = {
            "header": self.header(stamp_ns), "height": image.shape[0], "width": image.shape[1],
            "encoding": "mono8", "is_bigendian": 0, "step": image.strides[0],
            "data": np.frombuffer(image.tobytes(), np.uint8),
        }  # fmt: skip
        logged_ns = stamp_ns + 5 if logged_ns is None else logged_ns
        self.write(topic, "sensor_msgs/msg/Image", logged_ns, **values | fields)

    def compressed(
        self, stamp_ns: int, data: np.ndarray, topic: str = "/image", how: str = "jpeg"
    ) -> None:
        kind = "sensor_msgs/msg/CompressedImage"
        header = self.header(stamp_ns)
        self.write(topic, kind, stamp_ns + 5, header=header, format=how, data=data)

    def info(
        self,
        stamp_ns: int,
        matrix: np.ndarray,
        distortion: tuple[float, ...] = (),
        model: str = "plumb_bob",
        topic: str = "/camera_info",
    ) -> None:
        roi = self.store.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
        names = "DKRP" if self.ros1 else "dkrp"
        arrays = np.array(distortion), matrix.ravel(), np.eye(3).ravel(), np.zeros(12)
        self.write(
            topic, "sensor_msgs/msg/CameraInfo", stamp_ns, header=self.header(stamp_ns),
            height=32, width=48, distortion_model=model, binning_x=0, binning_y=0, roi=roi,
            **dict(zip(names, arrays)),
        )  # fmt: skip

    def close(self) -> None:
        self.writer.close()
