"""Features followed over keyframes, from matches alone, and what trackers of others expect."""

from superglue_ros.tracks.chain import FrameTracks, TrackChain
from superglue_ros.tracks.recording import TrackRecorder
from superglue_ros.tracks.verification import EPIPOLAR_THRESHOLD_PX, agree_with_one_motion
from superglue_ros.tracks.vins import VinsFeatures, VinsTracker

__all__ = [
    "EPIPOLAR_THRESHOLD_PX",
    "FrameTracks",
    "TrackChain",
    "TrackRecorder",
    "VinsFeatures",
    "VinsTracker",
    "agree_with_one_motion",
]
