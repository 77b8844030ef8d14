"""Folders as datasets are downloaded, each layout a tiny one."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from superglue_ros.errors import SourceError
from superglue_ros.sources import find_groundtruth, open_source, read_trajectory

SIZE = (32, 24)


def write_images(folder: Path, names: list[str], start: int = 0) -> None:
    """Gray images, each of one value: its place in the list, from `start` on."""
    folder.mkdir(parents=True, exist_ok=True)
    for value, name in enumerate(names, start):
        cv2.imwrite(str(folder / name), np.full(SIZE[::-1], value, np.uint8))


def values(frames: list) -> list[int]:
    return [int(frame.image[0, 0]) for frame in frames]


class TestPlain:
    def test_natural_order(self, tmp_path: Path) -> None:
        write_images(tmp_path, [f"frame{i}.png" for i in range(24)])
        source = open_source(tmp_path)
        assert values(list(source)) == list(range(24))
        assert "order: natural order of the names; times: none, 10 Hz assumed" in source.notes
        write_images(tmp_path / "mixed", ["2b.png", "10a.png", "010a.png", "b.png"])
        names = [entry.image.name for entry in open_source(tmp_path / "mixed").entries]
        assert names == ["2b.png", "010a.png", "10a.png", "b.png"]

    def test_hidden_files_and_folders_are_no_images(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        write_images(tmp_path, ["0001.png", "0002.png"])
        for name in ("._0001.png", ".hidden.jpg", ".DS_Store"):
            (tmp_path / name).write_bytes(b"\0\5\x16\7")
        (tmp_path / "a.png").mkdir()
        source = open_source(tmp_path)
        assert (len(source), values(list(source)), source.skipped) == (2, [0, 1], 0)
        # The images are of one grey level, which is said.
        assert [record.message for record in caplog.records] == ["images use 1 of 256 grey levels"]

    @pytest.mark.parametrize(
        ("names", "stamps", "unit"),
        [
            (["1403636579763555584", "1403636579813555456"], [1403636579763555584] * 2, "ns"),
            (["1403636579.763555584", "1403636579.8"], [1403636579763555584] * 2, "s"),
            (["1403636579763555", "1403636579813555"], [1403636579763555000] * 2, "us"),
        ],
    )
    def test_names_that_are_times(
        self, tmp_path: Path, names: list[str], stamps: list[int], unit: str
    ) -> None:
        write_images(tmp_path, [f"{name}.png" for name in names])
        source = open_source(tmp_path)
        assert next(iter(source)).stamp_ns == stamps[0]
        assert f"order: by the times in the names, in {unit}" in source.notes

    def test_times_beside_the_images(self, tmp_path: Path) -> None:
        write_images(tmp_path, ["a2.png", "a10.png"])
        (tmp_path / "times.txt").write_text("5.5\n6.25\n")
        frames = list(open_source(tmp_path))
        assert [frame.stamp_ns for frame in frames] == [5_500_000_000, 6_250_000_000]
        (tmp_path / "times.txt").write_text("5.5\n")
        with pytest.raises(SourceError, match="1 times for 2 images"):
            open_source(tmp_path)

    def test_where_the_images_are(self, tmp_path: Path) -> None:
        write_images(tmp_path / "left", ["1.png", "2.png"])
        with pytest.raises(SourceError, match=r"no images in .*; its folder left has 2"):
            open_source(tmp_path)


CAM_TO_CAM = """calib_time: 09-Jan-2012 13:57:47
corner_dist: 9.950000e-02
S_00: 64 48
K_00: 98 0 30 0 98 20 0 0 1
D_00: -0.3 0.2 0 0 0
S_rect_00: 32 24
P_rect_00: 70 0 15 0 0 71 12 0 0 0 1 0
P_rect_01: 70 0 15 -35 0 71 12 0 0 0 1 0
S_02: 64 48
S_rect_02: 32 24
P_rect_02: 72 0 15 3 0 72 12 0 0 0 1 0
P_rect_03: 72 0 15 -33 0 72 12 0 0 0 1 0
"""


class TestKitti:
    names = tuple(f"{i:010d}.png" for i in range(3))

    def drive(self, folder: Path, beside: bool) -> Path:
        drive = folder / "2011_09_26_drive_0001_sync"
        for camera in range(2):
            write_images(drive / f"image_{camera:02d}" / "data", list(self.names), 10 * camera)
            (drive / f"image_{camera:02d}" / "timestamps.txt").write_text(
                "2011-09-26 13:02:25.964389445\n2011-09-26 13:02:26.1\n2011-09-26 13:02:26\n\n"
            )
        ((folder if beside else drive) / "calib_cam_to_cam.txt").write_text(CAM_TO_CAM)
        return drive

    @pytest.mark.parametrize("beside", [False, True])
    def test_raw(self, tmp_path: Path, beside: bool) -> None:
        source = open_source(self.drive(tmp_path, beside))
        frames = list(source)
        # 2011-09-26 13:02:25 UTC.
        second = 1317042145 * 10**9
        assert [frame.stamp_ns - second for frame in frames] == [
            964389445, 1_100_000_000, 1_000_000_000
        ]  # fmt: skip
        assert (values(frames), [int(frame.right[0, 0]) for frame in frames]) == (
            [0, 1, 2],
            [10, 11, 12],
        )
        assert frames[0].baseline_m == pytest.approx(0.5)
        assert (source.camera.model, source.camera.matrix[1, 1]) == ("none", 71)
        assert "layout: KITTI raw, images of image_00" in source.notes

    def test_raw_images_are_lines(self, tmp_path: Path) -> None:
        drive = self.drive(tmp_path, True)
        (drive / "image_00" / "data" / self.names[1]).unlink()
        frames = list(open_source(drive))
        assert [frame.stamp_ns % 10**9 for frame in frames] == [964389445, 0]
        (drive / "image_00" / "data" / "0000000007.png").write_bytes(b"")
        (drive / "image_00" / "data" / "0000000008.png").write_bytes(b"")
        with pytest.raises(SourceError, match="3 times for 4 images"):
            open_source(drive)

    def test_raw_as_taken_and_in_colour(self, tmp_path: Path) -> None:
        drive = tmp_path / "2011_09_26_drive_0001_extract"
        (drive / "image_00" / "data").mkdir(parents=True)
        cv2.imwrite(str(drive / "image_00" / "data" / "0000000000.png"), np.zeros((48, 64)))
        (tmp_path / "calib_cam_to_cam.txt").write_text(CAM_TO_CAM)
        camera = open_source(drive).camera
        assert (camera.model, camera.matrix[0, 0]) == ("plumb_bob", 98)
        colour = tmp_path / "colour"
        for number in ("02", "03"):
            write_images(colour / f"image_{number}" / "data", list(self.names))
        source = open_source(colour)
        assert source.camera.matrix[0, 0] == 72
        assert next(iter(source)).baseline_m == pytest.approx(0.5)

    def test_raw_lacks(self, tmp_path: Path) -> None:
        drive = self.drive(tmp_path, True)
        times = drive / "image_00" / "timestamps.txt"
        times.write_text("2011-09-26 13:02:25.9\n2011-13-26 13:02:26.1\n13:02:26\n")
        with pytest.raises(SourceError, match=r"timestamps.txt:2: '2011-13-26"):
            open_source(drive)
        (tmp_path / "calib_cam_to_cam.txt").unlink()
        with pytest.raises(SourceError, match=r"calib_cam_to_cam.txt is missing in it and beside"):
            open_source(drive)

    def test_odometry_with_times(self, tmp_path: Path) -> None:
        for camera in range(4):
            write_images(tmp_path / f"image_{camera}", ["000000.png", "000001.png"], 10 * camera)
        rows = [f"P{i}: {700 + i} 0 300 {-350.5 * (i % 2)} 0 700 100 0 0 0 1 0" for i in range(4)]
        (tmp_path / "calib.txt").write_text("\n".join(rows) + "\nTr: " + "1 " * 12)
        (tmp_path / "times.txt").write_text("0.000000e+00\n1.037875e-01\n")
        source = open_source(tmp_path)
        frames = list(source)
        assert [frame.stamp_ns for frame in frames] == [0, 103_787_500]
        assert (values(frames), source.camera.matrix[0, 0]) == ([0, 1], 700)
        assert int(frames[1].right[0, 0]) == 11
        assert frames[0].baseline_m == pytest.approx(350.5 / 700)


class TestEuroc:
    sensor = (
        "sensor_type: camera\nT_BS:\n  cols: 4\n  rows: 4\n"
        "  data: [0, -1, 0, 0.1,\n         1, 0, 0, 0.2,\n         0, 0, 1, 0.3,\n"
        "         0.0, 0.0, 0.0, 1.0]\n"
        "rate_hz: 20\nresolution: [32, 24]\ncamera_model: pinhole\n"
        "intrinsics: [45.8, 45.7, 16.7, 12.4] #fu, fv, cu, cv\n"
        "distortion_model: radial-tangential\n"
        "distortion_coefficients: [-0.28340811, 0.07395907, 0.00019359, 1.76187114e-05]\n"
    )

    def write(self, folder: Path) -> Path:
        for camera in range(2):
            home = folder / "mav0" / f"cam{camera}"
            names = [f"140363657976355558{i}.png" for i in range(2)]
            write_images(home / "data", names, 10 * camera)
            rows = "".join(f"{name[:-4]},{name}\r\n" for name in names)
            (home / "data.csv").write_text("#timestamp [ns],filename\r\n" + rows)
            (home / "sensor.yaml").write_text(self.sensor)
        truth = folder / "mav0" / "state_groundtruth_estimate0"
        truth.mkdir()
        (truth / "data.csv").write_text(
            "#timestamp, p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], "
            "q_RS_y [], q_RS_z [], v_RS_R_x [m s^-1], v_RS_R_y [m s^-1], v_RS_R_z [m s^-1], "
            "b_w_RS_S_x [rad s^-1], b_w_RS_S_y [rad s^-1], b_w_RS_S_z [rad s^-1], "
            "b_a_RS_S_x [m s^-2], b_a_RS_S_y [m s^-2], b_a_RS_S_z [m s^-2]\n"
            "1403636579763555580,1,2,3,0,1,0,0,9,9,9,9,9,9,9,9,9\n"
        )
        return folder

    def test_both_cameras(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        for path, camera in ((tmp_path, 0), (tmp_path / "mav0", 0), (tmp_path / "mav0/cam1", 1)):
            source = open_source(path)
            assert values(list(source)) == [10 * camera, 10 * camera + 1]
            assert [frame.stamp_ns for frame in source][1] == 1403636579763555581
            assert (source.camera.model, source.is_stereo) == ("plumb_bob", False)
            assert f"layout: EuRoC, images of cam{camera}" in source.notes
        said = "right images: cam1 is not used: the second camera is not to the right of the first"
        assert any(note.startswith(said) for note in open_source(tmp_path).notes)

    def test_true_poses_are_the_camera_s(self, tmp_path: Path) -> None:
        """The body looks along x turned by half a turn about x; its camera is a quarter turn off
        about z and (0.1, 0.2, 0.3) away."""
        truth = find_groundtruth(self.write(tmp_path))
        assert truth is not None
        trajectory = read_trajectory(truth)
        assert trajectory.stamps_ns.tolist() == [1403636579763555580]
        np.testing.assert_allclose(trajectory.positions, [[1.1, 1.8, 2.7]], atol=1e-12)
        half = np.sqrt(0.5)
        np.testing.assert_allclose(np.abs(trajectory.quaternions_xyzw), [[half, half, 0, 0]])

    def test_names_alone(self, tmp_path: Path) -> None:
        write_images(tmp_path / "cam0" / "data", ["1403636579763555580.png"])
        source = open_source(tmp_path)
        assert next(iter(source)).stamp_ns == 1403636579763555580
        assert source.camera is None
        for text in ("a,b.png\n", "1,2,3\n", "99999999999999999999999,a.png\n"):
            (tmp_path / "cam0" / "data.csv").write_text(text)
            with pytest.raises(SourceError, match=r"data.csv:1: "):
                open_source(tmp_path)


class TestTartanair:
    def test_first_edition(self, tmp_path: Path) -> None:
        for side, start in (("left", 0), ("right", 10)):
            folder = tmp_path / f"image_{side}"
            folder.mkdir()
            for i in range(2):
                image = np.full((480, 640), start + i, np.uint8)
                cv2.imwrite(str(folder / f"{i:06d}_{side}.png"), image)
        (tmp_path / "depth_left").mkdir()
        for i in range(2):
            depth = np.full((480, 640), 1.5 + i, np.float32)
            np.save(tmp_path / "depth_left" / f"{i:06d}_left_depth.npy", depth)
        # One metre ahead and one down, looking to the east.
        (tmp_path / "pose_left.txt").write_text(
            "0 0 0 0 0 0 1\n1 0 1 0 0 0.70710678118 0.70710678118\n"
        )
        source = open_source(tmp_path)
        frames = list(source)
        assert values(frames) == [0, 1]
        assert [int(frame.right[0, 0]) for frame in frames] == [10, 11]
        assert [float(frame.depth_m[0, 0]) for frame in frames] == [1.5, 2.5]
        assert frames[0].baseline_m == 0.25
        np.testing.assert_array_equal(
            source.camera.matrix, [[320, 0, 320], [0, 320, 240], [0, 0, 1]]
        )
        truth = find_groundtruth(tmp_path)
        assert truth is not None
        trajectory = read_trajectory(truth, np.array([0, 100_000_000]))
        # A camera has z ahead, x to the right and y down; it turned right, about y.
        np.testing.assert_allclose(trajectory.positions, [[0, 0, 0], [0, 1, 1]])
        np.testing.assert_allclose(
            trajectory.quaternions_xyzw[1], [0, np.sqrt(0.5), 0, np.sqrt(0.5)], atol=1e-9
        )

    def test_second_edition(self, tmp_path: Path) -> None:
        folder, depths = tmp_path / "image_lcam_front", tmp_path / "depth_lcam_front"
        folder.mkdir()
        depths.mkdir()
        cv2.imwrite(str(folder / "000000_lcam_front.png"), np.zeros((640, 640), np.uint8))
        depth = np.full((640, 640), 7.25, "<f4").view(np.uint8).reshape(640, 640, 4)
        cv2.imwrite(str(depths / "000000_lcam_front_depth.png"), depth)
        source = open_source(tmp_path)
        frame = next(iter(source))
        np.testing.assert_array_equal(frame.depth_m, np.full((640, 640), 7.25))
        assert source.camera.matrix[1, 2] == 320

    def test_other_sizes_have_no_camera(self, tmp_path: Path) -> None:
        write_images(tmp_path / "image_left", ["000000_left.png"])
        write_images(tmp_path / "image_right", ["000000_right.png"])
        source = open_source(tmp_path)
        assert (source.camera, source.is_stereo) == (None, False)
        write_images(tmp_path / "image_left", ["a.png"])
        with pytest.raises(SourceError, match="its name starts with no number"):
            open_source(tmp_path)


class Test4Seasons:
    names = ("1585068269123456789", "1585068269156789012")

    def write(self, folder: Path, calibration: str) -> Path:
        recording = folder / "recording_2020-03-24_17-36-22"
        for camera in range(2):
            images = recording / "undistorted_images" / f"cam{camera}"
            write_images(images, [f"{name}.png" for name in self.names], 10 * camera)
        (recording / "times.txt").write_text(
            "".join(f"{name} {name[:10]}.{name[10:]} 1.5\n" for name in self.names)
        )
        (recording / "GNSSPoses.txt").write_text(
            "# frame_id, translation_x, translation_y, translation_z, quaternion_x, quaternion_y, "
            "quaternion_z, quaternion_w, scale, fusion_quality, v3\n"
            f"{self.names[0]}, 1.0, 2.0, 3.0, 0.0, 0.0, 0.6, 0.8, 2.0, 1, 0\n"
        )
        home = folder / calibration
        home.mkdir(parents=True)
        (home / "undistorted_calib_0.txt").write_text("Pinhole 50 51 16 12 0.0\n32 24\n")
        (home / "undistorted_calib_stereo.txt").write_text(
            "1.0 0.0 0.0 -0.3\n0.0 1.0 0.0 0.0\n0.0 0.0 1.0 0.0\n0.0 0.0 0.0 1.0\n"
        )
        return recording

    @pytest.mark.parametrize(
        "calibration", ["calibration", "recording_2020-03-24_17-36-22/Calibration"]
    )
    def test_recording(self, tmp_path: Path, calibration: str) -> None:
        recording = self.write(tmp_path, calibration)
        source = open_source(recording)
        frames = list(source)
        assert [frame.stamp_ns for frame in frames] == [int(name) for name in self.names]
        assert values(frames) == [0, 1]
        assert int(frames[1].right[0, 0]) == 11
        assert frames[0].baseline_m == pytest.approx(0.3)
        assert (source.camera.model, source.camera.matrix[1, 1]) == ("none", 51)
        truth = find_groundtruth(recording)
        assert truth is not None
        poses = read_trajectory(truth)
        assert poses.stamps_ns.tolist() == [int(self.names[0])]
        np.testing.assert_allclose(poses.positions, [[2, 4, 6]])
        np.testing.assert_allclose(poses.quaternions_xyzw, [[0, 0, 0.6, 0.8]])

    def test_not_rectified(self, tmp_path: Path) -> None:
        recording = self.write(tmp_path, "calibration")
        stereo = tmp_path / "calibration" / "undistorted_calib_stereo.txt"
        stereo.write_text(stereo.read_text().replace("0.0 1.0 0.0 0.0", "0.0 0.9 0.1 0.0"))
        with pytest.raises(SourceError, match="the pair is not rectified"):
            open_source(recording)
        stereo.write_text("1 2 3\n")
        with pytest.raises(SourceError, match="no 4 x 4 matrix"):
            open_source(recording)


def test_tum_names_are_sorted_by_time(tmp_path: Path) -> None:
    write_images(tmp_path / "rgb", ["9.5.png", "10.25.png", "10.3.png"])
    assert [frame.stamp_ns for frame in open_source(tmp_path)] == [
        9_500_000_000, 10_250_000_000, 10_300_000_000
    ]  # fmt: skip


def test_given_calibration_is_said(tmp_path: Path) -> None:
    write_images(tmp_path / "images", ["1.png"])
    (tmp_path / "c.txt").write_text("50 50 16 12\n")
    source = open_source(tmp_path / "images", calibration=tmp_path / "c.txt")
    assert f"calibration: {tmp_path / 'c.txt'} (TUM)" in source.notes
