"""Odometry in metres: depths of the keyframes, measured or from stereo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from odometry_world import (
    CAMERA,
    PERIOD_NS,
    box_of_points,
    depth_of,
    emptied,
    matches_of,
    positions_by_stamp,
    run,
    states,
    straight,
)

from superglue_ros.errors import ImageError, MessageError
from superglue_ros.geometry import depth_of_points, exp_rotation, fit_depth
from superglue_ros.odometry import OdometryConfig, OdometryEstimate, VisualOdometry
from superglue_ros.odometry.correspondences import Correspondences
from superglue_ros.odometry.depths import InverseDepths
from superglue_ros.odometry.frames import WindowFrame
from superglue_ros.odometry.local_map import LocalMap
from superglue_ros.types import UNMATCHED, FloatArray, FrameMatches, Pose

WORLD = box_of_points(depth=25.0)
DRIVE = straight(30)
# What the camera measures is rounded to its pixels.
CONFIG = OdometryConfig(depth_noise=0.002)


def follow(
    messages: Sequence[FrameMatches],
    poses: Sequence[Pose],
    odometry: VisualOdometry | None = None,
    blind: Sequence[int] = (),
    world: FloatArray = WORLD,
) -> list[OdometryEstimate]:
    """Estimates with the depths of the keyframes but for those of the frames `blind`."""
    odometry = odometry or VisualOdometry(CONFIG, use_depth=True)
    estimates = []
    for message in messages:
        number = message.keyframe_stamp_ns // PERIOD_NS
        depth = None if number in blind else depth_of(world, poses[number])
        estimates.append(odometry.process(message, CAMERA, depth))
    return estimates


def position_errors(estimates: Sequence[OdometryEstimate], poses: Sequence[Pose]) -> FloatArray:
    """Metres from the true positions, without any alignment."""
    found = positions_by_stamp(estimates)
    true = {number * PERIOD_NS: pose.position for number, pose in enumerate(poses)}
    return np.array([np.linalg.norm(found[stamp] - true[stamp]) for stamp in found])


@pytest.mark.parametrize("seed", range(2))
def test_the_second_frame_has_a_pose_in_metres(seed: int) -> None:
    messages = matches_of(WORLD, DRIVE, noise_px=0.5, outliers=0.1, max_age=5, seed=seed)
    estimates = follow(messages, DRIVE)
    assert states(estimates) == "i" + "t" * 29
    assert len(estimates[1].backfill) == 1  # the first frame
    assert all(estimate.scale_is_metric for estimate in estimates)
    path = np.linalg.norm(DRIVE[-1].position)
    assert position_errors(estimates, DRIVE).max() < 0.01 * path


def test_a_camera_that_only_turns_is_tracked() -> None:
    turning = [Pose(exp_rotation(np.array([0, 0.02 * i, 0])), np.zeros(3)) for i in range(25)]
    estimates = follow(matches_of(WORLD, turning, noise_px=0.5, max_age=4), turning)
    assert states(estimates) == "i" + "t" * 24
    assert position_errors(estimates, turning).max() < 0.05


def test_a_full_turn_keeps_a_window_that_hangs_together() -> None:
    """Frames that share nothing with the newest go first, though none shows parallax."""
    around = np.random.default_rng(1).uniform(-8, 8, (6000, 3))
    around = around[np.linalg.norm(around, axis=1) > 2]
    turn = [Pose(exp_rotation(np.array([0, 0.06 * i, 0])), np.zeros(3)) for i in range(60)]
    odometry = VisualOdometry(CONFIG, use_depth=True)
    messages = matches_of(around, turn, noise_px=0.5, max_age=1)
    estimates = follow(messages, turn, odometry, world=around)
    assert states(estimates) == "i" + "t" * 59
    assert position_errors(estimates, turn).max() < 0.1
    stamps = [frame.stamp_ns // PERIOD_NS for frame in odometry._map.frames]
    assert max(stamps) - min(stamps) < 25


def test_far_depths_do_not_free_the_scale() -> None:
    """Depths that hardly say more than that they are far are not used."""
    far = box_of_points(depth=25.0) + [0, 0, 400]
    messages = matches_of(far, DRIVE[:4], noise_px=0.3)
    estimates = follow(messages, DRIVE, world=far)
    assert states(estimates) == "iiii"
    assert "0 matches have a depth" in estimates[-1].reason


def test_a_depth_that_proved_wrong_is_not_taken_again() -> None:
    local_map = LocalMap(CONFIG)
    local_map.use_camera(CAMERA)
    keyframe = WindowFrame(0, 0, Pose.identity(), np.eye(6), True, np.full(3, UNMATCHED))
    place = local_map.add_keyframe(keyframe)
    features, points = np.arange(3), np.array([[0.1, 0], [0.2, 0], [0, 0.1]])
    found = Correspondences(points, points, points, points, np.ones(3), features, features)
    depths = InverseDepths.of_known(np.array([0.5, np.nan, 0.25]), 0.002)
    seen = local_map.observe(place, 1, found, depths)
    np.testing.assert_allclose(local_map.tracks.positions[0], [0.2, 0, 2])
    assert local_map.tracks.are_landmarks.tolist() == [True, False, True]
    for _ in range(2):
        local_map.judge_landmarks(seen, np.array([False, False, True]))
    again = local_map.observe(place, 2, found, InverseDepths.of_known(np.full(3, 0.4), 0.002))
    assert again.tracks.tolist() == seen.tracks.tolist()
    assert local_map.tracks.are_landmarks.tolist() == [False, True, True]
    np.testing.assert_allclose(local_map.tracks.positions[1:, 2], [2.5, 4])


def test_nothing_starts_without_depth() -> None:
    estimates = follow(matches_of(WORLD, DRIVE[:10]), DRIVE, blind=range(10))
    assert states(estimates) == "i" * 10
    assert "0 matches have a depth in the keyframe, 30 needed" in estimates[-1].reason


def test_keyframes_without_depth_keep_the_scale() -> None:
    messages = matches_of(WORLD, DRIVE, noise_px=0.3, max_age=5)
    estimates = follow(messages, DRIVE, blind=range(5, 30))
    assert states(estimates) == "i" + "t" * 29
    assert position_errors(estimates, DRIVE).max() < 0.03 * np.linalg.norm(DRIVE[-1].position)


def test_depth_brings_the_scale_back() -> None:
    """What was placed at a wrong scale does not stay so."""
    messages = matches_of(WORLD, DRIVE, noise_px=0.3, max_age=3)
    odometry = VisualOdometry(CONFIG, use_depth=True)
    follow(messages[:6], DRIVE, odometry)
    for frame in odometry._map.frames:
        frame.pose = Pose(frame.pose.rotation, frame.pose.position * 1.1)
    odometry._map.tracks.positions *= 1.1
    estimates = follow(messages[6:], DRIVE, odometry)
    found = np.array([estimate.pose.position for estimate in estimates[-2:]])
    true = np.array([pose.position for pose in DRIVE[-2:]])
    assert np.linalg.norm(found[1] - found[0]) == pytest.approx(
        np.linalg.norm(true[1] - true[0]), rel=0.03
    )


def test_lost_and_found_again_in_metres() -> None:
    messages = matches_of(WORLD, DRIVE, noise_px=0.3, max_age=4)
    for number in range(12, 15):
        messages[number] = replace(emptied(messages[number]), is_keyframe=False)
    # And the keyframe after that is one of another matcher.
    messages = [
        replace(message, keyframe_id=message.keyframe_id + 50) if number >= 15 else message
        for number, message in enumerate(messages)
    ]
    estimates = follow(messages, DRIVE)
    assert states(estimates)[12:15] == "lll"
    assert states(estimates).endswith("t" * 13)
    steps = np.diff([estimate.pose.position for estimate in estimates[18:]], axis=0)
    true = np.diff([pose.position for pose in DRIVE[18:]], axis=0)
    ratio = np.linalg.norm(steps, axis=1).sum() / np.linalg.norm(true, axis=1).sum()
    assert ratio == pytest.approx(1, abs=0.03)


def test_depth_that_does_not_fit_changes_nothing() -> None:
    messages = matches_of(WORLD, DRIVE[:6], noise_px=0.3)
    expected = follow(messages, DRIVE)
    odometry = VisualOdometry(CONFIG, use_depth=True)
    for message, wanted in zip(messages, expected):
        with pytest.raises(MessageError, match="registered to the image"):
            odometry.process(message, CAMERA, np.ones((240, 320), np.float32))
        (estimate,) = follow([message], DRIVE, odometry)
        np.testing.assert_array_equal(estimate.pose.matrix, wanted.pose.matrix)


def test_depth_is_left_alone_without_use_depth() -> None:
    messages = matches_of(WORLD, DRIVE, noise_px=0.3)
    estimates = follow(messages, DRIVE, VisualOdometry())
    for one, two in zip(run(messages), estimates):
        np.testing.assert_array_equal(one.pose.matrix, two.pose.matrix)
        assert not two.scale_is_metric


def test_wrong_depths_are_outvoted() -> None:
    messages = matches_of(WORLD, DRIVE, noise_px=0.3, max_age=5)
    rng = np.random.default_rng(0)
    odometry = VisualOdometry(CONFIG, use_depth=True)
    estimates = []
    for message in messages:
        depth = depth_of(WORLD, DRIVE[message.keyframe_stamp_ns // PERIOD_NS])
        wrong = rng.random(depth.shape) < 0.15
        depth[wrong] *= rng.uniform(0.3, 2.0, wrong.sum())
        estimates.append(odometry.process(message, CAMERA, depth))
    assert states(estimates) == "i" + "t" * 29
    assert position_errors(estimates, DRIVE).max() < 0.02 * np.linalg.norm(DRIVE[-1].position)


def test_depth_of_another_resolution() -> None:
    depth = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert fit_depth(depth, (3, 2)) is depth
    np.testing.assert_array_equal(
        fit_depth(depth, (6, 4)),
        [[0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2], [3, 3, 4, 4, 5, 5], [3, 3, 4, 4, 5, 5]],
    )
    np.testing.assert_array_equal(fit_depth(fit_depth(depth, (9, 6)), (3, 2)), depth)
    for size in ((6, 2), (3, 4), (7, 4), (4, 3), (1, 1), (2, 2)):
        with pytest.raises(ImageError, match=f"depth of 3x2 for images of {size[0]}x{size[1]}"):
            fit_depth(depth, size)
    with pytest.raises(ImageError, match="depth of 0x0"):
        fit_depth(np.zeros((0, 0)), (3, 2))


def test_depth_of_points() -> None:
    depth = np.full((20, 30), 2.0, np.float32)
    depth[:, 15:] = 4.0
    depth[5, 5] = 0.0
    depth[8, 5] = np.nan
    depth[11, 5] = np.inf
    depth[14, 5] = 2.05
    points = np.array(
        [[3, 3], [25.4, 10.4], [15, 9], [14, 9], [5, 5], [5, 8], [5, 11], [6, 8], [5, 14]]
        + [[-0.4, 0], [29.4, 19], [-0.6, 3], [29.6, 3], [3, 19.6], [np.nan, 3]],
        float,
    )
    unknown = np.nan
    expected = [2, 4, unknown, unknown, unknown, unknown, unknown, 2, 2.05]
    expected += [2, 4, unknown, unknown, unknown, unknown]
    np.testing.assert_allclose(depth_of_points(depth, points), expected, rtol=1e-6)
    assert depth_of_points(depth, np.zeros((0, 2))).shape == (0,)
