"""ROS messages to the package's types and back."""

from __future__ import annotations

import array
import time
from dataclasses import fields, replace

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("superglue_ros.msg", reason="the messages are not built (make setup)")

from node_harness import broken_image, some_matches
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from superglue_ros.errors import ImageError, MessageError
from superglue_ros.geometry import check_camera
from superglue_ros.geometry.rigid_body import pose_from_text
from superglue_ros.nodes.conversions import (
    camera_from_message,
    camera_info_message,
    features_from_message,
    features_message,
    frame_from_image,
    image_message,
    make_header,
    matches_from_message,
    matches_message,
    stamp_from_ns,
    stamp_to_ns,
)
from superglue_ros.nodes.odometry_messages import (
    UNKNOWN_VARIANCE,
    OdometryFrames,
    landmarks_message,
    null_odometry,
    odometry_message,
    pose_from_message,
    pose_message,
    status_message,
)
from superglue_ros.odometry import OdometryEstimate, TrackingState
from superglue_ros.odometry.base_frame import OPTICAL_TO_ROS, BaseFrame
from superglue_ros.odometry.frames import MOST_COVARIANCE
from superglue_ros.sources.encodings import depth_of_message
from superglue_ros.types import CameraModel, Features, FrameMatches, Pose

pytestmark = pytest.mark.ros

HEADER = make_header(1_500_000_007, "eye")


@pytest.mark.parametrize("stamp_ns", [0, 1, 999_999_999, 1_000_000_000, 1_753_000_000_123_456_789])
def test_stamps_are_exact(stamp_ns: int) -> None:
    assert stamp_to_ns(stamp_from_ns(stamp_ns)) == stamp_ns


@pytest.mark.parametrize("count", [0, 1, 300])
def test_matches_there_and_back(count: int) -> None:
    matches = some_matches(count)
    message = matches_message(matches, HEADER, make_header(1_400_000_000, "eye"))
    assert len(message.points) == 2 * count
    back = matches_from_message(message)
    for field in fields(FrameMatches):
        found, expected = getattr(back, field.name), getattr(matches, field.name)
        np.testing.assert_array_equal(found, expected, err_msg=field.name)
        if isinstance(expected, np.ndarray):
            assert found.dtype == expected.dtype


def test_points_of_the_right_image_there_and_back() -> None:
    matches = some_matches(3)
    assert not len(matches_message(matches, HEADER, HEADER).keyframe_right_points)
    right = matches.keyframe_points - np.array([[7.5, 0], [np.nan, np.nan], [0.25, 0.5]])
    matches = replace(matches, keyframe_right_points=right.astype(np.float32))
    back = matches_from_message(matches_message(matches, HEADER, HEADER))
    np.testing.assert_array_equal(back.keyframe_right_points, matches.keyframe_right_points)


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("keyframe_right_points", [1.0, 2.0], "keyframe_right_points holds 2 values for 2 points"),
        ("keyframe_right_points", [1.0, 2.0, 3.0, float("inf")], "values that are infinite"),
        ("points", [1.0], "points holds 1 values for 2 points"),
        ("keyframe_points", [1.0, 2.0, 3.0, float("nan")], "not finite"),
        ("indices", [0, 1, 2], "indices holds 3 values for 2 matches"),
        ("indices", [0, 7], "leaves the list of 7 features"),
        ("keyframe_indices", [-1, 0], "leaves the list"),
        ("confidences", [0.5, 1.5], "confidences leave"),
        ("confidences", [0.5, float("nan")], "confidences leave"),
        ("num_features", 2**32 - 1, "num_features is 4294967295, over 1000000"),
        ("num_keyframe_features", 2_000_000, "num_keyframe_features is 2000000, over"),
    ],
)
def test_malformed_matches(name: str, values: list[float] | int, words: str) -> None:
    message = matches_message(some_matches(2), HEADER, HEADER)
    setattr(message, name, values)
    with pytest.raises(MessageError, match=words):
        matches_from_message(message)


def test_messages_of_many_values_are_made_quickly() -> None:
    matches = some_matches(20_000)
    started = time.perf_counter()
    matches_from_message(matches_message(matches, HEADER, HEADER))
    assert time.perf_counter() - started < 0.2  # value by value it takes longer


