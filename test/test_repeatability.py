"""Which keypoints another view repeats and matches: by hand, and the loss that learns from it."""

from __future__ import annotations

import pytest
import torch

from superglue_ros.networks.keypoints import SuperPointConfig
from superglue_ros.training.data.corners import MARGIN
from superglue_ros.training.superpoint.losses import distillation_loss, repeatability_loss
from superglue_ros.training.superpoint.repeatability import (
    Candidates,
    RepeatabilityConfig,
    label_candidates,
)

CELLS = 5
SIZE = 8 * CELLS
OPTIONS = SuperPointConfig(nms_radius=2, subpixel_radius=2)
MOVE = (2, 1)
"""Pixels from the first view to the second."""


def logits_of(*places: tuple[int, int]) -> torch.Tensor:
    """Logits (65, CELLS, CELLS) that are sure of keypoints at these pixels, the first most so."""
    logits = torch.full((65, CELLS, CELLS), -200.0)
    logits[64] = 15.0
    for rank, (x, y) in enumerate(places):
        logits[y % 8 * 8 + x % 8, y // 8, x // 8] = 17.0 - rank / 4
    return logits


def candidates(
    first: torch.Tensor,
    second: torch.Tensor,
    count: int,
    descriptors: torch.Tensor | None = None,
    valid: torch.Tensor | None = None,
    **config: float,
) -> Candidates:
    own = torch.eye(CELLS * CELLS).view(1, CELLS * CELLS, CELLS, CELLS).expand(2, -1, -1, -1)
    there = torch.eye(3)
    there[:2, 2] = torch.tensor(MOVE)
    return label_candidates(
        torch.stack((first, second)),
        own if descriptors is None else descriptors,
        torch.ones(2, SIZE, SIZE, dtype=torch.bool) if valid is None else valid,
        torch.stack((there, there.inverse())),
        count,
        OPTIONS,
        RepeatabilityConfig(**{"matched_share": 0.5, **config}),
    )


def by_place(found: Candidates, values: torch.Tensor, view: int) -> dict[tuple[int, int], float]:
    places = found.places[view].round().int().tolist()
    # What fills the rows up lies in the border.
    return {(x, y): v for (x, y), v in zip(places, values[view].tolist()) if y >= MARGIN}


# The second view has the first one's keypoints, but one of them is four pixels off.
FIRST = logits_of((10, 12), (28, 12), (12, 28))
SECOND = logits_of((12, 13), (30, 17), (14, 29))


def test_repeated_and_matched_keypoints_are_found():
    found = candidates(FIRST, SECOND, 3)
    assert found.covisible.sum(1).tolist() == [3, 3]
    assert by_place(found, found.labels, 0) == {(10, 12): 1, (28, 12): 0, (12, 28): 1}
    assert by_place(found, found.labels, 1) == {(12, 13): 1, (30, 17): 0, (14, 29): 1}
    assert by_place(found, found.matched, 0) == {(10, 12): 1, (28, 12): 0, (12, 28): 1}
    pixels = by_place(found, found.pixels, 0)
    assert pixels == {(x, y): y * SIZE + x for x, y in pixels}
    wide = candidates(FIRST, SECOND, 3, distance_px=4.5)
    assert (wide.labels[wide.covisible] == 1).all()


def test_only_the_strongest_of_the_other_view_find_a_keypoint():
    # The third in strength is a candidate, but does not count as found.
    found = candidates(FIRST, SECOND, 2)
    assert by_place(found, found.labels, 0) == {(10, 12): 1, (28, 12): 0, (12, 28): 0}
    assert by_place(found, found.matched, 0) == {(10, 12): 1, (28, 12): 0, (12, 28): 0}


def test_a_repeated_keypoint_that_another_descriptor_fits_is_half_found():
    own = torch.eye(CELLS * CELLS).view(CELLS * CELLS, CELLS, CELLS)
    swapped = own.transpose(1, 2)  # the lower left looks like the upper right
    found = candidates(FIRST, SECOND, 3, torch.stack((own, swapped)))
    assert by_place(found, found.labels, 0) == {(10, 12): 1, (28, 12): 0, (12, 28): 0.5}
    assert not found.matched[0][found.labels[0] == 0.5].any()
    all_matched = candidates(FIRST, SECOND, 3, torch.stack((own, swapped)), matched_share=1.0)
    assert by_place(all_matched, all_matched.labels, 0)[12, 28] == 0


def test_what_the_other_view_does_not_show_is_not_known():
    edge = logits_of((10, 12), (34, 12))  # which the move takes into the margin
    found = candidates(edge, SECOND, 3)
    assert by_place(found, found.covisible, 0) == {(10, 12): 1, (34, 12): 0}
    hidden = torch.ones(2, SIZE, SIZE, dtype=torch.bool)
    hidden[1, :, :20] = False
    found = candidates(FIRST, SECOND, 3, valid=hidden)
    assert by_place(found, found.covisible, 0) == {(10, 12): 0, (28, 12): 1, (12, 28): 0}
    assert by_place(found, found.covisible, 1)[30, 17] == 1


def test_views_without_keypoints_have_no_known_candidates():
    nothing = torch.full((65, CELLS, CELLS), -200.0)
    nothing[64] = 200.0
    found = candidates(nothing, nothing, 3)
    assert not found.covisible.any()
    assert not found.matched.any()
    logits = torch.stack((nothing, nothing))
    assert repeatability_loss(logits, found.pixels, found.labels, found.covisible) == 0


def test_the_loss_raises_what_is_found_and_lowers_what_is_not():
    logits = torch.stack((FIRST, SECOND)).requires_grad_()
    found = candidates(FIRST, SECOND, 3)
    repeatability_loss(logits, found.pixels, found.labels, found.covisible).backward()

    def slope(x: int, y: int) -> float:
        return float(logits.grad[0, y % 8 * 8 + x % 8, y // 8, x // 8])

    assert slope(10, 12) < 0
    assert slope(12, 28) < 0
    assert slope(28, 12) > 0


def test_the_loss_by_hand():
    # Both of a cell's 65 classes that count are as likely: p is 1 / 65 for each pixel.
    logits = torch.zeros(1, 65, 1, 1)
    pixels, known = torch.tensor([[3, 9]]), torch.tensor([[True, True]])
    odds = 20.0 / 65
    share = odds / (1 + odds)
    expected = -(torch.tensor([share, 1 - share]).log()).mean()
    labels = torch.tensor([[1.0, 0.0]])
    torch.testing.assert_close(repeatability_loss(logits, pixels, labels, known), expected)
    only = torch.tensor([[True, False]])
    expected = -torch.tensor(share).log()
    torch.testing.assert_close(repeatability_loss(logits, pixels, labels, only), expected)


def test_the_number_that_counts_lies_in_its_range():
    config = RepeatabilityConfig(density=(0.001, 0.004))
    assert [config.count(10_000, share) for share in (0.0, 0.5, 0.9999)] == [10, 20, 39]
    assert config.count(10, 0.0) == 1
    for wrong in ({"density": (0.0, 0.1)}, {"density": (0.2, 0.1)}, {"matched_share": 1.5}):
        with pytest.raises(ValueError, match=r"density is|matched_share in"):
            RepeatabilityConfig(**wrong)


def test_what_a_network_has_gone_from_by_hand():
    before = torch.full((1, 65, 1, 2), -200.0)
    before[0, 3:5, 0, 0] = 0.0  # the first cell is sure of a keypoint, between two pixels
    before[0, 64, 0, 1] = 0.0
    logits = before.clone()
    logits[0, 3, 0, 0] = 1.0
    logits[0, 7, 0, 1] = 1.0  # where nothing was, the place does not count
    descriptors = torch.nn.functional.normalize(torch.randn(1, 6, 1, 2), dim=1)
    place, moved = distillation_loss(before, descriptors, before, descriptors)
    torch.testing.assert_close(place, torch.tensor(0.0))
    torch.testing.assert_close(moved, torch.tensor(0.0))
    place, moved = distillation_loss(logits, -descriptors, before, descriptors)
    shares = torch.tensor([1.0, 0.0]).softmax(0)
    torch.testing.assert_close(place, (0.5 * (0.5 / shares).log()).sum())
    torch.testing.assert_close(moved, torch.tensor(2.0))
