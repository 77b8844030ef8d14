"""Frames at full speed for as long as a robot's hour: what grows, and what gets lost."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from tqdm import tqdm

from superglue_ros.benchmarks.processes import read_process
from superglue_ros.demo.flight_stream import there_and_back
from superglue_ros.demo.node_pair import START_TIMEOUT_S, node_pair
from superglue_ros.demo.node_process import NodeProcess, spinning
from superglue_ros.demo.player import Playback, Player
from superglue_ros.demo.tally import Account, Tally
from superglue_ros.types import Frame

MAX_AHEAD = 2
"""One frame is matched and one waits, so that none makes room for a newer one."""

NUM_SAMPLES = 200
WARM_UP = 0.1
"""Share of the frames before the start is measured: allocators and the path fill up first."""

SPAN = 0.1
"""Share of the frames that start and end are medians of."""


@dataclass(frozen=True)
class Sample:
    """State after so many frames: seconds since the first; memory_mb, RSS of each process,
    which does not depend on others that share its libraries as PSS does; since the sample before,
    frames a second, and cpu_ms, processor time of all processes a frame, which depends less on
    what else the machine does."""

    frames: int
    seconds: float
    memory_mb: tuple[float, ...]
    frames_per_s: float
    cpu_ms: float


@dataclass(frozen=True)
class SoakResult:
    """Samples, and of their values start and end, medians of a tenth of the frames each; names: of
    the processes; states: frames by state."""

    names: tuple[str, ...]
    samples: tuple[Sample, ...]
    start_mb: tuple[float, ...]
    end_mb: tuple[float, ...]
    start_frames_per_s: float
    end_frames_per_s: float
    start_cpu_ms: float
    end_cpu_ms: float
    images: Account
    matches: Account
    states: dict[str, int]
    reset_count: int


def soak(
    flight: Sequence[Frame],
    num_frames: int,
    namespace: str,
    parameters: Sequence[str],
    one_process: bool = False,
) -> SoakResult:
    """Play the flight there and back to both nodes, as fast as they answer.

    parameters: of the matcher. Raises NodeError where a node ends, PlaybackError where none
    listens.
    """
    playback = Playback(float("inf"), MAX_AHEAD, listeners=1, timeout_s=START_TIMEOUT_S)
    with node_pair(namespace, parameters, one_process=one_process) as processes:
        player, tally = Player(playback, namespace, nodes=namespace), Tally(namespace)
        with spinning(player, tally):
            player.wait_for_listeners(processes)
            samples = list(_play(player, flight, num_frames, processes))
            tally.wait_until_settled(processes, lambda: tally.num_lost(num_frames))
        names = tuple(process.name for process in processes)
    images, matches = tally.accounts(samples[-1].frames)
    span = max(1, round(SPAN * len(samples)))
    first = min(round(WARM_UP * len(samples)), len(samples) - 1)
    start, end = samples[first : first + span], samples[-span:]
    return SoakResult(
        names,
        tuple(samples),
        start_mb=_median_mb(start),
        end_mb=_median_mb(end),
        start_frames_per_s=float(np.median([sample.frames_per_s for sample in start])),
        end_frames_per_s=float(np.median([sample.frames_per_s for sample in end])),
        start_cpu_ms=float(np.median([sample.cpu_ms for sample in start])),
        end_cpu_ms=float(np.median([sample.cpu_ms for sample in end])),
        images=images,
        matches=matches,
        states=dict(tally.states),
        reset_count=tally.reset_count,
    )


def _play(
    player: Player, flight: Sequence[Frame], num_frames: int, processes: Sequence[NodeProcess]
) -> Iterator[Sample]:
    step = max(1, num_frames // NUM_SAMPLES)
    started, before_s = time.monotonic(), 0.0
    cpu_before_s = sum(read_process(process.pid).cpu_s for process in processes)
    frames = islice(there_and_back(flight), num_frames // step * step)
    for sent, frame in enumerate(tqdm(frames, "soak", num_frames, unit="frame"), 1):
        player.play_frame(frame)
        if sent % step == 0:
            for process in processes:
                process.check()
            used = [read_process(process.pid) for process in processes]
            memory, cpu_s = tuple(use.rss_mb for use in used), sum(use.cpu_s for use in used)
            seconds = time.monotonic() - started
            rate, cpu_ms = step / (seconds - before_s), (cpu_s - cpu_before_s) * 1e3 / step
            yield Sample(sent, seconds, memory, rate, cpu_ms)
            before_s, cpu_before_s = seconds, cpu_s


def _median_mb(samples: Sequence[Sample]) -> tuple[float, ...]:
    medians = np.median([sample.memory_mb for sample in samples], axis=0)
    return tuple(float(mb) for mb in medians)
