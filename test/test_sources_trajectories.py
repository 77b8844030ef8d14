"""Rotations and trajectory files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from superglue_ros.errors import SourceError
from superglue_ros.geometry import quaternions_from_rotations, rotations_from_quaternions
from superglue_ros.sources import (
    poses_from_trajectory,
    read_stamped_trajectory,
    read_trajectory,
    trajectory_from_poses,
    write_trajectory,
)
from superglue_ros.types import Pose

IDENTITY_ROW = "1 0 0 0 0 1 0 0 0 0 1 0\n"
numbers = st.floats(-1, 1)


@given(st.lists(st.tuples(numbers, numbers, numbers, numbers), max_size=4))
def test_quaternions_survive_the_way_over_matrices(values: list) -> None:
    quaternions = np.array([q for q in values if np.linalg.norm(q) > 1e-3]).reshape(-1, 4)
    rotations = rotations_from_quaternions(quaternions)
    np.testing.assert_allclose(
        rotations @ rotations.transpose(0, 2, 1), np.tile(np.eye(3), (len(rotations), 1, 1)),
        atol=1e-12,
    )  # fmt: skip
    again = rotations_from_quaternions(quaternions_from_rotations(rotations))
    np.testing.assert_allclose(again, rotations, atol=1e-12)


def test_known_rotations() -> None:
    half = np.sqrt(0.5)
    quarter_about_z = rotations_from_quaternions(np.array([[0, 0, half, half]]))[0]
    np.testing.assert_allclose(quarter_about_z, [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-12)
    half_turns = [np.diag(d) for d in ([1, -1, -1], [-1, 1, -1], [-1, -1, 1])]
    np.testing.assert_allclose(
        np.abs(quaternions_from_rotations(np.array(half_turns))), np.eye(4)[:3], atol=1e-12
    )
    with pytest.raises(ValueError, match="norm zero"):
        rotations_from_quaternions(np.zeros((1, 4)))


def test_file_round_trip_keeps_nanoseconds(tmp_path: Path) -> None:
    poses = [
        Pose(np.eye(3), np.array([1.5, -2.0, 3.25])),
        Pose(np.diag([1.0, -1, -1]), np.ones(3)),
    ]
    trajectory = trajectory_from_poses([1341847980_722988001, 1341847981_000000009], poses)
    write_trajectory(tmp_path / "t.txt", trajectory)
    again = read_trajectory(tmp_path / "t.txt")
    np.testing.assert_array_equal(again.stamps_ns, trajectory.stamps_ns)
    for pose, expected in zip(poses_from_trajectory(again), poses):
        np.testing.assert_allclose(pose.matrix, expected.matrix, atol=1e-8)


def test_empty_trajectory(tmp_path: Path) -> None:
    empty = trajectory_from_poses([], [])
    assert len(empty) == 0
    assert poses_from_trajectory(empty) == []
    write_trajectory(tmp_path / "t.txt", empty)
    with pytest.raises(SourceError, match="no poses"):
        read_trajectory(tmp_path / "t.txt")


def test_rows_are_sorted_by_time(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("2 1 0 0 0 0 0 1\n1 0 0 0 0 0 0 1\n")
    trajectory = read_trajectory(tmp_path / "t.txt")
    assert trajectory.stamps_ns.tolist() == [1_000_000_000, 2_000_000_000]
    assert trajectory.positions[:, 0].tolist() == [0, 1]


def test_kitti_takes_the_frames_stamps(tmp_path: Path) -> None:
    (tmp_path / "poses.txt").write_text(IDENTITY_ROW + IDENTITY_ROW.replace("0 0\n", "0 7\n"))
    (tmp_path / "poses.txt").write_text(IDENTITY_ROW + "1 0 0 5 0 1 0 6 0 0 1 7\n")
    trajectory = read_trajectory(tmp_path / "poses.txt", np.array([5, 9]))
    assert trajectory.stamps_ns.tolist() == [5, 9]
    assert trajectory.positions[1].tolist() == [5, 6, 7]
    with pytest.raises(SourceError, match="2 poses for 3 frames"):
        read_trajectory(tmp_path / "poses.txt", np.arange(3))
    with pytest.raises(SourceError, match="no stamps"):
        read_trajectory(tmp_path / "poses.txt")
    assert read_stamped_trajectory(tmp_path / "poses.txt").stamps_ns.tolist() == [0, 100_000_000]
    (tmp_path / "times.txt").write_text("1.0\n1.5\n")
    assert read_stamped_trajectory(tmp_path / "poses.txt").stamps_ns[1] == 1_500_000_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 3\n", r"t.txt:1: 3 columns"),
        ("1 0 0 0 0 0 0 1\n2 0 0 0 0 0 1\n", r"t.txt:2: 7 columns where"),
        ("1 0 nan 0 0 0 0 1\n", r"t.txt:1: NaN"),
        ("1 0 inf 0 0 0 0 1\n", r"t.txt:1: NaN or infinity"),
        ("nan 0 0 0 0 0 0 1\n", r"t.txt:1: "),
        ("1 0 a 0 0 0 0 1\n", r"t.txt:1: could not convert"),
        ("# c\n1 0 0 0 0 0 0 0\n", r"t.txt:2: quaternion of norm zero"),
        ("", "no poses"),
        (IDENTITY_ROW.replace("1", "2"), "not a rotation"),
        (IDENTITY_ROW.replace("1 0\n", "-1 0\n"), "not a rotation"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(SourceError, match=message):
        read_trajectory(tmp_path / "t.txt", np.arange(1))


def test_unreadable_and_unwritable(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot read"):
        read_trajectory(tmp_path / "gone.txt")
    (tmp_path / "binary.txt").write_bytes(bytes(range(128, 256)))
    with pytest.raises(SourceError, match="cannot read"):
        read_trajectory(tmp_path / "binary.txt")
    with pytest.raises(SourceError, match="cannot write"):
        write_trajectory(tmp_path / "no" / "t.txt", trajectory_from_poses([], []))


def test_stamps_and_poses_must_agree() -> None:
    with pytest.raises(ValueError, match="2 stamps for 1 poses"):
        trajectory_from_poses([1, 2], [Pose.identity()])


def test_shared_groundtruth(shared_data: Path) -> None:
    tum = read_trajectory(shared_data / "tum_fr3_office" / "groundtruth.txt")
    assert len(tum) > 1000
    assert np.all(np.diff(tum.stamps_ns) > 0)
    assert len(read_stamped_trajectory(shared_data / "kitti_06" / "poses.txt")) == 51
