"""Grey levels of 10, 12 and 16 bits on their way to the 8 that are matched."""

from __future__ import annotations

import logging
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bag_maker import BagMaker
from numpy.typing import NDArray

from superglue_ros.cli import main as console
from superglue_ros.errors import ImageError
from superglue_ros.matching import ImageMatcher, KeyframeMatcher
from superglue_ros.sources import GrayRange, ImageOptions, open_source, read_image
from superglue_ros.types import ImageArray

Pixels = NDArray[Any]


def textured(shift: int = 0) -> ImageArray:
    """Random rectangles in 8 bits, moved to the left by `shift` pixels."""
    rng = np.random.default_rng(7)
    canvas = np.full((240, 400), 90, np.uint8)
    for _ in range(300):
        x, y = int(rng.integers(0, 390)), int(rng.integers(0, 230))
        w, h = rng.integers(4, 30, 2)
        canvas[y : y + h, x : x + w] = rng.integers(0, 256)
    return np.ascontiguousarray(canvas[:, shift : shift + 320])


def in_16(image: ImageArray, bits: int) -> Pixels:
    """An 8-bit image as a camera of more bits would send it in mono16."""
    rng = np.random.default_rng(3)
    finer = rng.integers(0, 2 ** (bits - 8), image.shape, dtype=np.uint16)
    return image.astype(np.uint16) * np.uint16(2 ** (bits - 8)) + finer


def bag_of(path: Path, images: list[Pixels]) -> Path:
    maker = BagMaker(path)
    for number, image in enumerate(images):
        encoding = "mono8" if image.dtype == np.uint8 else "mono16"
        maker.image(10**9 + number * 10**8, image, encoding=encoding)
    maker.close()
    return path


@pytest.fixture(scope="module")
def matcher() -> ImageMatcher:
    return ImageMatcher(device="cpu", precision="float32", max_keypoints=256)


@pytest.mark.parametrize("bits", [10, 12])
def test_matches_are_those_of_8_bits(tmp_path: Path, matcher: ImageMatcher, bits: int) -> None:
    images = [textured(shift) for shift in (0, 4, 8)]
    bag = bag_of(tmp_path / "8", images)
    deep = bag_of(tmp_path / "16", [in_16(image, bits) for image in images])

    def counts(**options: int) -> list[int]:
        keyframes = KeyframeMatcher(matcher)
        path = deep if options else bag
        return [len(keyframes.process(frame)) for frame in open_source(path, **options)]

    expected, found, fixed = counts(), counts(image_bits=0), counts(image_bits=bits)
    assert min(expected[1:]) > 50
    assert found[1:] == pytest.approx(expected[1:], rel=0.1)
    assert fixed[1:] == pytest.approx(expected[1:], rel=0.1)
    if bits == 10:  # as it was without being stretched
        assert max(counts(image_bits=16)[1:]) < 0.5 * min(expected[1:])


def test_files_of_16_bits(tmp_path: Path) -> None:
    image = textured()
    for number in range(2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), in_16(image, 12))
    for found in (read_image(tmp_path / "0.png"), *(f.image for f in open_source(tmp_path))):
        assert np.abs(found.astype(int) - image).max() <= 1
    dark = next(iter(open_source(tmp_path, image_bits=16))).image
    assert dark.max() <= 16


def test_match_takes_the_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for shift in (0, 4):
        cv2.imwrite(str(tmp_path / f"{shift}.png"), in_16(textured(shift), 10))

    def matches(*options: str) -> int:
        paths = [str(tmp_path / f"{shift}.png") for shift in (0, 4)]
        assert console.main(["match", *paths, "--max-keypoints", "128", *options]) == 0
        return int(capsys.readouterr().out.split()[0])

    stretched = matches()
    assert stretched > 50
    assert matches("--image-bits", "10") == stretched
    assert matches("--image-bits", "16") < 0.5 * stretched
    assert console.main(["match", "a", "b", "--image-bits", "4"]) == 1
    assert "image_bits must be 0 or 8 to 16, not 4" in capsys.readouterr().err


