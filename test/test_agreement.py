"""Forms of the networks against the plain one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from superglue_ros.cli import main as console
from superglue_ros.evaluation.agreement import PlainMatcher, agreement, summarise_agreement
from superglue_ros.matching import ImageMatches, MatcherConfig


def matches(points0: list[list[float]], points1: list[list[float]], pairs: list[int]):
    sides = [np.array(p, np.float32).reshape(-1, 2) for p in (points0, points1)]
    scores = [np.ones(len(side), np.float32) for side in sides]
    descriptors = [np.ones((len(side), 2), np.float32) for side in sides]
    matches0 = np.array(pairs, int)
    points1 = np.full((len(pairs), 2), np.nan, np.float32)
    points1[matches0 >= 0] = sides[1][matches0[matches0 >= 0]]
    return ImageMatches(*sides, *scores, *descriptors, matches0, np.ones(len(pairs)), points1)


def test_agreement_by_hand():
    expected = matches([[1, 1], [5, 5], [9, 9]], [[2, 2], [6, 6]], [0, 1, -1])
    # In another order, one keypoint moved by 0.3 px, one lost, and one match with it.
    found = matches([[5.3, 5], [1, 1]], [[6, 6], [2, 2]], [-1, 1])
    found.descriptors1[0] += 0.25
    result = agreement("form", expected, found)
    assert (result.keypoints, result.same_keypoints) == (5, 4)
    assert result.move_px == pytest.approx(0.3)
    assert result.descriptor_difference == 0.25
    assert (result.matches, result.same_matches) == (2, 1)
    (row,) = summarise_agreement([result, agreement("form", expected, expected)])
    assert row.keypoints_percent == pytest.approx(90)
    assert row.matches_percent == pytest.approx(75)
    assert row.worst_pair_percent == pytest.approx(50)


def test_no_keypoints_agree():
    nothing = matches([], [], [])
    (row,) = summarise_agreement([agreement("form", nothing, nothing)])
    assert row.keypoints_percent == row.matches_percent == 100


def test_the_fast_forms_on_rendered_pairs(tmp_path: Path):
    words = ["evaluate", "agreement", "--rendered", "2", "--device", "cpu"]
    words += ["--precision", "float16", "--max-keypoints", "200", "--output", str(tmp_path)]
    assert console.main(words) == 0
    exact, half = json.loads((tmp_path / "agreement.json").read_text())["scores"]["rendered"]
    assert (exact["form"], half["form"]) == ("float32 on cpu", "float16 on cpu")
    for row, percent in ((exact, 99.5), (half, 99)):
        assert row["num_pairs"] == 2
        assert row["num_matches"] > 20
        assert row["keypoints_percent"] > percent
        assert row["matches_percent"] > percent
    assert exact["descriptor_difference"] < 1e-4 < half["descriptor_difference"]


def test_frames_of_a_sequence(
    tmp_path: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]
):
    words = ["evaluate", "agreement", str(shared_data / "kitti_06"), "--gap", "40"]
    words += ["--pairs", "2", "--rendered", "0", "--device", "cpu", "--precision", "float32"]
    words += ["--max-keypoints", "50", "--output", str(tmp_path)]
    assert console.main(words) == 0
    (row,) = json.loads((tmp_path / "agreement.json").read_text())["scores"]["real"]
    assert row["num_pairs"] == 2
    words[4] = "51"
    assert console.main(words) == 1
    assert "have no pair 51 apart" in capsys.readouterr().err


def test_nothing_to_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert console.main(["evaluate", "agreement", "--rendered", "0"]) == 1
    assert "--rendered" in capsys.readouterr().err
    with pytest.raises(ValueError, match="resize must be 0"):
        PlainMatcher(MatcherConfig(resize=320))
