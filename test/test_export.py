"""Exported engines: their graphs agree with torch, and what cannot be run says why in one line."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import cv2
import numpy as np
import pytest
import torch

from superglue_ros.cli import main as console
from superglue_ros.engines.exported import (
    GRAPHS,
    MANIFEST,
    file_sha256,
    load_engine,
    read_manifest,
    write_manifest,
)
from superglue_ros.engines.tensorrt_graph import build_engine
from superglue_ros.errors import DeviceError, EngineError, EngineOptionError
from superglue_ros.exporters import engine_check
from superglue_ros.exporters.engine import Limits, export_engine, write_graphs
from superglue_ros.exporters.engine_check import (
    TOLERANCES,
    check_differences,
    compare,
    random_side,
)
from superglue_ros.matching import ImageMatcher, MatcherConfig
from superglue_ros.networks.checkpoints import save_weights, shipped_path
from superglue_ros.networks.keypoints import SuperPointConfig
from superglue_ros.networks.pair import load_networks
from superglue_ros.networks.superglue import SuperGlue, SuperGlueConfig
from superglue_ros.networks.superglue_inference import EncodedKeypoints
from superglue_ros.networks.superpoint import SuperPoint
from superglue_ros.training.data.photos import draw_procedural
from superglue_ros.types import UNMATCHED

pytest.importorskip("onnx", reason="export needs onnx")
pytest.importorskip("onnxruntime", reason="onnx engines need onnxruntime")

CPU = torch.device("cpu")
OPTIONS = {"device": "cpu", "max_keypoints": 200, "sinkhorn_iterations": 10}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files of small networks without training."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    superglue = SuperGlue(
        SuperGlueConfig(num_layers=4, keypoint_encoder=(16,), attention_keypoints=6)
    )
    superglue.initialize_as_transport()
    for branch in superglue.branches():
        torch.nn.init.normal_(branch[-1].weight, std=0.01)
    paths = {name: folder / f"{name}.safetensors" for name in ("superpoint", "superglue")}
    own = SuperPointConfig(nms_radius=3, subpixel_radius=2, subpixel_power=1.5, smoothing_px=1.0)
    save_weights(SuperPoint(own), paths["superpoint"], {})
    save_weights(superglue, paths["superglue"], {})
    return {name: str(path) for name, path in paths.items()}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, weights: dict[str, str]) -> Path:
    """Folder of the small networks' engine."""
    folder = tmp_path_factory.mktemp("engines") / "small"
    export_engine("onnx", folder, **weights)
    return folder


@pytest.fixture
def damaged(engine: Path, tmp_path: Path) -> Path:
    """A copy of the engine to be spoilt."""
    return Path(shutil.copytree(engine, tmp_path / "damaged"))


@pytest.fixture(scope="module")
def drawings() -> tuple[np.ndarray, np.ndarray]:
    """Two views, neither side a multiple of 8.

    No two of the 200 strongest keypoints of this drawing have scores within 2e-5, ten times the
    rounding, which would else say which of them comes first.
    """
    drawing = draw_procedural(1, seed=12, size=(321, 243))[0]
    return drawing, np.roll(drawing, (16, 24), axis=(0, 1))


@pytest.fixture
def brief_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """An export that checks one size."""
    monkeypatch.setattr(engine_check, "CHECKED_SIZES", ((16, 24),))
    monkeypatch.setattr(engine_check, "CHECKED_COUNTS", ((1, 3),))


