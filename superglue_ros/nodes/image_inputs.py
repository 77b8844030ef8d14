"""The images that are matched: of one camera, or of a stereo rig in pairs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from rclpy.node import Node

from superglue_ros.errors import OtherCamera
from superglue_ros.nodes.conversions import AnyImage, stamp_to_ns
from superglue_ros.nodes.health import Rate
from superglue_ros.nodes.options import MatcherNodeOptions
from superglue_ros.nodes.pairing import Synchronizer
from superglue_ros.nodes.subscribing import ImageSubscription, message_type
from superglue_ros.nodes.watchdog import TopicWatchdog
from superglue_ros.one_camera import OneCamera

_QUEUE_SIZE = 5
_PAIRS_QUEUE_SIZE = 10


class ImageInput(Protocol):
    """Topics of images to listen to."""

    def look_after(self) -> None:
        """To be called now and then: follow the publishers, say in the log what is missing."""


class SingleImages:
    """Listens to `image`; report and frame_id: see `WatchedImages`."""

    def __init__(
        self,
        node: Node,
        take: Callable[[AnyImage], None],
        report: Callable[[str, str], None],
        frame_id: str = "",
    ) -> None:
        self._topic = WatchedImages(node, "image", take, _QUEUE_SIZE, report, frame_id)

    def look_after(self) -> None:
        """As ImageInput's."""
        self._topic.look_after()


class StereoImages:
    """Listens to `image` and `image_right`, and gives on those that were taken together.

    drop(cause, text) is told of each left image that is not given on, as no right one was taken
    when it was, and with frame_id see `WatchedImages`; report(cause, text) of right ones of
    another camera, and where images come on both topics and none of them are pairs.
    """

    def __init__(
        self,
        node: Node,
        take: Callable[[AnyImage, AnyImage], None],
        tolerance_s: float,
        report: Callable[[str, str], None],
        drop: Callable[[str, str], None],
        frame_id: str = "",
    ) -> None:
        self._take, self._tolerance_s, self._report = take, tolerance_s, report
        alone = f"image dropped: no right image within {tolerance_s:g} s of it"
        pairs = Synchronizer(
            2, _PAIRS_QUEUE_SIZE, tolerance_s, self._on_pair, lambda: drop("no right image", alone)
        )
        self._left, self._right = (
            WatchedImages(node, topic, partial(pairs.add, place), _PAIRS_QUEUE_SIZE, tell, name)
            for place, (topic, tell, name) in enumerate(
                (("image", drop, frame_id), ("image_right", report, ""))
            )
        )
        self._unpaired_since = 0, 0

    def _on_pair(self, left: AnyImage, right: AnyImage) -> None:
        self._unpaired_since = self._counts
        self._take(left, right)

    @property
    def _counts(self) -> tuple[int, int]:
        return self._left.received.count, self._right.received.count

    def look_after(self) -> None:
        """As ImageInput's."""
        self._left.look_after()
        self._right.look_after()
        apart = [now - then for now, then in zip(self._counts, self._unpaired_since)]
        if min(apart) > _PAIRS_QUEUE_SIZE:
            self._unpaired_since = self._counts
            text = f"no image and right image within {self._tolerance_s:g} s of one another"
            self._report("no pairs", f"{text}: the cameras must be triggered together")


class WatchedImages:
    """A topic of images of one camera, of which the log says when nothing has come.

    report(cause, text) is told of each image that is dropped, as it is of another camera that
    sends there too; frame_id: of the camera to listen to, by default that of the first image.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        take: Callable[[AnyImage], None],
        queue: int,
        report: Callable[[str, str], None],
        frame_id: str = "",
    ) -> None:
        self.received, self._take = Rate(), take
        self._report, self._camera = report, OneCamera(frame_id)
        self._name = node.resolve_topic_name(topic)
        kind = message_type(self._name)
        self._watchdog = TopicWatchdog(node, topic, kind)
        self._subscription = ImageSubscription(node, topic, self._on_image, queue)

    def _on_image(self, message: AnyImage) -> None:
        self.received.tick()
        header = message.header
        try:
            self._camera.follow(header.frame_id, stamp_to_ns(header.stamp))
        except OtherCamera as error:
            text = f"two cameras on {self._name}: image dropped: {error}"
            self._report(f"two cameras on {self._name}", text)
            return
        self._take(message)

    def look_after(self) -> None:
        """As ImageInput's."""
        self._subscription.follow()
        if not self.received.count:
            self._watchdog.check()


def image_input(
    node: Node,
    options: MatcherNodeOptions,
    take: Callable[..., None],
    report: Callable[[str, str], None],
    drop: Callable[[str, str], None],
) -> ImageInput:
    """The topics that options name; take(image) or take(image, image_right) gets what comes.

    drop(cause, text) is told of each image, of a pair the left one, that it does not get;
    report(cause, text) of what else is wrong.
    """
    if options.use_stereo:
        return StereoImages(node, take, options.pair_tolerance_s, report, drop, options.frame_id)
    return SingleImages(node, take, drop, options.frame_id)
