from dataclasses import replace

import numpy as np
import pytest

from superglue_ros.errors import ImageError, LateFrame
from superglue_ros.matching import ImageMatcher, KeyframeMatcher, KeyframePolicy
from superglue_ros.matching.turning import turn_image, turn_points
from superglue_ros.training.data.photos import draw_procedural
from superglue_ros.types import Frame

SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def matcher() -> ImageMatcher:
    return ImageMatcher(max_keypoints=200, device="cpu", precision="float32")


@pytest.fixture(scope="module")
def drawing() -> np.ndarray:
    return draw_procedural(1, seed=3, size=(320, 240))[0]


@pytest.fixture
def keyframes(matcher) -> KeyframeMatcher:
    return KeyframeMatcher(matcher, KeyframePolicy(min_matches=20))


def shifted(drawing: np.ndarray, pixels: int, time_s: float) -> Frame:
    return Frame(np.roll(drawing, pixels, axis=1), int(time_s * SECOND))


def test_the_first_frame_is_keyframe_one_and_matches_nothing(keyframes, drawing):
    result = keyframes.process(shifted(drawing, 0, 1))
    assert (result.keyframe_id, result.is_keyframe, len(result)) == (0, True, 0)
    assert result.num_features == result.num_keyframe_features > 100
    assert result.points.shape == (0, 2)


def test_a_small_move_keeps_the_keyframe_and_a_large_one_replaces_it(keyframes, drawing):
    keyframes.process(shifted(drawing, 0, 1))
    small = keyframes.process(shifted(drawing, 8, 1.1))
    assert (small.keyframe_id, small.is_keyframe) == (1, False)
    np.testing.assert_allclose(
        np.median(small.points - small.keyframe_points, axis=0), (8, 0), atol=0.5
    )
    large = keyframes.process(shifted(drawing, 32, 1.2))
    assert (large.keyframe_id, large.is_keyframe) == (1, True)
    assert keyframes.process(shifted(drawing, 40, 1.3)).keyframe_id == 2


def test_indices_chain_across_keyframes(drawing):
    options = {"max_keypoints": 200, "device": "cpu", "precision": "float32"}
    keyframes = KeyframeMatcher(
        ImageMatcher(**options, refine=False), KeyframePolicy(min_matches=20)
    )
    keyframes.process(shifted(drawing, 0, 1))
    first = keyframes.process(shifted(drawing, 32, 1.1))
    points_of_keyframe = keyframes.last_features.keypoints
    second = keyframes.process(shifted(drawing, 40, 1.2))
    np.testing.assert_allclose(first.points, points_of_keyframe[first.indices])
    np.testing.assert_allclose(second.keyframe_points, points_of_keyframe[second.keyframe_indices])


def test_age_makes_a_keyframe(matcher, drawing):
    keyframes = KeyframeMatcher(matcher, KeyframePolicy(max_age_s=2.0))
    keyframes.process(shifted(drawing, 0, 1))
    assert not keyframes.process(shifted(drawing, 0, 2.9)).is_keyframe
    assert keyframes.process(shifted(drawing, 0, 3.1)).is_keyframe


def test_a_black_minute_keeps_the_keyframe_and_the_view_after_it_matches(keyframes, drawing):
    keyframes.process(shifted(drawing, 0, 1))
    for i in range(3):
        black = keyframes.process(Frame(np.zeros_like(drawing), (2 + i) * SECOND))
        assert not black.is_keyframe
    after = keyframes.process(shifted(drawing, 4, 9))
    assert after.keyframe_id == 1
    assert len(after) > 50


def test_a_scene_of_few_keypoints_is_matched_too(matcher, drawing):
    keyframes = KeyframeMatcher(matcher, KeyframePolicy(min_matches=150))
    few = np.full_like(drawing, 128)
    few[80:160, 100:220] = drawing[80:160, 100:220]
    first = keyframes.process(Frame(few, SECOND))
    assert first.is_keyframe
    assert 8 <= first.num_features < 150
    second = keyframes.process(Frame(np.roll(few, 2, axis=1), 2 * SECOND))
    assert (second.keyframe_id, second.is_keyframe) == (1, True)
    assert len(second) > 8
    # It does not take the place of a richer one: the view may only have darkened.
    assert keyframes.process(shifted(drawing, 0, 3)).is_keyframe
    assert not keyframes.process(Frame(few, 4 * SECOND)).is_keyframe
    # But not for ever.
    assert keyframes.process(Frame(few, 40 * SECOND)).is_keyframe


def test_a_bare_view_gets_a_keyframe_of_its_own_after_some_seconds(matcher, drawing):
    keyframes = KeyframeMatcher(matcher, KeyframePolicy(min_matches=150, max_age_s=0.0))
    bare = np.full_like(drawing, 128)
    bare[80:160, 100:220] = draw_procedural(1, seed=11, size=(120, 80))[0]
    assert keyframes.process(shifted(drawing, 0, 1)).is_keyframe
    for time_s in (2, 3, 5):
        result = keyframes.process(Frame(bare, time_s * SECOND))
        assert 8 <= result.num_features < 150
        assert not result.is_keyframe
    # Between them it was dark: that is no bare view.
    keyframes.process(Frame(np.zeros_like(drawing), 6 * SECOND))
    for time_s in (7, 8, 10):
        assert not keyframes.process(Frame(bare, time_s * SECOND)).is_keyframe
    assert keyframes.process(Frame(bare, 11 * SECOND)).is_keyframe
    assert len(keyframes.process(Frame(bare, 12 * SECOND))) > 8


