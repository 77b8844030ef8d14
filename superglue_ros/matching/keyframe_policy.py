"""When a frame becomes the next keyframe."""

from __future__ import annotations

from dataclasses import dataclass

from superglue_ros.options import check_options, option


@dataclass(frozen=True)
class KeyframePolicy:
    """When a frame becomes the next keyframe; ValueError for a value out of range.

    Any one condition suffices. But a frame with fewer than `min_matches` keypoints follows only
    none, an old keyframe, one as poor or one that has not matched for 3 s; one with fewer than 8
    never does.
    """

    min_matches: int = option(
        60,
        "Fewer matches make a keyframe, unless the frame has fewer keypoints and the keyframe has "
        "not; then 3 s of hardly any matches do",
        range=(0, 16384),
    )
    min_ratio: float = option(
        0.35, "A smaller share of matched keypoints makes a keyframe", range=(0.0, 1.0)
    )
    max_displacement: float = option(
        0.08,
        "A larger median displacement of the matches makes a keyframe",
        unit="share of the image width",
        range=(0.0, 1.0),
    )
    max_age_s: float = option(
        30.0, "An older keyframe is replaced; 0: never for its age", unit="s", range=(0.0, 3600.0)
    )

    rotation_retry: bool = option(
        False,
        "Match a frame with fewer than min_matches turned by 90, 180 and 270 degrees, too, and "
        "keep the best that has so many; it takes four times as long",
    )

    def __post_init__(self) -> None:
        check_options(self)
