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
    RecordedTrajectory,
    load_trajectory,
    needs_stamps,
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


NS = 1403636579763555584
NS_ROWS = (f"{NS}.000000 1 2 3 0 0 0.6 0.8", f"{NS + 50_000_000}.000000 1 2 4 0 0 0.6 0.8")


class TestForeignFormats:
    """As other tools and datasets write trajectories."""

    @staticmethod
    def load(folder: Path, text: str, name: str = "t.txt") -> RecordedTrajectory:
        (folder / name).write_text(text, newline="")
        return load_trajectory(folder / name)

    @pytest.mark.parametrize(
        ("stamp", "unit"),
        [
            (f"{NS}.000000", "ns"),
            (f"{NS}", "ns"),
            ("1.403636579763555584e+18", "ns"),
            (f"{NS // 1000}.584", "us"),
            (f"{NS // 10**6}.555584", "ms"),
            (f"{NS // 10**9}.763555584", "s"),
        ],
    )
    def test_units_of_time(self, tmp_path: Path, stamp: str, unit: str) -> None:
        found = self.load(tmp_path, f"{stamp} 1 2 3 0 0 0.6 0.8\n")
        assert found.trajectory.stamps_ns.tolist() == [NS]
        assert found.origin.endswith(f"(TUM, times in {unit})")
        np.testing.assert_allclose(found.trajectory.quaternions_xyzw, [[0, 0, 0.6, 0.8]])

    def test_the_largest_time_gives_the_unit(self, tmp_path: Path) -> None:
        found = self.load(tmp_path, "0 1 2 3 0 0 0 1\n" + NS_ROWS[0])
        assert found.trajectory.stamps_ns.tolist() == [0, NS]

    def test_euroc(self, tmp_path: Path) -> None:
        """Commas and the quaternion's w first, with and without what follows and a header."""
        row = f"{NS},1,2,3,0.8,0,0,0.6"
        header = (
            "#timestamp, p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], "
            "q_RS_y [], q_RS_z []\r\n"
        )
        for text in (row, header + row, row + ",0" * 9, row + ",7,8,9,", f"{row}\r\n"):
            found = self.load(tmp_path, text, "data.csv")
            assert found.trajectory.stamps_ns.tolist() == [NS]
            np.testing.assert_allclose(found.trajectory.positions, [[1, 2, 3]])
            np.testing.assert_allclose(found.trajectory.quaternions_xyzw, [[0, 0, 0.6, 0.8]])
            assert "EuRoC" in found.origin

    @pytest.mark.parametrize(
        "header",
        [
            "timestamp,x,y,z,qw,qx,qy,qz",
            "# timestamp,tx,ty,tz,qw,qx,qy,qz",
            "Time [s], Position_X [m], position_y (m), position_z, q_w, q_x, q_y, q_z",
            "%time,field.pose.position.x,field.pose.position.y,field.pose.position.z,"
            "field.pose.orientation.w,field.pose.orientation.x,field.pose.orientation.y,"
            "field.pose.orientation.z",
        ],
    )
    def test_headers_name_the_columns(self, tmp_path: Path, header: str) -> None:
        found = self.load(tmp_path, header + "\n1.5,1,2,3,0.8,0,0,0.6\n", "p.csv")
        assert found.trajectory.stamps_ns.tolist() == [1_500_000_000]
        np.testing.assert_allclose(found.trajectory.positions, [[1, 2, 3]])
        np.testing.assert_allclose(found.trajectory.quaternions_xyzw, [[0, 0, 0.6, 0.8]])
        assert "columns as its header names them" in found.origin

    def test_columns_that_are_no_numbers_and_units_of_a_header(self, tmp_path: Path) -> None:
        text = "timestamp [ns],frame,x,y,z,qx,qy,qz,qw\n250000000,odom,1,2,3,0,0,0.6,0.8\n"
        found = self.load(tmp_path, text)
        assert found.trajectory.stamps_ns.tolist() == [250_000_000]
        np.testing.assert_allclose(found.trajectory.quaternions_xyzw, [[0, 0, 0.6, 0.8]])
        with pytest.raises(SourceError, match="columns called time a b c d e f are no stamped"):
            self.load(tmp_path, "time,a,b,c,d,e,f\n1,2,3,4,5,6,7\n")

    def test_commas_between_tum_s_columns(self, tmp_path: Path) -> None:
        for text in ("1.5,1,2,3,0,0,0.6,0.8\n", "1.5, 1, 2, 3, 0, 0, 0.6, 0.8,\n"):
            found = self.load(tmp_path, text)
            assert found.trajectory.stamps_ns.tolist() == [1_500_000_000]
            np.testing.assert_allclose(found.trajectory.quaternions_xyzw, [[0, 0, 0.6, 0.8]])

    def test_comments_and_a_byte_order_mark(self, tmp_path: Path) -> None:
        text = "\ufeff% matlab\n// c\n# t x y z\n\n1 1 2 3 0 0 0.6 0.8 # last\n"
        (tmp_path / "t.txt").write_text(text, encoding="utf-8")
        assert load_trajectory(tmp_path / "t.txt").trajectory.stamps_ns.tolist() == [10**9]

    def test_matrices_of_four_rows(self, tmp_path: Path) -> None:
        row = "1 0 0 5 0 1 0 6 0 0 1 7 0 0 0 1\n"
        (tmp_path / "p.txt").write_text(row)
        assert read_trajectory(tmp_path / "p.txt", np.array([3])).positions.tolist() == [[5, 6, 7]]
        (tmp_path / "p.txt").write_text(row.replace("0 0 0 1\n", "0 0 1 1\n"))
        with pytest.raises(SourceError, match=r"p.txt:1: not a rotation"):
            read_trajectory(tmp_path / "p.txt", np.array([3]))

    def test_stamps_that_repeat_all_stay(self, tmp_path: Path) -> None:
        found = self.load(tmp_path, "1 1 0 0 0 0 0 1\n1 2 0 0 0 0 0 1\n1 3 0 0 0 0 0 1\n")
        assert found.trajectory.positions[:, 0].tolist() == [1, 2, 3]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("1e400 0 0 0 0 0 0 1\n", r"t.txt:1: '1e400' is no time"),
            ("1e30 0 0 0 0 0 0 1\n", r"t.txt:1: '1e30' is no time"),
            ("9" * 5000 + " 0 0 0 0 0 0 1\n", r"t.txt:1: .* is no time"),
            ("0 0 0 0 0 0 0 1\n50000000 0 0 0 0 0 0 1\n", "times 5e.07 apart, .* hardly in s"),
            ("1 2 3 4 5 6 7 8 9\n", r"t.txt:1: 9 columns; a pose has 8"),
            ("1,2,3,4,5,6,7,8,9\n", r"t.txt:1: 9 columns; a pose has 8"),
            ("1e200 " * 12, r"t.txt:1: not a rotation"),
        ],
    )
    def test_what_is_refused(self, tmp_path: Path, text: str, message: str) -> None:
        (tmp_path / "t.txt").write_text(text)
        with pytest.raises(SourceError, match=message):
            load_trajectory(tmp_path / "t.txt", np.arange(1))


def test_some_formats_need_the_frames_stamps(tmp_path: Path) -> None:
    for text, needs in ((IDENTITY_ROW, True), ("0 0 0 0 0 0 1\n", True), (NS_ROWS[0], False)):
        (tmp_path / "t.txt").write_text(text)
        assert needs_stamps(tmp_path / "t.txt") is needs
