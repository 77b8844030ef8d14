"""Matches from matcher_node to odometry_node: over DDS, or from hand to hand in one process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from rclpy.guard_condition import GuardCondition
from rclpy.node import Node
from rclpy.qos import QoSProfile

from superglue_ros.msg import Matches
from superglue_ros.nodes.subscribing import subscribe

MATCHES_QUEUE_SIZE = 50


class HandOver:
    """Gives each message of a matcher to an odometry in the same process, as it is: rclpy has no
    way within a process, and would write it out and read it back.

    What listens is called by its own node's executor, so that the matcher never waits for it.
    """

    def __init__(self) -> None:
        self._waiting: deque[Matches] = deque()
        self._take: Callable[[Matches], None] | None = None
        self._drop: Callable[[], None] | None = None
        self._guard: GuardCondition | None = None

    def listen(
        self,
        node: Node,
        take: Callable[[Matches], None],
        drop: Callable[[], None],
    ) -> None:
        """Call take with each message from now on, and drop for the oldest where more of them wait
        than DDS would keep; both in the node's executor, between its other callbacks."""
        self._take, self._drop = take, drop
        self._guard = node.create_guard_condition(self._deliver)

    def put(self, message: Matches) -> None:
        """Leave a message for who listens, in any thread; it must not be changed any more."""
        if self._guard is not None:
            self._waiting.append(message)
            self._guard.trigger()

    def _deliver(self) -> None:
        while len(self._waiting) > MATCHES_QUEUE_SIZE and self._drop is not None:
            self._waiting.popleft()
            self._drop()
        if self._waiting and self._take is not None:
            self._take(self._waiting.popleft())
        if self._waiting and self._guard is not None:
            self._guard.trigger()


class MatchesOutput:
    """The topic ~/matches of a node, and who is given its messages by hand.

    By hand alone where nobody else listens.
    """

    def __init__(self, node: Node, hand_over: HandOver | None) -> None:
        self._publisher = node.create_publisher(
            Matches, "~/matches", QoSProfile(depth=MATCHES_QUEUE_SIZE)
        )
        self._hand_over = hand_over

    def publish(self, message: Matches) -> None:
        """Publish a message, which must not be changed any more."""
        if self._hand_over is not None:
            self._hand_over.put(message)
            if not self._publisher.get_subscription_count():
                return
        self._publisher.publish(message)

    def get_subscription_count(self) -> int:
        """How many listen, by hand or over DDS."""
        return self._publisher.get_subscription_count() + (self._hand_over is not None)


def listen_to_matches(
    node: Node,
    take: Callable[[Matches], None],
    drop: Callable[[], None],
    hand_over: HandOver | None,
) -> None:
    """Call take with each message of the topic `matches`, or of a matcher in this process; drop:
    see HandOver."""
    if hand_over is not None:
        hand_over.listen(node, take, drop)
        return
    subscribe(node, Matches, "matches", take, MATCHES_QUEUE_SIZE)
