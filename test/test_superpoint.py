import inspect

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from superglue_ros.networks.checkpoints import load_superpoint
from superglue_ros.networks.keypoints import (
    SuperPointConfig,
    probability_map,
    refine_keypoints,
    sample_descriptors,
    select_keypoints,
    suppress_nonmaxima,
)
from superglue_ros.networks.superpoint import SuperPoint, exact_convolutions, smooth_image
from superglue_ros.training.superpoint.batchnorm import BatchNormSuperPoint


def make_network(**options: float) -> SuperPoint:
    torch.manual_seed(0)
    return SuperPoint(SuperPointConfig(**options)).eval()


def test_parameters_have_the_published_names_and_shapes():
    shapes = {name: tuple(p.shape) for name, p in SuperPoint().state_dict().items()}
    layers = {
        "conv1a": (64, 1, 3, 3),
        "conv1b": (64, 64, 3, 3),
        "conv2a": (64, 64, 3, 3),
        "conv2b": (64, 64, 3, 3),
        "conv3a": (128, 64, 3, 3),
        "conv3b": (128, 128, 3, 3),
        "conv4a": (128, 128, 3, 3),
        "conv4b": (128, 128, 3, 3),
        "convPa": (256, 128, 3, 3),
        "convPb": (65, 256, 1, 1),
        "convDa": (256, 128, 3, 3),
        "convDb": (256, 256, 1, 1),
    }
    expected = {f"{name}.weight": shape for name, shape in layers.items()}
    expected |= {f"{name}.bias": shape[:1] for name, shape in layers.items()}
    assert shapes == expected


def test_probability_map_puts_a_channel_at_its_pixel_of_the_cell():
    logits = torch.full((1, 65, 2, 3), -20.0)
    logits[0, 8 * 3 + 5, 1, 2] = 20.0  # row 3, column 5 of the cell at row 1, column 2
    scores = probability_map(logits)
    assert scores.shape == (1, 16, 24)
    assert torch.argmax(scores) == (8 + 3) * 24 + 16 + 5


def test_suppression_keeps_a_maximum_that_only_suppressed_neighbours_hid():
    scores = torch.zeros(1, 1, 9)
    scores[0, 0, [0, 2, 4]] = torch.tensor([0.9, 0.8, 0.7])
    # 0.8 falls to 0.9; 0.7 is hidden by 0.8 alone and comes back in the next round.
    kept = suppress_nonmaxima(scores, 2)
    torch.testing.assert_close(kept[0, 0, [0, 2, 4]], torch.tensor([0.9, 0.0, 0.7]))


def test_suppression_leaves_no_two_keypoints_within_the_radius():
    torch.manual_seed(1)
    kept = suppress_nonmaxima(torch.rand(1, 60, 70), 4)[0]
    points = kept.nonzero()
    distance = (points[:, None] - points[None]).abs().amax(2)
    distance.fill_diagonal_(100)
    assert len(points) > 20
    assert distance.min() > 4


def test_keypoints_come_row_by_row_until_some_are_cut_then_by_score():
    scores = torch.zeros(2, 20, 20)
    scores[0, 6, 9], scores[0, 10, 5] = 0.3, 0.9
    scores[1, 6, 9], scores[1, 10, 5], scores[1, 12, 12] = 0.3, 0.9, 0.6
    keypoints, values, counts = select_keypoints(scores, SuperPointConfig(max_keypoints=2))
    assert counts.tolist() == [2, 2]
    assert keypoints[0].tolist() == [[9, 6], [5, 10]]
    assert keypoints[1].tolist() == [[5, 10], [12, 12]]
    torch.testing.assert_close(values[1], torch.tensor([0.9, 0.6]))


def test_border_and_threshold_exclude():
    scores = torch.zeros(1, 20, 20)
    scores[0, 3, 10], scores[0, 16, 10], scores[0, 10, 10] = 0.9, 0.9, 0.004
    assert select_keypoints(scores, SuperPointConfig())[2].tolist() == [0]
    scores[0, 4, 10], scores[0, 15, 10] = 0.9, 0.9
    assert select_keypoints(scores, SuperPointConfig())[2].tolist() == [2]


