"""Two cameras side by side as a rectified pair: one focal length, rows in common."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from superglue_ros.errors import CameraError, ImageError
from superglue_ros.geometry.camera import check_camera, project_normalized
from superglue_ros.types import CameraModel, FloatArray, ImageArray, Pose

_POLYNOMIALS = ("plumb_bob", "rational_polynomial")


@dataclass(frozen=True)
class Rectification:
    """How images of a pair become rectified ones.

    camera: of both, without distortion; baseline_m: metres from the left to the right;
    left_rotation: (3, 3) maps points of the left camera as it was into the rectified one;
    sizes: (width, height) of the images as taken; maps: (2, H, W) float32 x and y in the left
    and in the right image as taken, by the pixels of the rectified ones.
    """

    camera: CameraModel
    baseline_m: float
    left_rotation: FloatArray
    sizes: tuple[tuple[int, int], tuple[int, int]]
    maps: tuple[FloatArray, FloatArray]

    def left(self, image: ImageArray) -> ImageArray:
        """The left image rectified; ImageError for one of another size than its camera's."""
        return self._remap(image, 0)

    def right(self, image: ImageArray) -> ImageArray:
        """The right image rectified; ImageError for one of another size than its camera's."""
        return self._remap(image, 1)

    def _remap(self, image: ImageArray, side: int) -> ImageArray:
        if image.shape[1::-1] != self.sizes[side]:
            found, wanted = ("{} x {}".format(*s) for s in (image.shape[1::-1], self.sizes[side]))
            raise ImageError(f"an image of {found} pixels, the calibration is of {wanted}")
        across, down = self.maps[side]
        remapped = cv2.remap(image, across, down, cv2.INTER_LINEAR)
        return np.asarray(remapped, np.uint8)


def rectify_pair(left: CameraModel, right: CameraModel, right_in_left: Pose) -> Rectification:
    """Rectification (Bouguet's, by OpenCV) of two cameras; right_in_left: the right camera in the
    left one's frame, metres.

    Raises CameraError for an unusable camera, and for a second camera that is not to the right.
    """
    for camera in (left, right):
        check_camera(camera)
        if not (camera.width and camera.height):
            raise CameraError("a camera of unknown image size cannot be rectified")
    x, y, z = right_in_left.position
    if not x > max(abs(y), abs(z)):
        text = f"it is {x:.3f}, {y:.3f}, {z:.3f} m to the right, down and ahead"
        raise CameraError(f"the second camera is not to the right of the first: {text}")
    to_right = right_in_left.inverse()
    size = left.width, left.height
    # An equidistant lens sees more than a pinhole with its matrix, so that nothing stays empty.
    bent = [
        np.asarray(camera.distortion, float) if camera.model in _POLYNOMIALS else np.zeros(5)
        for camera in (left, right)
    ]
    rotation0, rotation1, projection, *_ = cv2.stereoRectify(
        np.asarray(left.matrix, float),
        bent[0],
        np.asarray(right.matrix, float),
        bent[1],
        size,
        np.ascontiguousarray(to_right.rotation),
        to_right.position.reshape(3, 1),
        flags=cv2.CALIB_ZERO_DISPARITY,
        alpha=0,
    )
    matrix = np.asarray(projection[:, :3], float)
    rotations = np.asarray(rotation0, float), np.asarray(rotation1, float)
    baseline_m = float(np.linalg.norm(right_in_left.position))
    return rectification_by((left, right), rotations, matrix, baseline_m)


def rectification_by(
    cameras: tuple[CameraModel, CameraModel],
    rotations: tuple[FloatArray, FloatArray],
    matrix: FloatArray,
    baseline_m: float,
) -> Rectification:
    """Rectification that is known: rotations (3, 3) from the left and from the right camera into
    the rectified ones, whose intrinsics are matrix (3, 3). CameraError for an unusable camera."""
    for camera in cameras:
        check_camera(camera)
    left, right = cameras
    size = left.width, left.height
    return Rectification(
        CameraModel(*size, matrix),
        baseline_m,
        rotations[0],
        (size, (right.width, right.height)),
        (_map(matrix, rotations[0], size, left), _map(matrix, rotations[1], size, right)),
    )


def _map(
    matrix: FloatArray, rotation: FloatArray, size: tuple[int, int], camera: CameraModel
) -> FloatArray:
    """(2, H, W) float32: where the camera sees the pixels of a rectified image; far outside for
    those that it does not."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    pixels = np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    rays = (np.linalg.inv(matrix @ rotation) @ pixels).T
    with np.errstate(divide="ignore", invalid="ignore"):
        points = np.where(rays[:, 2:] > 0, rays[:, :2] / rays[:, 2:], np.nan)
    seen = project_normalized(points, camera)
    return np.nan_to_num(seen, nan=-1e4).astype(np.float32).T.reshape(2, size[1], size[0])
