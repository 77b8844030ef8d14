"""Nodes that are killed and started again while frames play: how soon the odometry is back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from superglue_ros.demo.flight_stream import there_and_back
from superglue_ros.demo.node_pair import START_TIMEOUT_S, node_pair
from superglue_ros.demo.node_process import NodeError, NodeProcess, spinning
from superglue_ros.demo.player import Playback, Player
from superglue_ros.demo.tally import Tally
from superglue_ros.types import Frame

STEADY_FRAMES, DEAD_FRAMES = 10, 5
"""Frames that are tracked before a node is killed, and that play before it is started again."""

TIMEOUT_S = 300.0
"""Where others want the cores, a node takes up to a minute to load, and frames come rarely."""


@dataclass(frozen=True)
class Restart:
    """killed: names of the nodes' processes; since they were started again: answered_s, until a
    frame had a status, tracked_s, until one was tracked, and frames played until then."""

    killed: tuple[str, ...]
    answered_s: float
    tracked_s: float
    frames: int


def soak_restarts(
    flight: Sequence[Frame],
    num_restarts: int,
    namespace: str,
    parameters: Sequence[str],
    one_process: bool = False,
    logs: Path | None = None,
) -> tuple[Restart, ...]:
    """Play the flight in real time, and kill matcher, odometry or both in turn (SIGKILL).

    parameters: of the matcher. NodeError where the odometry does not recover, or a node that was
    not killed ends.
    """
    with node_pair(namespace, parameters, one_process=one_process, logs=logs) as processes:
        player = Player(Playback(1.0, timeout_s=START_TIMEOUT_S), namespace, nodes=namespace)
        tally = Tally(namespace)
        turns: list[tuple[NodeProcess, ...]] = [(process,) for process in processes]
        turns += [processes] if len(processes) > 1 else []
        with spinning(player, tally):
            player.wait_for_listeners(processes)
            stream = _Stream(player, tally, processes, flight)
            stream.play_until_tracked()
            restarts = []
            for number in tqdm(range(num_restarts), "nodes killed"):
                stream.play(STEADY_FRAMES)
                restarts.append(stream.kill(turns[number % len(turns)]))
            stream.play(STEADY_FRAMES)
    return tuple(restarts)


class _Stream:
    """Frames that play in real time, with or without somebody who takes them."""

    def __init__(
        self,
        player: Player,
        tally: Tally,
        processes: Sequence[NodeProcess],
        flight: Sequence[Frame],
    ) -> None:
        self._player, self._tally, self._processes = player, tally, processes
        self._frames = there_and_back(flight)
        self._stamp_ns, self._played = 0, 0

    def play(self, count: int, dead: Sequence[NodeProcess] = ()) -> None:
        """Play so many frames; NodeError where a process but these has ended."""
        for frame in islice(self._frames, count):
            for process in self._processes:
                if process not in dead:
                    process.check()
            self._player.play_frame(frame)
            self._stamp_ns, self._played = frame.stamp_ns, self._played + 1

    def play_until_tracked(self) -> tuple[float, float]:
        """Play until a frame from now on is tracked: seconds until one had a status, and until
        then."""
        since_ns, started = self._stamp_ns, time.monotonic()
        answered_s: float | None = None
        while self._tally.tracked_ns <= since_ns:
            self.play(1)
            now_s = time.monotonic() - started
            if answered_s is None and self._tally.answered_ns > since_ns:
                answered_s = now_s
            if now_s > TIMEOUT_S:
                reason = self._tally.reason or "no answer"
                raise NodeError(f"nothing was tracked for {TIMEOUT_S:g} s: {reason}")
        tracked_s = time.monotonic() - started
        return tracked_s if answered_s is None else answered_s, tracked_s

    def kill(self, victims: Sequence[NodeProcess]) -> Restart:
        """Kill processes, and start them again after a while."""
        for process in victims:
            process.kill()
        self.play(DEAD_FRAMES, dead=victims)
        played = self._played
        for process in victims:
            process.start()
        answered_s, tracked_s = self.play_until_tracked()
        names = tuple(process.name for process in victims)
        return Restart(names, answered_s, tracked_s, self._played - played)