@pytest.mark.parametrize("count", [0, 3])
def test_features_there_and_back(count: int) -> None:
    rng = np.random.default_rng(0)
    features = Features(
        (64, 48),
        rng.uniform(0, 40, (count, 2)).astype(np.float32),
        rng.uniform(0, 1, count).astype(np.float32),
        rng.normal(size=(count, 256)).astype(np.float32),
    )
    message = features_message(features, HEADER)
    assert message.descriptor_dim == 256
    back = features_from_message(message)
    assert back.image_size == (64, 48)
    for name in ("keypoints", "scores", "descriptors"):
        np.testing.assert_array_equal(getattr(back, name), getattr(features, name))
    message.scores = [*message.scores, 0.5]
    with pytest.raises(MessageError, match="descriptor values"):
        features_from_message(message)


def colours() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (20, 24, 3), np.uint8)


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "channels"), [("rgb8", 3), ("bgr8", 3), ("rgba8", 4), ("bgra8", 4)]
)
def test_colour_images(encoding: str, channels: int, padding: int) -> None:
    bgr = colours()
    pixels = bgr[..., ::-1] if encoding.startswith("rgb") else bgr
    alpha = np.full((20, 24, channels - 3), 255, np.uint8)
    rows = np.concatenate([pixels, alpha], 2).reshape(20, -1)
    padded = np.hstack([rows, np.full((20, padding), 77, np.uint8)])
    message = Image(header=HEADER, height=20, width=24, encoding=encoding)
    message.step = padded.shape[1]
    message.data = array.array("B", padded.tobytes())
    frame = frame_from_image(message)
    np.testing.assert_array_equal(frame.image, bgr)
    assert frame.stamp_ns == 1_500_000_007
    assert frame.frame_id == "eye"


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_gray_images(encoding: str) -> None:
    gray = np.ascontiguousarray(colours()[..., 0])
    message = image_message(gray, HEADER)
    assert message.encoding == "mono8"
    message.encoding = encoding
    np.testing.assert_array_equal(frame_from_image(message).image, gray)


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("encoding", ["mono16", "16UC1"])
def test_sixteen_bit_images(encoding: str, big_endian: bool) -> None:
    deep = np.array([[0, 257, 65535] * 8] * 16, np.uint16)
    message = Image(header=HEADER, height=16, width=24, encoding=encoding, step=48)
    message.is_bigendian = int(big_endian)
    message.data = array.array("B", deep.astype(">u2" if big_endian else "<u2").tobytes())
    np.testing.assert_array_equal(frame_from_image(message).image, np.uint8(deep // 257))


@pytest.mark.parametrize(
    ("encoding", "kind", "per_metre"),
    [("16UC1", "u2", 1000), ("mono16", "u2", 1000), ("32FC1", "f4", 1)],
)
@pytest.mark.parametrize("big_endian", [False, True])
def test_depth_images(encoding: str, kind: str, per_metre: int, big_endian: bool) -> None:
    metres = np.array([[0.0, 1.5, 2.25], [4.0, 0.001, 60.0]], np.float32)
    rows = (metres * per_metre).round(3).astype((">" if big_endian else "<") + kind)
    padded = np.zeros((2, rows[0].nbytes + 4), np.uint8)
    padded[:, :-4] = rows.view(np.uint8).reshape(2, -1)
    message = Image(height=2, width=3, encoding=encoding, step=padded.shape[1])
    message.is_bigendian = int(big_endian)
    message.data = array.array("B", padded.tobytes())
    depth = depth_of_message(message)
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, metres, atol=1e-6)
    message.encoding = "mono8"
    with pytest.raises(ImageError, match="depth images are 16UC1, mono16, 32FC1, not 'mono8'"):
        depth_of_message(message)
    message.encoding, message.height = encoding, 3
    with pytest.raises(ImageError, match="bytes of data for 3 rows"):
        depth_of_message(message)


def test_what_drivers_really_send() -> None:
    """Motion JPEG padded to the size of a buffer, and a T265's fifth coefficient of 0."""
    data = cv2.imencode(".jpg", np.full((24, 32), 90, np.uint8))[1].tobytes()
    message = CompressedImage(header=HEADER, format="jpeg")
    message.data = array.array("B", data + bytes(1023))
    np.testing.assert_allclose(frame_from_image(message).image, 90, atol=2)
    message.data = array.array("B", data[:-40] + bytes(1023))
    with pytest.raises(ImageError, match="truncated"):
        frame_from_image(message)
    info = CameraInfo(width=848, height=800, distortion_model="equidistant")
    info.k = np.array([285.0, 0, 423, 0, 286, 400, 0, 0, 1])
    info.d = array.array("d", [-0.004, 0.04, -0.03, 0.005, 0.0])
    camera = camera_from_message(info)
    check_camera(camera)
    np.testing.assert_array_equal(camera.distortion, [-0.004, 0.04, -0.03, 0.005])


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_images_of_one_colour(pattern: str) -> None:
    colour = {"b": 30, "g": 120, "r": 220}
    tile = np.array([colour[name] for name in pattern], np.uint8).reshape(2, 2)
    message = image_message(np.tile(tile, (10, 10)), HEADER)
    message.encoding = f"bayer_{pattern}8"
    frame = frame_from_image(message)
    np.testing.assert_array_equal(frame.image[4:-4, 4:-4], np.full((12, 12, 3), [30, 120, 220]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 0, "height": 0, "step": 0, "data": b""},
        {"height": 0},
        {"data": bytes(100)},
        {"data": b""},
        {"step": 3},
        {"step": 0},
        {"encoding": "nonsense"},
        {"encoding": ""},
        {"encoding": "bayer_rggb12"},
        {"encoding": "32FC1", "step": 640, "data": bytes(640 * 120)},
    ],
)
def test_bad_images_are_one_clear_line(wrong: dict[str, object]) -> None:
    with pytest.raises(ImageError) as raised:
        frame_from_image(broken_image(0, **wrong))
    assert len(str(raised.value)) > 10
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("model", "count"),
    [("none", 0), ("plumb_bob", 5), ("rational_polynomial", 8), ("equidistant", 4)],
)
def test_camera_there_and_back(model: str, count: int) -> None:
    matrix = np.array([[500.0, 0, 320], [0, 510, 240], [0, 0, 1]])
    camera = CameraModel(640, 480, matrix, model, np.arange(1, count + 1) * 0.01)
    back = camera_from_message(camera_info_message(camera, HEADER))
    assert (back.width, back.height, back.model) == (640, 480, model)
    np.testing.assert_array_equal(back.matrix, matrix)
    np.testing.assert_array_equal(back.distortion, camera.distortion)


