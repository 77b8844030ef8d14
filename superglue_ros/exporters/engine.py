"""Exports the networks as an engine: three graphs and a manifest."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn
from tqdm import tqdm

import superglue_ros
from superglue_ros.engines.exported import (
    GRAPHS,
    MANIFEST,
    SUFFIXES,
    EngineManifest,
    file_sha256,
    load_engine,
    write_manifest,
)
from superglue_ros.engines.onnx_graph import import_onnxruntime
from superglue_ros.engines.tensorrt_graph import Shape, build_engine, import_tensorrt
from superglue_ros.errors import EngineError
from superglue_ros.exporters.engine_check import check_differences, compare, random_side
from superglue_ros.networks.config import MatcherConfig
from superglue_ros.networks.pair import Networks, load_networks
from superglue_ros.networks.superglue_inference import EncodedKeypoints, FoldedSuperGlue
from superglue_ros.networks.superpoint import SuperPoint

OPSET = 17
PRECISIONS = {"onnx": torch.float32, "tensorrt": torch.float16}
"""Of the products in a graph, by the kind of the engine."""

_TRACED_SIZE = (64, 96)
_TRACED_COUNTS = (5, 7)


@dataclass(frozen=True)
class Limits:
    """Largest inputs of a tensorrt engine: keypoints of an image, and pixels of a side.

    ValueError for less than 16 of either.
    """

    max_keypoints: int = 2048
    max_side: int = 1280

    def __post_init__(self) -> None:
        if min(self.max_keypoints, self.max_side) < 16:
            raise ValueError("max_keypoints and max_side must be at least 16")


def export_engine(
    kind: str,
    folder: Path,
    superpoint: str = "",
    superglue: str = "",
    limits: Limits | None = None,
) -> EngineManifest:
    """Write an engine of weights files (the shipped by default) to a folder, and check it.

    kind: "onnx" or "tensorrt"; limits: of the latter. Without a check passed the folder is no
    engine. Raises EngineError without the packages or where the graphs differ from torch,
    DeviceError without a GPU for tensorrt, CheckpointError for wrong weights.
    """
    if kind not in SUFFIXES:
        raise ValueError(f"kind must be one of {', '.join(SUFFIXES)}, not {kind!r}")
    tensorrt = kind == "tensorrt"
    versions = _versions(tensorrt)
    config = MatcherConfig(superpoint, superglue)
    cpu, dtype = torch.device("cpu"), PRECISIONS[kind]
    networks = load_networks(config, cpu, dtype)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
        if tensorrt:
            limits = limits or Limits()
            with TemporaryDirectory() as scratch:
                write_graphs(networks, Path(scratch))
                _build_engines(Path(scratch), folder, limits)
        else:
            limits = None
            write_graphs(networks, folder)
    except OSError as error:
        raise EngineError(f"engine cannot be written to {folder}: {error.strerror}") from error
    manifest = EngineManifest(
        kind,
        networks.precision,
        networks.model,
        networks.weights_hash,
        networks.superpoint.config.nms_radius,
        networks.superpoint.config.subpixel_radius,
        networks.superpoint.config.subpixel_power,
        networks.superglue.config,
        float(networks.superglue.bin_score),
        limits.max_keypoints if limits else 0,
        limits.max_side if limits else 0,
        {name: file_sha256(folder / (name + SUFFIXES[kind])) for name in GRAPHS},
        versions,
        (),
    )
    exact = networks if dtype == torch.float32 else load_networks(config, cpu, torch.float32)
    device = torch.device("cuda" if tensorrt else "cpu")
    exported = load_engine(folder, manifest, config, device)
    differences = tuple(
        compare(exact, exported, device, manifest.max_keypoints, manifest.max_side)
    )
    manifest = replace(manifest, differences=differences)
    check_differences(manifest)
    write_manifest(folder, manifest)
    return manifest


class _Dense(nn.Module):
    def __init__(self, network: SuperPoint) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.dense(image)


class _Encoder(nn.Module):
    def __init__(self, network: FoldedSuperGlue) -> None:
        super().__init__()
        self.network = network

    def forward(self, points: Tensor, scores: Tensor, descriptors: Tensor) -> Tensor:
        return self.network.encode_normalized(points, scores, descriptors)


class _Scores(nn.Module):
    def __init__(self, network: FoldedSuperGlue) -> None:
        super().__init__()
        self.network = network

    def forward(self, states0: Tensor, states1: Tensor) -> Tensor:
        return self.network.score_matrix(EncodedKeypoints(states0), EncodedKeypoints(states1))


def write_graphs(networks: Networks, folder: Path) -> None:
    """Write the three .onnx files of networks on a CPU; inputs and outputs are float32.

    superpoint: image (B, 1, H, W) in [0, 1] -> logits (B, 65, H // 8, W // 8) and descriptors
    (B, 256, H // 8, W // 8); encoder: normalised points (1, N, 2), scores (1, N), descriptors
    (1, N, D) -> states (1, N, D); superglue: states0 (1, M, D), states1 (1, N, D) -> scores
    (1, M, N). All sizes but D may vary.
    """
    points, scores, descriptors = random_side(_TRACED_COUNTS[0], networks)
    states0, states1 = (random_side(count, networks)[2] for count in _TRACED_COUNTS)
    cells = {0: "batch", 2: "cells_y", 3: "cells_x"}
    _write(
        folder / "superpoint.onnx",
        _Dense(networks.superpoint),
        {"image": torch.rand(1, 1, *_TRACED_SIZE)},
        {
            "image": {0: "batch", 2: "height", 3: "width"},
            "logits": cells,
            "descriptors": cells,
        },
    )
    _write(
        folder / "encoder.onnx",
        _Encoder(networks.superglue),
        {"points": points, "scores": scores, "descriptors": descriptors},
        {name: {1: "n"} for name in ("points", "scores", "descriptors", "states")},
    )
    _write(
        folder / "superglue.onnx",
        _Scores(networks.superglue),
        {"states0": states0, "states1": states1},
        {"states0": {1: "m"}, "states1": {1: "n"}, "scores": {1: "m", 2: "n"}},
    )


def _write(
    path: Path, module: nn.Module, inputs: dict[str, Tensor], axes: dict[str, dict[int, str]]
) -> None:
    with torch.no_grad(), warnings.catch_warnings():
        # Shapes that the trace takes for constants do not vary, or the check after it tells; the
        # exporter that does not trace needs a package more.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=[name for name in axes if name not in inputs],
            dynamic_axes=axes,
        )


def _build_engines(source: Path, target: Path, limits: Limits) -> None:
    n, side = limits.max_keypoints, limits.max_side
    usual, dim = min(1024, n), SuperPoint.descriptor_dim
    image = ((1, 1, 16, 16), (1, 1, min(480, side), min(640, side)), (1, 1, side, side))
    wide = ((1, 1, dim), (1, usual, dim), (1, n, dim))
    profiles: dict[str, dict[str, Sequence[Shape]]] = {
        "superpoint": {"image": image},
        "encoder": {
            "points": ((1, 1, 2), (1, usual, 2), (1, n, 2)),
            "scores": ((1, 1), (1, usual), (1, n)),
            "descriptors": wide,
        },
        "superglue": {"states0": wide, "states1": wide},
    }
    for name in tqdm(GRAPHS, desc="building", unit="graph"):
        build_engine(source / f"{name}.onnx", target / f"{name}.engine", profiles[name])


def _versions(tensorrt: bool) -> dict[str, str]:
    """Versions of what the export needs; EngineError for what is missing."""
    try:
        onnx = importlib.import_module("onnx")
    except ImportError as error:
        raise EngineError("export needs the package onnx: pip install onnx") from error
    runtime = import_tensorrt() if tensorrt else import_onnxruntime()
    return {
        "superglue_ros": superglue_ros.__version__,
        "torch": torch.__version__,
        "onnx": str(onnx.__version__),
        runtime.__name__: str(runtime.__version__),
    }
