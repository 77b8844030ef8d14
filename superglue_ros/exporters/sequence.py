"""Images of a sequence, their features, and matches of the pairs that are worth matching."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
from tqdm import tqdm

from superglue_ros.errors import ExportError
from superglue_ros.matching import ExtractedFeatures, FeatureMatches, KeyframeMatcher
from superglue_ros.matching.retrieval import ImageIndex
from superglue_ros.types import CameraModel, Features, Frame, FrameMatches

PAIRINGS = ("sequential", "retrieval", "exhaustive")
"""Ways to choose pairs of images, besides a file that lists them."""

_FEWEST_SHARED = 30
"""Matches of two keyframes that see the same."""


@dataclass(frozen=True)
class SequenceImage:
    """An image as it was written (`name` in the folder of images), and what was found in it."""

    name: str
    stamp_ns: int
    camera: CameraModel | None
    features: Features


@dataclass(frozen=True)
class PairMatches:
    """Matches of two images by their places in the sequence, first before second."""

    first: int
    second: int
    matches: FeatureMatches


@dataclass(frozen=True)
class MatchedSequence:
    """Images in their order, and the pairs of them that were matched."""

    images: tuple[SequenceImage, ...]
    pairs: tuple[PairMatches, ...]


class SequenceCollector:
    """Writes a sequence's images to a folder, and matches pairs of them, as its frames come.

    matcher: whose frames these are; pairing: "sequential" (each image with `overlap` before it,
    keyframes with those before that see the same and with the `loops` keyframes that look most
    alike), "retrieval" (each image with the `retrieved` that look most alike), "exhaustive" (all),
    or a file of lines of two images' names; every: of so many frames one is taken.
    """

    def __init__(
        self,
        matcher: KeyframeMatcher,
        images: Path,
        pairing: str = "sequential",
        overlap: int = 3,
        every: int = 1,
        retrieved: int = 10,
        loops: int = 0,
    ) -> None:
        if min(overlap, every, retrieved) < 1 or loops < 0:
            raise ValueError("overlap, every and retrieved are at least 1, loops at least 0")
        self._matcher, self._folder = matcher, images
        self._listed = () if pairing in PAIRINGS else read_pairs(Path(pairing))
        self._pairing, self._overlap, self._every = pairing, overlap, every
        self._retrieved, self._loops = retrieved, loops
        self._extracted: dict[int, ExtractedFeatures] = {}
        self._images: list[SequenceImage] = []
        self._pairs: dict[tuple[int, int], FeatureMatches] = {}
        self._keyframes: list[int] = []
        self._keyframe_due = False
        self._frames = 0

    def add(self, frame: Frame, matches: FrameMatches) -> None:
        """Take in the frame that the matcher has just processed."""
        number, self._frames = self._frames, self._frames + 1
        self._keyframe_due |= matches.is_keyframe
        extracted = self._matcher.last_extracted
        if number % self._every or extracted is None:
            return
        place = len(self._images)
        name = f"{number:06d}.png"
        if not cv2.imwrite(str(self._folder / name), frame.image):
            raise ExportError(f"cannot write {self._folder / name}")
        image = SequenceImage(name, frame.stamp_ns, frame.camera, extracted.features)
        self._images.append(image)
        self._extracted[place] = extracted
        if self._pairing == "sequential":
            self._match_sequentially(place)
        elif self._pairing == "exhaustive":
            for earlier in range(place):
                self._match(earlier, place)

    def finish(self) -> MatchedSequence:
        """The sequence; ExportError where a listed image is not among its images."""
        remaining = set(self._listed_pairs())
        if self._pairing == "retrieval":
            remaining |= self._most_alike(range(len(self._images)), self._retrieved)
        elif self._pairing == "sequential":
            remaining |= self._most_alike(self._keyframes, self._loops)
        for first, second in tqdm(sorted(remaining), desc="pairs", disable=not remaining):
            self._match(first, second)
        pairs = sorted(self._pairs.items())
        return MatchedSequence(
            tuple(self._images), tuple(PairMatches(*pair, matches) for pair, matches in pairs)
        )

    def _listed_pairs(self) -> Iterator[tuple[int, int]]:
        places = {image.name: place for place, image in enumerate(self._images)}
        for names in self._listed:
            if missing := [name for name in names if name not in places]:
                raise ExportError(f"no image {missing[0]} in {self._folder}")
            first, second = sorted(places[name] for name in names)
            if first != second:
                yield first, second

    def _most_alike(self, places: Sequence[int], count: int) -> set[tuple[int, int]]:
        """Pairs of each of these images with the `count` others that look most alike."""
        images = [self._images[place].features.descriptors for place in places]
        if not count or not any(map(len, images)):
            return set()
        index = ImageIndex(images)
        pairs: set[tuple[int, int]] = set()
        for number, descriptors in enumerate(images):
            alike = [n for n in index.most_alike(descriptors, count + 1).tolist() if n != number]
            for other in alike[:count]:
                first, second = sorted((places[number], places[other]))
                pairs.add((first, second))
        return pairs

    def _match_sequentially(self, place: int) -> None:
        for earlier in range(max(place - self._overlap, 0), place):
            self._match(earlier, place)
        if self._keyframe_due:
            for keyframe in reversed(self._keyframes):
                if self._match(keyframe, place) < _FEWEST_SHARED:
                    break
            self._keyframes.append(place)
            self._keyframe_due = False
        # Of what can still be matched alone the features stay on the device.
        kept = {*self._keyframes, *range(place - self._overlap + 1, place + 1)}
        self._extracted = {k: v for k, v in self._extracted.items() if k in kept}

    def _match(self, first: int, second: int) -> int:
        """Match a pair, if it has not been; number of its matches."""
        if (first, second) not in self._pairs:
            self._pairs[first, second] = self._matcher.matcher.match_features(
                self._extracted[first], self._extracted[second]
            )
        return len(self._pairs[first, second])


def read_pairs(path: Path) -> tuple[tuple[str, str], ...]:
    """Pairs of names, two a line; ExportError for a file that cannot be read or holds others."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"cannot read pairs from {path}: {error}") from error
    pairs = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        if words and not line.lstrip().startswith("#"):
            if len(words) != 2:
                raise ExportError(f"{path}, line {number}: {len(words)} words, 2 names expected")
            pairs.append((words[0], words[1]))
    if not pairs:
        raise ExportError(f"{path} lists no pairs")
    return tuple(pairs)


def write_pairs(path: Path, sequence: MatchedSequence, pairs: Iterable[PairMatches]) -> None:
    """Write the names of pairs, two a line, as hloc and COLMAP read them."""
    names = [image.name for image in sequence.images]
    path.write_text("".join(f"{names[p.first]} {names[p.second]}\n" for p in pairs))
