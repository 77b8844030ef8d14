"""Topics on which nothing comes: what is wrong, and which topics may be meant instead."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rclpy.node import Node
from rclpy.topic_endpoint_info import TopicEndpointInfo

from superglue_ros.nodes.subscribing import IMAGE_KINDS, images_heard_by

PATIENCE_S = 5.0
"""A topic on which nothing has come for so long, since the start or since someone publishes there,
is worth a line."""

REMIND_S = 30.0
"""And another one this often."""

IMPORT_S = 20.0
"""For so long a matcher that has just been started need not be there: on a small board torch alone
takes ten seconds to import."""

LOADING_S = 120.0
"""And for so long it may load weights or engines, and warm up."""

MOST_NAMED = 5


class TopicWatchdog:
    """Says in the log that nothing has come on a topic since the start, and why that may be."""

    def __init__(
        self, node: Node, topic: str, message_type: type, from_matcher: bool = False
    ) -> None:
        """message_type: of what is awaited there; from_matcher: a matcher sends it, which is given
        the time to load its weights."""
        self._node, self._from_matcher = node, from_matcher
        self._kind = f"{message_type.__module__.split('.')[0]}/msg/{message_type.__name__}"
        self._topic = node.resolve_topic_name(topic)
        self._due = time.monotonic() + (IMPORT_S if from_matcher else PATIENCE_S)
        self._first_seen: float | None = None

    def check(self) -> None:
        """To be called now and then while nothing has come."""
        now = time.monotonic()
        publishers = self._node.get_publishers_info_by_topic(self._topic)
        if publishers and self._first_seen is None:
            self._first_seen, self._due = now, now + PATIENCE_S
        if self._is_loading(publishers, now):
            self._due = now + PATIENCE_S
            return
        if now < self._due:
            return
        self._due = now + REMIND_S
        others = sorted({p.topic_type for p in publishers} - {self._kind})
        there = f"{len(publishers)} publishers have sent none"
        if not publishers:
            there = "nobody publishes there" + self._elsewhere()
        elif others:
            there = f"{', '.join(others)} is published there"
        self._node.get_logger().warning(f"no {self._kind} on {self._topic} yet: {there}")

    def _is_loading(self, publishers: Sequence[TopicEndpointInfo], now: float) -> bool:
        """Whether there is a matcher that does not listen to images yet: it does so last."""
        if not (self._from_matcher and publishers and self._first_seen is not None):
            return False
        return now < self._first_seen + LOADING_S and not any(
            images_heard_by(self._node, p.node_name, p.node_namespace) for p in publishers
        )

    def _elsewhere(self) -> str:
        """The topics that may be meant: image_transport's below this one, or above it, those of
        what is awaited beside it, or else anywhere."""
        above = self._topic.rpartition("/")[0]
        kinds = IMAGE_KINDS if self._kind in IMAGE_KINDS else {self._kind}
        there = published_by_others(self._node)
        related = {name for name in there if name.startswith(f"{self._topic}/") or name == above}
        meant = {name for name in there if kinds & set(there[name])}
        found = related | {name for name in meant if name.startswith(f"{above}/")} or meant
        named = [f"{name} ({', '.join(there[name])})" for name in sorted(found)[:MOST_NAMED]]
        return f", but on {', '.join(named)}" if named else ""


def published_by_others(node: Node) -> dict[str, list[str]]:
    """Topics, with their types, that other nodes publish on."""
    own = node.get_publisher_names_and_types_by_node(node.get_name(), node.get_namespace())
    own_names = {name for name, _ in own}
    return {
        name: types
        for name, types in node.get_topic_names_and_types()
        if name not in own_names and node.count_publishers(name)
    }