def test_a_right_camera_says_its_baseline() -> None:
    camera = CameraModel(640, 480, np.array([[500.0, 0, 320], [0, 501, 240], [0, 0, 1]]))
    message = camera_info_message(camera, HEADER, baseline_m=0.12)
    np.testing.assert_allclose(message.p.reshape(3, 4)[:, 3], [-60.0, 0, 0])
    assert not np.any(camera_info_message(camera, HEADER).p.reshape(3, 4)[:, 3])


def test_poses_there_and_back() -> None:
    angle = 0.3
    rotation = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    pose = Pose(rotation, np.array([1.0, -2.0, 3.0]))
    back = pose_from_message(pose_message(pose))
    np.testing.assert_allclose(back.matrix, pose.matrix, atol=1e-12)


CAMERA = OdometryFrames("odom", "eye", BaseFrame.of_camera())


def estimate() -> OdometryEstimate:
    return OdometryEstimate(
        stamp_ns=5,
        state=TrackingState.LOST,
        pose=Pose(np.eye(3), np.array([0.0, 0.0, 2.0])),
        covariance=np.diag([1.0, 2, 3, 4, 5, 6]),
        twist=np.full(6, np.nan),
        twist_covariance=np.full((6, 6), np.nan),
        reset_count=2,
        scale_is_metric=False,
        num_matches=40,
        num_inliers=7,
        keyframe_id=3,
        landmarks=np.array([[0.0, 0, 1], [1, 2, 3]]),
        reason="too few inliers",
    )


def test_camera_of_rectified_images() -> None:
    """P in place of K and D, for the message's region of interest as those."""
    message = camera_info_message(
        CameraModel(64, 48, np.diag([50.0, 50, 1]), "plumb_bob", np.full(5, 0.1)), HEADER
    )
    message.p = [40.0, 0, 31, -4, 0, 41, 22, 0, 0, 0, 1, 0]
    message.roi.x_offset, message.roi.width, message.roi.height = 10, 32, 48
    camera = camera_from_message(message, rectified=True)
    assert (camera.model, camera.width, len(camera.distortion)) == ("none", 32, 0)
    np.testing.assert_allclose(camera.matrix, [[40, 0, 21], [0, 41, 22], [0, 0, 1]])
    assert camera_from_message(message).model == "plumb_bob"


def test_odometry_message() -> None:
    message = odometry_message(estimate(), HEADER, CAMERA)
    assert message.header.frame_id == "odom"
    assert message.header.stamp == HEADER.stamp
    assert message.child_frame_id == "eye"
    assert message.pose.pose.position.x == pytest.approx(2.0)
    covariance = np.reshape(message.pose.covariance, (6, 6))
    # Variances along odom's x, y, z are those along the camera's z, x, y.
    np.testing.assert_allclose(np.diag(covariance), [3, 1, 2, 6, 4, 5], atol=1e-12)


