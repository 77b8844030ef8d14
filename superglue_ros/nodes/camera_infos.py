"""What CameraInfo messages say of the cameras, each by its frame_id."""

from __future__ import annotations

from collections.abc import Callable

from sensor_msgs.msg import CameraInfo

from superglue_ros.errors import CameraError
from superglue_ros.geometry import check_camera
from superglue_ros.nodes.conversions import camera_from_message
from superglue_ros.types import CameraModel

MOST_CAMERAS = 20


class CameraInfos:
    """The cameras of a topic, as the newest CameraInfo of each says.

    report(cause, text) is told of each that is unusable, which all the same is the camera's until
    a better one comes, and where there is none of the images' camera, and another's is taken;
    rectified: whether the cameras are those of the rectified images.
    """

    def __init__(self, report: Callable[[str, str], None], rectified: bool = False) -> None:
        self._report = report
        self._rectified = rectified
        self._cameras: dict[str, CameraModel] = {}

    def __bool__(self) -> bool:
        return bool(self._cameras)

    def add(self, message: CameraInfo) -> bool:
        """Take in a message; whether its camera is usable."""
        frame_id = message.header.frame_id.lstrip("/")
        self._cameras.pop(frame_id, None)
        camera = self._cameras[frame_id] = camera_from_message(message, self._rectified)
        if len(self._cameras) > MOST_CAMERAS:
            del self._cameras[next(iter(self._cameras))]
        if problem := problem_of(camera):
            # Under one cause with the messages that it spoils, for one line in the log.
            text = f"unusable CameraInfo of {frame_id!r}: {problem}"
            self._report(f"unusable CameraInfo: {problem}", text)
        return not problem

    def of(self, frame_id: str) -> CameraModel | None:
        """Camera of the images with a frame_id, or where that has said nothing, the one that spoke
        last; None where none has."""
        camera = self._cameras.get(frame_id.lstrip("/"))
        if camera is None and self._cameras:
            other, camera = list(self._cameras.items())[-1]
            text = f"the CameraInfo is of {other!r}, the images are of {frame_id!r}"
            self._report("CameraInfo of another camera", text)
        return camera


def problem_of(camera: CameraModel) -> str:
    """Why a camera is unusable, "" where it is usable."""
    try:
        check_camera(camera)
    except CameraError as error:
        return str(error)
    return ""
