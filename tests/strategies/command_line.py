"""The command line as a person or a program uses it."""

import json
from typing import Any

import pytest

from reference_engine.app.command_line import run


class CommandLine:
    """Runs commands in this process, and reads what they write."""

    def __init__(self, capsys: pytest.CaptureFixture[str], /) -> None:
        self._capsys = capsys

    def run(self, *tokens: object) -> tuple[int, str, str]:
        """Return exit code, output and errors of one command line."""
        self._capsys.readouterr()
        code = run([str(token) for token in tokens])
        out, err = self._capsys.readouterr()
        return code, out, err

    def records(self, *tokens: object, code: int = 0) -> list[dict[str, Any]]:
        """Return what a command that ends with `code` and without errors wrote as JSON Lines."""
        ended, out, err = self.run("--json", *tokens)
        assert (ended, err) == (code, "")
        return [json.loads(line) for line in out.splitlines()]

    def refused(self, code: int, *tokens: object) -> str:
        """Return the one sentence of a command that must end with `code`."""
        ended, out, err = self.run(*tokens)
        assert (ended, out) == (code, ""), err
        assert err.startswith("twinshot: ")
        assert err.count("\n") == 1
        assert "Traceback" not in err
        return err
