"""A directory for as long as this process lives, and none that a dead one has left."""

import os
import shutil
import signal
import tempfile
import threading  # noqa: TID251 - signals are the main thread's business
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Final

_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a RAM disk, where a private directory is made
_PREFIX: Final = "twinshot-proving-"
_UNLOCKED: Final = "twinshot-begun-"
_ENDING: Final = ("SIGTERM", "SIGHUP")


@contextmanager
def private_place() -> Iterator[Path]:
    """Have a directory of our own, in memory where there is such a place.

    It goes with an exception and with a signal that ends us, and is locked as long as we or our
    children live; those that nobody holds a lock on were left by the dead, and go now.
    """
    within = _MEMORY if _MEMORY.is_dir() else Path(tempfile.gettempdir())
    clear(within)
    with _ended_by_exceptions():
        begun = Path(tempfile.mkdtemp(dir=within, prefix=_UNLOCKED))
        place = begun.with_name(begun.name.replace(_UNLOCKED, _PREFIX))
        lock = _locked(begun)
        assert lock is not None, begun
        try:
            begun.rename(place)
            yield place
        finally:
            shutil.rmtree(begun if begun.exists() else place, ignore_errors=True)
            os.close(lock)


def clear(within: Path, /) -> None:
    """Remove the private directories there whose processes are dead."""
    for left in sorted(within.glob(f"{_PREFIX}*")):
        lock = _locked(left)
        if lock is not None:
            shutil.rmtree(left, ignore_errors=True)
            os.close(lock)


def _locked(place: Path) -> int | None:
    """Return the descriptor of a directory of ours, locked; None where somebody holds the lock."""
    import fcntl  # noqa: PLC0415 - where there are forks there is this, and not everywhere else

    try:
        # Everybody may put something there, such as a link to what is dear to us.
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    with suppress(OSError):
        if os.fstat(descriptor).st_uid == os.geteuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
    os.close(descriptor)
    return None


@contextmanager
def _ended_by_exceptions() -> Iterator[None]:
    """Let signals that end a process do so by an exception, so that it clears up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def end(number: int, _: FrameType | None) -> None:
        if os.getpid() != owner:
            os._exit(128 + number)  # a child has nothing of its own to clear up
        for each in kept:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)

    kept = {each: signal.getsignal(each) for each in map(signal.Signals.__getitem__, _ENDING)}
    for each in kept:
        signal.signal(each, end)
    try:
        yield
    finally:
        for each, handler in kept.items():
            signal.signal(each, handler)
