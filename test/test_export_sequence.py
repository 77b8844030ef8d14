"""Sequences for COLMAP and hloc: pairs, cameras, files read back, models against the truth."""

from __future__ import annotations

import builtins
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mapping_scene import Scene, frame_of
from odometry_world import CAMERA, PERIOD_NS, box_of_points, straight

from superglue_ros.cli import main as console
from superglue_ros.errors import CameraError, ExportError
from superglue_ros.evaluation.pairs import frame_stamps
from superglue_ros.evaluation.trajectory import absolute_trajectory_error
from superglue_ros.exporters.colmap import write_database, write_model
from superglue_ros.exporters.colmap_camera import colmap_camera
from superglue_ros.exporters.hloc import write_hloc
from superglue_ros.exporters.sequence import (
    MatchedSequence,
    PairMatches,
    SequenceCollector,
    SequenceImage,
    read_pairs,
)
from superglue_ros.geometry import project_points
from superglue_ros.matching import FeatureMatches, KeyframeMatcher
from superglue_ros.networks.checkpoints import shipped_path
from superglue_ros.sources import open_source, read_trajectory, trajectory_from_poses
from superglue_ros.types import UNMATCHED, CameraModel, Features, Frame

POINTS = box_of_points(4000)
POSES = straight(8, step=(0.4, 0.05, 0.3))
MATRIX = np.array([[500.0, 0, 320.0], [0, 510.0, 235.0], [0, 0, 1]])


def synthetic(camera: CameraModel | None = CAMERA, noise_px: float = 0.3) -> MatchedSequence:
    """Images of POINTS from POSES, each matched with the three before."""
    rng = np.random.default_rng(0)
    images, seen = [], []
    for number, pose in enumerate(POSES):
        pixels = project_points((POINTS - pose.position) @ pose.rotation, CAMERA)
        with np.errstate(invalid="ignore"):
            inside = ((pixels >= 0) & (pixels <= [639, 479])).all(axis=1)
        ids = rng.permutation(np.flatnonzero(inside)[:400])
        keypoints = (pixels[ids] + noise_px * rng.normal(size=(len(ids), 2))).astype(np.float32)
        descriptors = rng.normal(size=(len(ids), 256)).astype(np.float32)
        features = Features((640, 480), keypoints, rng.random(len(ids)), descriptors)
        images.append(SequenceImage(f"{number:06d}.png", number * PERIOD_NS, camera, features))
        seen.append(ids)
    pairs = []
    for second in range(len(POSES)):
        for first in range(max(second - 3, 0), second):
            _, rows0, rows1 = np.intersect1d(seen[first], seen[second], return_indices=True)
            wrong = rng.random(len(rows0)) < 0.1
            rows1[wrong] = np.roll(rows1[wrong], 1)
            confidences = rng.random(len(rows0)).astype(np.float32)
            pairs.append(PairMatches(first, second, FeatureMatches(rows0, rows1, confidences)))
    return MatchedSequence(tuple(images), tuple(pairs))


class FakeMatcher:
    """Frames 4 apart, or less, share 50 matches, others none."""

    def __init__(self) -> None:
        self.matcher = self
        self.last_extracted: Any = None
        self.asked: list[tuple[int, int]] = []

    def match_features(self, first: Any, second: Any) -> FeatureMatches:
        self.asked.append((first.number, second.number))
        count = 50 if second.number - first.number <= 4 else 0
        indices = np.arange(count, dtype=np.int32)
        return FeatureMatches(indices, indices, np.ones(count, np.float32))


LAP = 6
"""Frames until the same is seen again."""


def described(number: int) -> Features:
    """Features of a frame, of descriptors that come again after a lap."""
    rng = np.random.default_rng(number % LAP)
    descriptors = rng.normal(size=(40, 16)) + 0.05 * np.random.default_rng(number).normal()
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    return Features((20, 20), np.zeros((40, 2)), np.ones(40), descriptors)


