"""Images, depth and our features in, what rtabmap maps from out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo

from superglue_ros.errors import MessageError
from superglue_ros.msg import Features
from superglue_ros.nodes.conversions import AnyImage, features_from_message, stamp_to_ns
from superglue_ros.nodes.health import (
    Problems,
    Rate,
    diagnose_regularly,
    diagnostics,
)
from superglue_ros.nodes.image_inputs import WatchedImages
from superglue_ros.nodes.pairing import Synchronizer
from superglue_ros.nodes.parameters import NodeParameters
from superglue_ros.nodes.rtabmap_messages import import_rtabmap_msgs, rgbd_image
from superglue_ros.nodes.rtabmap_options import RtabmapNodeOptions
from superglue_ros.nodes.running import run_node
from superglue_ros.nodes.subscribing import CameraInfoSubscription, subscribe
from superglue_ros.nodes.watchdog import TopicWatchdog

QUEUE_SIZE = 60
"""Images that wait for their features: two seconds of them, as a matcher on a CPU may be late."""
IMAGES_QUEUE_SIZE = 10
FEATURES_QUEUE_SIZE = 10
_EARLY = 0.9
"""Share of the period between two messages from which on the next image is taken: the camera's
own period is hardly a whole part of it."""


class RtabmapNode(Node):
    """Joins each image with its features and its depth, or its right image.

    Subscribes image, camera_info, features and depth, or with use_stereo image_right and
    camera_info_right; publishes ~/rgbd_image and /diagnostics. Raises SuperGlueRosError without
    rtabmap_msgs, ValueError where its parameters do not suit.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("rtabmap_node", **options)
        self._options = NodeParameters(self, fixed=[RtabmapNodeOptions]).get(RtabmapNodeOptions)
        self._messages = import_rtabmap_msgs()
        self._problems = Problems(self.get_logger().warning)
        self._received, self._sent = Rate(), Rate()
        self._cameras: dict[str, CameraInfo] = {}
        self._last_ns: int | None = None
        self._rgbd_out = self.create_publisher(self._messages.RGBDImage, "~/rgbd_image", 10)
        self._diagnostics_out = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._listen()
        diagnose_regularly(self, self._check_topics)

    def _listen(self) -> None:
        self._joined = Synchronizer(3, QUEUE_SIZE, self._options.tolerance_s, self._on_joined)
        other = "image_right" if self._options.use_stereo else "depth"
        report = self._problems.report
        self._images, self._depths = (
            WatchedImages(self, topic, partial(self._joined.add, place), IMAGES_QUEUE_SIZE, report)
            for place, topic in enumerate(("image", other))
        )
        self._watchdog = TopicWatchdog(self, "features", Features, from_matcher=True)

        def on_features(message: Features) -> None:
            self._received.tick()
            self._joined.add(2, message)

        subscribe(self, Features, "features", on_features, FEATURES_QUEUE_SIZE)
        for topic in set(self._camera_topics):
            CameraInfoSubscription(self, topic, partial(self._cameras.__setitem__, topic))

    @property
    def _camera_topics(self) -> tuple[str, str]:
        """Of the image, and of the other one: registered depth is of the same camera."""
        return "camera_info", "camera_info_right" if self._options.use_stereo else "camera_info"

    def _on_joined(self, image: AnyImage, depth: AnyImage, message: Features) -> None:
        stamp_ns = stamp_to_ns(message.header.stamp)
        if not self._is_due(stamp_ns):
            return
        problem = ""
        if stamp_to_ns(image.header.stamp) != stamp_ns:
            problem = "features of another image"
        elif missing := [topic for topic in self._camera_topics if topic not in self._cameras]:
            problem = f"no CameraInfo on {self.resolve_topic_name(missing[0])} yet"
        elif not message.scores:
            # From a first image without features rtabmap would take its own for good.
            problem = "an image without features"
        if problem:
            self._problems.report(problem, f"nothing for rtabmap: {problem}")
            return
        try:
            features = features_from_message(message)
        except MessageError as error:
            self._problems.report("bad message", f"message dropped: {error}")
            return
        first, second = (self._cameras[topic] for topic in self._camera_topics)
        self._rgbd_out.publish(rgbd_image(self._messages, image, depth, (first, second), features))
        self._sent.tick()
        self._last_ns = stamp_ns

    def _is_due(self, stamp_ns: int) -> bool:
        """Whether it is time for the next message, or time has jumped back."""
        if self._last_ns is None or not self._options.rate_hz or stamp_ns < self._last_ns:
            return True
        return stamp_ns - self._last_ns >= _EARLY * 1e9 / self._options.rate_hz

    def _check_topics(self) -> None:
        for images in (self._images, self._depths):
            images.look_after()
        if not self._received.count:
            self._watchdog.check()
        counts = self._problems.counts
        values: dict[str, object] = {
            "images received": self._images.received.count,
            "depth or right images received": self._depths.received.count,
            "features received": self._received.count,
            "messages sent": self._sent.count,
            "rate [Hz]": f"{self._sent.per_second():.2f}",
            "camera_info": "received" if self._cameras else "none yet",
        }
        values.update({f"problem: {cause}": n for cause, n in counts.items()})
        problem = "" if self._sent.count else "nothing sent yet"
        if silent_s := self._received.silent_s():
            problem = f"no features for {silent_s:.0f} s"
        stamp = self.get_clock().now().to_msg()
        name = self.get_fully_qualified_name()
        self._diagnostics_out.publish(diagnostics(stamp, name, "", problem, values))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until it is told to stop."""
    return run_node(RtabmapNode, arguments)
