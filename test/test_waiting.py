"""Threads that wait give the core away: who sets it, and when."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from superglue_ros.benchmarks.machine import describe_machine
from superglue_ros.cli import main as console
from superglue_ros.matching import ImageMatcher
from superglue_ros.waiting import BRIEFLY, SETTINGS, wait_briefly


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS:
        monkeypatch.setenv(name, "")  # so that it is as before afterwards
        monkeypatch.delenv(name)


def test_the_command_line_sets_it() -> None:
    assert console.main([]) == 2
    assert os.environ.items() >= BRIEFLY.items()
    assert describe_machine()["waiting"] == "OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=2000"


@pytest.mark.parametrize("name", SETTINGS)
def test_what_the_user_has_set_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "0")
    wait_briefly()
    assert {key: os.environ[key] for key in SETTINGS if key in os.environ} == {name: "0"}


def test_nodes_set_it_before_torch_is_loaded(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "some_node.py").write_text(
        "import os, sys\n"
        "seen = os.environ.get('OMP_WAIT_POLICY'), 'torch' in sys.modules\n"
        "main = lambda: print(seen) or 0\n"
    )
    script = (repository / "scripts" / "node.in").read_text().replace("@module@", "some_node")
    paths = os.pathsep.join([str(tmp_path), str(repository)])
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "('PASSIVE', False)\n"


def test_importing_changes_nothing() -> None:
    code = "import os, superglue_ros.matching as m; print([n for n in os.environ if 'OMP_W' in n])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_threads_of_a_matcher() -> None:
    before = torch.get_num_threads()
    try:
        for asked, found in ((1, 1), (0, 1), (2, 2)):
            ImageMatcher(threads=asked, device="cpu")
            assert torch.get_num_threads() == found
    finally:
        torch.set_num_threads(before)
    with pytest.raises(ValueError, match="threads must be in"):
        ImageMatcher(threads=-1)
