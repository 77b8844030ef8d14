"""Errors that users are meant to see as one line; callers' mistakes stay ValueError."""


class SuperGlueRosError(Exception):
    """Base of every error that the command line prints in one line and exits with 1.

    Names and words of files, which may have line ends in them, stay on that line.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(" ".join(message.splitlines()))


class CheckpointError(SuperGlueRosError):
    """A weights file is missing, truncated, of the wrong network or of the wrong hash."""


class DeviceError(SuperGlueRosError):
    """The requested device or precision is not to be had on this machine."""


class EngineError(SuperGlueRosError):
    """An exported engine cannot be made, is incomplete or damaged, or lacks its runtime."""


class EngineOptionError(EngineError, ValueError):
    """An option contradicts what an exported engine holds."""


class ExportError(SuperGlueRosError):
    """A sequence cannot be exported: nothing to write, nowhere to, or a package is missing."""


class ImageError(SuperGlueRosError):
    """An image is empty, truncated, or of an encoding that cannot be matched."""


class OtherCamera(ImageError):
    """An image is of another camera than those before it, and is dropped."""


class LateFrame(SuperGlueRosError):
    """A frame or message comes after a later one, and is dropped."""


class SourceError(SuperGlueRosError):
    """A bag, folder, video or trajectory file cannot be read."""


class CameraError(SuperGlueRosError):
    """A camera model is missing or unusable (K = 0, NaN, unknown distortion)."""


class MapError(SuperGlueRosError):
    """A map cannot be made, written or read, or is of other networks."""


class MessageError(SuperGlueRosError):
    """The fields of a message contradict each other."""
