"""Calibration files as people's tools write them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from superglue_ros.errors import CameraError, SourceError
from superglue_ros.geometry import check_camera, normalize_points
from superglue_ros.sources.calibration import (
    camera_from_info,
    load_calibration,
    read_calibration,
)
from superglue_ros.types import CameraModel

SIZE = (640, 480)

KALIBR = """cam0:
  cam_overlaps: [1]
  camera_model: pinhole
  distortion_coeffs: [-0.28, 0.07, 0.0002, 1.8e-05]
  distortion_model: radtan
  intrinsics: [458.6, 457.3, 367.2, 248.4]
  resolution: [752, 480]
  rostopic: /cam0/image_raw
cam1:
  T_cn_cnm1:
  - [1.0, 0.0, 0.0, -0.1]
  - [0.0, 1.0, 0.0, 0.0]
  - [0.0, 0.0, 1.0, 0.0]
  - [0.0, 0.0, 0.0, 1.0]
  camera_model: pinhole
  distortion_coeffs: [0.01, 0.02, 0.03, 0.04]
  distortion_model: equidistant
  intrinsics: [190.0, 191.0, 254.0, 256.0]
  resolution: [512, 512]
  rostopic: /cam1/image_raw
"""


def read(folder: Path, text: str, name: str = "camera.yaml") -> CameraModel:
    (folder / name).write_text(text)
    return read_calibration(folder / name, SIZE)


def angle_deg(camera: CameraModel, x: float, y: float) -> float:
    """Of a pixel's ray from the axis."""
    return float(np.degrees(np.arctan(np.linalg.norm(normalize_points([[x, y]], camera)))))


def test_a_fisheye_said_by_camera_model(tmp_path: Path) -> None:
    text = """image_width: 1640
image_height: 1232
camera_name: fisheye
camera_model: fisheye
camera_matrix:
  rows: 3
  cols: 3
  data: [403.97646, -0.96635, 871.2187, 0, 404.70652, 597.37327, 0, 0, 1]
distortion_coefficients:
  rows: 1
  cols: 4
  data: [0.175653, -0.031772, 0.000362, -0.000719]
"""
    camera = read(tmp_path, text)
    assert (camera.model, camera.width, camera.height) == ("equidistant", 1640, 1232)
    assert angle_deg(camera, 1600, 600) == pytest.approx(84.8, abs=0.05)
    assert angle_deg(camera, 871, 100) == pytest.approx(60.9, abs=0.05)
    with pytest.raises(SourceError, match="contradicts distortion_model 'plumb_bob'"):
        read(tmp_path, text + "distortion_model: plumb_bob\n")
    with pytest.raises(SourceError, match="does not say which distortion model"):
        read(tmp_path, text.replace("camera_model: fisheye", ""))


