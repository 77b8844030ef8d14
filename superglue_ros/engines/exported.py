"""Exported engines: a folder of three graphs that run the layers in place of torch.

Keypoints are selected, and the assignment is computed and read, by the same code as without.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from superglue_ros.engines.onnx_graph import OnnxGraph
from superglue_ros.engines.tensorrt_graph import TensorRtGraph
from superglue_ros.errors import DeviceError, EngineError, EngineOptionError
from superglue_ros.networks.config import MatcherConfig
from superglue_ros.networks.keypoints import CELL, SuperPointConfig
from superglue_ros.networks.pair import Networks
from superglue_ros.networks.superglue import SuperGlue, SuperGlueConfig
from superglue_ros.networks.superglue_inference import EncodedKeypoints, FoldedSuperGlue
from superglue_ros.networks.superpoint import SuperPoint

MANIFEST = "engine.json"
GRAPHS = ("superpoint", "encoder", "superglue")
SUFFIXES = {"onnx": ".onnx", "tensorrt": ".engine"}
"""Of the graphs' files, by the kind of the engine."""


class Graph(Protocol):
    """Layers that run outside torch."""

    def __call__(
        self, inputs: Sequence[Tensor], shapes: Sequence[tuple[int, ...]]
    ) -> list[Tensor]:
        """Outputs, float32 of the shapes named, of float32 inputs on the graph's device."""


@dataclass(frozen=True)
class Difference:
    """Of one output of a graph to torch's in float32: the largest, and torch's largest value."""

    graph: str
    output: str
    inputs: str
    difference: float
    largest: float


@dataclass(frozen=True)
class EngineManifest:
    """What engine.json says: which networks the graphs are of, and how well they agree with torch.

    graphs: SHA-256 of each graph's file; superglue: the network's shape; max_keypoints and
    max_side (pixels): largest input, 0 for any.
    """

    kind: str
    precision: str
    model: str
    weights_hash: str
    nms_radius: int
    subpixel_radius: int
    subpixel_power: float
    superglue: SuperGlueConfig
    bin_score: float
    max_keypoints: int
    max_side: int
    graphs: dict[str, str]
    versions: dict[str, str]
    differences: tuple[Difference, ...]

    def __post_init__(self) -> None:
        if self.kind not in SUFFIXES:
            raise ValueError(f"kind must be one of {', '.join(SUFFIXES)}, not {self.kind!r}")
        if set(self.graphs) != set(GRAPHS):
            raise ValueError(f"graphs must be {', '.join(GRAPHS)}")

    def path(self, folder: Path, graph: str) -> Path:
        """File of a graph."""
        return folder / (graph + SUFFIXES[self.kind])


