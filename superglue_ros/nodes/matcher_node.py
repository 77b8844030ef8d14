"""Camera images in, matches against keyframes out."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
import rclpy
import torch
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from superglue_ros.errors import EngineError, SuperGlueRosError
from superglue_ros.matching import (
    ImageMatcher,
    KeyframeMatcher,
    KeyframePolicy,
    MatcherConfig,
    draw_matches,
)
from superglue_ros.msg import Features, Matches
from superglue_ros.nodes.conversions import (
    AnyImage,
    camera_from_message,
    features_message,
    frame_from_image,
    image_message,
    matches_message,
    stamp_to_ns,
)
from superglue_ros.nodes.health import (
    OVERHEAD,
    Awaited,
    Milliseconds,
    Problems,
    Rate,
    diagnose_regularly,
    diagnostics,
)
from superglue_ros.nodes.mailbox import Mailbox
from superglue_ros.nodes.parameters import NodeParameters
from superglue_ros.nodes.running import run_node
from superglue_ros.nodes.subscribing import ImageSubscription, message_type
from superglue_ros.types import CameraModel, Frame, FrameMatches, ImageArray

NEWER = "a newer image came"
MATCHES_DEPTH = 50
IMAGES_DEPTH = 5
WARM_UP_SHAPE = (480, 640)
MOST_FAILURES = 20
"""So many defects in a row, and nothing will be matched any more: a GPU's context that is broken
stays so for the process. Whoever started the node can start it again."""


class MatcherNode(Node):
    """Matches the newest image against the keyframe in a worker thread.

    Subscribes image and camera_info; publishes ~/matches, ~/features and ~/match_picture (where
    someone listens) and /diagnostics. Raises ValueError, CheckpointError, DeviceError or
    EngineError where its parameters do not suit.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("matcher_node", **options)
        self._settings = NodeParameters(
            self, fixed=[MatcherConfig], live=[KeyframePolicy], on_change=self._change_policy
        )
        core = ImageMatcher.from_config(self._settings.get(MatcherConfig))
        self._matcher = KeyframeMatcher(core, self._settings.get(KeyframePolicy))
        self.exit_status = 0
        self._problems = Problems(self.get_logger().warning)
        self._received, self._matched = Rate(), Rate()
        self._latency, self._overhead = Milliseconds(), Milliseconds()
        self._extract, self._match = Milliseconds(), Milliseconds()
        self._camera: CameraModel | None = None
        self._keyframe_header = Header()
        self._last: FrameMatches | None = None
        self._problems_shown, self._matched_shown = 0, 0
        self._mailbox: Mailbox[tuple[AnyImage, float]] = Mailbox()
        self._warmed_up: Future[None] = Future()
        self._worker = threading.Thread(target=self._work, name="matcher", daemon=True)
        self._worker.start()
        self._warmed_up.result()
        self._publish_to_topics()
        self._listen()
        self.get_logger().info(
            f"matching on {core.device} in {core.precision} with {core.model} "
            f"({core.weights_hash})"
        )

    def _publish_to_topics(self) -> None:
        reliable = QoSProfile(depth=MATCHES_DEPTH)
        self._matches_out = self.create_publisher(Matches, "~/matches", reliable)
        self._features_out = self.create_publisher(Features, "~/features", 2)
        self._picture_out = self.create_publisher(Image, "~/match_picture", 2)
        self._diagnostics_out = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        diagnose_regularly(self, self._look_around)

    def _listen(self) -> None:
        self.create_subscription(
            CameraInfo,
            "camera_info",
            self._on_camera_info,
            qos_profile_sensor_data,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._awaited = Awaited(self, "image", message_type(self.resolve_topic_name("image")))
        self._images_in = ImageSubscription(self, "image", self._on_image, IMAGES_DEPTH)

    def _change_policy(self) -> None:
        self._matcher.policy = self._settings.get(KeyframePolicy)

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._camera = camera_from_message(message)

    def _on_image(self, message: AnyImage) -> None:
        self._received.tick()
        if self._mailbox.put((message, time.monotonic())):
            self._problems.count(NEWER)

    def _work(self) -> None:
        """Match the newest image, until the mailbox closes; no image ends it."""
        try:
            # In this thread: cuDNN's plans are a thread's own.
            self._warm_up()
        except Exception as error:
            self._warmed_up.set_exception(error)
            return
        self._warmed_up.set_result(None)
        failures = 0
        while (item := self._mailbox.take()) is not None:
            message, arrived = item
            try:
                self._process(message, arrived)
            except SuperGlueRosError as error:
                self._problems.report(str(error), f"image dropped: {error}")
            except Exception as error:
                if not self.context.ok():
                    return  # told to stop meanwhile: nothing can be published any more
                self._matcher.reset()
                text = " ".join(str(error).split())
                self._problems.report(
                    type(error).__name__, f"image dropped: {type(error).__name__}: {text}"
                )
                # Memory may be free again in a while.
                failures += not isinstance(error, torch.OutOfMemoryError)
                if failures == MOST_FAILURES:
                    self._give_up(f"{failures} failures in a row, the last {text}")
                    return
            else:
                failures = 0
                self._matched.tick()

    def _give_up(self, text: str) -> None:
        self.exit_status = 1
        self.get_logger().fatal(text)
        rclpy.try_shutdown(context=self.context)

    def _warm_up(self) -> None:
        try:
            warm_up(self._matcher.matcher)
        except EngineError as error:
            # Built for smaller images than the noise; those that come may well suit.
            self.get_logger().warning(f"not warmed up: {error}")

    def _process(self, message: AnyImage, arrived: float) -> None:
        frame = frame_from_image(message, self._camera)
        keyframe_image = self._matcher.keyframe_image
        matches = self._matcher.process(frame)
        known = matches.keyframe_stamp_ns == stamp_to_ns(self._keyframe_header.stamp)
        keyframe_header = self._keyframe_header if known else message.header
        self._matches_out.publish(matches_message(matches, message.header, keyframe_header))
        latency_ms = (time.monotonic() - arrived) * 1e3
        self._latency.add(latency_ms)
        self._overhead.add(latency_ms - matches.extract_ms - matches.match_ms)
        if matches.is_keyframe:
            self._keyframe_header = message.header
        if reason := matches.restart_reason:
            self._problems.report(reason, f"{reason}: starting anew")
        if not matches.stamp_ns:
            text = "images without a stamp: no speed, no ages, and every pose at the time 0"
            self._problems.report("no stamp", text)
        self._last = matches
        self._extract.add(matches.extract_ms)
        self._match.add(matches.match_ms)
        self._publish_views(message.header, frame, matches, keyframe_image)

    def _publish_views(
        self,
        header: Header,
        frame: Frame,
        matches: FrameMatches,
        keyframe_image: ImageArray | None,
    ) -> None:
        """Publish what is costly, where someone listens."""
        if self._features_out.get_subscription_count():
            features = self._matcher.last_features
            if features is not None:
                self._features_out.publish(features_message(features, header))
        if self._picture_out.get_subscription_count():
            picture = draw_matches(
                frame.image if keyframe_image is None else keyframe_image,
                frame.image,
                matches.keyframe_points,
                matches.points,
                matches.confidences,
            )
            self._picture_out.publish(image_message(picture, header))

    def _look_around(self) -> None:
        self._images_in.follow()
        if not self._received.count:
            self._awaited.look()
        self._publish_diagnostics()

    def _publish_diagnostics(self) -> None:
        core, last, counts = self._matcher.matcher, self._last, self._problems.counts
        values: dict[str, object] = {
            "images received": self._received.count,
            "images matched": self._matched.count,
            "rate in [Hz]": f"{self._received.per_second():.2f}",
            "rate out [Hz]": f"{self._matched.per_second():.2f}",
            "latency": self._latency,
            OVERHEAD: self._overhead,
            "extract": self._extract,
            "match": self._match,
            "listeners": self._matches_out.get_subscription_count(),
            "matches": len(last) if last is not None else 0,
            "features": last.num_features if last is not None else 0,
            "keyframe": last.keyframe_id if last is not None else 0,
            "camera_info": "received" if self._camera else "none yet",
            "device": core.device,
            "precision": core.precision,
            "model": core.model,
            "weights": core.weights_hash,
        }
        values.update(
            {
                f"problem: {cause}" if cause != NEWER else "dropped: " + NEWER: n
                for cause, n in counts.items()
            }
        )
        wrong = sum(n for cause, n in counts.items() if cause != NEWER)
        problem = "" if self._received.count else "no image yet"
        if silent_s := self._received.silent_s():
            problem = f"no image for {silent_s:.0f} s"
        failing = False
        if wrong > self._problems_shown:
            problem = f"{wrong - self._problems_shown} new problems"
            failing = self._matched.count == self._matched_shown
        self._problems_shown, self._matched_shown = wrong, self._matched.count
        stamp = self.get_clock().now().to_msg()
        name = self.get_fully_qualified_name()
        self._diagnostics_out.publish(
            diagnostics(stamp, name, core.device, problem, values, failing)
        )

    def close(self) -> None:
        """End the worker once its image is done."""
        self._mailbox.close()
        self._worker.join()


def warm_up(matcher: ImageMatcher) -> None:
    """Match noise, so that the first real image does not wait for kernels to be loaded."""
    noise = np.random.default_rng(0).integers(0, 256, WARM_UP_SHAPE, np.uint8)
    matcher.match(noise, noise)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until it is told to stop."""
    return run_node(MatcherNode, arguments)
