"""`superglue_ros demo`: a flight or a recording over DDS through both nodes, with ROS 2."""

from __future__ import annotations

import argparse
import os
from typing import Any

from superglue_ros.cli.ros_module import loopback_only, run_ros_module

SUMMARY = "play a flight or a recording through both nodes, with ROS 2"


def add_parser(subparsers: Any) -> None:
    """Add the subcommand; its words go on to the demo itself, which ROS 2 is needed to import."""
    parser = subparsers.add_parser("demo", help=SUMMARY, description=SUMMARY)
    parser.add_argument("source", nargs="?", metavar="SOURCE", help="bag, KITTI or TUM folder")
    parser.add_argument("--topic", metavar="T", help="image topic of a bag with several")
    parser.add_argument("--depth-topic", metavar="T", help="of a bag's registered depth images")
    parser.add_argument("--output", metavar="DIR", help="default demo_output")
    parser.add_argument("--rate", metavar="X", help="times real time, default 1")
    parser.add_argument("--frames", metavar="N", help="of the flight, default 120")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Become the demo. Unless told otherwise nothing leaves the machine, and parallel runs do not
    hear each other."""
    for name, value in loopback_only().items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("ROS_DOMAIN_ID", str(10 + os.getpid() % 90))
    words = [args.source] if args.source else []
    for name in ("topic", "depth_topic", "output", "rate", "frames"):
        if getattr(args, name) is not None:
            words.append(f"--{name.replace('_', '-')}={getattr(args, name)}")
    return run_ros_module("demo", "superglue_ros.demo.demo", words)
