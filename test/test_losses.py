import math

import torch

from superglue_ros.networks.optimal_transport import log_optimal_transport
from superglue_ros.training.superglue.losses import matching_loss
from superglue_ros.training.superpoint.losses import (
    descriptor_loss,
    detector_loss,
    detector_targets,
    reprojection_loss,
)


def numeric_gradient(function, value: torch.Tensor, step: float = 1e-2) -> torch.Tensor:
    """Central differences in float32, as wide as that precision asks for."""
    gradient = torch.zeros_like(value)
    flat, out = value.view(-1), gradient.view(-1)
    for i in range(len(flat)):
        kept = flat[i].item()
        flat[i] = kept + step
        above = function(value).item()
        flat[i] = kept - step
        out[i] = (above - function(value).item()) / (2 * step)
        flat[i] = kept
    return gradient


def check_gradient(function, value: torch.Tensor) -> None:
    leaf = value.clone().requires_grad_(True)
    function(leaf).backward()
    torch.testing.assert_close(leaf.grad, numeric_gradient(function, value), atol=2e-3, rtol=2e-2)


def test_detector_targets_by_hand():
    points = torch.tensor([[[3.0, 2.0], [5.0, 2.0], [12.25, 9.0], [40.0, 3.0], [9.0, 1.0]]])
    scores = torch.tensor([[0.1, 0.9, 0.5, 0.9, -0.2]])
    shares, known = detector_targets(points, scores, (16, 16))
    assert shares.shape == (1, 65, 2, 2)
    torch.testing.assert_close(shares.sum(1), torch.ones(1, 2, 2))
    # The stronger of two in cell (0, 0), at a whole pixel; a place between two in cell (1, 1);
    # nothing in (1, 0); outside does not count; a doubtful one leaves (0, 1) unknown.
    assert shares[0, 2 * 8 + 5, 0, 0] == 1
    assert shares[0, 8 + 4, 1, 1] == 0.75
    assert shares[0, 8 + 5, 1, 1] == 0.25
    assert shares[0, 64, 1, 0] == 1
    assert known.tolist() == [[[True, False], [True, True]]]


def test_a_label_at_the_edge_of_its_cell_stays_in_it():
    points = torch.tensor([[[7.25, 3.0]]])
    shares, _ = detector_targets(points, torch.ones(1, 1), (16, 8))
    assert shares[0, 3 * 8 + 7, 0, 0] == 1
    assert shares[0, 64, 0, 1] == 1


