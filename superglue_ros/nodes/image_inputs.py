"""The images that are matched: of one camera, or of a stereo rig in pairs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from rclpy.node import Node

from superglue_ros.errors import LateFrame
from superglue_ros.nodes.conversions import AnyImage, stamp_to_ns
from superglue_ros.nodes.health import Rate, TopicWatchdog
from superglue_ros.nodes.options import MatcherNodeOptions
from superglue_ros.nodes.pairing import ApproximateTimeSynchronizer, SimpleFilter
from superglue_ros.nodes.subscribing import ImageSubscription, message_type
from superglue_ros.stamps import StampOrder

_QUEUE_SIZE = 5
_PAIRS_QUEUE_SIZE = 10


class ImageInput(Protocol):
    """Topics of images to listen to."""

    def look_after(self) -> None:
        """To be called now and then: follow the publishers, say in the log what is missing."""


class SingleImages:
    """Listens to `image`."""

    def __init__(self, node: Node, take: Callable[[AnyImage], None]) -> None:
        self._topic = WatchedImages(node, "image", take, _QUEUE_SIZE)

    def look_after(self) -> None:
        """As ImageInput's."""
        self._topic.look_after()


class StereoImages:
    """Listens to `image` and `image_right`, and gives on those that were taken together.

    report(cause, text) is told where images come on both topics and none of them are pairs.
    """

    def __init__(
        self,
        node: Node,
        take: Callable[[AnyImage, AnyImage], None],
        tolerance_s: float,
        report: Callable[[str, str], None],
    ) -> None:
        self._take, self._tolerance_s, self._report = take, tolerance_s, report
        self._order = StampOrder()
        self._pair_up()
        self._left = WatchedImages(node, "image", self._on_left, _PAIRS_QUEUE_SIZE)
        self._right = WatchedImages(node, "image_right", self._on_right, _PAIRS_QUEUE_SIZE)
        self._unpaired_since = 0, 0

    def _pair_up(self) -> None:
        """Begin to pair, without what may still wait for its partner."""
        self._lefts_in, self._rights_in = SimpleFilter(), SimpleFilter()
        pairs = ApproximateTimeSynchronizer(
            [self._lefts_in, self._rights_in], _PAIRS_QUEUE_SIZE, self._tolerance_s + 1e-9
        )
        pairs.registerCallback(self._on_pair)

    def _on_left(self, message: AnyImage) -> None:
        with suppress(LateFrame):  # which the matcher judges
            if self._order.follow(stamp_to_ns(message.header.stamp)):
                self._pair_up()
        self._lefts_in.signalMessage(message)

    def _on_right(self, message: AnyImage) -> None:
        self._rights_in.signalMessage(message)

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
    """A topic of images, of which the log says when nothing has come."""

    def __init__(
        self, node: Node, topic: str, take: Callable[[AnyImage], None], queue: int
    ) -> None:
        self.received, self._take = Rate(), take
        kind = message_type(node.resolve_topic_name(topic))
        self._watchdog = TopicWatchdog(node, topic, kind)
        self._subscription = ImageSubscription(node, topic, self._on_image, queue)

    def _on_image(self, message: AnyImage) -> None:
        self.received.tick()
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
) -> ImageInput:
    """The topics that options name; take(image) or take(image, image_right) gets what comes."""
    if options.use_stereo:
        return StereoImages(node, take, options.pair_tolerance_s, report)
    return SingleImages(node, take)
