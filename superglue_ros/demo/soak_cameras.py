"""One camera, one with depth and a stereo rig at once, each with nodes of its own in a process."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from superglue_ros.demo.flight_stream import there_and_back
from superglue_ros.demo.node_pair import START_TIMEOUT_S, node_pair
from superglue_ros.demo.node_process import NodeProcess, spinning
from superglue_ros.demo.player import Playback, Player
from superglue_ros.demo.tally import Account, Tally
from superglue_ros.types import Frame

MAX_AHEAD = 2
CAMERAS = ("mono", "rgbd", "stereo")


@dataclass(frozen=True)
class CameraResult:
    """What became of a camera's images and matches; states: its frames by state; metric: of those
    tracked, how many were in metres."""

    camera: str
    images: Account
    matches: Account
    states: dict[str, int]
    metric: int


@dataclass(frozen=True)
class _Camera:
    name: str
    processes: tuple[NodeProcess, ...]
    player: Player
    tally: Tally


def soak_cameras(
    flight: Sequence[Frame],
    num_frames: int,
    namespace: str,
    parameters: Sequence[str],
    logs: Path | None = None,
) -> tuple[CameraResult, ...]:
    """Play so many frames of the flight, which has depth and right images, to all three at once,
    each as fast as its nodes answer.

    parameters: of the matchers. Raises NodeError where a node ends, PlaybackError where none
    listens.
    """
    with ExitStack() as stack:
        cameras = [
            _start(stack, name, f"{namespace}/{name}", parameters, logs) for name in CAMERAS
        ]
        nodes = [node for camera in cameras for node in (camera.player, camera.tally)]
        stack.enter_context(spinning(*nodes))
        with ThreadPoolExecutor(len(cameras)) as pool:
            played = [pool.submit(_play, camera, flight, num_frames) for camera in cameras]
            return tuple(result.result() for result in played)


def _start(
    stack: ExitStack, name: str, namespace: str, parameters: Sequence[str], logs: Path | None
) -> _Camera:
    depth, stereo = name == "rgbd", name == "stereo"
    metric = ["use_depth:=true"] if depth else ["use_stereo:=true"] if stereo else []
    matcher = [*parameters, *(metric if stereo else [])]
    folder = logs / name if logs else None
    if folder:
        folder.mkdir(exist_ok=True)
    processes = stack.enter_context(
        node_pair(namespace, matcher, metric, one_process=True, logs=folder)
    )
    playback = Playback(float("inf"), MAX_AHEAD, listeners=1, timeout_s=START_TIMEOUT_S)
    player = Player(playback, namespace, depth, stereo, nodes=namespace)
    return _Camera(name, processes, player, Tally(namespace))


def _play(camera: _Camera, flight: Sequence[Frame], num_frames: int) -> CameraResult:
    camera.player.wait_for_listeners(camera.processes)
    for frame in islice(there_and_back(flight), num_frames):
        for process in camera.processes:
            process.check()
        camera.player.play_frame(frame)
    tally = camera.tally
    tally.wait_until_settled(camera.processes, lambda: tally.num_lost(num_frames))
    images, matches = tally.accounts(num_frames)
    return CameraResult(camera.name, images, matches, dict(tally.states), tally.num_metric)
