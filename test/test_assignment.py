"""Ground-truth assignment against geometry worked out by hand."""

from __future__ import annotations

import pytest
import torch

from superglue_ros.training.data.assignment import (
    IGNORED,
    ground_truth_assignment,
    homography_assignment,
)
from superglue_ros.types import UNMATCHED

SIZE = (100, 80)
FOCAL = 100.0


def camera(batch: int = 1) -> torch.Tensor:
    return torch.tensor([[FOCAL, 0, 50], [0, FOCAL, 40], [0, 0, 1.0]]).repeat(batch, 1, 1)


def moved_right(metres: float) -> torch.Tensor:
    """T_0to1 of a second camera `metres` to the right of the first."""
    pose = torch.eye(4)[None].clone()
    pose[0, 0, 3] = -metres
    return pose


def plane(depth: float) -> torch.Tensor:
    return torch.full((1, SIZE[1], SIZE[0]), depth)


def points(*xy: tuple[float, float]) -> torch.Tensor:
    return torch.tensor(xy, dtype=torch.float32).reshape(1, -1, 2)


def test_plane_moves_by_the_disparity() -> None:
    # Half a metre to the right at 5 m: everything moves 100 * 0.5 / 5 = 10 px to the left.
    found = ground_truth_assignment(
        points((60, 30), (20, 50), (4, 40), (80, 70)),
        points((10, 50), (70, 70), (52, 30), (96, 10)),
        plane(5.0),
        plane(5.0),
        camera(),
        camera(),
        moved_right(0.5),
    )
    # (4, 40) leaves the image; (96, 10) would come from outside; the third is 2 px off.
    assert found.matches0.tolist() == [[2, 0, UNMATCHED, 1]]
    assert found.matches1.tolist() == [[1, 3, 0, UNMATCHED]]


@pytest.mark.parametrize(
    ("offset", "expected"),
    [(2.9, 0), (3.1, IGNORED), (4.9, IGNORED), (5.1, UNMATCHED)],
)
def test_bands_of_distance(offset: float, expected: int) -> None:
    found = ground_truth_assignment(
        points((60, 30)),
        points((50 + offset, 30)),
        plane(5.0),
        plane(5.0),
        camera(),
        camera(),
        moved_right(0.5),
    )
    assert found.matches0.tolist() == [[expected]]
    assert found.matches1.tolist() == [[expected]]


def test_only_the_mutually_nearest_match_and_the_other_is_ignored() -> None:
    found = ground_truth_assignment(
        points((60, 30), (62, 30)),
        points((50.4, 30)),
        plane(5.0),
        plane(5.0),
        camera(),
        camera(),
        moved_right(0.5),
    )
    assert found.matches0.tolist() == [[0, IGNORED]]
    assert found.matches1.tolist() == [[0]]


def test_occluded_point_is_unmatched() -> None:
    # In view 1 something at 2 m stands before what (60, 30) sees at 5 m.
    front = plane(5.0)
    front[0, 20:40, 40:60] = 2.0
    found = ground_truth_assignment(
        points((60, 30)), points((50, 30)), plane(5.0), front, camera(), camera(), moved_right(0.5)
    )
    assert found.matches0.tolist() == [[UNMATCHED]]
    # The point on the thing in front is 2 m away: it comes from (75, 30), which is background.
    assert found.matches1.tolist() == [[UNMATCHED]]


def test_corner_on_an_outline_belongs_to_the_nearer_surface() -> None:
    # A thing at 2 m covers columns 40..59 of view 0; it moves 25 px, the background 10 px.
    depth0, depth1 = plane(5.0), plane(5.0)
    depth0[0, 20:40, 40:60] = 2.0
    depth1[0, 20:40, 15:35] = 2.0
    found = ground_truth_assignment(
        points((60.2, 30)),
        points((35.2, 30)),
        depth0,
        depth1,
        camera(),
        camera(),
        moved_right(0.5),
    )
    assert found.matches0.tolist() == [[0]]
    assert found.matches1.tolist() == [[0]]


