"""SuperPoint and SuperGlue as a ROS 2 front end: matches, odometry, training."""

__version__ = "0.1.0"
