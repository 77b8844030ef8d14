"""The command line: dispatch, options, and one clear line for every kind of bad input."""

from __future__ import annotations

import argparse
import html
import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import pytest

from superglue_ros import __version__, provenance
from superglue_ros.cli import main as console
from superglue_ros.cli.interrupts import stop_at_interrupt
from superglue_ros.cli.options import add_keyframe_options, add_matcher_options, matcher_config
from superglue_ros.cli.progress import said_if_slow
from superglue_ros.errors import SuperGlueRosError
from superglue_ros.matching import ImageMatcher, KeyframeMatcher, KeyframePolicy, MatcherConfig
from superglue_ros.networks.checkpoints import save_weights, shipped_path
from superglue_ros.networks.superglue import SuperGlue, SuperGlueConfig
from superglue_ros.types import Frame, FrameMatches

FAST = ["--device", "cpu", "--precision", "float32", "--sinkhorn-iterations", "10"]
weights = pytest.mark.skipif(
    not (shipped_path("superpoint").is_file() and shipped_path("superglue").is_file()),
    reason="no shipped weights yet",
)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a.png and b.png, the same texture 12 px further left."""
    folder = tmp_path_factory.mktemp("images")
    noise = np.random.default_rng(1).integers(0, 256, (120, 172)).astype(np.float32)
    texture = sum(
        cv2.normalize(cv2.GaussianBlur(noise, (0, 0), s), None, 0, 80, cv2.NORM_MINMAX)
        for s in (1, 2, 5)
    )
    cv2.imwrite(str(folder / "a.png"), texture[:, :160].astype(np.uint8))
    cv2.imwrite(str(folder / "b.png"), texture[:, 12:].astype(np.uint8))
    return folder


def fails(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """The one line that a failing command prints."""
    assert console.main([str(word) for word in words]) == 1
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if line.startswith("superglue_ros: error: ")]
    assert len(lines) == 1, error
    assert "Traceback" not in error
    return lines[0]


class TestDispatch:
    def test_help_lists_the_subcommands(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert console.main([]) == 2
        text = capsys.readouterr().out
        assert all(name in text for name in ("match", "replay", "evaluate"))

    @pytest.mark.parametrize(
        "words",
        [
            ["nonsense"],
            ["match"],
            ["match", "a", "b", "--what"],
            ["match", "a", "b", "--rotation-retry", "-1"],
        ],
    )
    def test_bad_usage_exits_2(self, words: list[str]) -> None:
        with pytest.raises(SystemExit) as exit_info:
            console.main(words)
        assert exit_info.value.code == 2

    @pytest.mark.parametrize("name", list(console.SUBCOMMANDS))
    def test_every_subcommand_has_help(
        self, name: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        if name not in console.build_parser().format_help():
            pytest.skip(f"{name} is not there yet")
        with pytest.raises(SystemExit) as exit_info:
            console.main([name, "--help"])
        assert exit_info.value.code == 0
        assert "usage: superglue_ros" in capsys.readouterr().out

    def test_interrupt(self, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("superglue_ros.cli.match.read_image", interrupted)
        assert console.main(["match", "a.png", "b.png"]) == 130


class TestOptions:
    def parser(self) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser()
        add_matcher_options(parser)
        add_keyframe_options(parser)
        return parser

    def test_every_field_is_an_option_with_its_default(self) -> None:
        args = self.parser().parse_args([])
        assert matcher_config(args) == MatcherConfig()
        text = self.parser().format_help()
        for field in fields(MatcherConfig):
            assert f"--{field.name.replace('_', '-')}" in text
        for field in fields(KeyframePolicy):
            assert f"--keyframe-{field.name.replace('_', '-')}" in text

    def test_values(self) -> None:
        words = ["--max-keypoints", "5", "--match-threshold", "0.5"]
        words += ["--device", "cpu", "--resize", "640"]
        config = matcher_config(self.parser().parse_args(words))
        assert (config.max_keypoints, config.match_threshold) == (5, 0.5)
        assert (config.device, config.resize) == ("cpu", 640)
        none = self.parser().parse_args(["--resize", "none"])
        assert matcher_config(none).resize == 0

    def test_out_of_range(self) -> None:
        args = self.parser().parse_args(["--match-threshold", "2"])
        with pytest.raises(SuperGlueRosError, match="match_threshold must be in"):
            matcher_config(args)

    @pytest.mark.parametrize("words", [["--resize", "big"], ["--device", "tpu"]])
    def test_no_such_value(self, words: list[str]) -> None:
        with pytest.raises(SystemExit):
            self.parser().parse_args(words)


@weights
class TestMatch:
    def test_npz_equals_the_python_call(
        self, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        output, picture = tmp_path / "m.npz", tmp_path / "m.png"
        words = ["match", images / "a.png", images / "b.png", "--output", output]
        words += ["--picture", picture, "--max-keypoints", "100", *FAST]
        assert console.main([str(word) for word in words]) == 0
        assert "matches of" in capsys.readouterr().out
        matcher = ImageMatcher(
            device="cpu", precision="float32", max_keypoints=100, sinkhorn_iterations=10
        )
        image0, image1 = (cv2.imread(str(images / name), 0) for name in ("a.png", "b.png"))
        expected = matcher.match(image0, image1)
        with np.load(output) as saved:
            assert set(saved) == set(vars(expected))
            for name in saved:
                np.testing.assert_array_equal(saved[name], getattr(expected, name))
            assert saved["keypoints0"].shape[1] == 2
            assert saved["descriptors0"].shape[1] == 256
        assert cv2.imread(str(picture)).shape == (296, 726, 3)  # enlarged, with a legend

    def test_output_keeps_its_name(self, images: Path, tmp_path: Path) -> None:
        words = ["match", images / "a.png", images / "b.png", "--output", tmp_path / "plain"]
        assert console.main([str(word) for word in [*words, *FAST]]) == 0
        assert (tmp_path / "plain").is_file()

    def test_bad_output(
        self, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pair = [images / "a.png", images / "b.png", *FAST]
        target = tmp_path / "gone" / "x.npz"
        assert f"cannot write {target}" in fails(capsys, "match", *pair, "--output", target)
        target = tmp_path / "x.strange"
        assert "picture" in fails(capsys, "match", *pair, "--picture", target)


class TestBadInput:
    def test_images(
        self, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        torn = tmp_path / "torn.png"
        torn.write_bytes((images / "a.png").read_bytes()[:-100])
        (tmp_path / "text.png").write_text("no image")
        good = images / "a.png"
        assert "torn.png is truncated" in fails(capsys, "match", torn, good)
        assert "gone.png" in fails(capsys, "match", good, tmp_path / "gone.png")
        assert "no image" in fails(capsys, "match", good, tmp_path / "text.png")

    def test_weights(
        self, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pair = [images / "a.png", images / "b.png"]
        (tmp_path / "bad.safetensors").write_bytes(b"nothing")
        for name in ("gone.pth", "bad.safetensors"):
            line = fails(capsys, "match", *pair, "--superpoint", tmp_path / name)
            assert name in line
        narrow = SuperGlueConfig(descriptor_dim=64, num_layers=2, keypoint_encoder=(8,))
        save_weights(SuperGlue(narrow), tmp_path / "narrow.safetensors", {})
        line = fails(capsys, "match", *pair, "--superglue", tmp_path / "narrow.safetensors")
        assert "width 64" in line

    @pytest.mark.parametrize(
        ("option", "value", "message"),
        [
            ("--match-threshold", "7", "match_threshold"),
            ("--max-keypoints", "-9", "max_keypoints"),
        ],
    )
    def test_options(
        self, images: Path, capsys: pytest.CaptureFixture[str], option: str, value: str,
        message: str,
    ) -> None:  # fmt: skip
        pair = [images / "a.png", images / "b.png"]
        assert message in fails(capsys, "match", *pair, option, value)

    def test_sources(
        self, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        output = ["--output", tmp_path / "out"]
        (tmp_path / "empty").mkdir()
        (tmp_path / "kitti" / "image_l").mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "kitti" / "image_l" / "0.png"), np.zeros((8, 8), np.uint8))
        replay = ["replay"]
        assert "no images in" in fails(capsys, *replay, tmp_path / "empty", *output)
        assert "does not exist" in fails(capsys, *replay, tmp_path / "gone", *output)
        assert "calib.txt is missing" in fails(capsys, *replay, tmp_path / "kitti", *output)
        (tmp_path / "kitti" / "calib.txt").write_text("1 2 3")
        assert "12 numbers" in fails(capsys, *replay, tmp_path / "kitti", *output)
        (tmp_path / "file").touch()
        line = fails(capsys, *replay, images, "--output", tmp_path / "file" / "out")
        assert "cannot make folder" in line
        (tmp_path / "truth.txt").write_text("1 2 nan 0 0 0 0 1")
        line = fails(capsys, *replay, images, *output, "--groundtruth", tmp_path / "truth.txt")
        assert "truth.txt:1: NaN" in line

    @weights
    def test_replays_that_yield_nothing(
        self, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Each says why in its one line, and what was taken before."""
        words = ["replay", tmp_path / "torn", "--output", tmp_path / "out", *FAST]
        (tmp_path / "torn").mkdir()
        for number in range(3):
            (tmp_path / "torn" / f"{number}.png").write_bytes(b"\x89PNG broken")
        assert "torn: no frame could be read, 3 skipped" in fails(capsys, *words)
        (tmp_path / "c.txt").write_text("150 150 80 60\n")
        words = ["replay", images, "--output", tmp_path / "out", *FAST]
        line = fails(capsys, *words, "--calibration", tmp_path / "c.txt")
        assert "none of 2 frames has a pose: " in line
        assert (tmp_path / "out" / "report.html").is_file()

    @weights
    def test_replay_says_what_it_took(
        self, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name in ("frame10", "frame9"):
            shutil.copy(images / "a.png", tmp_path / f"{name}.png")
        truth = tmp_path / "truth.txt"
        truth.write_text("1403636579763555584.000000 0 0 0 0 0 0 1\n")
        words = ["replay", tmp_path, "--output", tmp_path / "out", "--groundtruth", truth, *FAST]
        assert console.main([str(word) for word in words]) == 0
        text = capsys.readouterr().out
        for line in (
            "layout: plain images",
            "order: natural order of the names; times: none, 10 Hz assumed",
            f"ground truth: {truth} (TUM, times in ns)",
            "no camera calibration: matches only",
        ):
            assert line in text

    def test_replay_help_names_the_formats(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            console.main(["replay", "--help"])
        text = capsys.readouterr().out
        for name in ("Kalibr", "EuRoC", "TartanAir", "4Seasons", ".mcap", "zstd", "times in"):
            assert name in text

    def test_training(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        output = ["--output", tmp_path / "run"]
        (tmp_path / "r.yaml").write_text("stages: [{name: a, labels: guessed}]")
        line = fails(capsys, "train", "superpoint", "--config", tmp_path / "r.yaml", *output)
        assert (
            "r.yaml: labels are one of shapes, corners, adapted, repeatable, not 'guessed'" in line
        )
        (tmp_path / "r.yaml").write_text("stages: [{name: a, labls: shapes}]")
        line = fails(capsys, "train", "superpoint", "--config", tmp_path / "r.yaml", *output)
        assert "StageConfig has no 'labls'" in line
        assert "--threads" in fails(capsys, "train", "superpoint", "--threads", "-1", *output)

    def test_evaluate(self, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "groundtruth.txt" in fails(capsys, "evaluate", "pairs", images)
        assert "--gap" in fails(capsys, "evaluate", "pairs", images, "--gap", "0")
        assert "homography" in fails(capsys, "evaluate", "features", images)
        assert "--overlap" in fails(capsys, "evaluate", "rendered", "--overlap", "0.5", "0.2")


class TestTrajectory:
    def test_table_and_json(
        self,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        shows_something: Callable[[Path], bool],
    ) -> None:
        rows = [f"{i} {i} 0 {i * i} 0 0 0 1" for i in range(6)]
        doubled = [f"{i} {2 * i} 0 {2 * i * i} 0 0 0 1" for i in range(6)]
        (tmp_path / "a.txt").write_text("\n".join(rows))
        (tmp_path / "b.txt").write_text("\n".join(doubled))
        words = ["evaluate", "trajectory", tmp_path / "a.txt", tmp_path / "b.txt"]
        words += ["--output", tmp_path / "out"]
        assert console.main([str(word) for word in words]) == 0
        text = capsys.readouterr().out
        assert "6 of 6" in text
        assert "sim3: ground truth's world" in text
        figures = json.loads((tmp_path / "out" / "trajectory.json").read_text())
        assert figures["ate"]["scale"] == pytest.approx(2)
        assert shows_something(tmp_path / "out" / "trajectory.png")

    def test_kitti_poses_against_a_stamped_file(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        kitti = [f"1 0 0 {i} 0 1 0 0 0 0 1 {i * i}" for i in range(5)]
        (tmp_path / "poses.txt").write_text("\n".join(kitti))
        tum = [f"{i / 10} {i} 0 {i * i} 0 0 0 1" for i in range(1, 5)]
        (tmp_path / "a.txt").write_text("\n".join(tum))
        words = [str(tmp_path / name) for name in ("a.txt", "poses.txt")]
        assert console.main(["evaluate", "trajectory", *words, "--alignment", "none"]) == 0
        text = capsys.readouterr().out
        assert "4 of 4" in text
        assert f"estimate: {words[0]} (TUM, times in s)" in text
        assert f"ground truth: {words[1]} (KITTI), times: none, 10 Hz assumed" in text

    def test_bad_files(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "a.txt").write_text("1 0 0 0 0 0 0 1\n")
        (tmp_path / "b.txt").write_text("1 0 0\n")
        a, b, gone = (tmp_path / f"{name}.txt" for name in ("a", "b", "gone"))
        assert "3 needed" in fails(capsys, "evaluate", "trajectory", a, a)
        assert "3 columns" in fails(capsys, "evaluate", "trajectory", a, b)
        assert "cannot read" in fails(capsys, "evaluate", "trajectory", gone, a)
        assert "--metres" in fails(capsys, "evaluate", "trajectory", a, a, "--metres", "0")


@weights
@pytest.mark.slow
class TestRealRuns:
    def test_replay(
        self, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        kitti = shared_data / "kitti_06"
        words = ["replay", kitti, "--output", tmp_path, "--groundtruth", kitti / "poses.txt"]
        words += ["--max-frames", "6", "--resize", "640", "--max-keypoints", "256", *FAST]
        assert console.main([str(word) for word in words]) == 0
        text = capsys.readouterr().out
        assert "ATE" in text or "errors" in text
        summary = json.loads((tmp_path / "summary.json").read_text())
        assert (summary["frames"], summary["ate"]["alignment"]) == (6, "sim3")
        assert {path.name for path in tmp_path.iterdir()} >= {
            "trajectory.txt", "report.html", "matches.csv", "trajectory.png", "matches.png"
        }  # fmt: skip

    def test_replay_in_metres(
        self, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        room = shared_data / "tum_fr1_rpy_a"
        words = ["replay", room, "--output", tmp_path, "--groundtruth", room / "groundtruth.txt"]
        words += ["--max-frames", "6", "--max-keypoints", "256", *FAST]
        assert console.main([str(word) for word in words]) == 0
        summary = json.loads((tmp_path / "summary.json").read_text())
        assert (summary["frames"], summary["ate"]["alignment"]) == (6, "se3")
        wrong = [*words, "--depth", "no", "--depth-topic", "/depth"]
        assert console.main([str(word) for word in wrong]) == 1
        assert "contradict" in capsys.readouterr().err

    def test_evaluate_features(
        self, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ["evaluate", "features", shared_data / "oxford" / "leuven", "--output", tmp_path]
        words += ["--resize", "320", "--max-keypoints", "256", *FAST]
        assert console.main([str(word) for word in words]) == 0
        text = capsys.readouterr().out
        assert all(name in text for name in ("SuperPoint+MNN", "SIFT", "ORB"))
        figures = json.loads((tmp_path / "features.json").read_text())
        assert len(figures["scores"]) == 3
        for name in ("superpoint.safetensors", "superpoint.json"):
            shutil.copy(shipped_path("superpoint").with_name(name), tmp_path)
        weights, scores = tmp_path / "superpoint.safetensors", tmp_path / "features.json"
        assert console.main(["weights", str(weights), "--scores", str(scores)]) == 0
        assert "leuven, homography AUC % at 3/5/10 px" in capsys.readouterr().out
        line = json.loads((tmp_path / "superpoint.json").read_text())["scores"]
        assert "(SIFT " in line["leuven, matching accuracy % at 1/3/5 px"]
        scores.write_text("[]")
        assert "no figures" in fails(capsys, "weights", weights, "--scores", scores)
        assert (tmp_path / "worst_matches.png").is_file()


class TestInterrupts:
    def test_the_first_is_noted_and_the_second_ends(self) -> None:
        before = signal.getsignal(signal.SIGINT)
        with stop_at_interrupt() as stop:
            assert not stop()
            signal.raise_signal(signal.SIGINT)
            assert stop()
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is before

    @weights
    def test_a_replay_keeps_what_it_has(
        self, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        tracks = tmp_path / "tracks.npz"
        words = ["replay", str(images), "--output", str(tmp_path / "out"), *FAST]
        words += ["--tracks", str(tracks)]
        taken = KeyframeMatcher.process

        def interrupted(self: KeyframeMatcher, frame: Frame) -> FrameMatches:
            signal.raise_signal(signal.SIGINT)
            return taken(self, frame)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(KeyframeMatcher, "process", interrupted)
            assert console.main(words) == console.INTERRUPTED
        assert "interrupted, frames so far: 1" in capsys.readouterr().err
        page = (tmp_path / "out" / "report.html").read_text()
        assert "Interrupted: the report is of the frames until then" in page
        assert shlex.join(["superglue_ros", *words]) in html.unescape(page)
        assert "plain images" in page
        with np.load(tracks) as read:
            assert len(read["stamps_ns"]) == 1

    def test_no_frames_are_refused(
        self, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ("replay", images, "--output", tmp_path / "out", "--max-frames", 0)
        assert "--max-frames is at least 1, not 0" in fails(capsys, *words)
        assert not (tmp_path / "out").exists()


def test_what_is_slow_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with said_if_slow("loading nothing", patience_s=30.0):
        pass
    assert capsys.readouterr().err == ""
    with said_if_slow("loading all", patience_s=0.0):
        time.sleep(0.2)
    assert capsys.readouterr().err == "superglue_ros: loading all ...\n"


class TestWeightsTable:
    @weights
    def test_the_cards_come_when_asked_for(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert console.main(["weights"]) == 0
        text = capsys.readouterr().out
        assert len(text.splitlines()) == 5
        rows = [line.split() for line in text.splitlines()[2:4]]
        assert [row[1] for row in rows] == ["SuperPoint", "SuperGlue"]
        assert all("sha256" in row for row in rows)
        assert console.main(["weights", "--card"]) == 0
        card = capsys.readouterr().out
        assert "    bikes, repeatability % at 3 px: " in card
        assert "  sha256: " in card

    def test_others_have_no_card(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        narrow = SuperGlueConfig(descriptor_dim=64, num_layers=2, keypoint_encoder=(8,))
        written = save_weights(SuperGlue(narrow), tmp_path / "narrow.safetensors", {})
        written.path.with_suffix(".json").unlink()
        assert console.main(["weights", str(written.path)]) == 0
        assert "no card" in capsys.readouterr().out


def test_agreement_lists_only_what_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        console.main(["evaluate", "agreement", "--help"])
    text = capsys.readouterr().out
    assert "--max-keypoints" in text
    assert "--resize" not in text


def test_an_installed_package_knows_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Below another repository, as a .venv in a project is.
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    installed = tmp_path / "site-packages" / "superglue_ros" / "provenance.py"
    installed.parent.mkdir(parents=True)
    installed.touch()
    monkeypatch.setattr(provenance, "__file__", str(installed))
    assert provenance.source_commit() == f"superglue_ros {__version__}"


@pytest.mark.parametrize("word", ["demo", "bench nodes"])
def test_what_needs_ros_says_so(
    word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("superglue_ros.cli.ros_module.ros_is_there", lambda: False)
    assert f"{word} needs ROS 2" in fails(capsys, *word.split())


@pytest.mark.parametrize(("distribution", "own"), [("humble", "1"), ("jazzy", None)])
def test_the_demo_gets_its_words(
    monkeypatch: pytest.MonkeyPatch, distribution: str, own: str | None
) -> None:
    passed: list[str] = []

    def replaced(_: str, words: list[str]) -> None:
        passed.extend(words)
        raise SuperGlueRosError("replaced")

    monkeypatch.setattr("superglue_ros.cli.ros_module.os.execv", replaced)
    monkeypatch.setattr("superglue_ros.cli.ros_module.ros_is_there", lambda: True)
    monkeypatch.setenv("ROS_DOMAIN_ID", "7")
    for name in ("ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY"):
        monkeypatch.setenv(name, "")  # so that it is as before afterwards
        monkeypatch.delenv(name)
    monkeypatch.setenv("ROS_DISTRO", distribution)
    console.main(["demo", "a.mcap", "--depth-topic", "/d", "--rate", "2"])
    assert passed[1:] == [
        "-m",
        "superglue_ros.demo.demo",
        "a.mcap",
        "--depth-topic=/d",
        "--rate=2",
    ]
    # And nothing leaves the machine, whatever the distribution calls it.
    assert os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    assert os.environ.get("ROS_LOCALHOST_ONLY") == own
