"""Images in, where they are in a map out."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped, TransformStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from superglue_ros.errors import CameraError, SuperGlueRosError
from superglue_ros.geometry import check_camera, check_camera_fits
from superglue_ros.mapping import LocalizerConfig, MapLocalizer, read_map
from superglue_ros.matching import ImageMatcher, MatcherConfig
from superglue_ros.nodes.camera_infos import CameraInfos
from superglue_ros.nodes.camera_mount import CameraMount
from superglue_ros.nodes.conversions import AnyImage, stamp_to_ns
from superglue_ros.nodes.health import (
    Milliseconds,
    Problems,
    Rate,
    diagnose_regularly,
    diagnostics,
)
from superglue_ros.nodes.image_inputs import WatchedImages
from superglue_ros.nodes.localization_options import LocalizationNodeOptions
from superglue_ros.nodes.mailbox import Mailbox
from superglue_ros.nodes.odometry_messages import pose_from_message, pose_message
from superglue_ros.nodes.odometry_publisher import make_broadcaster
from superglue_ros.nodes.parameters import NodeParameters
from superglue_ros.nodes.running import run_node
from superglue_ros.nodes.subscribing import CameraInfoSubscription, subscribe
from superglue_ros.nodes.worker import Worker
from superglue_ros.odometry.base_frame import BaseFrame
from superglue_ros.sources import GrayRange, ImageOptions
from superglue_ros.sources.encodings import image_of_message
from superglue_ros.types import FloatArray, Pose

IMAGES_QUEUE_SIZE = 5
ODOMETRY_QUEUE_SIZE = 50
ODOMETRY_KEPT = 300
"""Poses of the odometry that an image's is looked for among: localisation takes a while."""


