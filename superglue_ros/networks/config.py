"""What SuperPoint and SuperGlue run with: the options of everything that matches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from superglue_ros.networks.keypoints import SuperPointConfig
from superglue_ros.options import check_options, option

DEVICES = ("auto", "cuda", "cpu")
PRECISIONS = ("auto", "float32", "mixed", "float16", "bfloat16")


@dataclass(frozen=True)
class MatcherConfig:
    """What SuperPoint and SuperGlue run with; ValueError for a value out of range."""

    superpoint: str = option("", "SuperPoint weights, .safetensors or .pth; empty: the shipped")
    superglue: str = option("", "SuperGlue weights, .safetensors or .pth; empty: the shipped")
    max_keypoints: int = option(
        1024, "Maximum number of keypoints of an image, the strongest; -1: all", range=(-1, 16384)
    )
    keypoint_threshold: float = option(
        0.005, "Minimum confidence of a keypoint", range=(0.0, 0.999)
    )
    nms_radius: int = option(
        -1,
        "Radius of the non-maximum suppression of keypoints; -1: as the weights say (shipped 2, "
        "published 4)",
        unit="px",
        range=(-1, 64),
    )
    match_threshold: float = option(0.2, "Minimum confidence of a match", range=(0.0, 1.0))
    sinkhorn_iterations: int = option(
        100, "Sinkhorn iterations of the optimal matching layer", range=(1, 1000)
    )
    resize: int = option(
        0,
        "Maximum longer side of an image, larger ones are shrunk to it; 0: none",
        unit="px",
        range=(0, 16384),
    )
    refine: bool = option(
        False,
        "Move a match's point in the frame by up to 2.5 px to where it looks as the keyframe "
        "does, several times as exact; maps and exports keep the features' own points",
    )
    device: str = option(
        "auto", "Where the networks run; auto: the GPU if there is one", choices=DEVICES
    )
    precision: str = option(
        "auto",
        "Of the networks' products; auto: float16 on a GPU, bfloat16 on a CPU made for it; mixed: "
        "SuperPoint in float32, SuperGlue in float16 or bfloat16",
        choices=PRECISIONS,
    )
    engine: str = option(
        "", "Folder that `superglue_ros export` wrote, in place of weights; empty: torch"
    )
    cuda_graphs: bool = option(
        False, "Run a frame on a GPU as two CUDA graphs, captured for each image size"
    )
    threads: int = option(
        0,
        "CPU threads of the whole process, of torch, OpenCV and ONNX Runtime; 0: as the cores "
        "allow",
        range=(0, 1024),
    )

    def __post_init__(self) -> None:
        check_options(self)
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