class TestKalibr:
    block = KALIBR.split("cam1:")[0].replace("cam0:\n", "").replace("\n  ", "\n").strip()

    @pytest.mark.parametrize("before", ["", "cam0:\n", "%YAML:1.0\ncam0:\n", "%YAML:1.0\n---\n"])
    def test_one_camera(self, tmp_path: Path, before: str) -> None:
        block = self.block.replace("\n", "\n  ") if "cam0" in before else self.block
        camera = read(tmp_path, before + ("  " if "cam0" in before else "") + block)
        assert (camera.model, camera.width, camera.height) == ("plumb_bob", 752, 480)
        np.testing.assert_allclose(camera.distortion, [-0.28, 0.07, 0.0002, 1.8e-05, 0])
        np.testing.assert_allclose(
            camera.matrix, [[458.6, 0, 367.2], [0, 457.3, 248.4], [0, 0, 1]]
        )

    def test_several_cameras_by_topic(self, tmp_path: Path) -> None:
        path = tmp_path / "camchain.yaml"
        path.write_text(KALIBR)
        for topic, model in (
            ("/cam1/image_raw", "equidistant"),
            ("/cam1/image_raw/compressed", "equidistant"),
            ("/cam0/image_raw", "plumb_bob"),
            (None, "plumb_bob"),
        ):
            found = load_calibration(path, SIZE, topic)
            assert found.camera.model == model
        assert "cam0 of 2 in a Kalibr camchain" in found.origin
        with pytest.raises(SourceError, match="none is of topic /other: cam0 /cam0/image"):
            load_calibration(path, SIZE, "/other")

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("camera_model: pinhole", "camera_model: omni", "camera_model 'omni': only pinhole"),
            ("camera_model: pinhole", "camera_model: ds", "camera_model 'ds': only pinhole"),
            ("radtan", "fov", "distortion model 'fov' is none of those that are read"),
            ("distortion_model: radtan", "", "does not say which distortion model"),
            ("distortion_coeffs", "coeffs", "'radtan' without distortion coefficients"),
            ("1.8e-05]", "1.8e-05, 1, 2, 3]", "'radtan' with 7 coefficients, expected"),
            ("radtan", "none", "has distortion coefficients, but its distortion model is none"),
            ("0.07", ".nan", "not finite"),
            ("458.6", "-458.6", "focal lengths -458.6 and 457.3 are not positive"),
            ("[752, 480]", "[0, 480]", "an image of 0x480 pixels"),
            ("[752, 480]", "wide", "no camera calibration"),
        ],
    )
    def test_what_is_refused(self, tmp_path: Path, old: str, new: str, message: str) -> None:
        with pytest.raises(SourceError, match=message):
            read(tmp_path, self.block.replace(old, new))

    def test_none_is_none(self, tmp_path: Path) -> None:
        text = self.block.replace("radtan", "none").replace("[-0.28, 0.07, 0.0002, 1.8e-05]", "[]")
        assert read(tmp_path, text).model == "none"


def test_opencv_says_fisheye_with_a_number(tmp_path: Path) -> None:
    text = """%YAML:1.0
---
calibration_time: "Thu 07 Nov 2019 05:21:22 PM CST"
image_width: 1600
image_height: 1200
flags: 650
fisheye_model: 1
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 7.2227628168962633e+02, 0., 7.9950000000000000e+02, 0.,
       7.2751793727489883e+02, 5.9950000000000000e+02, 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   rows: 4
   cols: 1
   dt: d
   data:[ -2.6169716076845460e-02, -4.0273295079988586e-02,
       1.4766309598473784e-02, 0. ]
"""
    fisheye = read(tmp_path, text)
    assert (fisheye.model, fisheye.width) == ("equidistant", 1600)
    np.testing.assert_allclose(
        fisheye.distortion, [-0.02616971607684546, -0.040273295079988586, 0.014766309598473784, 0]
    )
    assert read(tmp_path, text.replace("model: 1", "model: 0")).model == "plumb_bob"
    with pytest.raises(SourceError, match="does not say which distortion model"):
        read(tmp_path, text.replace("fisheye_model: 1", ""))


class TestOrbSlam:
    second = """%YAML:1.0
Camera.fx: 458.654
Camera.fy: 457.296
Camera.cx: 367.215
Camera.cy: 248.375
Camera.k1: -0.28340811
Camera.k2: 0.07395907
Camera.p1: 0.00019359
Camera.p2: 1.76187114e-05
Camera.width: 752
Camera.height: 480
LEFT.D: !!opencv-matrix
   rows: 1
   cols: 5
   dt: d
   data:[-0.28340811, 0.07395907, 0.00019359, 1.76187114e-05, 0.0]
"""

    def test_versions_2_and_3(self, tmp_path: Path) -> None:
        third = 'File.version: "1.0"\nCamera.type: "PinHole"\n' + self.second.replace(
            "Camera.", "Camera1."
        ).replace("Camera1.width", "Camera.width").replace("Camera1.height", "Camera.height")
        for text in (self.second, third.replace("%YAML:1.0\n", "")):
            camera = read(tmp_path, text)
            assert (camera.model, camera.width) == ("plumb_bob", 752)
            np.testing.assert_allclose(
                camera.distortion, [-0.28340811, 0.07395907, 0.00019359, 1.76187114e-05, 0]
            )

    def test_fisheye_and_rectified(self, tmp_path: Path) -> None:
        text = self.second.replace("Camera.p1", "Camera.k3").replace("Camera.p2", "Camera.k4")
        fisheye = read(tmp_path, text + 'Camera.type: "KannalaBrandt8"\n')
        assert fisheye.model == "equidistant"
        np.testing.assert_allclose(fisheye.distortion[2:], [0.00019359, 1.76187114e-05])
        assert read(tmp_path, text + 'Camera.type: "Rectified"\n').model == "none"
        with pytest.raises(SourceError, match=r"Camera.type 'Fancy'"):
            read(tmp_path, text + 'Camera.type: "Fancy"\n')
        with pytest.raises(SourceError, match=r"Camera.p1 is missing"):
            read(tmp_path, text)