def test_what_fills_its_range_stays() -> None:
    image, gray = textured(), GrayRange()
    assert gray(image) is image
    assert gray.bounds is None
    full = image.astype(np.uint16) * 257
    np.testing.assert_array_equal(GrayRange()(full), image)
    assert GrayRange(16)(in_16(image, 10)).max() <= 4
    with pytest.raises(ImageError, match="float64"):
        gray(image.astype(float))


def test_colour_is_stretched_as_one() -> None:
    image = np.dstack([textured(), textured(5) // 2, textured(9) // 3])
    found = GrayRange()(in_16(image, 12))
    assert np.abs(found.astype(int) - image).max() <= 1


def test_thermal_images_get_bounds_of_their_own() -> None:
    # Hundredths of a kelvin, some pixels dead and some stuck.
    scene = 29_000 + textured().astype(np.uint16) * 5
    scene[::97, ::31], scene[5::97, ::37] = 0, 65535
    gray = GrayRange()
    found = gray(scene)
    assert gray.levels < 10
    assert len(np.unique(found)) > 150
    live = (scene > 0) & (scene < 65535)
    order = np.corrcoef(found[live], scene[live])[0, 1]
    assert order > 0.999


@pytest.mark.parametrize("later", [0.05, 0.4, 2.0, 8.0])
def test_bounds_move_slowly(later: float) -> None:
    """A camera of 12 bits whose images darken or brighten to so many times what they were."""
    scene = in_16(textured(), 12) // 8 + 40
    other = np.clip(scene * later, 0, 4095).astype(np.uint16)
    gray = GrayRange()
    gray(scene)
    spans = []
    for _ in range(200):
        gray(other)
        assert gray.bounds is not None
        spans.append(gray.bounds)
    for (low, high), (low_after, high_after) in pairwise(spans):
        most = 0.05 * (high - low) + 1
        assert abs(low_after - low) <= most
        assert abs(high_after - high) <= most
    assert np.ptp(np.percentile(gray(other), (1, 99))) > 255 / 8 - 2  # in the end they fit again


def test_bounds_jump_where_nothing_could_be_seen() -> None:
    scene = 7_000 + textured().astype(np.uint16) * 2
    gray = GrayRange()
    before = gray(scene)
    after = gray(scene + np.uint16(5_000))  # a thermal camera that has calibrated itself
    assert np.abs(after.astype(int) - before).max() <= 1


def test_a_covered_camera_stays_dark(rng: np.random.Generator) -> None:
    gray = GrayRange()
    for _ in range(100):
        found = gray(rng.integers(0, 6, (240, 320)).astype(np.uint16))
    assert found.max() < 32
    assert GrayRange()(np.zeros((48, 64), np.uint16)).max() == 0
    # And what the bounds were before, they are still once nothing at all has been seen.
    scene = in_16(textured(), 12)
    lit = GrayRange()
    expected = lit(scene)
    for _ in range(20):
        lit(np.zeros((240, 320), np.uint16))
    np.testing.assert_array_equal(lit(scene), expected)


def test_it_is_said_once() -> None:
    said: list[str] = []
    gray = GrayRange(say=said.append)
    for _ in range(3):
        gray(textured())
    assert not said
    for _ in range(3):
        gray(in_16(textured(), 10))
    assert said == [
        "images use 5 of 256 grey levels: 0 to 1023 of 65535 are stretched to them",
    ]
    assert not gray.few
    assert str(gray) == "5 of 256, 0 to 1023 stretched"
    for image in (textured() // 50, in_16(textured(), 10) // 256):
        left = GrayRange(16, said.append)
        said.clear()
        for _ in range(3):
            left(image)
        assert left.few
        assert len(said) == 1
        assert said[0] == f"images use {left.levels} of 256 grey levels"


def test_replay_says_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bag = bag_of(tmp_path / "bag", [in_16(textured(), 10)] * 4)
    with caplog.at_level(logging.WARNING):
        frames = list(open_source(bag))
    assert len(frames) == 4
    assert [r.getMessage() for r in caplog.records if "grey levels" in r.getMessage()] == [
        "images use 5 of 256 grey levels: 0 to 1023 of 65535 are stretched to them"
    ]


def test_options() -> None:
    assert ImageOptions().image_bits == 0
    for wrong in (-1, 3, 17):
        with pytest.raises(ValueError, match="image_bits"):
            ImageOptions(image_bits=wrong)
