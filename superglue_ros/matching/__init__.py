"""Images to features to matches, and the keyframes they are matched against."""

from superglue_ros.matching.drawing import draw_matches
from superglue_ros.matching.image_matcher import ImageMatcher
from superglue_ros.matching.keyframe_policy import KeyframePolicy
from superglue_ros.matching.keyframes import KeyframeMatcher
from superglue_ros.matching.results import ExtractedFeatures, FeatureMatches, ImageMatches
from superglue_ros.networks.config import MatcherConfig

__all__ = [
    "ExtractedFeatures",
    "FeatureMatches",
    "ImageMatcher",
    "ImageMatches",
    "KeyframeMatcher",
    "KeyframePolicy",
    "MatcherConfig",
    "draw_matches",
]