def collect(folder: Path, frames: int, **options: Any) -> tuple[MatchedSequence, FakeMatcher]:
    """A collection in which every second frame is a keyframe."""
    matcher = FakeMatcher()
    collector = SequenceCollector(matcher, folder, **options)  # type: ignore[arg-type]
    for number in range(frames):
        matcher.last_extracted = type(
            "Extracted", (), {"number": number, "features": described(number)}
        )()
        matches = type("Matches", (), {"is_keyframe": number % 2 == 0})()
        collector.add(Frame(np.full((20, 20), number, np.uint8), number), matches)
    return collector.finish(), matcher


class TestPairs:
    def test_neighbours_and_keyframes(self, tmp_path: Path) -> None:
        sequence, matcher = collect(tmp_path, 9, overlap=1)
        pairs = {(pair.first, pair.second) for pair in sequence.pairs}
        neighbours = {(i, i + 1) for i in range(8)}
        # Back to the first keyframe that shares nothing.
        keyframes = {(a, b) for b in range(0, 9, 2) for a in range(max(b - 6, 0), b, 2)}
        assert pairs == neighbours | keyframes
        assert len(matcher.asked) == len(set(matcher.asked))
        assert [image.name for image in sequence.images][:2] == ["000000.png", "000001.png"]
        assert cv2.imread(str(tmp_path / "000003.png"), cv2.IMREAD_UNCHANGED)[0, 0] == 3

    def test_one_of_three_exhaustively(self, tmp_path: Path) -> None:
        sequence, _ = collect(tmp_path, 9, pairing="exhaustive", every=3)
        assert [image.stamp_ns for image in sequence.images] == [0, 3, 6]
        assert [(p.first, p.second) for p in sequence.pairs] == [(0, 1), (0, 2), (1, 2)]

    def test_those_that_look_alike(self, tmp_path: Path) -> None:
        sequence, matcher = collect(tmp_path, 12, pairing="retrieval", retrieved=1)
        assert [(p.first, p.second) for p in sequence.pairs] == [(i, i + LAP) for i in range(6)]
        assert len(matcher.asked) == 6

    def test_loops_of_a_sequence(self, tmp_path: Path) -> None:
        before, _ = collect(tmp_path, 12, overlap=1)
        closed, _ = collect(tmp_path, 12, overlap=1, loops=1)
        pairs = [{(p.first, p.second) for p in x.pairs} for x in (before, closed)]
        keyframes = {(0, 6), (2, 8), (4, 10)}
        assert pairs[1] == pairs[0] | keyframes

    def test_nothing_looks_alike_without_features(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        none = Features((20, 20), np.zeros((0, 2)), np.zeros(0), np.zeros((0, 16)))
        monkeypatch.setattr(f"{__name__}.described", lambda number: none)
        assert not collect(tmp_path, 4, pairing="retrieval")[0].pairs

    def test_a_list(self, tmp_path: Path) -> None:
        listed = tmp_path / "pairs.txt"
        listed.write_text("# two\n000004.png 000001.png\n\n000000.png 000002.png\n")
        sequence, _ = collect(tmp_path, 5, pairing=str(listed))
        assert [(p.first, p.second) for p in sequence.pairs] == [(0, 2), (1, 4)]
        listed.write_text("000000.png 000009.png\n")
        with pytest.raises(ExportError, match=r"no image 000009\.png"):
            collect(tmp_path, 5, pairing=str(listed))

    @pytest.mark.parametrize(
        ("text", "words"), [("a b c\n", "line 1: 3 words"), ("\n", "no pairs"), (None, "cannot")]
    )
    def test_bad_lists(self, tmp_path: Path, text: str | None, words: str) -> None:
        if text is not None:
            (tmp_path / "pairs.txt").write_text(text)
        with pytest.raises(ExportError, match=words):
            read_pairs(tmp_path / "pairs.txt")

    def test_bad_numbers(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="at least 1"):
            collect(tmp_path, 1, every=0)


class TestCameras:
    @pytest.mark.parametrize(
        ("model", "distortion", "name"),
        [
            ("none", [], "PINHOLE"),
            ("plumb_bob", [0, 0, 0, 0, 0], "PINHOLE"),
            ("plumb_bob", [-0.2, 0.05, 0.001, -0.002], "OPENCV"),
            ("plumb_bob", [-0.2, 0.05, 0.001, -0.002, 0.01], "FULL_OPENCV"),
            (
                "rational_polynomial",
                [0.3, 0.1, 1e-3, 2e-3, 0.02, 0.4, 0.1, 0.03],
                "FULL_OPENCV",
            ),
            ("equidistant", [0.01, -0.02, 0.003, -0.001], "OPENCV_FISHEYE"),
        ],
    )
    def test_projects_as_ours(self, model: str, distortion: list[float], name: str) -> None:
        pycolmap = pytest.importorskip("pycolmap")
        camera = CameraModel(640, 480, MATRIX, model, np.array(distortion))
        found, parameters = colmap_camera(camera)
        assert found == name
        theirs = pycolmap.Camera(model=found, width=640, height=480, params=parameters)
        points = np.array([[0.0, 0, 1], [0.3, -0.2, 1], [-0.4, 0.3, 1], [0.25, 0.3, 1.5]])
        pixels = np.array([theirs.img_from_cam(point) for point in points])
        np.testing.assert_allclose(pixels - 0.5, project_points(points, camera), atol=1e-9)

    def test_what_colmap_has_not(self) -> None:
        skewed = MATRIX + np.array([[0, 1.0, 0], [0, 0, 0], [0, 0, 0]])
        with pytest.raises(CameraError, match="no skew"):
            colmap_camera(CameraModel(640, 480, skewed))
        with pytest.raises(CameraError, match="size"):
            colmap_camera(CameraModel(0, 0, MATRIX))


class TestColmap:
    def test_database_and_models(self, tmp_path: Path) -> None:
        pycolmap = pytest.importorskip("pycolmap")
        sequence = synthetic()
        (tmp_path / "images").mkdir()
        for image in sequence.images:
            gray = np.zeros((480, 640), np.uint8)
            cv2.imwrite(str(tmp_path / "images" / image.name), gray)
        matches, verified = write_database(tmp_path, sequence)
        assert matches == sum(len(pair.matches) for pair in sequence.pairs)
        assert 0.8 * matches < verified < 0.95 * matches
        with pycolmap.Database.open(tmp_path / "database.db") as database:
            keypoints = database.read_keypoints(3)[:, :2]
            np.testing.assert_allclose(
                keypoints, sequence.images[2].features.keypoints + 0.5, atol=1e-4
            )
            stored = database.read_descriptors(3).data
            descriptors = np.frombuffer(stored.tobytes(), np.float32).reshape(-1, 256)
            np.testing.assert_array_equal(descriptors, sequence.images[2].features.descriptors)
            assert len(database.read_all_cameras()) == 1
        known = {i.stamp_ns: pose for i, pose in zip(sequence.images, POSES, strict=True)}
        model = write_model(tmp_path, sequence, "poses", known)
        assert model.num_points > 200
        assert model.reprojection_error_px < 0.6
        for stamp, pose in known.items():
            np.testing.assert_allclose(model.poses[stamp].matrix, pose.matrix, atol=1e-6)
        read = pycolmap.Reconstruction(tmp_path / "sparse" / "0")
        assert read.num_reg_images() == len(POSES)
        truth = trajectory_from_poses(sorted(known), POSES)
        for kind in ("incremental", "global"):
            mapped = write_model(tmp_path, sequence, kind, {})
            assert len(mapped.poses) == len(POSES)
            poses = [mapped.poses[stamp] for stamp in sorted(known)]
            estimated = trajectory_from_poses(sorted(known), poses)
            errors = absolute_trajectory_error(estimated, truth, "sim3")
            assert errors.rmse_m < 0.005 * errors.path_length_m, kind
        with pytest.raises(ExportError, match="exists already"):
            write_database(tmp_path, sequence)
        with pytest.raises(ExportError, match="no poses of two images"):
            write_model(tmp_path, sequence, "poses", {})
        with pytest.raises(ValueError, match="kind must be one of"):
            write_model(tmp_path, sequence, "dense", {})

    def test_pictures_in_no_order(self, tmp_path: Path) -> None:
        """Pairs by what looks alike join a path that was flown in no order into one model."""
        pytest.importorskip("pycolmap")
        order = np.random.default_rng(3).permutation(len(POSES)).tolist()
        matcher: Any = KeyframeMatcher(Scene(POSES))  # type: ignore[arg-type]
        (tmp_path / "images").mkdir()
        collector = SequenceCollector(matcher, tmp_path / "images", "retrieval", retrieved=3)
        for place, number in enumerate(order):
            frame = replace(frame_of(number), stamp_ns=place * PERIOD_NS)
            collector.add(frame, matcher.process(frame))
        sequence = collector.finish()
        assert len(sequence.pairs) < len(POSES) * (len(POSES) - 1) / 2
        write_database(tmp_path, sequence)
        mapped = write_model(tmp_path, sequence, "incremental", {})
        assert len(mapped.poses) == len(POSES)
        stamps = sorted(mapped.poses)
        found = trajectory_from_poses(stamps, [mapped.poses[stamp] for stamp in stamps])
        truth = trajectory_from_poses(stamps, [POSES[number] for number in order])
        errors = absolute_trajectory_error(found, truth, "sim3")
        assert errors.rmse_m < 0.005 * np.linalg.norm(POSES[-1].position - POSES[0].position)

    def test_without_a_calibration(self, tmp_path: Path) -> None:
        pytest.importorskip("pycolmap")
        with pytest.raises(CameraError, match=r"000000\.png has none"):
            write_database(tmp_path, synthetic(None))

    def test_without_the_packages(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        real = builtins.__import__

        def without(name: str, *rest: Any, **named: Any) -> Any:
            if name in ("pycolmap", "h5py"):
                raise ImportError(name)
            return real(name, *rest, **named)

        monkeypatch.setattr(builtins, "__import__", without)
        with pytest.raises(ExportError, match="pip install pycolmap"):
            write_database(tmp_path, synthetic())
        with pytest.raises(ExportError, match="pip install h5py"):
            write_hloc(tmp_path, synthetic())


def test_hloc_files(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    sequence = synthetic()
    write_hloc(tmp_path, sequence)
    with h5py.File(tmp_path / "features.h5") as file:
        assert sorted(file) == [image.name for image in sequence.images]
        for image in sequence.images:
            group, count = file[image.name], len(image.features)
            np.testing.assert_array_equal(group["keypoints"], image.features.keypoints)
            shapes = {name: (group[name].shape, group[name].dtype) for name in group}
            assert shapes["keypoints"] == ((count, 2), np.float32)
            assert shapes["descriptors"] == ((256, count), np.float32)
            assert shapes["scores"] == ((count,), np.float32)
            assert list(group["image_size"]) == [640, 480]
    with h5py.File(tmp_path / "matches.h5") as file:
        pair = sequence.pairs[4]
        names = (sequence.images[place].name for place in (pair.first, pair.second))
        group = file["/".join(names)]
        matches0 = np.array(group["matches0"])
        assert (matches0.dtype, group["matching_scores0"].dtype) == (np.int16, np.float16)
        np.testing.assert_array_equal(matches0[pair.matches.indices0], pair.matches.indices1)
        assert (matches0 != UNMATCHED).sum() == len(pair.matches)
    assert len(read_pairs(tmp_path / "pairs.txt")) == len(sequence.pairs)


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.skipif(not shipped_path("superglue").is_file(), reason="no shipped weights yet")
@pytest.mark.parametrize(
    ("name", "truth", "options", "most_percent"),
    [
        ("kitti_06", "poses.txt", ("--every", "2", "--max-frames", "11"), 0.5),
        ("tum_fr3_office", "groundtruth.txt", ("--max-frames", "8"), 2.0),
    ],
)
def test_real_sequences(
    shared_data: Path,
    tmp_path: Path,
    name: str,
    truth: str,
    options: tuple[str, ...],
    most_percent: float,
) -> None:
    pytest.importorskip("pycolmap")
    words = ["export", "colmap", str(shared_data / name), "--output", str(tmp_path)]
    assert console.main([*words, "--model", "incremental", *options]) == 0
    stamps = frame_stamps(open_source(shared_data / name))
    groundtruth = read_trajectory(shared_data / name / truth, stamps)
    found = read_trajectory(tmp_path / "trajectory.txt")
    errors = absolute_trajectory_error(found, groundtruth, "sim3")
    assert len(found) >= 6
    assert errors.rmse_percent < most_percent