def test_more_matches_asked_for_while_running_than_there_are(keyframes, drawing):
    keyframes.process(shifted(drawing, 0, 1))
    assert not keyframes.process(shifted(drawing, 0, 2)).is_keyframe
    keyframes.policy = KeyframePolicy(min_matches=5000)
    assert keyframes.process(shifted(drawing, 0, 3)).is_keyframe
    assert keyframes.process(shifted(drawing, 0, 4)).is_keyframe


@pytest.mark.parametrize("change", ["time", "size"])
def test_an_earlier_time_or_another_size_starts_anew(keyframes, drawing, change):
    keyframes.process(shifted(drawing, 0, 5))
    frame = shifted(drawing, 0, 4 if change == "time" else 6)
    if change == "size":
        frame = replace(frame, image=np.ascontiguousarray(drawing[:200]))
    result = keyframes.process(frame)
    assert (result.keyframe_id, result.is_keyframe, len(result)) == (1, True, 0)
    reasons = {"time": "clock jumped back by 1.000 s", "size": "320 x 200, before 320 x 240"}
    assert reasons[change] in result.restart_reason
    after = keyframes.process(replace(frame, stamp_ns=7 * SECOND))
    assert (after.keyframe_id, after.restart_reason) == (2, "")


def test_a_late_frame_is_refused_and_changes_nothing(keyframes, drawing, monkeypatch):
    keyframes.process(shifted(drawing, 0, 5))
    with monkeypatch.context() as patched:
        patched.setattr(keyframes.matcher, "extract", None)  # the networks are not run for it
        with pytest.raises(LateFrame, match=r"late, 0\.100 s behind"):
            keyframes.process(shifted(drawing, 2, 4.9))
    result = keyframes.process(shifted(drawing, 4, 5.1))
    assert result.keyframe_id == 1
    assert len(result) > 20
    assert result.restart_reason == ""


def test_an_image_that_cannot_be_matched_changes_nothing(keyframes, drawing):
    keyframes.process(shifted(drawing, 0, 1))
    with pytest.raises(ImageError):
        keyframes.process(Frame(np.zeros((0, 0), np.uint8), 2 * SECOND))
    assert keyframes.process(shifted(drawing, 4, 3)).keyframe_id == 1


def test_a_jump_at_an_image_that_cannot_be_matched_is_said_by_the_next(keyframes, drawing):
    keyframes.process(shifted(drawing, 0, 9))
    with pytest.raises(ImageError):
        keyframes.process(Frame(np.zeros((0, 0), np.uint8), 2 * SECOND))
    result = keyframes.process(shifted(drawing, 4, 3))
    assert (result.is_keyframe, len(result)) == (True, 0)
    assert "jumped back by 7.000 s" in result.restart_reason


@pytest.mark.parametrize("turns", [-1, 1, 2, 3, 4])
def test_points_turn_with_their_image(turns):
    image = np.zeros((3, 5), np.uint8)
    image[2, 4] = 1
    y, x = np.argwhere(turn_image(image, turns))[0]
    np.testing.assert_array_equal(turn_points(np.array([[4.0, 2.0]]), (5, 3), turns), [[x, y]])


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_an_image_on_its_side_is_matched_upright(matcher, drawing, turns):
    turned = turn_image(drawing, turns)
    plain, retried = (matcher.match(drawing, turned, retry) for retry in (0, 190))
    matched = np.flatnonzero(retried.matches0 >= 0)
    assert len(matched) >= 190 > np.count_nonzero(plain.matches0 >= 0)
    expected = turn_points(retried.keypoints0[matched], (320, 240), turns)
    np.testing.assert_allclose(expected, retried.keypoints1[retried.matches0[matched]], atol=0.5)


def test_a_match_that_no_turn_betters_stays_as_it_is(matcher, drawing):
    noise = np.random.default_rng(0).integers(0, 255, drawing.shape).astype(np.uint8)
    plain, retried = (matcher.match(drawing, noise, retry) for retry in (0, 60))
    np.testing.assert_array_equal(plain.matches0, retried.matches0)
    np.testing.assert_array_equal(plain.keypoints1, retried.keypoints1)


def test_frames_after_a_turned_one_begin_with_its_turn(matcher, drawing, monkeypatch):
    policy = KeyframePolicy(min_matches=190, rotation_retry=True)
    keyframes = KeyframeMatcher(matcher, policy)
    keyframes.process(Frame(drawing, 1 * SECOND))
    turned = keyframes.process(Frame(turn_image(drawing, 2), 2 * SECOND))
    assert len(turned) >= 190
    assert turned.is_keyframe
    expected = turn_points(turned.keyframe_points, (320, 240), 2)
    np.testing.assert_allclose(turned.points, expected, atol=0.5)
    points_of_keyframe = keyframes.last_features.keypoints
    calls = []
    extract = matcher.extract
    monkeypatch.setattr(
        matcher, "extract", lambda image, turns=0: calls.append(turns) or extract(image, turns)
    )
    after = keyframes.process(Frame(turn_image(drawing, 2), 3 * SECOND))
    assert calls == [2]
    np.testing.assert_allclose(after.keyframe_points, points_of_keyframe[after.keyframe_indices])
    np.testing.assert_allclose(after.points, after.keyframe_points, atol=0.01)