def test_a_lost_pose_is_not_unknown_however_long_the_arm() -> None:
    lost = replace(estimate(), covariance=MOST_COVARIANCE * np.eye(6))
    frames = OdometryFrames("odom", "base_link", BaseFrame.of_robot(pose_from_text("2 0 1 0 0 0")))
    covariance = np.reshape(odometry_message(lost, HEADER, frames).pose.covariance, (6, 6))
    assert covariance.diagonal().max() == pytest.approx(MOST_COVARIANCE)
    assert np.linalg.eigvalsh(covariance).min() > 0
    assert MOST_COVARIANCE < UNKNOWN_VARIANCE


def test_twist_of_an_odometry() -> None:
    """A camera that looks ahead, 1 m before a base that drives at 2 m/s and turns left."""
    ahead = Pose(OPTICAL_TO_ROS, np.array([1.0, 0.0, 0.0]))
    frames = OdometryFrames("odom", "base_link", BaseFrame.of_robot(ahead))
    moving = replace(
        estimate(),
        twist=np.array([-0.5, 0.0, 2.0, 0.0, -0.5, 0.0]),
        twist_covariance=np.diag([0.01, 0.02, 0.03, 0.1, 0.2, 0.3]),
    )
    message = odometry_message(moving, HEADER, frames)
    assert message.child_frame_id == "base_link"
    linear, angular = message.twist.twist.linear, message.twist.twist.angular
    np.testing.assert_allclose([linear.x, linear.y, linear.z], [2, 0, 0], atol=1e-12)
    np.testing.assert_allclose([angular.x, angular.y, angular.z], [0, 0, 0.5], atol=1e-12)
    variances = np.diag(np.reshape(message.twist.covariance, (6, 6)))
    # The base's sideways and upward speeds are the camera's less what its turns make of them.
    np.testing.assert_allclose(variances, [0.03, 0.01 + 0.2, 0.02 + 0.1, 0.3, 0.1, 0.2])


def test_an_unknown_twist_says_so() -> None:
    message = odometry_message(estimate(), HEADER, CAMERA)
    assert message.twist.twist.linear.x == 0.0
    np.testing.assert_array_equal(np.reshape(message.twist.covariance, (6, 6)), 9999 * np.eye(6))
    turning = replace(estimate(), twist=np.array([np.nan] * 3 + [0.0, -0.5, 0.0]))
    turning = replace(turning, twist_covariance=np.full((6, 6), 0.25))
    message = odometry_message(turning, HEADER, CAMERA)
    assert message.twist.twist.angular.y == -0.5
    covariance = np.reshape(message.twist.covariance, (6, 6))
    np.testing.assert_array_equal(covariance[:3], 9999 * np.eye(6)[:3])
    np.testing.assert_array_equal(covariance[3:, 3:], np.full((3, 3), 0.25))


def test_null_odometry() -> None:
    message = null_odometry(HEADER, CAMERA)
    q = message.pose.pose.orientation
    assert (q.x, q.y, q.z, q.w) == (0, 0, 0, 0)
    for covariance in (message.pose.covariance, message.twist.covariance):
        np.testing.assert_array_equal(np.reshape(covariance, (6, 6)), 9999 * np.eye(6))
    assert (message.header.frame_id, message.child_frame_id) == ("odom", "eye")


def test_landmarks_message() -> None:
    message = landmarks_message(estimate().landmarks, HEADER, CAMERA)
    assert (message.height, message.width, message.point_step) == (1, 2, 12)
    points = np.frombuffer(message.data, np.float32).reshape(2, 3)
    np.testing.assert_allclose(points, [[1, 0, 0], [3, -1, -2]])
    empty = landmarks_message(np.zeros((0, 3)), HEADER, CAMERA)
    assert (empty.width, len(empty.data)) == (0, 0)


def test_status_message() -> None:
    message = status_message(estimate(), HEADER)
    assert message.state == message.LOST
    assert message.reason == "too few inliers"
    assert (message.num_matches, message.num_inliers, message.keyframe_id) == (40, 7, 3)
    assert message.reset_count == 2
    tracking = status_message(replace(estimate(), state=TrackingState.TRACKING, reason=""), HEADER)
    assert tracking.state == tracking.TRACKING
