"""Stereo pairs of a bag: the frames of its left images, with the right ones of the same time."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from superglue_ros.errors import CameraError, ImageError, SourceError
from superglue_ros.geometry.rectification import Rectification, rectification_by
from superglue_ros.sources.bags import BagSource
from superglue_ros.sources.calibration import baseline_of_info, camera_from_info
from superglue_ros.sources.gray_range import GrayRange
from superglue_ros.sources.tables import NS_PER_S
from superglue_ros.stamps import PAIR_TOLERANCE_S
from superglue_ros.types import CameraModel, Frame

logger = logging.getLogger(__name__)

_SAME_PX = 0.5


@dataclass(frozen=True)
class _Rig:
    """Camera and baseline of rectified images, and how these come about, None where they are."""

    camera: CameraModel
    baseline_m: float
    rectification: Rectification | None


class StereoBagSource:
    """Frames of two image topics of a bag, see `FrameSource`; rectified as their CameraInfo says
    where they are not so already.

    right_topic: of the right images, whose CameraInfo is `camera_info` beside them. Raises
    SourceError where the two CameraInfo are not of a stereo pair.
    """

    def __init__(
        self,
        path: Path,
        topic: str,
        right_topic: str,
        camera_info_topic: str | None = None,
        image_bits: int = 0,
    ) -> None:
        beside = right_topic.removesuffix("/compressed").rpartition("/")[0] + "/camera_info"
        self._left = BagSource(path, topic=topic, camera_info_topic=camera_info_topic)
        self._right = BagSource(path, topic=right_topic, camera_info_topic=beside)
        self._rig = _rig(path, self._left, self._right)
        self.name, self.camera = self._left.name, self._rig.camera
        self.has_depth, self.is_stereo = False, True
        self.skipped = 0
        self._image_bits = image_bits
        how = "as they are" if self._rig.rectification is None else "rectified by CameraInfo"
        self.notes = (
            *self._left.notes,
            f"right images: {right_topic}, {self._rig.baseline_m:.4f} m away, {how}",
        )

    def __len__(self) -> int:
        return len(self._left)

    def __iter__(self) -> Iterator[Frame]:
        self.skipped = skipped = 0
        gray = GrayRange(self._image_bits)
        rights = self._right.frames(gray)
        right = next(rights, None)
        tolerance_ns = PAIR_TOLERANCE_S * NS_PER_S
        for left in self._left.frames(gray):
            while right is not None and right.stamp_ns < left.stamp_ns - tolerance_ns:
                right = next(rights, None)
            near = right is not None and right.stamp_ns <= left.stamp_ns + tolerance_ns
            self.skipped = skipped + self._left.skipped + self._right.skipped
            try:
                yield self._pair(left, right if near else None)
            except ImageError as error:
                skipped += 1
                logger.warning("%s: skipped a frame: %s", self.name, error)
        self.skipped = skipped + self._left.skipped + self._right.skipped

    def _pair(self, left: Frame, right: Frame | None) -> Frame:
        rectification = self._rig.rectification
        image, partner = left.image, right.image if right is not None else None
        if rectification is not None:
            image = rectification.left(image)
            partner = rectification.right(partner) if partner is not None else None
        return replace(
            left,
            image=image,
            camera=self.camera,
            right=partner,
            baseline_m=self._rig.baseline_m if partner is not None else None,
        )


def _rig(path: Path, left: BagSource, right: BagSource) -> _Rig:
    infos = left.info, right.info
    for source, info in zip((left, right), infos):
        if info is None:
            raise SourceError(f"{path}: no CameraInfo beside {source.topic}")
    try:
        baseline_m = baseline_of_info(right.info)
    except CameraError as error:
        raise SourceError(f"{path}: CameraInfo of {right.topic}: {error}") from error
    cameras = [camera_from_info(info, rectified=True) for info in infos]
    if not np.allclose(cameras[0].matrix, cameras[1].matrix, atol=_SAME_PX):
        raise SourceError(
            f"{path}: P of {left.topic} and of {right.topic} differ: they are no pair"
        )
    if all(_is_rectified(source.topic, source.info) for source in (left, right)):
        return _Rig(cameras[0], baseline_m, None)
    first, second = (camera_from_info(info) for info in infos)
    try:
        rectification = rectification_by(
            (first, second),
            (_rotation(infos[0]), _rotation(infos[1])),
            cameras[0].matrix,
            baseline_m,
        )
    except CameraError as error:
        raise SourceError(f"{path}: {error}") from error
    return _Rig(rectification.camera, baseline_m, rectification)


def _is_rectified(topic: str, info: Any) -> bool:
    """By its name, as image_proc calls what it rectifies, or by a CameraInfo that changes
    nothing."""
    if "image_rect" in topic:
        return True
    taken, rectified = camera_from_info(info), camera_from_info(info, rectified=True)
    same = np.allclose(taken.matrix, rectified.matrix, atol=1e-3)
    return bool(taken.model == "none" and same and np.allclose(_rotation(info), np.eye(3)))


def _rotation(info: Any) -> np.ndarray:
    """(3, 3) from the camera as it is into the rectified one; left empty, it is none."""
    rotation = np.array(info.r if hasattr(info, "r") else info.R, float).reshape(3, 3)
    return rotation if rotation.any() else np.eye(3)