class TestVins:
    pinhole = """%YAML:1.0
---
model_type: PINHOLE
camera_name: camera
image_width: 752
image_height: 480
distortion_parameters:
   k1: -2.917e-01
   k2: 8.228e-02
   p1: 5.333e-05
   p2: -1.578e-04
projection_parameters:
   fx: 4.616e+02
   fy: 4.603e+02
   cx: 3.630e+02
   cy: 2.481e+02
"""

    def test_pinhole(self, tmp_path: Path) -> None:
        camera = read(tmp_path, self.pinhole)
        assert (camera.model, camera.matrix[0, 0]) == ("plumb_bob", 461.6)
        np.testing.assert_allclose(camera.distortion[:4], [-0.2917, 0.08228, 5.333e-5, -1.578e-4])
        with pytest.raises(SourceError, match="distortion_parameters is missing"):
            read(tmp_path, self.pinhole.replace("distortion_parameters", "other"))

    def test_fisheye_and_mei(self, tmp_path: Path) -> None:
        head = "model_type: KANNALA_BRANDT\nimage_width: 1280\nimage_height: 800\n"
        text = head + (
            "projection_parameters:\n   k2: 0.1\n   k3: 0.2\n   k4: 0.3\n   k5: 0.4\n"
            "   mu: 400.0\n   mv: 401.0\n   u0: 640.0\n   v0: 400.0\n"
        )
        camera = read(tmp_path, text)
        assert (camera.model, camera.matrix[1, 1], camera.matrix[0, 2]) == (
            "equidistant",
            401,
            640,
        )
        np.testing.assert_allclose(camera.distortion, [0.1, 0.2, 0.3, 0.4])
        mei = "model_type: MEI\nmirror_parameters:\n   xi: 1.9\n"
        with pytest.raises(SourceError, match="model_type 'MEI'"):
            read(tmp_path, mei)


def test_what_topic_echo_prints(tmp_path: Path) -> None:
    text = """header:
  frame_id: cam
height: 480
width: 640
distortion_model: plumb_bob
d:
- 0.1
- -0.2
- 0.001
- 0.002
- 0.0
k: [500.0, 0.0, 320.0, 0.0, 501.0, 240.0, 0.0, 0.0, 1.0]
---
height: 1
---
"""
    for words in (text, text.replace("\nd:", "\nD:").replace("\nk:", "\nK:")):
        camera = read(tmp_path, words)
        assert (camera.model, camera.width, camera.matrix[1, 1]) == ("plumb_bob", 640, 501)
        np.testing.assert_allclose(camera.distortion, [0.1, -0.2, 0.001, 0.002, 0])


