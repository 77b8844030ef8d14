"""Images of two cameras on one topic are told apart by their frame_id."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from superglue_ros.errors import ImageError, OtherCamera
from superglue_ros.matching import ImageMatcher, KeyframeMatcher
from superglue_ros.one_camera import GONE_NS, OTHERS_IN_A_ROW, OneCamera, same_frame
from superglue_ros.replay.run import run_replay
from superglue_ros.sources import open_source, write_bag
from superglue_ros.types import Frame

S = 1_000_000_000


def frame(stamp_ns: int, frame_id: str) -> Frame:
    rng = np.random.default_rng(2 if frame_id == "left" else 3)
    blocks = rng.integers(0, 256, (12, 16), np.uint8)
    image = np.kron(blocks, np.ones((10, 10), np.uint8))
    return Frame(image, stamp_ns, frame_id=frame_id)


def test_the_first_is_kept() -> None:
    camera = OneCamera()
    for number in range(1000):
        assert camera.follow("left", number * S) == ""
        for _ in range(OTHERS_IN_A_ROW - 1):
            with pytest.raises(OtherCamera, match="of the camera 'right', not of 'left'"):
                camera.follow("right", number * S + 1)
    assert issubclass(OtherCamera, ImageError)


@pytest.mark.parametrize("stamp_ns", [10 * S + GONE_NS + 1, 10 * S - GONE_NS - 1])
def test_another_is_taken_once_it_is_gone(stamp_ns: int) -> None:
    camera = OneCamera()
    camera.follow("old", 10 * S)
    with pytest.raises(OtherCamera):
        camera.follow("new", 10 * S + GONE_NS)
    assert camera.follow("new", stamp_ns) == "images of the camera 'new', before of 'old'"
    assert camera.follow("new", stamp_ns + 1) == ""
    with pytest.raises(OtherCamera):
        camera.follow("old", stamp_ns + 2)


def test_another_is_taken_without_stamps() -> None:
    camera = OneCamera()
    camera.follow("old", 0)
    for _ in range(OTHERS_IN_A_ROW - 1):
        with pytest.raises(OtherCamera):
            camera.follow("new", 0)
    assert "before of 'old'" in camera.follow("new", 0)


def test_the_expected_one_is_never_given_up() -> None:
    camera = OneCamera("right")
    for number in range(3 * OTHERS_IN_A_ROW):
        with pytest.raises(OtherCamera, match="not of 'right'"):
            camera.follow("left", number * S)
    assert camera.follow("/right", 5) == ""


def test_a_slash_is_no_other_frame() -> None:
    assert same_frame("/eye", "eye")
    assert not same_frame("eye", "eyes")


@pytest.fixture(scope="module")
def matcher() -> ImageMatcher:
    return ImageMatcher(device="cpu", precision="float32", max_keypoints=64)


def test_no_matches_across_cameras(matcher: ImageMatcher) -> None:
    keyframes = KeyframeMatcher(matcher)
    results = []
    for number in range(6):
        results.append(keyframes.process(frame(number * S // 10, "left")))
        with pytest.raises(OtherCamera):
            keyframes.process(frame(number * S // 10 + 1, "right"))
    assert {r.frame_id for r in results} == {"left"}
    assert min(len(r) for r in results[1:]) > 10
    assert results[-1].keyframe_id == 1
    changed = keyframes.process(frame(20 * S, "right"))
    assert len(changed) == 0
    assert changed.is_keyframe
    assert "before of 'left'" in changed.restart_reason
    assert len(keyframes.process(frame(20 * S + 1, "right"))) > 10


def test_replay_counts_the_others(
    tmp_path: Path, matcher: ImageMatcher, caplog: pytest.LogCaptureFixture
) -> None:
    frames = [frame(n * S // 10, name) for n in range(4) for name in ("left", "right")]
    frames = [replace(f, stamp_ns=S + i) for i, f in enumerate(frames)]
    write_bag(tmp_path / "bag", frames)
    with caplog.at_level(logging.WARNING):
        result = run_replay(open_source(tmp_path / "bag"), KeyframeMatcher(matcher))
    assert (len(result.records), result.skipped) == (4, 4)
    assert "of the camera 'right', not of 'left'" in caplog.text
