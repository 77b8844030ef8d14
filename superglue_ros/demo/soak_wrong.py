"""Wrong messages over DDS to both nodes: which are used, which dropped, and whether one kills."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from superglue_ros.demo.flight_stream import there_and_back
from superglue_ros.demo.node_pair import node_pair
from superglue_ros.demo.node_process import NodeError, NodeProcess, spinning
from superglue_ros.demo.tally import NODES, Account, Tally
from superglue_ros.demo.wrong_messages import QUEUE_SIZE, Rig, WrongSender
from superglue_ros.types import Frame

FRAME_EVERY = 20
"""One good frame among so many wrong messages, so that there is a state to spoil."""

MOST_WAITING = QUEUE_SIZE // 2
MOST_PAIRS_WAITING = 8
"""Of more one image may leave the matcher's queue of ten before the other one comes."""
MOST_REPLACED = 0.2
"""Of images: a wrong one that makes room for a newer one has not been tried."""

DAMAGED_SHARE = 0.02
TIMEOUT_S = 180.0
MOST_MEETINGS = 10
OTHERS = {
    "camera_info": ("camera_infos received", "camera_infos unusable"),
    "depth": ("depth images received", ""),
}
"""Of the nodes' diagnostics, what says how many came, and how many of them are of no use."""

RECOVERY_FRAMES, PATIENCE_S = 600, 0.2


@dataclass(frozen=True)
class WrongResult:
    """What became of a rig's messages, wrong ones and the frames between them.

    images: pairs count as one; matches: those of the matcher, too; others: of the other topics, by
    node and topic; problems: causes that the nodes count; damaged: messages sent
    as bytes that are none, which the middleware refuses or the nodes count; recovered_after:
    frames until the odometry tracked again.
    """

    rig: str
    wrong: int
    damaged: int
    images: Account
    matches: Account
    others: dict[str, Account]
    problems: dict[str, int]
    states: dict[str, int]
    recovered_after: int


def soak_wrong(
    rig: Rig,
    flight: Sequence[Frame],
    num_messages: int,
    namespace: str,
    parameters: Sequence[str],
    seed: int = 0,
    logs: Path | None = None,
) -> WrongResult:
    """Send so many wrong messages and 2 % of damaged ones; NodeError where a node ends of them.

    parameters: of the matcher; logs: folder for what the nodes say.
    """
    stream = there_and_back(flight)
    sender, tally = WrongSender(namespace, rig, stream, seed), Tally(namespace)
    queues = _long_queues(sender.topics().values())
    matcher, odometry = [*parameters, *rig.matcher, *queues], [*rig.odometry, *queues]
    with (
        spinning(sender, tally),
        node_pair(namespace, matcher, odometry, topics=rig.topics, logs=logs) as processes,
    ):
        most_images = MOST_PAIRS_WAITING if rig.stereo else MOST_WAITING
        watch = _Watch(sender, tally, processes, most_images)
        said = "none"
        try:
            watch.wait_for(sender.heard, "the nodes to listen")
            watch.begin()
            _recover(sender, tally, watch)
            for number in tqdm(range(num_messages), f"wrong messages, {rig.name}"):
                if number % FRAME_EVERY == 0:
                    sender.send_frame()
                said = sender.send_wrong()
                watch.keep_pace(pause=said.startswith("image"))
            watch.wait_until_settled()
            accounts = watch.accounts()
            damaged = max(1, round(DAMAGED_SHARE * num_messages))
            for _ in tqdm(range(damaged), "damaged messages"):
                sender.send_damaged()
                watch.keep_pace(pause=True)
            recovered_after = _recover(sender, tally, watch)
        except NodeError as error:
            count = sum(sender.sent.values())
            raise NodeError(
                f"{error}; seed {seed}, {count} messages, the last wrong one {said}"
            ) from error
        problems = {
            f"{node}: {key.removeprefix('problem: ')}": int(value)
            for node, values in tally.values.items()
            for key, value in values.items()
            if key.startswith(("problem: ", "dropped: "))
        }
        states = dict(tally.states)
    images, matches = accounts.pop("images"), accounts.pop("matches")
    return WrongResult(
        rig.name,
        num_messages,
        damaged,
        images,
        matches,
        accounts,
        problems,
        states,
        recovered_after,
    )


def _long_queues(topics: Iterable[str]) -> list[str]:
    """Parameters by which nothing gets lost on the way while a node works."""
    overrides = {"depth": QUEUE_SIZE, "reliability": "reliable"}
    return [
        f"qos_overrides.{topic}.subscription.{name}:={value}"
        for topic in topics
        for name, value in overrides.items()
    ]