class TestText:
    def test_4seasons(self, tmp_path: Path) -> None:
        text = "Pinhole 501.5 501.6 421.8 167.7 0.0\n800 400\ncrop\n800 400\n"
        camera = read(tmp_path, text, "undistorted_calib_0.txt")
        assert (camera.model, camera.width, camera.height) == ("none", 800, 400)
        np.testing.assert_allclose(
            camera.matrix, [[501.5, 0, 421.8], [0, 501.6, 167.7], [0, 0, 1]]
        )
        lens = read(
            tmp_path, "KannalaBrandt 500 500 400 200 .1 .2 .3 .4\n800 400\n", "calib_0.txt"
        )
        assert lens.model == "equidistant"
        np.testing.assert_allclose(lens.distortion, [0.1, 0.2, 0.3, 0.4])
        for bad, message in (
            (text.replace(" 0.0", " 0.9"), "FOV distortion model is not read"),
            ("FOV 500 500 400 200 0.9\n800 400\n", "FOV distortion model is not read"),
            ("Pinhole 0.5 0.7 0.4 0.5 0\n800 400\n", "relative to the image's size"),
            ("RadTan 500 500 400 200 .1\n800 400\n", "with 1 coefficients"),
            ("Pinhole 500 500 400 200 0\n", "and then width and height"),
        ):
            with pytest.raises(SourceError, match=message):
                read(tmp_path, bad, "calib.txt")

    def test_colmap_counts_from_the_corner(self, tmp_path: Path) -> None:
        head = "# Camera list\n# CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]\n"
        camera = read(tmp_path, head + "1 OPENCV 800 600 700 701 400 300 .1 .2 .3 .4\n", "c.txt")
        assert (camera.model, camera.width, camera.matrix[0, 2]) == ("plumb_bob", 800, 399.5)
        np.testing.assert_allclose(camera.distortion, [0.1, 0.2, 0.3, 0.4, 0])
        simple = read(tmp_path, head + "1 SIMPLE_RADIAL 800 600 700 400 300 .1\n", "c.txt")
        np.testing.assert_allclose(simple.distortion, [0.1, 0, 0, 0, 0])
        assert (simple.matrix[0, 0], simple.matrix[1, 1], simple.matrix[1, 2]) == (700, 700, 299.5)
        fisheye = read(tmp_path, head + "3 OPENCV_FISHEYE 8 6 7 7 4 3 .1 .2 .3 .4\n", "c.txt")
        assert fisheye.model == "equidistant"
        with pytest.raises(SourceError, match="2 cameras where one is needed"):
            read(tmp_path, "1 PINHOLE 8 6 7 7 4 3\n2 PINHOLE 8 6 7 7 4 3\n", "c.txt")
        with pytest.raises(SourceError, match="has the parameters fx fy cx cy, found 3"):
            read(tmp_path, "1 PINHOLE 8 6 7 7 4\n", "c.txt")

    def test_kitti_raw(self, tmp_path: Path) -> None:
        text = """calib_time: 09-Jan-2012 13:57:47
corner_dist: 9.950000e-02
S_00: 1392 512
K_00: 984.2 0 690.0 0 980.8 233.2 0 0 1
D_00: -0.37 0.21 0.001 0.002 -0.07
S_rect_00: 640 480
P_rect_00: 721.5 0 609.6 0 0 721.5 172.9 0 0 0 1 0
P_rect_01: 721.5 0 609.6 -387.6 0 721.5 172.9 0 0 0 1 0
"""
        path = tmp_path / "calib_cam_to_cam.txt"
        camera = read(tmp_path, text, path.name)
        assert (camera.model, camera.matrix[0, 0], camera.matrix[1, 2]) == ("none", 721.5, 172.9)
        taken = read_calibration(path, (1392, 512))
        assert (taken.model, taken.matrix[0, 0]) == ("plumb_bob", 984.2)
        np.testing.assert_allclose(taken.distortion, [-0.37, 0.21, 0.001, 0.002, -0.07])
        with pytest.raises(SourceError, match="images have 10x10 pixels, camera 00 has 640x480"):
            read_calibration(path, (10, 10))
        path.write_text(text.replace("P_rect_00: 721.5", "P_rect_00:"))
        with pytest.raises(SourceError, match="P_rect_00 has 11 numbers, expected 12"):
            read_calibration(path, SIZE)


