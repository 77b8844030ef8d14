"""`superglue_ros bench soak` and `bench processes`, in short: the nodes last, all is counted."""

from __future__ import annotations

import array
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("superglue_ros.msg", reason="the messages are not built (make setup)")

from node_harness import camera_info, image, some_matches
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image

from superglue_ros.demo import process_benchmark, soak
from superglue_ros.demo.flight_stream import rendered_frames, there_and_back
from superglue_ros.demo.node_process import NodeError, ros_running
from superglue_ros.demo.soak_cameras import soak_cameras
from superglue_ros.demo.soak_restarts import soak_restarts
from superglue_ros.demo.soak_wrong import soak_wrong
from superglue_ros.demo.spoiling import spoil
from superglue_ros.demo.tally import Account
from superglue_ros.demo.wrong_messages import RIGS, Rig
from superglue_ros.nodes.conversions import make_header, matches_message
from superglue_ros.types import Frame

pytestmark = [pytest.mark.ros, pytest.mark.slow]

SIZE = (160, 120)
FLIGHT_FRAMES = 40
"""So many that the odometry can begin anywhere: of half of them too little is seen from afar."""

PARAMETERS = ("device:=cpu", "precision:=float32", *soak.FEW)


@pytest.fixture(scope="module")
def flight() -> tuple[Frame, ...]:
    return rendered_frames(FLIGHT_FRAMES, SIZE, 0.1)


@pytest.fixture
def namespace(request: pytest.FixtureRequest) -> Iterator[str]:
    with ros_running():
        yield f"/soak_{os.getpid()}/{re.sub(r'[^a-z]+', '_', request.node.name).strip('_')}"


def settled(account: Account) -> bool:
    """Whether everything that was sent was used, or dropped and counted."""
    return account.lost == 0 and account.sent == account.used + account.dropped


def test_there_and_back_goes_on(flight: tuple[Frame, ...]) -> None:
    stream = there_and_back(flight[:3])
    frames = [next(stream) for _ in range(6)]
    order = [0, 1, 2, 1, 0, 1]
    assert all(found.image is flight[i].image for found, i in zip(frames, order))
    assert np.all(np.diff([frame.stamp_ns for frame in frames]) == 100_000_000)


def test_an_hour_in_short(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    shows_something: Callable[[Path], bool],
) -> None:
    words = ["--frames", "40", "--restarts", "0", "--messages", "0", "--at-once", "0"]
    assert soak.main([*words, "--output", str(tmp_path), "--parameters", *PARAMETERS[:2]]) == 0
    assert "matcher_node: memory (RSS) [MiB]" in capfd.readouterr().out
    hour = json.loads((tmp_path / "soak.json").read_text())["hour"]
    assert hour["names"] == ["matcher_node", "odometry_node"]
    assert [sample["frames"] for sample in hour["samples"]] == list(range(1, 41))
    assert min(min(sample["memory_mb"]) for sample in hour["samples"]) > 20
    for account in (hour["images"], hour["matches"]):
        assert settled(Account(**account))
    assert hour["images"]["sent"] == 40
    assert sum(hour["states"].values()) == hour["images"]["used"]
    assert hour["start_frames_per_s"] > 0
    assert shows_something(tmp_path / "soak.png")


def test_nodes_that_are_killed_come_back(
    flight: tuple[Frame, ...], namespace: str, tmp_path: Path
) -> None:
    restarts = soak_restarts(flight, 2, namespace, PARAMETERS, logs=tmp_path)
    assert [restart.killed for restart in restarts] == [("matcher_node",), ("odometry_node",)]
    for restart in restarts:
        assert 0 < restart.answered_s <= restart.tracked_s
        assert restart.frames > 0
    for name in ("matcher_node", "odometry_node"):
        assert "Traceback" not in (tmp_path / f"{name}.log").read_text()


