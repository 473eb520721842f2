"""A directory with an encrypted repository, and nobody who gives a key unasked."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.strategies.disk_places import Place

CANARY = "canary-5e1f-passphrase"


class Vault(Place):
    """A place with an encrypted repository in it."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        super().__init__(root, capsys)
        self.words, self.wrong = root / "words", root / "wrong"
        self.words.write_text(f"{CANARY}\n")
        self.wrong.write_text("nonsense\n")
        self.key, self.paper = root / "server.key", root / "paper.txt"
        self.at = ("--repo", self.repo)
        self.by = (*self.at, "--password-file", self.words)
        self.own = (self.repo, "--password-file", self.words)

    def create(self, *options: object) -> None:
        """Create the repository."""
        tokens = ("repo", "init", *self.own, "--encrypt", "--recovery-key", self.paper, *options)
        assert self.run(*tokens)[0] == 0


@pytest.fixture
def vault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Vault]:
    """Return a place where no variable gives a key and nobody can be asked."""
    for name in [name for name in os.environ if name.startswith("TWINSHOT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("sys.stdin", Path(os.devnull).open())  # noqa: SIM115 - ends with the test
    yield Vault(tmp_path, capsys)
    sys.stdin.close()
