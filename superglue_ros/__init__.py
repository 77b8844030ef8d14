"""SuperPoint and SuperGlue as a ROS 2 front end: matches, odometry, training."""

from pkgutil import extend_path

# The generated messages lie in the install space; a source tree in front of it must not hide them.
__path__ = extend_path(__path__, __name__)

__version__ = "0.1.0"
