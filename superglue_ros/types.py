"""Frozen dataclasses that cross the borders between rooms.

Conventions: pixel (0, 0) is the centre of the top-left pixel; points are (x, y) in pixels of the
image as received; sizes are (width, height); `T_0to1` maps points of camera 0 into camera 1;
camera frames have z forward, x right, y down; times are integer nanoseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.floating[Any]]
    IntArray = NDArray[np.integer[Any]]
    BoolArray = NDArray[np.bool_]
    ImageArray = NDArray[np.uint8]
else:  # numpy 1.21, which ROS 2 Humble has, cannot subscript its scalar types
    FloatArray = IntArray = BoolArray = ImageArray = np.ndarray

UNMATCHED = -1
"""Value of a match index where a keypoint has no partner."""

DISTORTION_MODELS = ("none", "plumb_bob", "rational_polynomial", "equidistant")
"""Names as sensor_msgs/CameraInfo has them; "none" is a rectified image."""


@dataclass(frozen=True)
class CameraModel:
    """Intrinsics of one camera.

    matrix: (3, 3) pixels; distortion: (D,) coefficients in the order of sensor_msgs/CameraInfo
    (plumb_bob k1 k2 p1 p2 k3; rational_polynomial 8; equidistant k1 k2 k3 k4).
    Built freely; `geometry.camera.check_camera` says whether it is usable.
    """

    width: int
    height: int
    matrix: FloatArray
    model: str = "none"
    distortion: FloatArray = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class Frame:
    """One camera image and what is known about it.

    image: (H, W) gray or (H, W, 3) BGR, uint8; depth_m: (H, W) float32 metres of the same view, 0
    or NaN where unknown; right: the rectified right image of a stereo pair, with its baseline.
    """

    image: ImageArray
    stamp_ns: int
    frame_id: str = "camera"
    camera: CameraModel | None = None
    depth_m: FloatArray | None = None
    right: ImageArray | None = None
    baseline_m: float | None = None


@dataclass(frozen=True)
class Features:
    """Features of an image: keypoints (N, 2) pixels, scores (N,), descriptors (N, D) of norm 1."""

    image_size: tuple[int, int]
    keypoints: FloatArray
    scores: FloatArray
    descriptors: FloatArray

    def __len__(self) -> int:
        return len(self.keypoints)


@dataclass(frozen=True)
class FrameMatches:
    """Matches of a frame against a keyframe, as the Matches message has them.

    M matches: keyframe_points and points (M, 2) float32 pixels, keyframe_indices and indices (M,)
    int32 into the two feature lists, confidences (M,) in [0, 1]. `keyframe_id` names the keyframe
    matched against; where `is_keyframe` is true this frame becomes keyframe `keyframe_id + 1`, so
    that the next message's `keyframe_indices` count in this message's feature list.
    Without a keyframe (the first frame has keyframe_id 0; after the clock jumped back or the size
    changed the id goes on) there are no matches, and the keyframe's stamp and size are the
    frame's own; it becomes a keyframe unless it has hardly any features. `restart_reason`, which
    the message leaves out, says why the keyframe before it was given up, and is "" otherwise.
    keyframe_points are the features'; `points` may be refined, and then are not quite.
    keyframe_right_points: (M, 2) float32 pixels of keyframe_points in the keyframe's rectified
    right image, NaN where not found; None without one.
    """

    stamp_ns: int
    keyframe_stamp_ns: int
    frame_id: str
    keyframe_id: int
    is_keyframe: bool
    image_size: tuple[int, int]
    keyframe_image_size: tuple[int, int]
    keyframe_points: FloatArray
    points: FloatArray
    keyframe_indices: IntArray
    indices: IntArray
    confidences: FloatArray
    num_features: int
    num_keyframe_features: int
    extract_ms: float = 0.0
    match_ms: float = 0.0
    model: str = ""
    weights_hash: str = ""
    keyframe_right_points: FloatArray | None = None
    restart_reason: str = ""

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True)
class Pose:
    """A camera in the world: rotation (3, 3) and position (3,) map camera points to the world."""

    rotation: FloatArray
    position: FloatArray

    @property
    def matrix(self) -> FloatArray:
        """(4, 4) T_camera_to_world."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.rotation
        matrix[:3, 3] = self.position
        return matrix

    @staticmethod
    def from_matrix(matrix: FloatArray) -> Pose:
        """Pose of a (3, 4) or (4, 4) T_camera_to_world."""
        return Pose(np.array(matrix[:3, :3], float), np.array(matrix[:3, 3], float))

    @staticmethod
    def identity() -> Pose:
        """The world's own frame."""
        return Pose(np.eye(3), np.zeros(3))

    def inverse(self) -> Pose:
        """T_world_to_camera."""
        return Pose(self.rotation.T, -self.rotation.T @ self.position)

    def __matmul__(self, other: Pose) -> Pose:
        return Pose(self.rotation @ other.rotation, self.rotation @ other.position + self.position)


@dataclass(frozen=True)
class Trajectory:
    """Poses over time: stamps_ns (N,) int64, positions (N, 3) metres or up to scale,
    quaternions_xyzw (N, 4), each a camera in the world."""

    stamps_ns: IntArray
    positions: FloatArray
    quaternions_xyzw: FloatArray

    def __len__(self) -> int:
        return len(self.stamps_ns)