class ExportedSuperPoint(SuperPoint):
    """SuperPoint whose layers are a graph; it has no weights of its own."""

    def __init__(self, config: SuperPointConfig, graph: Graph) -> None:
        with torch.device("meta"):
            super().__init__(config)
        self.eval().requires_grad_(False)
        self._graph = graph

    def dense(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """As SuperPoint's."""
        batch, _, height, width = image.shape
        cells = (height // CELL, width // CELL)
        logits, descriptors = self._graph(
            [image],
            [(batch, CELL * CELL + 1, *cells), (batch, self.descriptor_dim, *cells)],
        )
        return logits, descriptors


class ExportedSuperGlue(FoldedSuperGlue):
    """SuperGlue whose layers are two graphs of batch 1; it has no weights but the bin score."""

    def __init__(
        self,
        config: SuperGlueConfig,
        bin_score: float,
        encoder: Graph,
        graph: Graph,
        device: torch.device,
    ) -> None:
        with torch.device("meta"):
            super().__init__(SuperGlue(config))
        self.bin_score = torch.tensor(bin_score, device=device)
        self._encoder_graph, self._graph = encoder, graph

    def encode_normalized(self, points: Tensor, scores: Tensor, descriptors: Tensor) -> Tensor:
        """As FoldedSuperGlue's."""
        if points.shape[1] == 0:
            return descriptors.float()
        return self._encoder_graph([points, scores, descriptors], [tuple(descriptors.shape)])[0]

    def score_matrix(self, encoded0: EncodedKeypoints, encoded1: EncodedKeypoints) -> Tensor:
        """As FoldedSuperGlue's."""
        shape = (len(encoded0.states), len(encoded0), len(encoded1))
        return self._graph([encoded0.states, encoded1.states], [shape])[0]


def open_engine(config: MatcherConfig, device: torch.device) -> Networks:
    """Networks of the engine that a config names, on a device.

    Raises EngineError for a folder that is none, or a damaged graph, or without the engine's
    runtime; EngineOptionError for a precision or max_keypoints that it has not; DeviceError for a
    device that it cannot run on.
    """
    folder = Path(config.engine)
    manifest = read_manifest(folder)
    if config.precision not in ("auto", manifest.precision):
        raise EngineOptionError(
            f"precision {config.precision} contradicts engine {folder}, which was exported in "
            f"{manifest.precision}"
        )
    limit = manifest.max_keypoints
    if limit and not 0 < config.max_keypoints <= limit:
        raise EngineOptionError(
            f"max_keypoints {config.max_keypoints} is out of reach of engine {folder}, which was "
            f"exported for at most {limit}"
        )
    return load_engine(folder, manifest, config, device)


def load_engine(
    folder: Path, manifest: EngineManifest, config: MatcherConfig, device: torch.device
) -> Networks:
    """Networks of the graphs in a folder; raises EngineError and DeviceError."""
    graphs = {name: _open_graph(folder, manifest, name, device) for name in GRAPHS}
    # The smoothing is in the graph.
    own = {
        "nms_radius": manifest.nms_radius,
        "subpixel_radius": manifest.subpixel_radius,
        "subpixel_power": manifest.subpixel_power,
    }
    points = SuperPointConfig(**(own | config.superpoint_options()))
    matching = replace(
        manifest.superglue,
        match_threshold=config.match_threshold,
        sinkhorn_iterations=config.sinkhorn_iterations,
    )
    return Networks(
        ExportedSuperPoint(points, graphs["superpoint"]),
        ExportedSuperGlue(
            matching, manifest.bin_score, graphs["encoder"], graphs["superglue"], device
        ),
        manifest.precision,
        manifest.model,
        manifest.weights_hash,
    )


def _open_graph(
    folder: Path, manifest: EngineManifest, name: str, device: torch.device
) -> OnnxGraph | TensorRtGraph:
    path, expected = manifest.path(folder, name), manifest.graphs[name]
    found = file_sha256(path)
    if found != expected:
        raise EngineError(
            f"graph {path} is damaged or replaced: expected SHA-256 {expected} of {MANIFEST}, "
            f"found {found}"
        )
    if manifest.kind == "onnx":
        return OnnxGraph(path, device)
    if device.type != "cuda":
        raise DeviceError(f"engine {folder} is of TensorRT, which needs a GPU: device is {device}")
    return TensorRtGraph(path, device)


def file_sha256(path: Path) -> str:
    """SHA-256 of a graph's file; EngineError if it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise EngineError(f"graph {path} cannot be read: {error.strerror}") from error


def read_manifest(folder: Path) -> EngineManifest:
    """The manifest of an engine's folder; EngineError if it is missing or of another kind."""
    path = folder / MANIFEST
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        shape = values["superglue"]
        shape["keypoint_encoder"] = tuple(shape["keypoint_encoder"])
        values["superglue"] = SuperGlueConfig(**shape)
        values["differences"] = tuple(Difference(**row) for row in values["differences"])
        return EngineManifest(**values)
    except OSError as error:
        raise EngineError(
            f"engine {folder} has no readable {MANIFEST}, which `superglue_ros export` writes: "
            f"{error.strerror}"
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise EngineError(f"{path} is not what this version exports: {error}") from error


def write_manifest(folder: Path, manifest: EngineManifest) -> None:
    """Write the manifest of an engine's folder; EngineError if it cannot."""
    try:
        text = json.dumps(asdict(manifest), indent=2) + "\n"
        (folder / MANIFEST).write_text(text, encoding="utf-8")
    except OSError as error:
        raise EngineError(f"{folder / MANIFEST} cannot be written: {error.strerror}") from error
