"""Trajectory errors: hand-worked, invariant to alignment, and equal to evo's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from superglue_ros.evaluation.accuracy import accuracy_rows, measure_accuracy
from superglue_ros.evaluation.kinematics import roll_pitch_yaw_deg, seconds, speeds
from superglue_ros.evaluation.relative import drift_errors, kitti_errors, relative_errors
from superglue_ros.evaluation.trajectory import (
    absolute_trajectory_error,
    align_umeyama,
    associate,
    path_length,
)
from superglue_ros.geometry import exp_rotation
from superglue_ros.sources import read_stamped_trajectory, trajectory_from_poses
from superglue_ros.types import Pose, Trajectory

STEP_NS = 100_000_000


def wandering(rng: np.random.Generator, count: int = 40) -> Trajectory:
    positions = np.cumsum(rng.normal(0.3, 0.2, (count, 3)), axis=0)
    vectors = np.cumsum(rng.normal(0, 0.05, (count, 3)), axis=0)
    poses = [Pose(exp_rotation(v), p) for v, p in zip(vectors, positions)]
    return trajectory_from_poses(STEP_NS * np.arange(count), poses)


def moved(trajectory: Trajectory, scale: float, rotation: np.ndarray, shift: np.ndarray):
    from superglue_ros.sources import poses_from_trajectory

    poses = [
        Pose(rotation @ pose.rotation, scale * rotation @ pose.position + shift)
        for pose in poses_from_trajectory(trajectory)
    ]
    return trajectory_from_poses(trajectory.stamps_ns, poses)


def noisy(trajectory: Trajectory, rng: np.random.Generator, sigma: float = 0.05) -> Trajectory:
    positions = trajectory.positions + rng.normal(0, sigma, trajectory.positions.shape)
    return Trajectory(trajectory.stamps_ns, positions, trajectory.quaternions_xyzw)


def test_hand_worked() -> None:
    truth = trajectory_from_poses(
        [0, 1, 2, 3], [Pose(np.eye(3), np.array([i, 0, 0.0])) for i in range(4)]
    )
    lifted = Trajectory(truth.stamps_ns, truth.positions + [0, 0, 2.0], truth.quaternions_xyzw)
    none = absolute_trajectory_error(lifted, truth, "none")
    assert (none.rmse_m, none.mean_m, none.max_m, none.path_length_m) == (2, 2, 2, 3)
    assert none.rmse_percent == pytest.approx(200 / 3)
    assert absolute_trajectory_error(lifted, truth, "se3").rmse_m == pytest.approx(0, abs=1e-12)


def test_umeyama_finds_the_similarity(rng: np.random.Generator) -> None:
    points = rng.normal(size=(20, 3))
    rotation = exp_rotation(np.array([0.3, -1.2, 2.0]))
    found = align_umeyama(points, 2.5 * points @ rotation.T + [1, 2, 3], with_scale=True)
    assert found.scale == pytest.approx(2.5)
    np.testing.assert_allclose(found.rotation, rotation, atol=1e-12)
    np.testing.assert_allclose(found.translation, [1, 2, 3], atol=1e-12)


def test_umeyama_never_mirrors(rng: np.random.Generator) -> None:
    points = rng.normal(size=(20, 3))
    found = align_umeyama(points, points * [1, 1, -1], with_scale=False)
    assert np.linalg.det(found.rotation) == pytest.approx(1)


@pytest.mark.parametrize("alignment", ["sim3", "se3"])
def test_alignment_undoes_a_motion(rng: np.random.Generator, alignment: str) -> None:
    truth = wandering(rng)
    estimate = moved(noisy(truth, rng), 1.0, exp_rotation(rng.normal(size=3)), rng.normal(size=3))
    direct = absolute_trajectory_error(noisy(truth, np.random.default_rng(1)), truth, alignment)
    away = absolute_trajectory_error(
        moved(
            noisy(truth, np.random.default_rng(1)),
            1.0,
            exp_rotation(rng.normal(size=3)),
            np.ones(3),
        ),
        truth,
        alignment,
    )
    assert away.rmse_m == pytest.approx(direct.rmse_m)
    assert absolute_trajectory_error(estimate, truth, alignment).rmse_m < 0.2


def test_scale_is_reported(rng: np.random.Generator) -> None:
    truth = wandering(rng)
    estimate = moved(truth, 0.25, np.eye(3), np.zeros(3))
    errors = absolute_trajectory_error(estimate, truth)
    assert errors.scale == pytest.approx(4)
    assert errors.rmse_m == pytest.approx(0, abs=1e-9)
    assert absolute_trajectory_error(estimate, truth, "se3").rmse_m > 0.5


def test_association_takes_the_nearest_within_the_gap() -> None:
    def at(stamps: list[int]) -> Trajectory:
        return trajectory_from_poses(stamps, [Pose.identity()] * len(stamps))

    ms = 1_000_000
    indices, partners = associate(at([0, 14 * ms, 100 * ms]), at([5 * ms, 15 * ms, 60 * ms]))
    assert (indices.tolist(), partners.tolist()) == ([0, 1], [0, 1])
    assert len(associate(at([]), at([1]))[0]) == 0
    assert len(associate(at([1]), at([]))[0]) == 0
    assert associate(at([5]), at([5]))[1].tolist() == [0]


@pytest.mark.parametrize("alignment", ["sim3", "se3", "none"])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_poses_are_a_reason(alignment: str, count: int) -> None:
    few = trajectory_from_poses(range(count), [Pose.identity()] * count)
    errors = absolute_trajectory_error(few, few, alignment)
    assert np.isnan(errors.rmse_m)
    assert "3 needed" in errors.reason


def test_standing_still_is_a_reason() -> None:
    still = trajectory_from_poses(range(5), [Pose.identity()] * 5)
    errors = absolute_trajectory_error(still, still)
    assert "do not move" in errors.reason
    assert absolute_trajectory_error(still, still, "none").rmse_m == 0


def test_unknown_alignment() -> None:
    empty = trajectory_from_poses([], [])
    with pytest.raises(ValueError, match="alignment 'best'"):
        absolute_trajectory_error(empty, empty, "best")


def test_relative_errors_by_hand() -> None:
    straight = [Pose(np.eye(3), np.array([0, 0, float(i)])) for i in range(5)]
    slow = [Pose(np.eye(3), np.array([0, 0, 0.9 * i])) for i in range(5)]
    truth, estimate = (trajectory_from_poses(range(5), poses) for poses in (straight, slow))
    per_frame = relative_errors(estimate, truth)
    assert (per_frame.num_segments, per_frame.translation_rmse_m) == (4, pytest.approx(0.1))
    assert per_frame.translation_percent == pytest.approx(10)
    per_metres = relative_errors(estimate, truth, metres=2)
    assert (per_metres.num_segments, per_metres.translation_rmse_m) == (3, pytest.approx(0.2))
    assert relative_errors(estimate, truth, scale=1 / 0.9).translation_rmse_m < 1e-12
    assert "shorter" in relative_errors(estimate, truth, frames=9).reason
    # Jitter of a camera that stands still is no drift of a thousand times its path.
    still = [Pose(np.eye(3), np.array([1e-5 * (i % 2), 0, 0])) for i in range(5)]
    shaken = [Pose(np.eye(3), np.array([1e-2 * (i % 2), 0, 0])) for i in range(5)]
    both = [
        trajectory_from_poses(range(10), [*rest, *drive])
        for rest, drive in ((shaken, slow), (still, straight))
    ]
    assert relative_errors(*both).translation_percent < 12
    with pytest.raises(ValueError, match="segment"):
        relative_errors(estimate, truth, frames=0)


def test_relative_rotation() -> None:
    turn = [
        Pose(exp_rotation(np.array([0, 0.02 * i, 0])), np.array([0, 0, 2.0 * i])) for i in range(4)
    ]
    line = [Pose(np.eye(3), np.array([0, 0, 2.0 * i])) for i in range(4)]
    errors = relative_errors(
        trajectory_from_poses(range(4), turn), trajectory_from_poses(range(4), line)
    )
    assert errors.rotation_rmse_deg == pytest.approx(np.degrees(0.02))
    assert errors.rotation_deg_per_m == pytest.approx(np.degrees(0.02) / 2)


def drive(count: int, step_m: float, shrunk: float = 1.0, turn_rad: float = 0.0) -> Trajectory:
    """Straight ahead at 10 Hz, positions shrunk, each pose turned a little further."""
    poses = [
        Pose(exp_rotation(np.array([0, turn_rad * i, 0])), np.array([0, 0, shrunk * step_m * i]))
        for i in range(count)
    ]
    return trajectory_from_poses(STEP_NS * np.arange(count), poses)


def test_drift_says_over_which_length() -> None:
    truth, estimate = drive(101, 0.6), drive(101, 0.6, shrunk=0.99)
    drift = drift_errors(estimate, truth)
    assert (drift.segment, drift.num_segments) == ("10 m", 84)
    assert drift.translation_percent == pytest.approx(1)
    assert drift_errors(drive(11, 0.01), drive(11, 0.01)).segment == "0.02 m"
    still = drift_errors(drive(5, 0.0), drive(5, 0.0))
    assert "no true motion" in still.reason
    # Of the part that was estimated, not of a longer ground truth.
    assert drift_errors(drive(11, 0.6), truth).segment == "1 m"


def test_kitti_errors_are_the_mean_over_its_segments() -> None:
    truth = drive(261, 1.0)
    estimate = drive(261, 1.0, shrunk=0.98, turn_rad=1e-3)
    errors = kitti_errors(estimate, truth)
    # A segment ends at the first pose further than its length: 101 and 201 frames on.
    starts = [len(range(0, 261 - length - 1, 10)) for length in (100, 200)]
    assert (errors.segment, errors.num_segments) == ("100 to 200 m", sum(starts))
    turns = [np.degrees(1e-3) * (length + 1) / length for length in (100, 200)]
    assert errors.rotation_deg_per_m == pytest.approx(np.average(turns, weights=starts))
    exact = kitti_errors(drive(261, 1.0, shrunk=0.98), truth)
    shares = [2.0 * (length + 1) / length for length in (100, 200)]
    assert exact.translation_percent == pytest.approx(np.average(shares, weights=starts))
    assert kitti_errors(truth, truth).translation_percent == pytest.approx(0, abs=1e-9)
    assert "shorter than 100 m" in kitti_errors(drive(50, 1.0), drive(50, 1.0)).reason


def test_accuracy_names_each_length() -> None:
    truth = drive(261, 1.0)
    rows = dict(accuracy_rows(measure_accuracy(drive(261, 1.0, shrunk=0.5), truth, "sim3")))
    assert {"RPE over one frame", "drift over 50 m", "KITTI t_rel, r_rel over 100 to 200 m"} <= {
        *rows
    }
    assert rows["scale"] == "2"
    short = dict(accuracy_rows(measure_accuracy(drive(30, 1.0), drive(30, 1.0), "se3")))
    assert not any(name.startswith("KITTI") for name in short)
    none = accuracy_rows(measure_accuracy(drive(2, 1.0), drive(2, 1.0), "se3"))
    assert none == [["errors", "2 of 2 poses have ground truth; 3 needed"]]


def test_kinematics_by_hand() -> None:
    angles = roll_pitch_yaw_deg(
        trajectory_from_poses(
            [0, 1], [Pose.identity(), Pose(exp_rotation(np.array([0, 0, 0.5])), np.zeros(3))]
        )
    )
    np.testing.assert_allclose(angles, [[0, 0, 0], [0, 0, np.degrees(0.5)]], atol=1e-9)
    spinning = [Pose(exp_rotation(np.array([0, 0, 0.4 * i])), np.zeros(3)) for i in range(40)]
    yaw = roll_pitch_yaw_deg(trajectory_from_poses(range(40), spinning))[:, 2]
    np.testing.assert_allclose(np.diff(yaw), np.degrees(0.4))
    np.testing.assert_allclose(speeds(drive(4, 0.6)), 6.0)
    np.testing.assert_allclose(seconds(drive(3, 1.0)), [0, 0.1, 0.2])
    empty = trajectory_from_poses([], [])
    assert roll_pitch_yaw_deg(empty).shape == (0, 3)
    assert len(speeds(empty)) == len(seconds(empty)) == 0


def test_path_length() -> None:
    assert path_length(np.array([[0, 0, 0], [3, 4, 0], [3, 4, 1.0]])) == 6
    assert path_length(np.zeros((0, 3))) == path_length(np.zeros((1, 3))) == 0


@pytest.mark.parametrize("alignment", ["sim3", "se3", "none"])
def test_equal_to_evo(rng: np.random.Generator, shared_data: Path, alignment: str) -> None:
    pytest.importorskip("evo")
    from evo.core import metrics, sync
    from evo.core.trajectory import PoseTrajectory3D

    truth = read_stamped_trajectory(shared_data / "tum_fr1_rpy_a" / "groundtruth.txt")
    every_third = Trajectory(
        truth.stamps_ns[::3] + 2_000_000, truth.positions[::3], truth.quaternions_xyzw[::3]
    )
    estimate = moved(
        noisy(every_third, rng, 0.02), 0.7, exp_rotation(np.array([0.4, 0.1, -2])), np.ones(3)
    )

    def to_evo(trajectory: Trajectory) -> PoseTrajectory3D:
        return PoseTrajectory3D(
            positions_xyz=trajectory.positions,
            orientations_quat_wxyz=np.roll(trajectory.quaternions_xyzw, 1, axis=1),
            timestamps=trajectory.stamps_ns * 1e-9,
        )

    reference, other = sync.associate_trajectories(to_evo(truth), to_evo(estimate), max_diff=0.02)
    if alignment != "none":
        other.align(reference, correct_scale=alignment == "sim3")
    ape = metrics.APE(metrics.PoseRelation.translation_part)
    ape.process_data((reference, other))
    expected = ape.get_all_statistics()
    errors = absolute_trajectory_error(estimate, truth, alignment)
    assert errors.num_poses == len(ape.error)
    for name in ("rmse", "mean", "median", "max"):
        assert getattr(errors, f"{name}_m") == pytest.approx(expected[name], rel=1e-6)
    for relation, figure in (
        ("translation_part", "translation_rmse_m"),
        ("rotation_angle_deg", "rotation_rmse_deg"),
    ):
        rpe = metrics.RPE(metrics.PoseRelation[relation], 1, metrics.Unit.frames)
        rpe.process_data((reference, other))
        relative = relative_errors(estimate, truth, scale=errors.scale)
        expected_rmse = rpe.get_all_statistics()["rmse"]
        assert getattr(relative, figure) == pytest.approx(expected_rmse, rel=1e-5, abs=1e-5)
    # What the plots show.
    np.testing.assert_allclose(errors.errors_m, ape.error, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(errors.aligned.positions, other.positions_xyz, atol=1e-9)
    angles = np.degrees(np.unwrap(other.get_orientations_euler("sxyz"), axis=0))
    difference = (roll_pitch_yaw_deg(errors.aligned) - angles + 180) % 360 - 180
    np.testing.assert_allclose(difference, 0, atol=1e-6)
    # Its stamps are seconds since 1970 in doubles, a quarter of a microsecond apart.
    np.testing.assert_allclose(speeds(errors.groundtruth), reference.speeds, rtol=1e-4)