@pytest.mark.parametrize("unknown", [0.0, float("nan"), float("inf")])
def test_unknown_depth_is_ignored(unknown: float) -> None:
    found = ground_truth_assignment(
        points((60, 30)),
        points((50, 30)),
        plane(unknown),
        plane(5.0),
        camera(),
        camera(),
        moved_right(0.5),
    )
    assert found.matches0.tolist() == [[IGNORED]]
    assert found.matches1.tolist() == [[IGNORED]]


def test_point_behind_the_second_camera_is_unmatched() -> None:
    pose = torch.eye(4)[None].clone()
    pose[0, 2, 3] = -6.0
    found = ground_truth_assignment(
        points((50, 40)), points((50, 40)), plane(5.0), plane(5.0), camera(), camera(), pose
    )
    assert found.matches0.tolist() == [[UNMATCHED]]


def test_identity_matches_everything_and_padding_is_ignored() -> None:
    keypoints = torch.rand(2, 30, 2, generator=torch.Generator().manual_seed(1)) * 70 + 5
    valid = torch.ones(2, 30, dtype=torch.bool)
    valid[1, 20:] = False
    depth = plane(3.0).repeat(2, 1, 1)
    found = ground_truth_assignment(
        keypoints,
        keypoints,
        depth,
        depth,
        camera(2),
        camera(2),
        torch.eye(4).repeat(2, 1, 1),
        valid0=valid,
        valid1=valid,
    )
    assert torch.equal(found.matches0[0], torch.arange(30))
    assert torch.equal(found.matches0[1, :20], torch.arange(20))
    assert (found.matches0[1, 20:] == IGNORED).all()
    assert torch.equal(found.matches0, found.matches1)
    assert found.matches0.dtype == torch.int64


@pytest.mark.parametrize(("count0", "count1"), [(0, 3), (3, 0), (0, 0)])
def test_empty_lists(count0: int, count1: int) -> None:
    found = ground_truth_assignment(
        torch.full((1, count0, 2), 40.0),
        torch.full((1, count1, 2), 40.0),
        plane(5.0),
        plane(5.0),
        camera(),
        camera(),
        moved_right(0.5),
    )
    assert found.matches0.tolist() == [[UNMATCHED] * count0]
    assert found.matches1.tolist() == [[UNMATCHED] * count1]


def test_homography_translation_and_its_negative() -> None:
    shift = torch.tensor([[[1.0, 0, -10], [0, 1, 0], [0, 0, 1]]])
    for homography in (shift, -2 * shift):
        found = homography_assignment(
            points((60, 30), (5, 40), (30, 30)), points((50, 31), (80, 70)), homography, SIZE
        )
        assert found.matches0.tolist() == [[0, UNMATCHED, UNMATCHED]]
        assert found.matches1.tolist() == [[0, UNMATCHED]]


def test_callers_mistakes() -> None:
    good = points((1, 1))
    with pytest.raises(ValueError, match="keypoints0"):
        homography_assignment(good[0], good, torch.eye(3)[None], SIZE)
    with pytest.raises(ValueError, match="match_px"):
        homography_assignment(good, good, torch.eye(3)[None], SIZE, match_px=6.0)
    with pytest.raises(ValueError, match="H_0to1"):
        homography_assignment(good, good, torch.eye(3), SIZE)
    mask = torch.ones(1, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match="masks"):
        homography_assignment(good, good, torch.eye(3)[None], SIZE, valid0=mask)
    with pytest.raises(ValueError, match="K0"):
        ground_truth_assignment(
            good, good, plane(1), plane(1), camera(2), camera(), moved_right(0)
        )
    with pytest.raises(ValueError, match="depth1"):
        ground_truth_assignment(
            good, good, plane(1), plane(1)[0], camera(), camera(), moved_right(0)
        )
