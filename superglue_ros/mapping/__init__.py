"""Maps of keyframes, and where an image is in one."""

from superglue_ros.mapping.building import MapBuilder
from superglue_ros.mapping.keyframe_map import KeyframeMap, MapKeyframe, read_map, write_map
from superglue_ros.mapping.localizer import Localization, LocalizerConfig, MapLocalizer

__all__ = [
    "KeyframeMap",
    "Localization",
    "LocalizerConfig",
    "MapBuilder",
    "MapKeyframe",
    "MapLocalizer",
    "read_map",
    "write_map",
]
