"""What a command says: sentences and tables for people, or one JSON object a line for programs.

Results go to standard output, everything else to standard error. A bar is drawn on terminals only.
"""

import contextlib
import enum
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

_PIPE_WIDTH: Final = 1000


class Form(enum.Enum):
    """For whom results are written."""

    PEOPLE = "people"
    JSON_LINES = "json"


class Loudness(enum.Enum):
    """Whether anything but results and errors is written."""

    NORMAL = "normal"
    QUIET = "quiet"


class PipeConsole(Console):
    """A console that leaves a reader's departure to whoever ends the process."""

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError instead of ending the process here."""
        raise BrokenPipeError


class Output:
    """The two streams of one command."""

    def __init__(self, *, form: Form, loudness: Loudness) -> None:
        self._form = form
        self._loudness = loudness
        # A pipe has no width into which a table should be squeezed.
        width = None if sys.stdout.isatty() else _PIPE_WIDTH
        self._results = PipeConsole(width=width, highlight=False, markup=False, emoji=False)
        self._remarks = PipeConsole(
            stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False
        )

    @property
    def form(self) -> Form:
        """For whom results are written."""
        return self._form

    def record(self, kind: str, /, **fields: Any) -> None:
        """Write one result as a JSON object whose `type` is `kind`; nothing for people."""
        if self._form is Form.JSON_LINES:
            sys.stdout.write(msgspec.json.encode({"type": kind, **fields}).decode() + "\n")
            sys.stdout.flush()

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], /) -> None:
        """Write results as a table for people; nothing for programs."""
        if self._form is Form.PEOPLE:
            table = Table(box=None, pad_edge=False, header_style="bold")
            for number, title in enumerate(columns):
                # The first column is what people copy into the next command.
                longest = max((len(row[0]) for row in rows), default=0) if number == 0 else None
                table.add_column(title, min_width=longest, overflow="fold")
            for row in rows:
                table.add_row(*row)
            self._results.print(table)

    def say(self, sentence: str, /) -> None:
        """Write a result for people; nothing for programs."""
        if self._form is Form.PEOPLE:
            self._results.print(sentence, soft_wrap=True)

    def remark(self, sentence: str, /) -> None:
        """Write something worth knowing that is no result."""
        if self._loudness is Loudness.NORMAL and self._form is Form.PEOPLE:
            self._remarks.print(sentence)

    def summary(self, **fields: Any) -> None:
        """Write the last record of a command that came to its end; nothing for people."""
        self.record("summary", **fields)

    def error(self, sentence: str, /, *, code: int) -> None:
        """Write why a command ended: to standard error, and for programs as the last record."""
        self.record("error", exit_code=code, message=sentence)
        self._remarks.print(f"twinshot: {sentence}")

    @contextlib.contextmanager
    def steps(self, doing: str, total: int, /) -> Iterator[Callable[[int, str], None]]:
        """Show a bar while the block runs; what is yielded takes how far it is, and a remark."""
        if not self._draws:
            yield lambda _, __: None
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[remark]}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._remarks, transient=True) as bar:
            task = bar.add_task(doing, total=total, remark="")
            yield lambda done, remark: bar.update(task, completed=done, remark=remark)

    @property
    def _draws(self) -> bool:
        return (
            self._remarks.is_terminal
            and self._loudness is Loudness.NORMAL
            and self._form is Form.PEOPLE
        )

    @contextlib.contextmanager
    def progress(self, doing: str, total: int, /) -> Iterator[Callable[[int], None]]:
        """Show a bar while the block runs; what is yielded takes how many bytes were done."""
        with self.growing(doing) as grow:
            yield grow(total)

    @contextlib.contextmanager
    def growing(self, doing: str, /) -> Iterator[Callable[[int], Callable[[int], None]]]:
        """Show a bar while the block runs, from when its total is known.

        What is yielded takes the total, and returns what takes how many bytes were done.
        """
        if not self._draws:
            yield lambda _: lambda _: None
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._remarks, transient=True) as bar:

            def grow(total: int) -> Callable[[int], None]:
                task = bar.add_task(doing, total=total)
                return lambda done: bar.advance(task, done)

            yield grow


def sized(amount: int, /) -> str:
    """Return a number of bytes as people read it."""
    value, unit = float(amount), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{amount} B" if unit == "B" else f"{value:.1f} {unit}"
