"""What CameraInfo messages say of the cameras, each by its frame_id."""

from __future__ import annotations

from collections.abc import Callable

from sensor_msgs.msg import CameraInfo

from superglue_ros.nodes.conversions import camera_from_message
from superglue_ros.types import CameraModel

MOST_CAMERAS = 20


class CameraInfos:
    """The cameras of a topic, as the newest CameraInfo of each says.

    report(cause, text) is told where there is none of the images' camera, and another's is taken;
    rectified: whether the cameras are those of the rectified images.
    """

    def __init__(self, report: Callable[[str, str], None], rectified: bool = False) -> None:
        self._report = report
        self._rectified = rectified
        self._cameras: dict[str, CameraModel] = {}

    def __bool__(self) -> bool:
        return bool(self._cameras)

    def add(self, message: CameraInfo) -> None:
        """Take in a message."""
        frame_id = message.header.frame_id.lstrip("/")
        self._cameras.pop(frame_id, None)
        self._cameras[frame_id] = camera_from_message(message, self._rectified)
        if len(self._cameras) > MOST_CAMERAS:
            del self._cameras[next(iter(self._cameras))]

    def of(self, frame_id: str) -> CameraModel | None:
        """Camera of the images with a frame_id, or where that has said nothing, the one that spoke
        last; None where none has."""
        camera = self._cameras.get(frame_id.lstrip("/"))
        if camera is None and self._cameras:
            other, camera = list(self._cameras.items())[-1]
            text = f"the CameraInfo is of {other!r}, the images are of {frame_id!r}"
            self._report("CameraInfo of another camera", text)
        return camera