def test_yaml_that_is_no_calibration(tmp_path: Path) -> None:
    for text, message in (
        ("a: [", "no camera calibration"),
        ("[" * 5000, "no camera calibration"),
        ("when: 2001-99-99", "no camera calibration"),
        ("? [a]\n: b\n", "no camera calibration"),
        ("a: 1\nb: 2\n", "no camera calibration in it, only a, b"),
        ('"of two\\nlines": 1\n', "no camera calibration in it, only of two lines"),
        ("a: " + "x" * 100_000, "over 64000 bytes"),
        ("camera_matrix: {data: [1, 2]}\ndistortion_model: none\n", "no camera calibration"),
    ):
        with pytest.raises(SourceError, match=message):
            read(tmp_path, text)
    with pytest.raises(SourceError, match="cannot read it: No such file"):
        read_calibration(tmp_path / "gone.yaml", SIZE)


class TestCameraInfo:
    @staticmethod
    def camera(model: str, coefficients: list[float]) -> CameraModel:
        region = SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0)
        message = SimpleNamespace(
            width=848, height=800, distortion_model=model, d=coefficients, roi=region,
            k=[285.0, 0, 423.0, 0, 286.0, 400.0, 0, 0, 1], binning_x=0, binning_y=0,
        )  # fmt: skip
        return camera_from_info(message)

    fisheye = (-0.004, 0.04, -0.03, 0.005)

    @pytest.mark.parametrize(
        "name", ["equidistant", "fisheye", "Kannala_Brandt4", "kannala_brandt", "KANNALA BRANDT"]
    )
    @pytest.mark.parametrize("extra", [(), (0.0,), (0.0,) * 4, (0.0,) * 10])
    def test_fisheye_by_any_name_and_zeros_behind(
        self, name: str, extra: tuple[float, ...]
    ) -> None:
        camera = self.camera(name, [*self.fisheye, *extra])
        assert camera.model == "equidistant"
        np.testing.assert_array_equal(camera.distortion, self.fisheye)
        check_camera(camera)

    @pytest.mark.parametrize(
        ("name", "given", "model", "count"),
        [
            ("plumb_bob", [], "none", 0),
            ("plumb_bob", [0.0] * 5, "none", 0),
            ("", [], "none", 0),
            ("", [0.0] * 5, "none", 0),
            ("none", [0.0] * 5, "none", 0),
            ("plumb_bob", [0.1, 0, 0, 0], "plumb_bob", 4),
            ("radtan", [0.1, 0, 0, 0, 0], "plumb_bob", 5),
            ("Brown-Conrady", [0.1, 0, 0, 0, 0.2], "plumb_bob", 5),
            ("plumb_bob", [0.1] + [0.0] * 7, "plumb_bob", 5),
            ("plumb_bob", [0.1] * 8, "rational_polynomial", 8),
            ("rational_polynomial", [0.1] * 5, "rational_polynomial", 5),
            ("rational_polynomial", [0.1] * 8, "rational_polynomial", 8),
            ("rational_polynomial", [0.1] * 8 + [0.0] * 4, "rational_polynomial", 8),
            ("rational_polynomial", [0.1] * 8 + [0.0] * 6, "rational_polynomial", 8),
            ("rational_polynomial", [0.0] * 14, "none", 0),
        ],
    )
    def test_counts(self, name: str, given: list[float], model: str, count: int) -> None:
        camera = self.camera(name, given)
        assert (camera.model, len(camera.distortion)) == (model, count)
        np.testing.assert_array_equal(camera.distortion, given[:count])
        check_camera(camera)

    @pytest.mark.parametrize(
        ("name", "given", "message"),
        [
            ("", [0.1, 0, 0, 0], "unknown distortion model ''"),
            ("fov", [0.9], "unknown distortion model 'fov'"),
            ("equidistant", [0.1, 0.1, 0.1, 0.1, 0.1], "has 5 coefficients"),
            ("equidistant", [], "has 0 coefficients"),
            ("rational_polynomial", [0.1] * 12, "has 12 coefficients"),
            ("plumb_bob", [0.1] * 3, "has 3 coefficients"),
            ("Inverse Brown Conrady", [0.1] * 5, "unknown distortion model"),
        ],
    )
    def test_what_is_refused(self, name: str, given: list[float], message: str) -> None:
        with pytest.raises(CameraError, match=message):
            check_camera(self.camera(name, given))