def one_hot(classes: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.one_hot(classes, 65).movedim(-1, 1).float()


def test_detector_loss_of_uniform_logits_and_of_invalid_cells():
    targets = one_hot(torch.tensor([[[64, 3]]]))
    everything = torch.ones(1, 1, 2, dtype=torch.bool)
    presence, place = detector_loss(torch.zeros(1, 65, 1, 2), targets, everything)
    # 64 places against one "nothing": presence is 64 / 65, and 1 / 65 where there is none.
    expected = (math.log(65) + math.log(65 / 64)) / 2
    assert math.isclose(presence.item(), expected, rel_tol=1e-5)
    assert math.isclose(place.item(), math.log(64), rel_tol=1e-5)
    nothing = detector_loss(torch.zeros(1, 65, 1, 2), targets, everything & False)
    assert [loss.item() for loss in nothing] == [0, 0]


def test_presence_and_place_are_the_papers_cross_entropy():
    torch.manual_seed(0)
    logits, classes = torch.randn(1, 65, 2, 2), torch.tensor([[[64, 3], [10, 20]]])
    everything = torch.ones(1, 2, 2, dtype=torch.bool)
    presence, place = detector_loss(logits, one_hot(classes), everything)
    whole = torch.nn.functional.cross_entropy(logits, classes, reduction="sum")
    torch.testing.assert_close(4 * presence + 3 * place, whole)


def test_detector_gradient():
    torch.manual_seed(0)
    targets = one_hot(torch.tensor([[[64, 3], [10, 64]]]))
    valid = torch.tensor([[[True, True], [True, False]]])
    check_gradient(
        lambda x: sum(detector_loss(x, targets, valid), torch.zeros(())),
        torch.randn(1, 65, 2, 2),
    )


def keypoint_logits(*places: tuple[int, int]) -> torch.Tensor:
    """Logits (1, 65, 2, 2) that are sure of keypoints at these pixels."""
    logits = torch.zeros(1, 65, 2, 2)
    logits[:, 64] = 15.0
    for x, y in places:
        logits[0, y % 8 * 8 + x % 8, y // 8, x // 8] = 30.0
    return logits


def agreement(logits0, logits1, H_0to1, valid) -> torch.Tensor:
    points0 = torch.tensor([[[5.2, 10.3], [11.0, 4.0]]])
    shift = H_0to1[0, :2, 2]
    generator = torch.Generator().manual_seed(0)
    return reprojection_loss(
        logits0, logits1, points0, points0 + shift, valid, H_0to1, (2, 1.0), generator
    )


def test_agreement_is_the_distance_between_the_places_in_both_views():
    both = torch.ones(1, 2, dtype=torch.bool)
    stays, moves = torch.eye(3)[None], torch.eye(3)[None]
    moves[0, 0, 2] = 1.0
    here = keypoint_logits((5, 10), (11, 4))
    right = keypoint_logits((6, 10), (12, 4))
    torch.testing.assert_close(agreement(here, here, stays, both), torch.tensor(0.0))
    torch.testing.assert_close(agreement(here, right, moves, both), torch.tensor(0.0))
    torch.testing.assert_close(agreement(here, right, stays, both), torch.tensor(1.0))
    one = keypoint_logits((5, 10), (12, 4))
    torch.testing.assert_close(agreement(here, one, stays, both), torch.tensor(0.5))
    torch.testing.assert_close(
        agreement(here, one, stays, torch.tensor([[True, False]])), torch.tensor(0.0)
    )
    assert agreement(here, one, stays, both & False) == 0


def test_places_that_say_nothing_do_not_agree():
    # Each is then its window's centre, which is shaken apart.
    uniform = torch.zeros(1, 65, 2, 2)
    both = torch.ones(1, 2, dtype=torch.bool)
    assert agreement(uniform, uniform, torch.eye(3)[None], both) > 0.5


def test_agreement_gradient():
    torch.manual_seed(0)
    other, both = torch.randn(1, 65, 2, 2), torch.ones(1, 2, dtype=torch.bool)
    check_gradient(
        lambda x: agreement(x, other, torch.eye(3)[None], both), torch.randn(1, 65, 2, 2)
    )


def test_descriptor_loss_by_hand():
    basis = torch.eye(4)[None, :3]
    points = torch.tensor([[[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]]])
    everything = torch.ones(1, 3, dtype=torch.bool)
    loss, right = descriptor_loss(basis, basis, points, everything, temperature=1.0)
    assert math.isclose(loss.item(), -1 + math.log(math.e + 2), rel_tol=1e-5)
    assert right == 1
    # A neighbour within the ignored radius is no negative, an invalid point neither.
    near = torch.tensor([[[0.0, 0.0], [2.0, 0.0], [0.0, 50.0]]])
    two = torch.tensor([[True, True, False]])
    loss, _ = descriptor_loss(basis, basis, near, two, temperature=1.0)
    assert abs(loss.item()) < 1e-5


def test_descriptor_gradient():
    torch.manual_seed(0)
    other = torch.nn.functional.normalize(torch.randn(2, 4, 3), dim=2)
    points = torch.rand(2, 4, 2) * 100
    valid = torch.tensor([[True] * 4, [True, True, False, True]])
    check_gradient(
        lambda x: descriptor_loss(x, other, points, valid, temperature=0.5)[0],
        torch.randn(2, 4, 3),
    )


def test_matching_loss_by_hand():
    # Two keypoints against one: 0 matches, 1 goes to the dustbin.
    log_assignment = torch.tensor([[[0.7, 0.3], [0.2, 0.8], [0.1, 0.9]]]).log()
    loss = matching_loss(log_assignment, torch.tensor([[0, -1]]), torch.tensor([[0]]))
    assert math.isclose(loss.item(), -(math.log(0.7) + math.log(0.8)) / 2, rel_tol=1e-5)
    # Unbalanced, and with two in the dustbin: the mean over three.
    both = log_assignment[:, [0, 1, 1, 2]]
    loss = matching_loss(both, torch.tensor([[0, -1, -1]]), torch.tensor([[0]]), balanced=False)
    assert math.isclose(loss.item(), -(math.log(0.7) + 2 * math.log(0.8)) / 3, rel_tol=1e-5)
    # Unknown keypoints (-2) do not count.
    loss = matching_loss(log_assignment, torch.tensor([[0, -2]]), torch.tensor([[0]]))
    assert math.isclose(loss.item(), -math.log(0.7) / 2, rel_tol=1e-5)


def test_matching_loss_of_nothing_is_zero():
    loss = matching_loss(torch.zeros(1, 3, 3), torch.full((1, 2), -2), torch.full((1, 2), -2))
    assert loss.item() == 0


def test_matching_gradient_through_sinkhorn():
    torch.manual_seed(0)
    matches0, matches1 = torch.tensor([[1, -1, 0]]), torch.tensor([[2, 0, -1, -2]])

    def loss(scores: torch.Tensor) -> torch.Tensor:
        plan = log_optimal_transport(scores, torch.tensor(0.2), 10)
        return matching_loss(plan, matches0, matches1)

    check_gradient(loss, torch.randn(1, 3, 4))
