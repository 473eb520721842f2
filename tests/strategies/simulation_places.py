"""A directory with a small scenario, and the command line beside it."""

from pathlib import Path
from typing import Any, Final

import pytest

from tests.strategies.command_line import CommandLine
from tests.strategies.simulated_clusters import scenario_text

QUIET: Final = scenario_text(disks=("512 KiB + 512 B",), duration="40m", bursts_per_hour=600)
"""Two backups of one small disk."""


class Place(CommandLine):
    """A directory to work in, with a small scenario."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        super().__init__(capsys)
        self.root = root
        self.scenario = self.written("night.toml", QUIET)
        self.out = root / "night"

    def written(self, name: str, text: str) -> Path:
        """Return the path of a new file."""
        path = self.root / name
        path.write_text(text, encoding="utf-8")
        return path

    def simulated(self, *options: object) -> dict[str, Any]:
        """Simulate the scenario and return the summary."""
        return self.records("simulate", self.scenario, "--out", self.out, *options)[-1]

    def refused_untouched(self, *tokens: object, code: int = 2) -> str:
        """Return the clear text of a command that ends with `code` and leaves no file behind."""
        before = self.files()
        ended, out, err = self.run(*tokens)
        assert (ended, out) == (code, ""), err
        assert err.startswith("twinshot: ")
        assert err.count("twinshot: ") == 1
        assert "Traceback" not in err
        assert self.files() == before
        return err.removeprefix("twinshot: ")

    def files(self) -> dict[str, bytes]:
        """Return everything below the root, with the content of files."""
        return {
            path.relative_to(self.root).as_posix(): path.read_bytes() if path.is_file() else b""
            for path in self.root.rglob("*")
        }

    def names(self) -> set[str]:
        """Return what lies in the root."""
        return {path.name for path in self.root.iterdir()}


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Place:
    """Return a place without a report."""
    return Place(tmp_path, capsys)