def test_all_keypoints_are_kept_with_minus_one():
    torch.manual_seed(0)
    scores = torch.rand(1, 40, 40)
    keypoints, _, counts = select_keypoints(scores, SuperPointConfig(max_keypoints=-1))
    assert keypoints.shape[1] == counts[0] > 900


def test_sub_pixel_places_are_means_of_the_probabilities_around():
    scores = torch.zeros(1, 12, 12)
    scores[0, 5, 6], scores[0, 5, 7], scores[0, 6, 6] = 0.6, 0.2, 0.2
    scores[0, 11, 0] = 0.5  # in a corner of the image, nothing around it
    keypoints = torch.tensor([[[6.0, 5.0], [0.0, 11.0]]])
    refined = refine_keypoints(scores, keypoints, 2)
    torch.testing.assert_close(refined, torch.tensor([[[6.2, 5.2], [0.0, 11.0]]]))
    squared = refine_keypoints(scores, keypoints, 2, 2.0)  # 0.36, 0.04, 0.04
    torch.testing.assert_close(squared, torch.tensor([[[6 + 1 / 11, 5 + 1 / 11], [0.0, 11.0]]]))
    torch.testing.assert_close(refine_keypoints(scores, keypoints, 0), keypoints)


def test_descriptors_are_interpolated_by_the_published_convention():
    ramp = torch.arange(5.0).expand(1, 1, 4, 5)  # value = column, cells 0 .. 4
    grid = torch.cat((ramp, torch.ones_like(ramp)), dim=1)
    points = torch.tensor([[[3.5, 3.5], [39.0, 31.0], [21.25, 17.25]]])
    sampled = sample_descriptors(points, grid)[0]
    column = sampled[:, 0] / sampled[:, 1]
    torch.testing.assert_close(column, torch.tensor([0.0, 4.0, 2.0]))


def test_smoothing_is_opencvs_gaussian():
    image = torch.rand(1, 1, 41, 50)
    ours = smooth_image(image, 1.0)[0, 0].numpy()
    kernel = cv2.getGaussianKernel(7, 1.0)
    theirs = cv2.sepFilter2D(
        image[0, 0].numpy(), -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert smooth_image(image, 0.0) is image


def test_a_smoothing_network_is_one_that_sees_smoothed_images():
    image = torch.rand(1, 1, 64, 80)
    for ours, theirs in zip(
        make_network(smoothing_px=1.0).dense(image),
        make_network().dense(smooth_image(image, 1.0)),
    ):
        torch.testing.assert_close(ours, theirs)
    assert (make_network(smoothing_px=1.0).dense(image)[0] - make_network().dense(image)[0]).any()


def test_sub_pixel_keypoints_are_the_whole_ones_moved_within_their_window():
    whole = make_network(max_keypoints=30, keypoint_threshold=0.0)
    moved = make_network(max_keypoints=30, keypoint_threshold=0.0, subpixel_radius=2)
    image = torch.rand(2, 1, 64, 80)
    before, after = whole(image), moved(image)
    torch.testing.assert_close(before.scores, after.scores)
    offset = (after.keypoints - before.keypoints).abs()
    assert 0 < offset.max() <= 2
    assert (before.keypoints == before.keypoints.round()).all()


def test_a_batch_gives_what_each_image_gives_alone():
    network = make_network(max_keypoints=50, keypoint_threshold=0.0)
    images = torch.rand(3, 1, 64, 88)
    together = network(images)
    for i in range(3):
        alone = network(images[i : i + 1])
        torch.testing.assert_close(together.keypoints[i], alone.keypoints[0])
        torch.testing.assert_close(
            together.descriptors[i], alone.descriptors[0], atol=1e-4, rtol=0
        )


@pytest.mark.parametrize("size", [(8, 8), (9, 31), (120, 161)])
def test_sizes_that_eight_does_not_divide(size):
    result = make_network(max_keypoints=20, keypoint_threshold=0.0)(torch.rand(1, 1, *size))
    assert result.descriptors.shape[2] == 256
    norms = result.descriptors[0, : result.counts[0]].norm(dim=1)
    torch.testing.assert_close(norms, torch.ones_like(norms))


def test_no_keypoints_is_an_empty_result():
    result = make_network(keypoint_threshold=0.99)(torch.zeros(1, 1, 64, 64))
    assert result.counts.tolist() == [0]


@pytest.mark.parametrize("shape", [(64, 64), (1, 3, 64, 64), (1, 1, 7, 64)])
def test_wrong_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="images must be"):
        make_network()(torch.zeros(shape))


