"""A directory with a disk to back up, and the command line beside it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reference_engine.formats.opening import open_disk_image
from tests.strategies.command_line import CommandLine

MIB = 1 << 20


def disk(seed: int, size: int = MIB) -> bytearray:
    """Return the bytes of a partitioned disk: some random content, then zeros."""
    content = bytearray(np.random.default_rng(seed).bytes(size // 2).ljust(size, b"\0"))
    content[446:510] = bytes(64)
    content[510:512] = b"\x55\xaa"
    return content


class Place(CommandLine):
    """A directory with a source disk, and room for a repository."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        super().__init__(capsys)
        self.root = root
        self.source = root / "web.raw"
        self.repo = root / "repository"
        self.source.write_bytes(disk(1))

    def back_up(self) -> dict[str, Any]:
        """Back the source up and return the summary."""
        return self.records("backup", self.source, "--repo", self.repo)[-1]

    def files(self) -> set[str]:
        """Return every file and directory below the root."""
        return {path.relative_to(self.root).as_posix() for path in self.root.rglob("*")}


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Place:
    """Return an empty place."""
    return Place(tmp_path, capsys)


def content_of(path: Path) -> bytes:
    """Return what an image of any format holds."""
    with open_disk_image(path) as image:
        return image.read(type(image.size)(0), image.size)
