"""Which files a bag is made of: one, or a split recording; compressed ones are unpacked."""

from __future__ import annotations

import logging
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory

from superglue_ros.errors import SourceError
from superglue_ros.sources.image_files import natural_key

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

logger = logging.getLogger(__name__)

BAG_SUFFIXES = (".bag", ".mcap", ".db3")
_PACKED = (".zstd", ".zst")
_METADATA = "metadata.yaml"
_MAX_METADATA_BYTES = 5_000_000
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_MAX_MESSAGE_BYTES = 300_000_000


def is_bag(path: Path) -> bool:
    """Whether a path is a bag's file, or a folder with some in it."""
    if path.is_dir():
        return (path / _METADATA).is_file() or bool(_storage_files(path))
    return is_bag_file(path)


def is_bag_file(path: Path) -> bool:
    """Whether a file's name is one of a bag, compressed or not."""
    packed = path.suffix in _PACKED
    return (Path(path.stem).suffix if packed else path.suffix) in BAG_SUFFIXES


class BagFiles:
    """The files of a bag in the order of recording, readable: `paths`.

    Files compressed by zstd are unpacked into a temporary folder, once, which goes with this
    object. Raises SourceError.
    """

    def __init__(self, path: Path) -> None:
        files = _listed(path) if path.is_dir() else [path]
        self._folder: TemporaryDirectory[str] | None = None
        if any(file.suffix in _PACKED for file in files):
            self._folder = TemporaryDirectory(prefix="superglue_ros_bag_")
            folder = Path(self._folder.name)
            files = [_unpack(file, folder) if file.suffix in _PACKED else file for file in files]
        self.paths: tuple[Path, ...] = tuple(files)


def unpacked(data: bytes) -> bytes:
    """A message's bytes, which a bag may hold compressed one by one; no serialised message begins
    as compressed data do. Raises SourceError for what is damaged or too large."""
    if not data.startswith(ZSTD_MAGIC):
        return data
    try:
        decompressor = zstd.ZstdDecompressor()
        unpacked = decompressor.decompress(data, max_length=_MAX_MESSAGE_BYTES)
    except zstd.ZstdError as error:
        raise SourceError(f"a compressed message is damaged: {error}") from error
    if not decompressor.eof:
        raise SourceError("a compressed message is cut off or too large")
    return unpacked


def _unpack(file: Path, folder: Path) -> Path:
    target = folder / file.stem
    try:
        with zstd.open(file, "rb") as packed, target.open("wb") as whole:
            shutil.copyfileobj(packed, whole)
    except (OSError, EOFError, zstd.ZstdError) as error:
        raise SourceError(f"cannot unpack {file}: {error}") from error
    return target


def _listed(folder: Path) -> list[Path]:
    """The files that metadata.yaml names, or those there are where it does not say."""
    metadata = folder / _METADATA
    found = _storage_files(folder)
    if not metadata.is_file():
        return _one_recording(folder, found)
    try:
        names = _names(metadata)
        files = [folder / PurePath(name).name for name in names]
        missing = [file.name for file in files if not file.is_file()]
        problem = f"{', '.join(missing)} missing" if missing else ""
    except (OSError, ValueError) as error:
        files, problem = [], " ".join(str(error).split()) or type(error).__name__
    if files and not problem:
        return files
    if not found:
        raise SourceError(f"cannot read bag {folder}: {metadata.name}: {problem or 'no files'}")
    logger.warning("%s: %s: the files in the folder are read", metadata, problem or "no files")
    return _one_recording(folder, found)


def _names(metadata: Path) -> Sequence[str]:
    if metadata.stat().st_size > _MAX_METADATA_BYTES:
        raise ValueError(f"over {_MAX_METADATA_BYTES} bytes")
    # The one list alone, as YAML has lists: the rest is in the files as well, and PyYAML is slow.
    text = metadata.read_text(encoding="utf-8", errors="replace")
    pattern = r"^[ \t]*relative_file_paths:[ \t]*(?:\[([^\]]*)\]|((?:\n[ \t]*- .*)*))"
    listed = re.search(pattern, text, flags=re.MULTILINE)
    inside, lines = listed.groups() if listed else (None, None)
    words = inside.split(",") if inside else (lines or "").strip().removeprefix("- ").split("\n")
    names = [word.strip().removeprefix("- ").strip("'\" ") for word in words]
    if not any(names):
        raise ValueError("no list of relative_file_paths")
    return [name for name in names if name]


def _storage_files(folder: Path) -> list[Path]:
    files = [
        entry for entry in folder.iterdir()
        if is_bag_file(entry) and not entry.name.startswith(".") and entry.is_file()
    ]  # fmt: skip
    names = {entry.name for entry in files}
    # What `rosbag reindex` leaves beside its result.
    files = [x for x in files if x.name.replace(".orig.bag", ".bag") not in names - {x.name}]
    # ROS 1 names the parts of a recording by their times first.
    return sorted(files, key=lambda entry: natural_key(re.sub(r".*_", "", entry.name)))


def _one_recording(folder: Path, files: list[Path]) -> list[Path]:
    """Files that are the parts of a split recording, numbered from 0 on."""
    if not files:
        raise SourceError(f"{folder}: no bag files in it")
    parts = [re.fullmatch(r"(.*)_(\d+)((?:\.\w+)+)", file.name) for file in files]
    numbers = [part.group(2) for part in parts if part]
    # Each part of a ROS 1 recording also has the time at which it was begun.
    stems = {re.sub(r"\d{4}(-\d\d){5}", "", part.group(1)) for part in parts if part}
    if len(files) > 1 and (numbers != [str(i) for i in range(len(files))] or len(stems) > 1):
        listed = ", ".join(file.name for file in files[:5])
        raise SourceError(f"{folder}: {len(files)} bags; give one of them: {listed}")
    return files
