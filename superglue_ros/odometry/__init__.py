"""Odometry from match messages: landmarks, motion, window optimisation."""

from superglue_ros.odometry.config import OdometryConfig
from superglue_ros.odometry.estimator import OdometryEstimate, TrackingState, VisualOdometry

__all__ = ["OdometryConfig", "OdometryEstimate", "TrackingState", "VisualOdometry"]
