"""What a command says: sentences and tables for people, or one JSON object a line for programs.

Results go to standard output, everything else to standard error. A bar is drawn on terminals only.
"""

import contextlib
import enum
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec

_PIPE_WIDTH: Final = 1000


class Form(enum.Enum):
    """For whom results are written."""

    PEOPLE = "people"
    JSON_LINES = "json"


class Loudness(enum.Enum):
    """Whether anything but results and errors is written."""

    NORMAL = "normal"
    QUIET = "quiet"


class ConsoleOnDemand:
    """A console of rich, made when it is first used: most commands draw nothing.

    Loading rich is a tenth of what the backup of a small change costs.
    """

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self._made: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.console, name)

    @property
    def console(self) -> Any:
        """The console itself; a reader's departure is left to whoever ends the process."""
        if self._made is None:
            from rich.console import Console  # noqa: PLC0415 - on demand

            class PipeConsole(Console):
                def on_broken_pipe(self) -> None:
                    raise BrokenPipeError

            self._made = PipeConsole(**self._settings)
        return self._made


class Output:
    """The two streams of one command."""

    def __init__(self, *, form: Form, loudness: Loudness) -> None:
        self._form = form
        self._loudness = loudness
        # A pipe has no width into which a table should be squeezed.
        width = None if sys.stdout.isatty() else _PIPE_WIDTH
        plain: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
        self._results = ConsoleOnDemand(width=width, **plain)
        self._remarks = ConsoleOnDemand(stderr=True, soft_wrap=True, **plain)

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
            from rich.table import Table  # noqa: PLC0415 - on demand

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
            sys.stdout.write(sentence + "\n")
            sys.stdout.flush()

    def remark(self, sentence: str, /) -> None:
        """Write something worth knowing that is no result."""
        if self._loudness is Loudness.NORMAL and self._form is Form.PEOPLE:
            _tell(sentence)

    def summary(self, **fields: Any) -> None:
        """Write the last record of a command that came to its end; nothing for people."""
        self.record("summary", **fields)

    def error(self, sentence: str, /, *, code: int) -> None:
        """Write why a command ended: to standard error, and for programs as the last record."""
        self.record("error", exit_code=code, message=sentence)
        _tell(f"twinshot: {sentence}")

    @contextlib.contextmanager
    def steps(self, doing: str, total: int, /) -> Iterator[Callable[[int, str], None]]:
        """Show a bar while the block runs; what is yielded takes how far it is, and a remark."""
        if not self._draws:
            yield lambda _, __: None
            return
        from rich import progress  # noqa: PLC0415 - on demand

        columns = (
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.TaskProgressColumn(),
            progress.TextColumn("{task.fields[remark]}"),
            progress.TimeElapsedColumn(),
        )
        with progress.Progress(*columns, console=self._remarks.console, transient=True) as bar:
            task = bar.add_task(doing, total=total, remark="")
            yield lambda done, remark: bar.update(task, completed=done, remark=remark)

    @property
    def _draws(self) -> bool:
        asked = self._loudness is Loudness.NORMAL and self._form is Form.PEOPLE
        return asked and sys.stderr.isatty() and bool(self._remarks.is_terminal)

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
        from rich import progress  # noqa: PLC0415 - on demand

        columns = (
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.DownloadColumn(binary_units=True),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(compact=True),
        )
        with progress.Progress(*columns, console=self._remarks.console, transient=True) as bar:

            def grow(total: int) -> Callable[[int], None]:
                task = bar.add_task(doing, total=total)
                return lambda done: bar.advance(task, done)

            yield grow


def counting(step: Callable[[int, str], None], /) -> Callable[[], None]:
    """Return what moves the bar of `steps` on by one thing that was done."""
    numbers = itertools.count(1)
    return lambda: step(next(numbers), "")


def announcing(step: Callable[[int, str], None], /) -> Callable[[str], None]:
    """Return what says at the bar of `steps` which thing is begun, all before it being done."""
    numbers = itertools.count()
    return lambda doing: step(next(numbers), doing)


def _tell(sentence: str) -> None:
    sys.stderr.write(sentence + "\n")
    sys.stderr.flush()


def sized(amount: int, /) -> str:
    """Return a number of bytes as people read it."""
    value, unit = float(amount), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{amount} B" if unit == "B" else f"{value:.1f} {unit}"