@pytest.mark.parametrize(
    "options",
    [
        {"max_keypoints": 0},
        {"max_keypoints": -2},
        {"keypoint_threshold": 1.0},
        {"nms_radius": -1},
        {"subpixel_power": 0.0},
    ],
)
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SuperPointConfig(**options)


def test_folding_batch_norm_keeps_the_function():
    torch.manual_seed(0)
    network = BatchNormSuperPoint()
    network.train()
    for _ in range(3):
        network.dense(torch.rand(2, 1, 32, 32))
    network.eval()
    folded = network.folded()
    assert set(folded.state_dict()) == set(SuperPoint().state_dict())
    image = torch.rand(1, 1, 48, 40)
    with torch.no_grad():
        for a, b in zip(network.dense(image), folded.dense(image)):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_convolutions_of_a_gpu_are_exact(monkeypatch):
    cudnn = torch.backends.cudnn
    flags, asked = cudnn.flags, {}

    def record(*args, **named):
        asked.update(inspect.signature(flags).bind(*args, **named).arguments)
        return flags(*args, **named)

    monkeypatch.setattr(cudnn, "flags", record)
    with exact_convolutions():
        assert not cudnn.allow_tf32
    # cuDNN refuses a bool as its limit, a build without cuDNN takes it.
    assert asked == {
        "enabled": cudnn.enabled,
        "benchmark": cudnn.benchmark,
        "deterministic": cudnn.deterministic,
        "allow_tf32": False,
    }


@pytest.mark.filterwarnings("ignore:.*is a no-op")
def test_unfolding_stays_on_the_device_of_the_weights():
    # The device of no data stands for a GPU: mixed with the CPU it is an error, too.
    network = BatchNormSuperPoint.unfolded(
        SuperPoint().to("meta"), torch.rand(2, 1, 16, 16).to("meta")
    )
    assert {tensor.device.type for tensor in network.state_dict().values()} == {"meta"}


def test_unfolding_keeps_the_function_and_normalises_by_the_images():
    torch.manual_seed(0)
    plain, _ = load_superpoint()
    images = torch.rand(4, 1, 48, 40)
    network = BatchNormSuperPoint.unfolded(plain, images)
    image = torch.rand(1, 1, 48, 40)
    with torch.no_grad():
        for a, b in zip(network.eval().folded().dense(image), plain.dense(image)):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
        for a, b in zip(network.train().dense(images), plain.dense(images)):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [(8, 8), (61, 1003), (77, 640), (480, 640), (9, 30000)])
def test_strips_of_the_first_layers_change_nothing(size):
    torch.manual_seed(0)
    network, image = SuperPoint().eval(), torch.rand(1, 1, *size)
    with torch.no_grad():
        in_strips = network.dense(image)
        whole = F.max_pool2d(network.block("conv1b", network.block("conv1a", image)), 2)
        torch.testing.assert_close(network._first_stage(image), whole)
    assert in_strips[0].shape == (1, 65, size[0] // 8, size[1] // 8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_rectified_maximum_is_the_maximum_of_the_rectified(dtype):
    torch.manual_seed(0)
    network = SuperPoint().eval().prepare(torch.device("cpu"), dtype)
    x = torch.randn(2, 64, 9, 11)
    whole = F.max_pool2d(network.block("conv2b", x.clone()), 2)
    assert torch.equal(network.pooled_block("conv2b", x.clone()), whole)


def test_rounded_weights_are_the_same_in_every_precision():
    network = make_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.round_weights()
    after = network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert "conv3a.weight" in changed
    assert not changed & {"conv1a.weight", "convPb.weight", "convDb.weight"}
    shipped, _ = load_superpoint()
    for plain in (network, shipped):
        weights = {name: value.clone() for name, value in plain.state_dict().items()}
        half = plain.prepare(torch.device("cpu"), torch.bfloat16).state_dict()
        assert half["conv3a.weight"].dtype == torch.bfloat16
        for name, value in half.items():
            assert torch.equal(value.float(), weights[name]), name
