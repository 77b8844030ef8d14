"""Camera images in, matches against keyframes out."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import rclpy
import torch
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from superglue_ros.errors import EngineError, ImageError, SuperGlueRosError
from superglue_ros.matching import (
    ImageMatcher,
    KeyframeMatcher,
    KeyframePolicy,
    MatcherConfig,
    draw_matches,
)
from superglue_ros.msg import Features
from superglue_ros.nodes.camera_infos import problem_of
from superglue_ros.nodes.conversions import (
    AnyImage,
    camera_from_message,
    features_message,
    frame_from_image,
    matches_message,
    stamp_to_ns,
)
from superglue_ros.nodes.decoding import make_decoder
from superglue_ros.nodes.health import diagnose_regularly
from superglue_ros.nodes.image_inputs import image_input
from superglue_ros.nodes.mailbox import Mailbox
from superglue_ros.nodes.matcher_diagnostics import MatcherDiagnostics
from superglue_ros.nodes.matches_link import HandOver, MatchesOutput
from superglue_ros.nodes.options import MatcherNodeOptions
from superglue_ros.nodes.parameters import NodeParameters
from superglue_ros.nodes.right_camera import RECTIFY
from superglue_ros.nodes.running import run_node
from superglue_ros.nodes.subscribing import CameraInfoSubscription
from superglue_ros.nodes.worker import Worker
from superglue_ros.sources import GrayRange, ImageOptions
from superglue_ros.types import Frame, FrameMatches, ImageArray

WARM_UP_SHAPE = (480, 640)
MOST_FAILURES = 20
"""So many defects in a row, and nothing will be matched any more: a GPU's context that is broken
stays so for the process. Whoever started the node can start it again."""


class MatcherNode(Node):
    """Matches the newest image against the keyframe in a worker thread.

    Subscribes image and camera_info, and image_right with use_stereo; publishes ~/matches,
    ~/features and ~/match_picture (where someone listens) and /diagnostics; ~/reset gives the
    keyframe up. Raises ValueError, CheckpointError, DeviceError or EngineError where its
    parameters do not suit. hand_over: of the matches to an odometry in this process.
    """

    def __init__(self, hand_over: HandOver | None = None, **options: Any) -> None:
        super().__init__("matcher_node", **options)
        self._matches_out = MatchesOutput(self, hand_over)
        self._settings = NodeParameters(
            self,
            fixed=[MatcherConfig, MatcherNodeOptions, ImageOptions],
            live=[KeyframePolicy],
            on_change=self._change_policy,
        )
        gray = GrayRange(self._settings.get(ImageOptions).image_bits, self.get_logger().warning)
        self._decoder = make_decoder(self._settings.get(MatcherNodeOptions).decoder, gray)
        # Before the weights are loaded: whoever waits for matches sees that they are to come.
        self._publish_to_topics()
        self.exit_status = 0
        self._diagnostics = MatcherDiagnostics(self, gray)
        self._problems = self._diagnostics.problems
        self._keyframe_header = Header()
        self._reset_asked = threading.Event()
        self._mailbox: Mailbox[tuple[AnyImage, AnyImage | None, float]] = Mailbox()
        self._worker = Worker("matcher", self._make_matcher, self._work)
        try:
            self._worker.wait_until_made()
        except BaseException:
            self.close()
            raise
        self._listen()
        core = self._matcher.matcher
        self.get_logger().info(
            f"matching on {core.device} in {core.precision} with {core.model} "
            f"({core.weights_hash})"
        )

    def _publish_to_topics(self) -> None:
        self._features_out = self.create_publisher(Features, "~/features", 2)
        self._picture_out = self.create_publisher(Image, "~/match_picture", 2)
        self.create_service(Trigger, "~/reset", self._on_reset)
        diagnose_regularly(self, self._check_topics)

    def _listen(self) -> None:
        CameraInfoSubscription(self, "camera_info", self._on_camera_info)
        options = self._settings.get(MatcherNodeOptions)
        report, drop = self._problems.report, self._diagnostics.drop_other
        self._images_in = image_input(self, options, self._on_image, report, drop)

    def _change_policy(self) -> None:
        self._matcher.policy = self._settings.get(KeyframePolicy)

    def _on_camera_info(self, message: CameraInfo) -> None:
        self._diagnostics.num_camera_infos += 1
        self._diagnostics.num_unusable_infos += bool(problem_of(camera_from_message(message)))

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._reset_asked.set()
        response.success, response.message = True, "starting anew with the next image"
        return response

    def _on_image(self, message: AnyImage, right: AnyImage | None = None) -> None:
        self._diagnostics.received.tick()
        if self._mailbox.put((message, right, time.monotonic())):
            self._diagnostics.count_replaced()

    def _work(self) -> None:
        """Match the newest image, until the mailbox closes; no image ends it."""
        failures = 0
        while (item := self._mailbox.take()) is not None:
            try:
                self._process(*item)
            except SuperGlueRosError as error:
                self._diagnostics.drop(str(error), f"image dropped: {error}")
            except Exception as error:
                if not self.context.ok():
                    return  # told to stop meanwhile: nothing can be published any more
                self._matcher.reset()
                text = " ".join(str(error).split())
                name = type(error).__name__
                self._diagnostics.drop(name, f"image dropped: {name}: {text}")
                # Memory may be free again in a while.
                failures += not isinstance(error, torch.OutOfMemoryError)
                if failures == MOST_FAILURES:
                    self._give_up(f"{failures} failures in a row, the last {text}")
                    return
            else:
                failures = 0
                self._diagnostics.matched.tick()

    def _give_up(self, text: str) -> None:
        self.exit_status = 1
        self.get_logger().fatal(text)
        rclpy.try_shutdown(context=self.context)

    def _make_matcher(self) -> None:
        core = ImageMatcher.from_config(self._settings.get(MatcherConfig))
        self._matcher = KeyframeMatcher(core, self._settings.get(KeyframePolicy))
        try:
            # In the worker's thread: cuDNN's plans are a thread's own.
            warm_up(core)
        except EngineError as error:
            # Built for smaller images than the noise; those that come may well suit.
            self.get_logger().warning(f"not warmed up: {error}")

    def _process(self, message: AnyImage, right: AnyImage | None, arrived: float) -> None:
        if self._reset_asked.is_set():
            self._reset_asked.clear()
            self._matcher.reset()
            self.get_logger().info("reset: starting anew")
        frame = frame_from_image(message, self._decoder.image)
        keyframe_image = self._matcher.keyframe_image
        matches = self._matcher.process(frame)
        known = matches.keyframe_stamp_ns == stamp_to_ns(self._keyframe_header.stamp)
        keyframe_header = self._keyframe_header if known else message.header
        self._matches_out.publish(matches_message(matches, message.header, keyframe_header))
        self._diagnostics.add(matches, (time.monotonic() - arrived) * 1e3)
        if matches.is_keyframe:
            self._keyframe_header = message.header
        if reason := matches.restart_reason:
            self._problems.report(reason, f"{reason}: starting anew")
        if not matches.stamp_ns:
            text = "images without a stamp: no speed, no ages, and every pose at the time 0"
            self._problems.report("no stamp", text)
        self._publish_views(message.header, frame, matches, keyframe_image)
        if matches.is_keyframe and right is not None:
            self._search(right)

    def _search(self, right: AnyImage) -> None:
        """Find the keyframe's points in its right image, once its matches are out."""
        started = time.perf_counter()
        try:
            self._matcher.search_right_image(self._decoder.image(right))
        except ImageError as error:
            text = f"a keyframe without right points: {error}; {RECTIFY}"
            self._problems.report(str(error), text)
        self._diagnostics.search.add((time.perf_counter() - started) * 1e3)

    def _publish_views(
        self, header: Header, frame: Frame, matches: FrameMatches, keyframe: ImageArray | None
    ) -> None:
        """Publish what is costly, where someone listens."""
        if self._features_out.get_subscription_count():
            features = self._matcher.last_features
            if features is not None:
                self._features_out.publish(features_message(features, header))
        if self._picture_out.get_subscription_count():
            picture = draw_matches(
                frame.image if keyframe is None else keyframe,
                frame.image,
                matches.keyframe_points,
                matches.points,
                matches.confidences,
            )
            self._picture_out.publish(self._decoder.message(picture, header))

    def _check_topics(self) -> None:
        self._images_in.look_after()
        listeners = self._matches_out.get_subscription_count()
        self._diagnostics.publish(self._matcher.matcher, listeners)

    def close(self) -> None:
        """End the worker once its image is done, or leave it behind where that takes too long."""
        self._mailbox.close()
        self._worker.end()


def warm_up(matcher: ImageMatcher) -> None:
    """Match noise, so that the first real image does not wait for kernels to be loaded."""
    noise = np.random.default_rng(0).integers(0, 256, WARM_UP_SHAPE, np.uint8)
    matcher.match(noise, noise)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until it is told to stop."""
    return run_node(MatcherNode, arguments)
