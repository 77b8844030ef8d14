"""Odometry on a synthetic world: accuracy, loss and recovery, and messages of every kind."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from odometry_sift import sift_matches
from odometry_world import (
    CAMERA,
    PERIOD_NS,
    box_of_points,
    emptied,
    matches_of,
    positions_by_stamp,
    run,
    similarity_error,
    states,
    straight,
)

from superglue_ros.errors import CameraError, MessageError
from superglue_ros.geometry import exp_rotation, log_rotation
from superglue_ros.odometry import (
    OdometryConfig,
    OdometryEstimate,
    TrackingState,
    VisualOdometry,
)
from superglue_ros.types import FrameMatches, Pose

WORLD = box_of_points()
DRIVE = straight(40)
NOISY = {"noise_px": 1.0, "outliers": 0.3}


def steps(estimates: Sequence[OdometryEstimate]) -> np.ndarray:
    positions = np.array([estimate.pose.position for estimate in estimates])
    return np.linalg.norm(np.diff(positions, axis=0), axis=1)


def deviation(estimate: OdometryEstimate) -> float:
    return float(np.sqrt(np.trace(estimate.covariance[:3, :3])))


def shaken(message: FrameMatches, seed: int = 0) -> FrameMatches:
    """The same message with points too far off for a pose."""
    noise = np.random.default_rng(seed).normal(0, 100, message.points.shape)
    return replace(message, points=(message.points + noise).astype(np.float32))


def test_exact_matches_give_the_exact_trajectory() -> None:
    estimates = run(matches_of(WORLD, DRIVE))
    assert states(estimates)[5:] == "t" * 35
    assert similarity_error(estimates, DRIVE) < 1e-4
    last = estimates[-1]
    turn = log_rotation(last.pose.rotation @ DRIVE[-1].rotation.T)
    assert np.linalg.norm(turn) < 1e-3
    assert not last.scale_is_metric
    assert last.reason == ""
    assert last.num_inliers <= last.num_matches == len(matches_of(WORLD, DRIVE)[-1])
    assert last.landmarks.shape[1] == 3
    assert len(last.landmarks) > 100


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("max_age", [2, 10**6])
def test_noise_and_outliers(seed: int, max_age: int) -> None:
    messages = matches_of(WORLD, DRIVE, seed=seed, max_age=max_age, **NOISY)
    estimates = run(messages)
    assert states(estimates)[5:] == "t" * 35
    assert similarity_error(estimates, DRIVE) < 0.02


def test_the_trajectory_begins_at_the_first_frame() -> None:
    slow = straight(40, (0.03, 0.0, 0.05))
    estimates = run(matches_of(WORLD, slow, noise_px=0.3))
    first = next(i for i, e in enumerate(estimates) if e.state is TrackingState.TRACKING)
    assert first > 2
    stamps = [stamp_ns for stamp_ns, _ in estimates[first].backfill]
    assert stamps == [i * PERIOD_NS for i in range(first)]
    np.testing.assert_allclose(estimates[first].backfill[0][1].matrix, np.eye(4), atol=1e-9)
    assert not any(estimate.backfill for estimate in estimates[first + 1 :])
    assert len(positions_by_stamp(estimates)) == len(slow)
    assert similarity_error(estimates, slow) < 0.02


def test_a_start_across_keyframes() -> None:
    slow = straight(60, (0.02, 0.0, 0.03))
    estimates = run(matches_of(WORLD, slow, noise_px=0.3, max_age=3))
    assert states(estimates).endswith("t" * 10)
    assert similarity_error(estimates, slow) < 0.05


def test_same_messages_same_estimates() -> None:
    messages = matches_of(WORLD, DRIVE[:15], **NOISY)
    odometry = VisualOdometry()
    first = run(messages, odometry)
    odometry.reset()
    for one, two in zip(first, run(messages, odometry)):
        np.testing.assert_array_equal(one.pose.matrix, two.pose.matrix)
        np.testing.assert_array_equal(one.covariance, two.covariance)


@pytest.mark.parametrize("turn", [0.0, 0.02])
def test_no_start_without_translation(turn: float) -> None:
    poses = [Pose(exp_rotation(np.array([0, turn * i, 0])), np.zeros(3)) for i in range(25)]
    estimates = run(matches_of(WORLD, poses, noise_px=1.0, outliers=0.1, max_age=8))
    assert states(estimates) == "i" * 25
    for estimate in estimates:
        assert estimate.reason
        np.testing.assert_array_equal(estimate.covariance, 1e4 * np.eye(6))


def test_a_stop_keeps_place_and_scale() -> None:
    go = straight(25)
    last = go[-1]
    again = [Pose(last.rotation, last.position + np.array([0.15, 0, 0.3]) * i) for i in range(15)]
    poses = go + [last] * 60 + again
    estimates = run(matches_of(WORLD, poses, noise_px=1.0, outliers=0.05, max_age=10))
    assert states(estimates)[5:] == "t" * (len(poses) - 5)
    standing = np.array([estimate.pose.position for estimate in estimates[26:85]])
    speed = float(np.median(steps(estimates)[10:24]))
    assert np.linalg.norm(standing - standing.mean(axis=0), axis=1).max() < 0.5 * speed
    assert np.median(steps(estimates)[-12:]) == pytest.approx(speed, rel=0.15)


def test_a_turn_on_the_spot_is_tracked_on_known_landmarks() -> None:
    go = straight(25)
    last = go[-1]
    turns = [
        Pose(last.rotation @ exp_rotation(np.array([0, 0.25 * np.sin(i / 6), 0])), last.position)
        for i in range(40)
    ]
    estimates = run(matches_of(WORLD, go + turns, **NOISY))
    assert states(estimates)[5:] == "t" * 60
    assert similarity_error(estimates, go + turns) < 0.05


def test_a_plane_does_not_blow_up() -> None:
    ground = WORLD * [1, 0, 1] + [0, 2.0, 0]
    tilt = exp_rotation(np.array([-0.4, 0, 0]))
    poses = [Pose(tilt, np.array([0.1, 0, 0.2]) * i) for i in range(30)]
    estimates = run(matches_of(ground, poses, noise_px=0.5, outliers=0.1))
    assert states(estimates).endswith("t" * 15)
    assert similarity_error(estimates, poses) < 0.03


def test_empty_messages_lose_and_landmarks_find_again() -> None:
    messages = matches_of(WORLD, DRIVE, noise_px=0.5, keep_ratio=0.2)
    for number in range(20, 24):
        messages[number] = emptied(messages[number])
    estimates = run(messages)
    assert states(estimates)[20:24] == "llll"
    assert states(estimates)[24:] == "t" * 16
    assert "landmarks" in estimates[21].reason
    assert deviation(estimates[19]) < deviation(estimates[21]) < deviation(estimates[23])
    # Meanwhile the pose goes on at the last speed.
    assert np.abs(steps(estimates)[19:23] / steps(estimates)[15] - 1).max() < 0.2
    assert similarity_error(estimates, DRIVE) < 0.01


def test_a_long_loss_stands_and_starts_anew_at_the_last_speed() -> None:
    poses = straight(70)
    far = box_of_points(6000, depth=60.0)
    messages = matches_of(far, poses[:25], noise_px=0.5)
    black = [
        replace(emptied(messages[-1]), stamp_ns=(25 + i) * PERIOD_NS, is_keyframe=False)
        for i in range(20)
    ]
    later = [
        replace(
            message,
            stamp_ns=message.stamp_ns + 45 * PERIOD_NS,
            keyframe_stamp_ns=message.keyframe_stamp_ns + 45 * PERIOD_NS,
            keyframe_id=message.keyframe_id + 50,
        )
        for message in matches_of(far, poses[45:], noise_px=0.5)
    ]
    estimates = run(messages + black + later[1:])
    assert states(estimates)[25:45] == "l" * 20
    assert steps(estimates)[40] == 0
    assert states(estimates).endswith("t" * 10)
    speeds = steps(estimates)
    assert np.median(speeds[-10:]) == pytest.approx(np.median(speeds[10:20]), rel=0.3)
    anew = next(i for i, e in enumerate(estimates) if i > 45 and e.state.value == "tracking")
    assert anew < 50
    assert np.all(np.linalg.eigvalsh(estimates[anew].covariance) > 0)


def test_recovery_when_no_frame_of_the_window_is_located_any_more() -> None:
    poses = straight(55, (0.05, 0.0, 0.1))
    messages = matches_of(WORLD, poses, noise_px=0.5, max_age=1, max_features=60)
    for number in range(30, 42):  # for longer than the window is, each frame a keyframe
        messages[number] = shaken(messages[number], number)
    estimates = run(messages)
    assert states(estimates)[30:] == "l" * 12 + "t" * 13
    before, after = (deviation(estimates[number]) for number in (29, 42))
    assert before < after < 2 * before


def test_frames_matched_to_a_lost_keyframe_have_a_covariance() -> None:
    messages = matches_of(WORLD, DRIVE, noise_px=0.5, max_age=6)
    lost = next(i for i, m in enumerate(messages) if i > 20 and m.is_keyframe)
    messages[lost] = shaken(messages[lost])
    estimates = run(messages)
    assert states(estimates)[lost - 5 : lost + 7] == "ttttt" + "l" + "tttttt"
    before, *after = (deviation(estimates[i]) for i in (lost - 1, *range(lost + 1, lost + 6)))
    assert before / 2 < min(after) <= max(after) < 3 * before


def test_more_inliers_than_a_start_asks_for() -> None:
    messages = matches_of(WORLD, DRIVE, noise_px=0.5, max_features=70)
    estimates = run(messages, VisualOdometry(OdometryConfig(min_inliers=90)))
    assert states(estimates) == "i" * 40
    assert all(estimate.reason for estimate in estimates)


@pytest.mark.parametrize("standing", [0, 30])
def test_the_scale_survives_a_stop_and_a_loss(standing: int) -> None:
    far = box_of_points(6000, depth=80.0)
    go = straight(25)
    poses = go + [go[-1]] * standing
    messages = matches_of(far, poses, noise_px=0.5, max_age=10)
    count = len(poses)
    elsewhere = straight(80)[45:]
    shift = (count + 5) * PERIOD_NS
    later = [
        replace(
            message,
            stamp_ns=message.stamp_ns + shift,
            keyframe_stamp_ns=message.keyframe_stamp_ns + shift,
            keyframe_id=message.keyframe_id + 500,
        )
        for message in matches_of(far, elsewhere, noise_px=0.5)
    ]
    speeds = steps(run(messages + later[1:]))
    assert np.median(speeds[-10:]) == pytest.approx(np.median(speeds[10:20]), rel=0.3)


def test_a_missed_keyframe_is_survived() -> None:
    messages = matches_of(WORLD, DRIVE, noise_px=0.5, max_age=6)
    missed = next(i for i, m in enumerate(messages) if i > 12 and m.is_keyframe)
    estimates = run(messages[:missed] + messages[missed + 1 :])
    assert states(estimates).endswith("t" * 10)
    assert similarity_error(estimates, DRIVE) < 0.1


def test_any_message_is_a_start() -> None:
    messages = matches_of(WORLD, DRIVE, noise_px=0.5, max_age=6)
    estimates = run(messages[9:])
    assert states(estimates).endswith("t" * 20)


def test_after_a_reset_the_same_messages_give_the_same_again() -> None:
    messages = matches_of(WORLD, DRIVE[:20], noise_px=0.5)
    odometry = VisualOdometry()
    first = run(messages, odometry)
    odometry.reset()
    again = run(messages, odometry)
    for one, two in zip(first[1:], again[1:]):
        np.testing.assert_array_equal(one.pose.matrix, two.pose.matrix)


def test_a_camera_that_only_turns_waits_with_what_it_still_sees() -> None:
    turning = [Pose(exp_rotation(np.array([0, 0.01 * i, 0])), np.zeros(3)) for i in range(40)]
    odometry = VisualOdometry()
    run(matches_of(WORLD, turning, noise_px=0.5, max_age=1), odometry)
    waiting = odometry._waiting
    assert len(waiting) > odometry.config.window_frames
    assert all(len(frame.tracks) == len(frame.points) for frame in waiting)
    assert all((frame.tracks >= 0).all() for frame in waiting)
    assert len(waiting[0]) == 0  # none of its frames is left
    assert len(waiting[-1]) > 100


def test_a_restarted_matcher_goes_on_from_the_last_pose() -> None:
    messages = matches_of(WORLD, DRIVE[:20], noise_px=0.5)
    restarted = [
        replace(
            message,
            stamp_ns=message.stamp_ns + 20 * PERIOD_NS,
            keyframe_stamp_ns=message.keyframe_stamp_ns + 20 * PERIOD_NS,
        )
        for message in matches_of(WORLD, DRIVE[20:], noise_px=0.5)
    ]
    estimates = run(messages + restarted)
    assert estimates[20].state is TrackingState.LOST
    assert states(estimates).endswith("t" * 15)
    assert similarity_error(estimates, DRIVE) < 0.1


def test_what_is_not_finite_or_not_unique_is_left_out() -> None:
    clean = matches_of(WORLD, DRIVE[:10])
    spoilt = []
    for message in clean:
        points, confidences = message.points.copy(), message.confidences.copy()
        points[::7] = np.nan
        confidences[1::7] = np.nan
        doubled = {
            name: np.concatenate([getattr(message, name), getattr(message, name)[:20]])
            for name in ("keyframe_points", "keyframe_indices", "indices")
        }
        # The doubles are wrong, and less confident.
        spoilt.append(
            replace(
                message,
                points=np.concatenate([points, points[:20] + 50]),
                confidences=np.concatenate([confidences, 0.5 * message.confidences[:20]]),
                **doubled,
            )
        )
    estimates = run(spoilt)
    assert states(estimates)[3:] == "t" * 7
    # A double whose original is not finite stands alone; those are the only wrong ones.
    assert similarity_error(estimates, DRIVE[:10]) < 0.01


def test_confidence_threshold() -> None:
    messages = [
        replace(message, confidences=0.3 * message.confidences)
        for message in matches_of(WORLD, DRIVE[:6])
    ]
    estimates = run(messages, VisualOdometry(OdometryConfig(min_confidence=0.5)))
    assert states(estimates) == "iiiiii"
    assert "0 matches" in estimates[-1].reason


def test_a_distorted_camera() -> None:
    camera = replace(
        CAMERA, model="plumb_bob", distortion=np.array([-0.25, 0.08, 0.001, -0.0005, 0.0])
    )
    messages = matches_of(WORLD * [0.6, 0.6, 1], DRIVE[:25], camera=camera, noise_px=0.3)
    assert similarity_error(run(messages, camera=camera), DRIVE[:25]) < 0.01


def test_unusable_cameras_and_messages_change_nothing() -> None:
    messages = matches_of(WORLD, DRIVE[:12], noise_px=0.5)
    expected = run(messages)
    odometry = VisualOdometry()
    broken: FrameMatches = replace(messages[6], points=messages[6].points[:-1])
    for number, message in enumerate(messages):
        with pytest.raises(CameraError):
            odometry.process(message, replace(CAMERA, matrix=np.zeros((3, 3))))
        if len(message):
            with pytest.raises(MessageError, match="shape"):
                odometry.process(broken, CAMERA)
        estimate = odometry.process(message, CAMERA)
        np.testing.assert_array_equal(estimate.pose.matrix, expected[number].pose.matrix)


def test_covariance_is_honest() -> None:
    """Normalised position error over seeds, at the scale that fits best; 3 is exact, and the
    linearised covariance may be several times off, but not by orders of magnitude."""
    normalized = []
    for seed in range(6):
        messages = matches_of(WORLD, DRIVE, noise_px=1.0, outliers=0.1, seed=seed)
        estimates = run(messages)
        found = np.array([estimate.pose.position for estimate in estimates])
        true = np.array([pose.position for pose in DRIVE])
        scale = (found[20:] * true[20:]).sum() / (true[20:] ** 2).sum()
        for estimate, pose in list(zip(estimates, DRIVE))[30:]:
            error = estimate.pose.position - scale * pose.position
            normalized.append(error @ np.linalg.solve(estimate.covariance[:3, :3], error))
        assert all(np.linalg.eigvalsh(e.covariance)[0] > 0 for e in estimates)
    assert 0.3 < np.median(normalized) < 15


def test_quick_enough_for_a_camera() -> None:
    messages = matches_of(WORLD, DRIVE, max_features=1000, max_age=5, **NOISY)
    odometry = VisualOdometry()
    taken = []
    for message in messages:
        start = time.process_time()
        odometry.process(message, CAMERA)
        taken.append(time.process_time() - start)
    assert np.median(taken) < 0.1


@pytest.mark.parametrize(
    "options",
    [
        {"min_inliers": 2},
        {"min_inliers": 15.5},
        {"point_noise_px": float("nan")},
        {"window_frames": True},
        {"min_parallax_deg": "1"},
    ],
)
def test_options_are_validated(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        OdometryConfig(**options)  # type: ignore[arg-type]


def test_options_describe_themselves() -> None:
    for option in OdometryConfig.__dataclass_fields__.values():
        assert option.metadata["description"][0].isupper()
        if isinstance(option.default, bool):
            continue
        low, high = option.metadata["range"]
        assert low <= option.default <= high


@pytest.mark.shared
@pytest.mark.parametrize(("sequence", "share"), [("kitti_06", 0.015), ("kitti_01", 0.05)])
def test_a_real_drive_with_sift(shared_data: Path, sequence: str, share: float) -> None:
    messages, camera, poses = sift_matches(shared_data / sequence, 26)
    estimates = run(messages, camera=camera)
    assert states(estimates)[3:] == "t" * (len(messages) - 3)
    assert similarity_error(estimates, poses) < share