class LocalizationNode(Node):
    """Looks for images in a map, in a worker thread, and says where it is sure.

    Subscribes image and camera_info, and odometry with publish_tf; publishes ~/pose, the transform
    of the odometry's frame in the map, and /diagnostics; ~/localize looks for the next image at
    once. Raises ValueError or SuperGlueRosError where its parameters do not suit.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("localization_node", **options)
        self._settings = NodeParameters(
            self, fixed=[LocalizationNodeOptions, LocalizerConfig, MatcherConfig, ImageOptions]
        )
        self._options = self._settings.get(LocalizationNodeOptions)
        self._gray = GrayRange(
            self._settings.get(ImageOptions).image_bits, self.get_logger().warning
        )
        base = self._options.base
        self._mount = CameraMount(self, base, self._options.base_to_camera) if base else None
        self._problems = Problems(self.get_logger().warning)
        self._asked, self._found, self._took = Rate(), Rate(), Milliseconds()
        self._last = ""
        self._infos = CameraInfos(self._problems.report, self._options.rectified)
        self._asked_for = threading.Event()
        self._looked_at = -float("inf")
        self._odometry: dict[int, Odometry] = {}
        self._map_to_odom: Pose | None = None
        self._tf = make_broadcaster(self) if self._options.publish_tf else None
        self._poses_out = self.create_publisher(PoseWithCovarianceStamped, "~/pose", 10)
        self._diagnostics_out = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._mailbox: Mailbox[AnyImage] = Mailbox()
        self._worker = Worker("localizer", self._make_localizer, self._work)
        try:
            self._worker.wait_until_made()
        except BaseException:
            self.close()
            raise
        self._listen()
        self.create_service(Trigger, "~/localize", self._on_localize)
        diagnose_regularly(self, self._check_topics)

    def _make_localizer(self) -> None:
        keyframe_map = read_map(self._options.map)
        if self._options.publish_tf and not keyframe_map.is_metric:
            raise ValueError("publish_tf needs a map in metres: made with depth, stereo or poses")
        matcher = ImageMatcher.from_config(self._settings.get(MatcherConfig))
        config = self._settings.get(LocalizerConfig)
        self._localizer = MapLocalizer(matcher, keyframe_map, config)

    def _listen(self) -> None:
        report = self._problems.report
        self._images = WatchedImages(self, "image", self._on_image, IMAGES_QUEUE_SIZE, report)
        CameraInfoSubscription(self, "camera_info", self._on_camera_info)
        if self._options.publish_tf:
            subscribe(self, Odometry, "odometry", self._on_odometry, ODOMETRY_QUEUE_SIZE)

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._infos.add(message)

    def _on_localize(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        self._asked_for.set()
        response.success, response.message = True, "looking for the next image"
        return response

    def _on_image(self, message: AnyImage) -> None:
        now, rate_hz = time.monotonic(), self._options.rate_hz
        due = rate_hz > 0 and now - self._looked_at >= 1 / rate_hz
        if due or self._asked_for.is_set():
            self._asked_for.clear()
            self._looked_at = now
            self._mailbox.put(message)

    def _on_odometry(self, message: Odometry) -> None:
        self._odometry[stamp_to_ns(message.header.stamp)] = message
        while len(self._odometry) > ODOMETRY_KEPT:
            del self._odometry[next(iter(self._odometry))]
        if self._tf is not None and self._map_to_odom is not None:
            # Again with each pose, as whoever asks for its time needs both transforms.
            self._tf.sendTransform(self._transform(self._map_to_odom, message.header))

    def _work(self) -> None:
        """Look for the newest image, until the mailbox closes; no image ends it."""
        while (message := self._mailbox.take()) is not None:
            self._asked.tick()
            started = time.perf_counter()
            try:
                self._process(message)
            except SuperGlueRosError as error:
                self._last = str(error)
                self._problems.report(str(error), f"image not looked for: {error}")
            except Exception as error:
                if not self.context.ok():
                    return  # told to stop meanwhile: nothing can be published any more
                text = f"{type(error).__name__}: {error}"
                self._problems.report(type(error).__name__, f"image dropped: {text}")
            self._took.add((time.perf_counter() - started) * 1e3)

    def _process(self, message: AnyImage) -> None:
        camera = self._infos.of(message.header.frame_id)
        if camera is None:
            raise CameraError(f"no CameraInfo on {self.resolve_topic_name('camera_info')} yet")
        check_camera(camera)
        image = image_of_message(message, self._gray)
        check_camera_fits(camera, (image.shape[1], image.shape[0]))
        base = BaseFrame(Pose.identity(), Pose.identity())
        if self._mount is not None:
            mounted = self._mount.of_camera(message.header)
            if mounted is None:
                self._problems.report("no transform", self._mount.problem)
                return
            base = BaseFrame(Pose.identity(), mounted)
        found = self._localizer.localize(image, camera)
        self._last = found.reason or f"{found.inliers} landmarks agree"
        if found.pose is not None and found.covariance is not None:
            self._found.tick()
            covariance = base.covariance(found.pose, found.covariance)
            self._publish(base.pose(found.pose), covariance, message.header)

    def _publish(self, pose: Pose, covariance: FloatArray, image: Header) -> None:
        message = PoseWithCovarianceStamped(
            header=Header(stamp=image.stamp, frame_id=self._options.map_frame)
        )
        message.pose.pose = pose_message(pose)
        message.pose.covariance = covariance.ravel()
        self._poses_out.publish(message)
        if self._tf is None:
            return
        odometry = self._odometry.get(stamp_to_ns(image.stamp))
        child = self._options.base or image.frame_id
        if odometry is None:
            topic = self.resolve_topic_name("odometry")
            self._problems.report("no odometry", f"no Odometry of the image's stamp on {topic}")
        elif odometry.child_frame_id != child:
            text = f"the odometry is of {odometry.child_frame_id}, not of {child}"
            self._problems.report("another frame", text)
        else:
            self._map_to_odom = pose @ pose_from_message(odometry.pose.pose).inverse()
            self._tf.sendTransform(self._transform(self._map_to_odom, odometry.header))

    def _transform(self, map_to_odom: Pose, odometry: Header) -> TransformStamped:
        message = TransformStamped(child_frame_id=odometry.frame_id)
        message.header = Header(stamp=odometry.stamp, frame_id=self._options.map_frame)
        pose = pose_message(map_to_odom)
        translation, place = message.transform.translation, pose.position
        translation.x, translation.y, translation.z = place.x, place.y, place.z
        message.transform.rotation = pose.orientation
        return message

    def _check_topics(self) -> None:
        self._images.look_after()
        values: dict[str, object] = {
            "images received": self._images.received.count,
            "images looked for": self._asked.count,
            "images found": self._found.count,
            "localisation": self._took,
            "grey levels": self._gray,
            "last": self._last or "none yet",
        }
        counts = self._problems.counts
        values.update({f"problem: {cause}": n for cause, n in counts.items()})
        problem = "" if self._found.count else "not found yet"
        if silent_s := self._images.received.silent_s():
            problem = f"no image for {silent_s:.0f} s"
        stamp = self.get_clock().now().to_msg()
        name = self.get_fully_qualified_name()
        self._diagnostics_out.publish(diagnostics(stamp, name, "", problem, values))

    def close(self) -> None:
        """End the worker once its image is done, or leave it behind where that takes too long."""
        self._mailbox.close()
        self._worker.end()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until it is told to stop."""
    return run_node(LocalizationNode, arguments)