@pytest.mark.parametrize("rig", RIGS, ids=lambda rig: rig.name)
def test_wrong_messages_are_survived_and_counted(
    rig: Rig, flight: tuple[Frame, ...], namespace: str, tmp_path: Path
) -> None:
    result = soak_wrong(rig, flight, 120, namespace, PARAMETERS, seed=1, logs=tmp_path)
    for account in (result.images, result.matches, *result.others.values()):
        assert settled(account), result
        assert account.used > 0
    assert min(result.images.dropped, result.matches.dropped) > 0
    assert {"camera_info"} < {key.split(": ")[1] for key in result.others} or rig.stereo
    assert any(key.startswith("odometry_node: bad message") for key in result.problems)
    assert all(len(key) < 250 for key in result.problems)
    for name in ("matcher_node", "odometry_node"):
        assert "Traceback" not in (tmp_path / f"{name}.log").read_text()


def test_three_cameras_at_once(flight: tuple[Frame, ...], namespace: str) -> None:
    results = {r.camera: r for r in soak_cameras(flight, 24, namespace, PARAMETERS)}
    assert list(results) == ["mono", "rgbd", "stereo"]
    for result in results.values():
        assert result.images.sent == 24
        assert settled(result.images)
        assert settled(result.matches)
        assert sum(result.states.values()) == result.images.used
    for name in ("rgbd", "stereo"):
        assert results[name].metric == results[name].states["tracking"] > 0
    assert results["mono"].metric == 0


def test_one_process_beside_two(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["--size", "160x120", "--frames", "5", "--rounds", "1", "--output", str(tmp_path)]
    assert process_benchmark.main([*words, "--parameters", *PARAMETERS]) == 0
    assert "sum of PSS" in capfd.readouterr().out
    two, one = json.loads((tmp_path / "processes.json").read_text())["results"]
    assert (two["one_process"], one["one_process"]) == (False, True)
    for result in (two, one):
        assert len(result["latency_ms"]) == 5
        assert min(result["latency_ms"]) > 0
        assert 0 < result["cpu_ms"] < 10_000
        assert result["start_s"] > 0
    assert one["rss_mb"] < two["rss_mb"]


def test_what_is_spoilt_can_be_sent_and_is_the_same_for_a_seed() -> None:
    matches = matches_message(some_matches(40), make_header(1, "eye"), make_header(0, "eye"))
    for message in (matches, camera_info(0), image(0)):
        kept = serialize_message(message)
        twice = []
        for _ in range(2):
            rng = np.random.default_rng(5)
            spoilt = [deserialize_message(kept, type(message)) for _ in range(60)]
            names = [spoil(one, rng) for one in spoilt]
            assert all(serialize_message(one) for one in spoilt)
            # As text: padding between a message's bytes is not set, and NaN is not itself.
            twice.append([(name, str(one)) for name, one in zip(names, spoilt)])
        assert twice[0] == twice[1]
        assert len({name for name, _ in twice[0]}) > 20
        assert sum(said != str(message) for _, said in twice[0]) > 50
    # What two messages share is not touched.
    header = make_header(7, "eye")
    first, second = Image(header=header), Image(header=header)
    first.data = second.data = array.array("B", bytes(100))
    rng = np.random.default_rng(0)
    for _ in range(200):
        spoil(first, rng)
    assert second == Image(header=make_header(7, "eye"), data=bytes(100))


@pytest.mark.parametrize(
    ("module", "words", "said"),
    [
        (soak, ["--frames", "-1"], "must not be negative"),
        (process_benchmark, ["--rounds", "0"], "must be above 0"),
    ],
)
def test_what_cannot_be_measured(
    module: object, words: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert module.main(words) == 1  # type: ignore[attr-defined]
    assert said in capfd.readouterr().err


def test_a_node_that_ends_is_said(
    flight: tuple[Frame, ...], namespace: str, tmp_path: Path
) -> None:
    """With the seed and the last message, so that the same can be sent again."""
    words = r"matcher_node ended with status 1: .*abacus.*; seed 3, 0 messages, the last wrong one"
    with pytest.raises(NodeError, match=words):
        soak_wrong(RIGS[0], flight, 50, namespace, ["device:=abacus"], seed=3, logs=tmp_path)
