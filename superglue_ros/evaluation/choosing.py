"""Which methods are compared, by the words of the command line."""

from __future__ import annotations

from collections.abc import Sequence

from superglue_ros.evaluation.lightglue import EXTRACTORS, lightglue_method
from superglue_ros.evaluation.methods import Method, baselines, our_methods
from superglue_ros.matching import ImageMatcher, MatcherConfig

OURS = ("superglue", "nearest")
BASELINES = ("sift", "orb")
USUAL_METHODS = (*OURS, *BASELINES)
METHODS = (*USUAL_METHODS, *EXTRACTORS)


def make_methods(words: Sequence[str], config: MatcherConfig) -> list[Method]:
    """The methods of some words of `METHODS`, in the order of these; all have the config's limits.

    SuperGlueRosError where what one of them needs is not installed.
    """
    found: dict[str, Method] = {}
    if set(words) & set(OURS):
        found |= dict(zip(OURS, our_methods(ImageMatcher.from_config(config))))
    if set(words) & set(BASELINES):
        found |= dict(zip(BASELINES, baselines(config)))
    found |= {word: lightglue_method(word, config) for word in EXTRACTORS if word in words}
    return [found[word] for word in METHODS if word in words]