class _Watch:
    """Sends no faster than the nodes work, by their diagnostics, and sees that they live.

    most_images: that may wait for the matcher to say what has become of them.
    """

    def __init__(
        self,
        sender: WrongSender,
        tally: Tally,
        processes: Sequence[NodeProcess],
        most_images: int,
    ) -> None:
        self._sender, self._tally, self._processes = sender, tally, processes
        self._most_images = most_images
        self._pause_s = 0.002
        self._images_then, self._replaced_then = 0, 0
        self._start: dict[str, Account] = {}

    def begin(self) -> None:
        """Send a message of each kind until all who are to hear it have, and count from there.

        A publisher that knows who listens may be unknown to them yet, or the matcher not know
        of the odometry: such messages are not lost, as nobody listened.
        """
        self._tally.wait_until_settled(self._processes, lambda: 0)
        for _ in range(MOST_MEETINGS):
            self._start = self._counts()
            self._sender.send_frame()
            self._sender.send_matches()
            self.wait_until_settled()
            lost = {name: a.lost for name, a in self.accounts().items() if a.lost}
            if not lost:
                return
        raise NodeError(f"the nodes do not hear all that is sent: {lost} are lost each time")

    def wait_until_settled(self) -> None:
        """Until the nodes are done with what was sent, as far as it reaches them."""

        def num_lost() -> int:
            return sum(account.lost for account in self.accounts().values())

        self._tally.wait_until_settled(self._processes, num_lost)

    def wait_for(self, ready: Callable[[], bool], what: str) -> None:
        """Wait until it is so; NodeError where a node ends, or the time."""
        deadline = time.monotonic() + TIMEOUT_S
        while not ready():
            for process in self._processes:
                process.check()
            if time.monotonic() > deadline:
                raise NodeError(f"waited {TIMEOUT_S:g} s in vain for {what}")
            time.sleep(0.005)

    def keep_pace(self, pause: bool) -> None:
        """To be called after each message; pause: it is an image, which is worked on at once."""
        if pause:
            time.sleep(self._pause_s)
        count = self._tally.count
        images = count("matcher_node", "images received")
        if images > self._images_then:
            replaced = count("matcher_node", "dropped: a newer image came")
            share = (replaced - self._replaced_then) / (images - self._images_then)
            self._pause_s = min(self._pause_s * (1.5 if share > MOST_REPLACED else 0.8), 0.05)
            self._images_then, self._replaced_then = images, replaced
        self.wait_for(self._few_wait, "the nodes to receive what was sent")

    def _few_wait(self) -> bool:
        accounts = self.accounts()
        waiting = {name: a.sent - a.used - a.dropped for name, a in accounts.items()}
        return waiting["images"] < self._most_images and waiting["matches"] < MOST_WAITING

    def accounts(self) -> dict[str, Account]:
        """Since the beginning, of images, of matches, those of the matcher among them, and of the
        other topics by node."""
        return {name: now.since(self._start[name]) for name, now in self._counts().items()}

    def _counts(self) -> dict[str, Account]:
        sent, count = self._sender.sent, self._tally.count
        images, matches = self._tally.accounts(sent["image"])
        extra = Account(sent["matches"], 0, 0, sent["matches"])
        found = {"images": images, "matches": matches.plus(extra)}
        for node in NODES:
            for kind, (received, unusable) in OTHERS.items():
                if received in self._tally.values[node]:
                    came, dropped = count(node, received), count(node, unusable)
                    account = Account(sent[kind], came - dropped, dropped, sent[kind] - came)
                    found[f"{node}: {kind}"] = account
        return found


def _recover(sender: WrongSender, tally: Tally, watch: _Watch) -> int:
    """Send good frames until one is tracked: how many it took; NodeError where none is."""
    sent: set[int] = set()
    deadline = 0.0

    def answered() -> bool:
        # One that is refused, as of another camera or late, has no answer.
        return tally.answered_ns == sender.stamp_ns or time.monotonic() > deadline

    for number in range(1, RECOVERY_FRAMES + 1):
        sender.send_frame()
        sent.add(sender.stamp_ns)
        deadline = time.monotonic() + PATIENCE_S
        watch.wait_for(answered, "an answer")
        if tally.tracked_ns in sent:  # of wrong stamps some are later
            return number
    raise NodeError(f"nothing is tracked in {RECOVERY_FRAMES} good frames: {tally.reason}")
