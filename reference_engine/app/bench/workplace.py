"""Where a benchmark works: a directory that goes again, and what happens when its disk is full."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from reference_engine.app.output import sized
from reference_engine.model.errors import InputRefusedError, OperationFailedError, TransientError


class NoRoomError(TransientError):
    """The place of the benchmark has not enough room for its images and repositories."""

    def __init__(self, place: Path, needed: int, free: int, /) -> None:
        super().__init__(place, needed, free)
        self.place, self.needed, self.free = place, needed, free

    def __str__(self) -> str:
        return (
            f"{self.place} has {sized(self.free)} left and the benchmark needs about "
            f"{sized(self.needed)}; choose a smaller --size or another --out"
        )


@contextlib.contextmanager
def working_in(out: Path, /, *, keep: bool) -> Iterator[Path]:
    """Have a directory for images and repositories, which goes again unless it is to be kept.

    Raises:
        InputRefusedError: there can be none.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix="work-", dir=out)).absolute()
    except OSError as error:
        reason = str(error.strerror).lower()
        raise InputRefusedError(f"{out} cannot be used: {reason}", "give another --out") from error
    try:
        yield work
    finally:
        if not keep:
            shutil.rmtree(work, ignore_errors=True)


@contextlib.contextmanager
def full_disk_told(work: Path, /) -> Iterator[None]:
    """Say of an error of the system where it came from.

    Raises:
        OperationFailedError: something could not be written.
    """
    try:
        yield
    except OSError as error:
        raise OperationFailedError(f"writing to {work}", str(error.strerror).lower()) from error


def require_room(work: Path, needed: int, /) -> None:
    """Return if there is room.

    Raises:
        NoRoomError: there is not.
    """
    free = shutil.disk_usage(work).free
    if free < needed:
        raise NoRoomError(work.parent, needed, free)
