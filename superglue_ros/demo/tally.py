"""Counts what the two nodes of a camera publish, and keeps none of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import QoSProfile

from superglue_ros.demo.node_process import NodeError, NodeProcess
from superglue_ros.demo.recorder import values_of
from superglue_ros.msg import OdometryStatus
from superglue_ros.nodes.conversions import NS_PER_S, stamp_to_ns
from superglue_ros.nodes.health import DIAGNOSTICS_PERIOD_S
from superglue_ros.odometry import TrackingState

QUEUE_SIZE = 1000
TIMEOUT_S = 60.0
NODES = "matcher_node", "odometry_node"
APART_NS = round(0.5 * DIAGNOSTICS_PERIOD_S * NS_PER_S)
"""Between what a node says at one time and what it says at another."""
RESEND_S = 10.0
"""For what had no room in the middleware's memory: Fast DDS sends it again after some 3 s."""


@dataclass(frozen=True)
class Account:
    """What became of images and matches, by the nodes' diagnostics: what was sent is used,
    dropped by a node and counted there, or lost: never received, and counted by nobody."""

    sent: int
    used: int
    dropped: int
    lost: int

    def plus(self, other: Account) -> Account:
        """Both together."""
        return Account(*(a + b for a, b in zip(astuple(self), astuple(other))))

    def since(self, before: Account) -> Account:
        """What has been added to an account that was taken before."""
        return Account(*(now - then for now, then in zip(astuple(self), astuple(before))))


@dataclass(frozen=True)
class Said:
    """A node's diagnostics: when it said so, by its clock, and what."""

    stamp_ns: int
    values: dict[str, str]


class Tally(Node):
    """Counts statuses by state, and keeps the latest diagnostics of the nodes in a namespace.

    answered_ns: stamp of the last status; tracked_ns: of the last that says tracking; reason: of
    the last status; num_metric: of those tracking, how many in metres.
    """

    def __init__(self, namespace: str) -> None:
        super().__init__("tally", namespace=namespace)
        self._namespace = namespace
        self.states: Counter[str] = Counter()
        self.reason = ""
        self.num_metric, self.reset_count = 0, 0
        self.answered_ns, self.tracked_ns = 0, 0
        self.values: dict[str, dict[str, str]] = {}
        self._said: dict[str, tuple[Said, ...]] = {}
        self.create_subscription(
            OdometryStatus, "odometry_node/status", self._on_status, QoSProfile(depth=QUEUE_SIZE)
        )
        self.create_subscription(
            DiagnosticArray, "/diagnostics", self._on_diagnostics, QoSProfile(depth=QUEUE_SIZE)
        )

    def _on_status(self, message: OdometryStatus) -> None:
        self.states[message.state] += 1
        self.reason = message.reason
        self.reset_count = message.reset_count
        stamp_ns = stamp_to_ns(message.header.stamp)
        if message.state == TrackingState.TRACKING.value:
            self.num_metric += message.scale_is_metric
            self.tracked_ns = stamp_ns
        self.answered_ns = stamp_ns

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            space, _, name = status.name.rpartition("/")
            if space == self._namespace:
                values = self.values[name] = values_of(status)
                said = Said(stamp_to_ns(message.header.stamp), values)
                before = self._said.get(name, ())[-1:]
                # After a callback of over a second a node speaks twice at once.
                if not before or said.stamp_ns - before[0].stamp_ns > APART_NS:
                    # A new tuple: who reads it does so in another thread.
                    self._said[name] = (*before, said)

    def count(self, node: str, what: str) -> int:
        """A count of a node's diagnostics, 0 before it has said anything."""
        return int(self.values.get(node, {}).get(what, 0))

    def wait_until_settled(
        self, processes: Sequence[NodeProcess], num_lost: Callable[[], int]
    ) -> None:
        """Until each node has said twice the same of all that it received, at another time and
        both after this call, and is done with it: the matcher, and from then on the odometry,
        which listens to it.

        num_lost: of messages, as far as the nodes have said; while there are some they may still
        come, for `RESEND_S`. NodeError where one of the processes ends, or the time.
        """
        given_up = time.monotonic() + RESEND_S
        self._wait_for_a_pause(processes)
        while num_lost() and time.monotonic() < given_up:
            self._wait_for_a_pause(processes)

    def _wait_for_a_pause(self, processes: Sequence[NodeProcess]) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        since_ns = self.get_clock().now().nanoseconds
        for name in NODES:
            while not _settled(said := self._said.get(name, ()), since_ns):
                for process in processes:
                    process.check()
                if time.monotonic() > deadline:
                    raise NodeError(f"the nodes' counts have not settled within {TIMEOUT_S:g} s")
                time.sleep(0.05)
            since_ns = said[0].stamp_ns

    def accounts(self, sent: int) -> tuple[Account, Account]:
        """Of images to the matcher, and of its matches to the odometry."""
        matcher, odometry = (self.values.get(name, {}) for name in NODES)
        return _account(sent, matcher), _account(_used(matcher), odometry)

    def num_lost(self, sent: int) -> int:
        """Of so many images and their matches."""
        return sum(account.lost for account in self.accounts(sent))


def _settled(said: Sequence[Said], since_ns: int) -> bool:
    if len(said) < 2 or said[0].stamp_ns < since_ns:
        return False
    before, now = (
        {key: value for key, value in entry.values.items() if key.endswith(" received")}
        for entry in said
    )
    values = said[1].values
    return before == now and _received(values) == _used(values) + _dropped(values)


def _account(sent: int, values: dict[str, str]) -> Account:
    return Account(sent, _used(values), _dropped(values), sent - _received(values))


def _received(values: dict[str, str]) -> int:
    return _count(values, "images received", "messages received")


def _used(values: dict[str, str]) -> int:
    return _count(values, "images matched", "messages estimated")


def _dropped(values: dict[str, str]) -> int:
    return _count(values, "images dropped", "messages dropped")


def _count(values: dict[str, str], *keys: str) -> int:
    """The matcher's or the odometry's."""
    return int(next((values[key] for key in keys if key in values), 0))
