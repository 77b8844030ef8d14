import cv2
import numpy as np
import pytest

from superglue_ros.errors import DeviceError, ImageError
from superglue_ros.matching import ImageMatcher, MatcherConfig
from superglue_ros.matching.images import shrink
from superglue_ros.training.data.photos import draw_procedural
from superglue_ros.types import UNMATCHED


@pytest.fixture(scope="module")
def matcher() -> ImageMatcher:
    return ImageMatcher(max_keypoints=256, device="cpu", precision="float32")


@pytest.fixture(scope="module")
def drawing() -> np.ndarray:
    return draw_procedural(1, seed=3, size=(320, 240))[0]


def test_an_image_matches_its_shifted_self(matcher, drawing):
    image1 = np.roll(drawing, (16, 24), axis=(0, 1))
    result = matcher.match(drawing, image1)
    matched = result.matches0 != UNMATCHED
    assert matched.sum() > 60
    moved = result.keypoints1[result.matches0[matched]] - result.keypoints0[matched]
    right = np.linalg.norm(moved - (24, 16), axis=1) < 3
    assert right.mean() > 0.9
    assert result.descriptors0.shape == (len(result.keypoints0), 256)
    assert result.confidence0[matched].min() > 0.2
    assert np.all(result.confidence0[~matched] == 0)


def test_matches_are_the_same_twice(matcher, drawing):
    first, again = matcher.match(drawing, drawing), matcher.match(drawing, drawing)
    np.testing.assert_array_equal(first.matches0, again.matches0)
    np.testing.assert_array_equal(first.keypoints0, again.keypoints0)


def test_gray_and_colour_agree(matcher, drawing):
    colour = cv2.cvtColor(drawing, cv2.COLOR_GRAY2BGR)
    np.testing.assert_allclose(
        matcher.extract(drawing).points, matcher.extract(colour).points, atol=1e-6
    )


def test_resized_keypoints_are_in_pixels_of_the_image(drawing):
    large = cv2.resize(drawing, (640, 480), interpolation=cv2.INTER_CUBIC)
    options = {"max_keypoints": 100, "device": "cpu", "precision": "float32"}
    halved = ImageMatcher(resize=320, **options).extract(large)
    direct = ImageMatcher(**options).extract(shrink(large, 320))
    assert halved.image_size == (640, 480)
    # The centre of pixel 0 of the half is between pixels 0 and 1 of the whole.
    np.testing.assert_allclose(halved.points, direct.points * 2 + 0.5, atol=1e-4)


def test_a_black_image_gives_an_empty_result_or_no_matches(matcher, drawing):
    result = matcher.match(np.zeros_like(drawing), drawing)
    assert (result.matches0 != UNMATCHED).sum() < 3
    assert result.matches0.shape == result.confidence0.shape == result.scores0.shape


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((0, 0), np.uint8), "0 x 0"),
        (np.zeros((10, 100), np.uint8), "under 16 pixels"),
        (np.zeros((100, 100), np.uint16), "uint8 array, not uint16"),
        (np.zeros((100, 100, 4), np.uint8), r"\(100, 100, 4\)"),
        ([1, 2], "not list"),
    ],
)
def test_images_that_cannot_be_matched_are_named(matcher, image, reason):
    with pytest.raises(ImageError, match=reason):
        matcher.extract(image)


def test_devices_and_precisions_are_never_replaced_silently():
    import torch

    with pytest.raises(DeviceError, match="float16 needs a GPU"):
        ImageMatcher(device="cpu", precision="float16")
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="no CUDA device"):
            ImageMatcher(device="cuda")


@pytest.mark.parametrize(
    "options",
    [
        {"match_threshold": float("nan")},
        {"match_threshold": 1.1},
        {"resize": 4},
        {"resize": -1},
        {"device": "tpu"},
        {"precision": "int8"},
        {"max_keypoints": 0},
        {"sinkhorn_iterations": 0},
    ],
)
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        MatcherConfig(**options)


@pytest.mark.parametrize("precision", ["bfloat16", "mixed"])
def test_half_precision_keeps_most_matches(matcher, drawing, precision):
    image1 = np.roll(drawing, (8, 8), axis=(0, 1))
    full = matcher.match(drawing, image1)
    less = ImageMatcher(max_keypoints=256, device="cpu", precision=precision)
    assert less.precision == precision
    half = less.match(drawing, image1)

    def pairs(result):
        chosen = result.matches0 != UNMATCHED
        ends = (result.keypoints0[chosen], result.keypoints1[result.matches0[chosen]])
        return {tuple(row) for row in np.hstack(ends).round().tolist()}

    assert len(pairs(full) & pairs(half)) > 0.96 * len(pairs(full))
    same = np.array_equal(full.keypoints0, half.keypoints0)
    assert same == (precision == "mixed")
    assert not np.array_equal(full.confidence0, half.confidence0)


def test_training_takes_bfloat16_only_where_the_device_has_it(monkeypatch):
    import torch

    from superglue_ros.networks import precision

    cpu = torch.device("cpu")
    assert precision.training_dtype(cpu, bfloat16=False) is torch.float32
    for has, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(precision, "has_bfloat16", lambda device, has=has: has)
        assert precision.training_dtype(cpu, bfloat16=True) is dtype
