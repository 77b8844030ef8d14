"""README and docs: links lead somewhere, commands are the project's, quick ones run."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from superglue_ros.cli import main as console
from superglue_ros.networks.checkpoints import shipped_path

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
MOST_BYTES = 2_000_000
"""Of a picture, so that a page with it loads on a phone."""

RUN = ("match", "weights")
"""Subcommands that are quick enough to run for real."""


class Command(NamedTuple):
    """A command of a page, as words without its comment."""

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {' '.join(self.words)}"


def blocks(page: Path, language: str) -> list[str]:
    """Fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.S | re.M)


def commands() -> list[Command]:
    """Every command of every shell block; lines that end in a backslash are one."""
    found = []
    for page in PAGES:
        for block in blocks(page, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                for part in line.split(" && "):
                    # <this repository> is for the reader to fill in.
                    words = shlex.split(part.replace("<", "").replace(">", ""), comments=True)
                    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                        words.pop(0)
                    if words:
                        found.append(Command(page.name, tuple(words)))
    return found


COMMANDS = commands()


def of(program: str) -> list[Command]:
    return [c for c in COMMANDS if c.words[0].rpartition("/")[2] == program]


def headings(page: Path) -> set[str]:
    """Anchors of a page as a code host makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)
    titles = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        if re.match(r"[a-z]+:", link):
            assert link.startswith("https://"), f"{page}: {link}"
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{page}: {link}"
        assert path.is_relative_to(ROOT), f"{page}: {link} leaves the repository"
        if anchor:
            assert anchor in headings(path), f"{page}: {link}"


def test_every_picture_is_used_and_small() -> None:
    text = "".join(page.read_text() for page in PAGES)
    for picture in (ROOT / "docs" / "images").iterdir():
        assert picture.name in text, f"{picture} is on no page"
        assert picture.stat().st_size < MOST_BYTES, f"{picture} is large"


def test_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="mkdocs-material is not installed: make docs")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--site-dir",
        tmp_path / "site",
    ]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr[-3000:]
    first = (tmp_path / "site" / "index.html").read_text()
    for page in PAGES[2:]:
        path = page.relative_to(ROOT / "docs")
        address = path.parent if path.name == "README.md" else path.with_suffix("")
        assert f'href="{address}/"' in first, f"{page} is not in the navigation"
    assert 'src="images/flight.webp"' in first
    assert 'href="offline/#replay-a-recording"' in first
    assert not re.search(r'<(script|link|img)[^>]*(src|href)="https?:', first)


@pytest.mark.parametrize("command", of("superglue_ros"), ids=str)
def test_commands_are_such_as_the_command_line_has(command: Command) -> None:
    words = list(command.words[1:])
    namespace = console.build_parser(words).parse_args(words)
    assert hasattr(namespace, "run")


@pytest.mark.parametrize("command", of("torchrun"), ids=str)
def test_torchrun_runs_such_a_command(command: Command) -> None:
    words = list(command.words[command.words.index("superglue_ros.cli.main") + 1 :])
    assert hasattr(console.build_parser(words).parse_args(words), "run")


@pytest.mark.parametrize("command", of("make"), ids=str)
def test_make_has_such_targets_and_variables(command: Command) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for word in command.words[1:]:
        name, is_variable, _ = word.partition("=")
        pattern = rf"\$[({{]{name}\b|\b{name}\b\s*\?=" if is_variable else rf"^{name}:"
        assert re.search(pattern, makefile, re.M), f"the Makefile has no {name}"


@pytest.mark.parametrize("command", of("ros2"), ids=str)
def test_launch_files_have_such_arguments(command: Command) -> None:
    if command.words[1:3] == ("launch", "superglue_ros"):
        file = ROOT / "launch" / command.words[3]
        texts = "".join(path.read_text() for path in (ROOT / "launch").glob("*.py"))
        strings = {
            node.value
            for node in ast.walk(ast.parse(texts.replace("from __future__", "# from __future__")))
            if isinstance(node, ast.Constant)
        }
        assert file.is_file()
        for word in command.words[4:]:
            if not word.startswith("-"):
                assert word.partition(":=")[0] in strings, f"no launch file has {word}"
    elif command.words[1:4] == ("run", "superglue_ros", "superglue_ros"):
        assert hasattr(
            console.build_parser(command.words[4:]).parse_args(command.words[4:]), "run"
        )
    elif command.words[1] == "run":
        assert command.words[2] == "superglue_ros"
        assert (ROOT / "superglue_ros" / "nodes" / f"{command.words[3]}.py").is_file()
        parameters = (ROOT / "docs" / "parameters.md").read_text()
        for word in command.words[4:]:
            if ":=" in word and not word.startswith("/"):
                assert f"`{word.partition(':=')[0]}`" in parameters
    else:
        # Of others: no test can know their arguments here.
        assert command.words[1] in ("bag", "launch", "param", "service", "topic")


weights = pytest.mark.skipif(not shipped_path("superpoint").is_file(), reason="no weights")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a.jpg and b.jpg, which overlap."""
    folder = tmp_path_factory.mktemp("pictures")
    noise = np.random.default_rng(0).integers(0, 256, (200, 300), dtype=np.uint8)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)
    cv2.imwrite(str(folder / "a.jpg"), texture[:, :260])
    cv2.imwrite(str(folder / "b.jpg"), texture[:, 20:280])
    return folder


@weights
@pytest.mark.parametrize(
    "command",
    [c for c in of("superglue_ros") if c.words[1] in RUN and "--engine" not in c.words],
    ids=str,
)
def test_quick_commands_run(
    command: Command, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if any(word.endswith((".pth", "runs/superpoint.safetensors")) for word in command.words):
        pytest.skip("needs weights that are not ours to ship")
    if any(word.startswith("runs/") for word in command.words):
        pytest.skip("needs a training's weights")
    for name in ("a.jpg", "b.jpg"):
        shutil.copy(pictures / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    words = list(command.words[1:])
    if words[0] == "match":
        words += ["--device", "cpu", "--max-keypoints", "128", "--sinkhorn-iterations", "10"]
    assert console.main(words) == 0
    for option in ("--output", "--picture"):
        if option in words:
            assert (tmp_path / words[words.index(option) + 1]).stat().st_size > 1000


@weights
@pytest.mark.parametrize(
    "page", [p for p in PAGES if blocks(p, "python")], ids=lambda page: page.name
)
def test_python_blocks_run(page: Path, pictures: Path) -> None:
    images = {f"image{i}": cv2.imread(str(pictures / f"{n}.jpg"), 0) for i, n in enumerate("ab")}
    for block in blocks(page, "python"):
        scope: dict[str, object] = dict(images)
        exec(compile(textwrap.dedent(block), str(page), "exec"), scope)
        points0, points1 = scope["points0"], scope["points1"]
        assert isinstance(points0, np.ndarray)
        assert points0.shape == points1.shape  # type: ignore[attr-defined]
        assert len(points0) > 20
        np.testing.assert_allclose(np.median(points0 - points1, axis=0), (20, 0), atol=1)


def test_all_commands_are_of_a_kind_that_is_tested() -> None:
    known = {"superglue_ros", "make", "ros2", "torchrun"}
    plain = {"cd", "git", "rosdep", "pip", "colcon", "source", "sudo", ".venv/bin/python"}
    for command in COMMANDS:
        program = command.words[0]
        assert program.rpartition("/")[2] in known or program in plain, str(command)
