"""Matching and odometry over a source without ROS, and the report of it."""
