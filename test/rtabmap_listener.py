"""Writes what rtabmap would read of the first RGBDImage on a topic: python FILE TOPIC OUTPUT.

A process of its own, as rtabmap_msgs may lie where this one's libraries are not looked for.
"""

from __future__ import annotations

import sys
import zlib

import numpy as np


def uncompressed(data: bytes) -> np.ndarray:
    """As rtabmap reads it: the last three int32 are rows, columns and OpenCV's type."""
    rows, columns, kind = np.frombuffer(data[-12:], np.int32)
    assert kind == 5
    # rtabmap gives zlib all bytes, also those after the stream's end, which it leaves alone.
    stream = zlib.decompressobj()
    values = np.frombuffer(stream.decompress(data), np.float32)
    assert stream.eof
    assert len(stream.unused_data) == 12
    return values.reshape(rows, columns)


def main() -> None:
    import rclpy
    from rtabmap_msgs.msg import RGBDImage

    topic, output = sys.argv[1:]
    rclpy.init()
    node = rclpy.create_node("rtabmap")
    received: list[RGBDImage] = []
    node.create_subscription(RGBDImage, topic, received.append, 10)
    while not received:
        rclpy.spin_once(node, timeout_sec=1.0)
    message = received[0]
    points = [(k.pt.x, k.pt.y) for k in message.key_points]
    np.savez(
        output,
        keypoints=np.array(points, np.float32),
        responses=np.array([k.response for k in message.key_points], np.float32),
        class_ids=[k.class_id for k in message.key_points],
        sizes=[k.size for k in message.key_points],
        points=len(message.points),
        descriptors=uncompressed(bytes(message.descriptors)),
        stamps=[
            h.stamp.sec
            for h in (message.header, message.rgb.header, message.rgb_camera_info.header)
        ],
        frame=message.header.frame_id,
        rgb=np.array(message.rgb.data),
        depth=np.frombuffer(bytes(message.depth.data), np.uint16),
        focals=[message.rgb_camera_info.k[0], message.depth_camera_info.k[0]],
    )
    rclpy.shutdown()


if __name__ == "__main__":
    main()
