"""Options of the matcher and of its keyframes, in one place.

The command line's options and the nodes' parameters derive from these fields and their metadata.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from superglue_ros.networks.superpoint import SuperPointConfig

DEVICES = ("auto", "cuda", "cpu")
PRECISIONS = ("auto", "float32", "mixed", "float16", "bfloat16")


def option(
    default: Any,
    description: str,
    *,
    unit: str = "",
    range: tuple[float, float] | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A dataclass field that says what it means, its unit, its closed range or its choices."""
    metadata = {"description": description, "unit": unit, "range": range, "choices": choices}
    return field(default=default, metadata=metadata)


def check_ranges(config: Any) -> None:
    """ValueError for the first field of a dataclass outside its range or choices."""
    for f in fields(config):
        value = getattr(config, f.name)
        limits, choices = f.metadata.get("range"), f.metadata.get("choices")
        # Written so that NaN fails.
        if limits is not None and not limits[0] <= value <= limits[1]:
            raise ValueError(f"{f.name} must be in [{limits[0]}, {limits[1]}], not {value}")
        if choices and value not in choices:
            raise ValueError(f"{f.name} must be one of {', '.join(choices)}, not {value!r}")


@dataclass(frozen=True)
class MatcherConfig:
    """What SuperPoint and SuperGlue run with; ValueError for a value out of range."""

    superpoint: str = option("", "SuperPoint weights, .safetensors or .pth; empty: the shipped")
    superglue: str = option("", "SuperGlue weights, .safetensors or .pth; empty: the shipped")
    max_keypoints: int = option(
        1024, "strongest keypoints kept of an image, -1 for all", range=(-1, 16384)
    )
    keypoint_threshold: float = option(
        0.005, "least probability of a keypoint", range=(0.0, 0.999)
    )
    nms_radius: int = option(
        -1,
        "no other keypoint within this radius, -1: as the weights say (shipped 2, published 4)",
        unit="px",
        range=(-1, 64),
    )
    match_threshold: float = option(0.2, "least probability of a match", range=(0.0, 1.0))
    sinkhorn_iterations: int = option(
        100, "iterations of the optimal matching layer", range=(1, 1000)
    )
    resize: int = option(
        0, "longer side that larger images are shrunk to, 0: none", unit="px", range=(0, 16384)
    )
    device: str = option(
        "auto", "where the networks run; auto: the GPU if there is one", choices=DEVICES
    )
    precision: str = option(
        "auto",
        "of the networks' products; auto: float16 on a GPU, bfloat16 on a CPU made for it; mixed: "
        "SuperPoint in float32, SuperGlue in float16 or bfloat16",
        choices=PRECISIONS,
    )
    engine: str = option(
        "", "folder that `superglue_ros export` wrote, in place of weights; empty: torch"
    )
    cuda_graphs: bool = option(
        False, "launch a frame on a GPU as two CUDA graphs, captured for each image size"
    )

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.cuda_graphs and (self.engine or self.max_keypoints < 1):
            raise ValueError("cuda_graphs take no engine, and max_keypoints above 0")
        if self.engine and (self.superpoint or self.superglue):
            raise ValueError("engine holds its weights: it takes no superpoint or superglue")
        if 0 < self.resize < 16:
            raise ValueError(f"resize must be 0 or at least 16, not {self.resize}")
        SuperPointConfig(**self.superpoint_options())

    def superpoint_options(self) -> dict[str, Any]:
        """The fields of `SuperPointConfig` that are not left to the weights."""
        options = {
            "max_keypoints": self.max_keypoints,
            "keypoint_threshold": self.keypoint_threshold,
        }
        return options if self.nms_radius < 0 else {**options, "nms_radius": self.nms_radius}


@dataclass(frozen=True)
class KeyframePolicy:
    """When a frame becomes the next keyframe; ValueError for a value out of range.

    Any one condition suffices. But a frame with fewer than `min_matches` keypoints follows only
    none, an old keyframe, one as poor or one that has not matched for 3 s; one with fewer than 8
    never does.
    """

    min_matches: int = option(
        60,
        "fewer matches make a keyframe, unless the frame has fewer keypoints and the keyframe has "
        "not; then 3 s of hardly any matches do",
        range=(0, 16384),
    )
    min_ratio: float = option(
        0.35, "a smaller share of matched keypoints makes a keyframe", range=(0.0, 1.0)
    )
    max_displacement: float = option(
        0.08,
        "a larger median displacement of the matches makes a keyframe",
        unit="share of the image width",
        range=(0.0, 1.0),
    )
    max_age_s: float = option(
        30.0, "an older keyframe is replaced, 0: never for its age", unit="s", range=(0.0, 3600.0)
    )

    def __post_init__(self) -> None:
        check_ranges(self)