class TestGraphs:
    def test_the_check_finds_agreement_and_records_it(self, engine: Path) -> None:
        manifest = read_manifest(engine)
        assert {"321 x 243", "1 x 7", "1000 x 600"} <= {row.inputs for row in manifest.differences}
        assert (manifest.kind, manifest.precision) == ("onnx", "float32")
        assert (manifest.subpixel_radius, manifest.superglue.num_layers) == (2, 4)
        assert manifest.nms_radius == 3
        assert {row.graph for row in manifest.differences} == set(GRAPHS)
        assert all(row.difference <= 1e-4 * row.largest for row in manifest.differences)
        assert {"torch", "onnx", "onnxruntime"} <= set(manifest.versions)

    @pytest.mark.parametrize("size", [(17, 31), (96, 64), (123, 250)])
    @pytest.mark.parametrize("batch", [1, 2])
    def test_image_sizes(
        self, engine: Path, weights: dict[str, str], size: tuple[int, int], batch: int
    ) -> None:
        config = MatcherConfig(**weights)
        exact = load_networks(config, CPU, torch.float32).superpoint
        exported = load_engine(engine, read_manifest(engine), config, CPU).superpoint
        image = torch.rand(batch, 1, *size)
        for found, wanted in zip(exported.dense(image), exact.dense(image), strict=True):
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)

    @pytest.mark.parametrize("counts", [(1, 1), (3, 1), (2, 300), (301, 40)])
    def test_keypoint_counts(
        self, engine: Path, weights: dict[str, str], counts: tuple[int, int]
    ) -> None:
        config = MatcherConfig(**weights)
        exact = load_networks(config, CPU, torch.float32)
        exported = load_engine(engine, read_manifest(engine), config, CPU)
        scores = []
        for networks in (exact, exported):
            torch.manual_seed(1)
            sides = [random_side(count, networks) for count in counts]
            states = [networks.superglue.encode_normalized(*side) for side in sides]
            scores.append(networks.superglue.score_matrix(*map(EncodedKeypoints, states)))
        torch.testing.assert_close(scores[1], scores[0], atol=1e-4, rtol=1e-4)

    def test_float16_graphs_of_tensorrt_hold_their_tolerance(
        self, tmp_path: Path, weights: dict[str, str], engine: Path
    ) -> None:
        config = MatcherConfig(**weights)
        write_graphs(load_networks(config, CPU, torch.float16), tmp_path)
        hashes = {name: file_sha256(tmp_path / f"{name}.onnx") for name in GRAPHS}
        manifest = replace(read_manifest(engine), precision="float16", graphs=hashes)
        exported = load_engine(tmp_path, manifest, config, CPU)
        exact = load_networks(config, CPU, torch.float32)
        rows = tuple(compare(exact, exported, CPU, 64, 64))
        assert {row.inputs for row in rows} >= {"16 x 16", "64 x 7", "64 x 64"}
        assert max(row.difference for row in rows) > 1e-5
        for row in rows:
            assert row.difference < TOLERANCES["tensorrt"] * row.largest, row

    @pytest.mark.usefixtures("brief_check")
    def test_a_graph_that_differs_is_no_engine(
        self, tmp_path: Path, weights: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(TOLERANCES, "onnx", 0.0)
        with pytest.raises(EngineError, match="over the tolerance of 0: no engine was written"):
            export_engine("onnx", tmp_path, **weights)
        with pytest.raises(EngineError, match=f"no readable {MANIFEST}"):
            read_manifest(tmp_path)

    def test_nan_is_over_every_tolerance(self, engine: Path) -> None:
        manifest = read_manifest(engine)
        row = replace(manifest.differences[0], difference=float("nan"))
        with pytest.raises(EngineError, match="differ from torch's by nan"):
            check_differences(replace(manifest, differences=(row,)))


class TestMatching:
    @pytest.mark.usefixtures("brief_check")
    def test_matches_are_torchs(
        self, tmp_path: Path, drawings: tuple[np.ndarray, np.ndarray]
    ) -> None:
        if not shipped_path("superglue").is_file():
            pytest.skip("no shipped weights yet")
        export_engine("onnx", tmp_path)
        torchs = ImageMatcher(precision="float32", **OPTIONS)
        wanted = torchs.match(*drawings)
        assert (wanted.matches0 != UNMATCHED).sum() > 50
        config = MatcherConfig(engine=str(tmp_path), precision="float32", **OPTIONS)
        matcher = ImageMatcher.from_config(config)
        assert (matcher.device, matcher.precision) == ("cpu", "float32")
        assert (matcher.model, matcher.weights_hash) == (torchs.model, torchs.weights_hash)
        found = matcher.match(*drawings)
        np.testing.assert_array_equal(found.matches0, wanted.matches0)
        for name, value in vars(wanted).items():
            assert getattr(found, name).dtype == value.dtype
            np.testing.assert_allclose(getattr(found, name), value, atol=1e-3, err_msg=name)

    def test_no_keypoints_and_a_black_image(
        self, engine: Path, drawings: tuple[np.ndarray, np.ndarray]
    ) -> None:
        black = np.zeros_like(drawings[0])
        result = ImageMatcher(engine=engine, **OPTIONS).match(black, drawings[0])
        assert result.matches0.shape == result.confidence0.shape == result.scores0.shape
        none = ImageMatcher(engine=engine, keypoint_threshold=0.99, **OPTIONS)
        empty = none.match(*drawings)
        assert empty.keypoints0.shape == (0, 2)
        assert empty.descriptors1.shape == (0, 256)
        assert empty.matches0.shape == (0,)


class TestErrors:
    def test_folders(self, damaged: Path, tmp_path: Path) -> None:
        with pytest.raises(EngineError, match=rf"gone has no readable {MANIFEST}"):
            ImageMatcher(engine=tmp_path / "gone", device="cpu")
        (damaged / "encoder.onnx").unlink()
        with pytest.raises(EngineError, match=r"encoder\.onnx cannot be read"):
            ImageMatcher(engine=damaged, device="cpu")
        (damaged / MANIFEST).unlink()
        with pytest.raises(EngineError, match=f"no readable {MANIFEST}"):
            ImageMatcher(engine=damaged, device="cpu")

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"kind": "tflite"}, "kind must be one of onnx, tensorrt"),
            ({"graphs": {}}, "graphs must be superpoint, encoder, superglue"),
            ({"surplus": 1}, "surplus"),
            ({"superglue": {}}, "keypoint_encoder"),
            (None, "not what this version exports"),
        ],
    )
    def test_manifests(self, damaged: Path, change: dict[str, Any] | None, words: str) -> None:
        values = json.loads((damaged / MANIFEST).read_text())
        text = "{" if change is None else json.dumps(values | change)
        (damaged / MANIFEST).write_text(text)
        with pytest.raises(EngineError, match=words):
            ImageMatcher(engine=damaged, device="cpu")

    def test_graphs(self, damaged: Path) -> None:
        path = damaged / "superpoint.onnx"
        path.write_bytes(path.read_bytes()[:-1000])
        with pytest.raises(EngineError, match=r"superpoint\.onnx is damaged or replaced"):
            ImageMatcher(engine=damaged, device="cpu")
        manifest = read_manifest(damaged)
        hashes = manifest.graphs | {"superpoint": file_sha256(path)}
        write_manifest(damaged, replace(manifest, graphs=hashes))
        with pytest.raises(EngineError, match="ONNX Runtime does not take"):
            ImageMatcher(engine=damaged, device="cpu")

    def test_options_that_contradict_the_engine(self, engine: Path, damaged: Path) -> None:
        for network in ("superpoint", "superglue"):
            with pytest.raises(ValueError, match="engine holds its weights"):
                ImageMatcher(engine=engine, **{network: "some.pth"})
        with pytest.raises(ValueError, match="precision bfloat16 contradicts"):
            ImageMatcher(engine=engine, precision="bfloat16", device="cpu")
        write_manifest(damaged, replace(read_manifest(damaged), max_keypoints=512))
        for count in (-1, 513):
            with pytest.raises(EngineOptionError, match="exported for at most 512"):
                ImageMatcher(engine=damaged, max_keypoints=count, device="cpu")

    def test_packages(self, engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as without:
            without.setitem(sys.modules, "onnxruntime", None)
            with pytest.raises(EngineError, match="needs ONNX Runtime"):
                ImageMatcher(engine=engine, device="cpu")
        monkeypatch.setitem(sys.modules, "onnx", None)
        with pytest.raises(EngineError, match="pip install onnx"):
            export_engine("onnx", tmp_path)

    def test_providers(self, engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [])
        with pytest.raises(DeviceError, match="no CPUExecutionProvider"):
            ImageMatcher(engine=engine, device="cpu")

    def test_a_provider_that_does_not_start(
        self, engine: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session = SimpleNamespace(get_providers=list)
        monkeypatch.setattr("onnxruntime.InferenceSession", lambda *_, **__: session)
        with pytest.raises(DeviceError, match="CPUExecutionProvider of ONNX Runtime does not"):
            ImageMatcher(engine=engine, device="cpu")

    def test_places_that_cannot_be_written(self, tmp_path: Path, weights: dict[str, str]) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(EngineError, match="engine cannot be written to"):
            export_engine("onnx", tmp_path / "file", **weights)

    def test_kinds_and_limits(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="kind must be one of"):
            export_engine("tflite", tmp_path)
        with pytest.raises(ValueError, match="at least 16"):
            Limits(max_side=8)


class TestTensorRt:
    def test_without_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "tensorrt", None)
        with pytest.raises(EngineError, match="TensorRT 10 or later, which is not installed"):
            export_engine("tensorrt", tmp_path)
        monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="8.6.1"))
        with pytest.raises(EngineError, match=r"8\.6\.1 is older than 10"):
            export_engine("tensorrt", tmp_path)

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    def test_without_a_gpu(
        self, damaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="10.3.0"))
        with pytest.raises(DeviceError, match="needs a GPU, but torch finds no CUDA device"):
            export_engine("tensorrt", tmp_path)
        for name in GRAPHS:
            (damaged / f"{name}.onnx").rename(damaged / f"{name}.engine")
        write_manifest(damaged, replace(read_manifest(damaged), kind="tensorrt"))
        with pytest.raises(DeviceError, match="of TensorRT, which needs a GPU"):
            ImageMatcher(engine=damaged, device="cpu")

    def test_builds_for_every_size_of_the_profile(
        self, engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tensorrt = MagicMock(__version__="11.0.0")
        tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED = 1
        monkeypatch.setitem(sys.modules, "tensorrt", tensorrt)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        builder, parser = tensorrt.Builder(), tensorrt.OnnxParser()
        builder.build_serialized_network.return_value = b"plan"
        sizes = ((1, 1, 256), (1, 9, 256), (1, 99, 256))
        profile = {"states0": sizes, "states1": sizes}
        target = tmp_path / "superglue.engine"
        build_engine(engine / "superglue.onnx", target, profile)
        assert target.read_bytes() == b"plan"
        parser.parse.assert_called_once_with((engine / "superglue.onnx").read_bytes())
        set_shape = builder.create_optimization_profile().set_shape
        assert [call.args for call in set_shape.call_args_list] == [
            ("states0", *sizes),
            ("states1", *sizes),
        ]
        builder.build_serialized_network.return_value = None
        with pytest.raises(EngineError, match=r"cannot build superglue\.engine"):
            build_engine(engine / "superglue.onnx", target, profile)
        parser.parse.return_value, parser.num_errors = False, 1
        parser.get_error.return_value = "no such layer"
        with pytest.raises(EngineError, match=r"superglue\.onnx: no such layer"):
            build_engine(engine / "superglue.onnx", target, profile)

    @pytest.mark.gpu
    def test_matches_are_nearly_torchs(
        self, tmp_path: Path, drawings: tuple[np.ndarray, np.ndarray]
    ) -> None:
        pytest.importorskip("tensorrt", reason="tensorrt engines need tensorrt")
        if not torch.cuda.is_available():
            pytest.skip("no GPU")
        export_engine("tensorrt", tmp_path, limits=Limits(512, 640))
        options = OPTIONS | {"device": "cuda"}
        wanted = ImageMatcher(**options).match(*drawings)
        found = ImageMatcher(engine=tmp_path, **options).match(*drawings)
        matched = [(result.matches0 != UNMATCHED).sum() for result in (found, wanted)]
        assert matched[0] > 0.9 * matched[1]


class TestCommand:
    def fails(self, capsys: pytest.CaptureFixture[str], *words: object) -> str:
        """The one line that a failing command prints."""
        assert console.main([str(word) for word in words]) == 1
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        return lines[0]

    @pytest.mark.usefixtures("brief_check")
    def test_export_then_match(
        self,
        tmp_path: Path,
        weights: dict[str, str],
        drawings: tuple[np.ndarray, np.ndarray],
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        folder = tmp_path / "new" / "engine"
        words = ["export", "onnx", "--output", str(folder)]
        words += ["--superpoint", weights["superpoint"], "--superglue", weights["superglue"]]
        assert console.main(words) == 0
        table = capsys.readouterr().out
        assert "24 x 16" in table
        assert "float32, superpoint+superglue" in table
        images = [tmp_path / "0.png", tmp_path / "1.png"]
        for path, drawing in zip(images, drawings, strict=True):
            cv2.imwrite(str(path), drawing)
        fast = ["--device", "cpu", "--max-keypoints", "100", "--sinkhorn-iterations", "5"]
        words = ["match", *map(str, images), "--engine", str(folder), *fast]
        assert console.main(words) == 0
        assert read_manifest(folder).weights_hash in capsys.readouterr().out
        line = self.fails(capsys, *words, "--precision", "float16")
        assert "precision float16 contradicts engine" in line
        line = self.fails(capsys, *words, "--superglue", "x.pth")
        assert "engine holds its weights" in line

    def test_bad_words(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        words = ["export", "onnx", "--output", tmp_path]
        line = self.fails(capsys, *words, "--max-side", "640")
        assert "limits are for tensorrt" in line
        assert "gone.pth does not exist" in self.fails(
            capsys, *words, "--superglue", tmp_path / "gone.pth"
        )
