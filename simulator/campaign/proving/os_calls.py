"""Every call of a process that touches files below a directory, counted, and disturbed at one.

The engine's calls go through `os`: those of the store through its port, those of a restore
directly. In a process of its own they are replaced by calls that count, and that die or fail.
"""

import enum
import errno
import os
import signal
import threading  # noqa: TID251 - the engine's calls come from threads
from collections.abc import Callable
from typing import Any, Final

import msgspec

CHANGING: Final = (
    "open",
    "write",
    "pwrite",
    "fsync",
    "link",
    "unlink",
    "mkdir",
    "rmdir",
    "replace",
    "ftruncate",
)
"""Calls that change files, `open` only where it creates one."""

READING: Final = ("read", "pread", "stat", "fstat", "scandir", "lseek", "close")
_ON_DESCRIPTORS: Final = (
    "write",
    "pwrite",
    "fsync",
    "ftruncate",
    "read",
    "pread",
    "fstat",
    "lseek",
    "close",
)
_NEEDING_ROOM: Final = ("write", "pwrite", "link", "mkdir", "fsync", "ftruncate", "create")
_NEEDING_DESCRIPTOR: Final = ("create", "open", "scandir")


class Moment(enum.Enum):
    """When a process dies at a call."""

    BEFORE = "before"
    AFTER = "after"
    TORN = "torn"
    """Half-way in a write."""


class Death(msgspec.Struct, frozen=True, kw_only=True):
    """The process is killed at its n-th changing call, counted from 1."""

    call: int
    moment: Moment


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """The n-th call of any kind fails, counted from 1; or every fitting one from there on."""

    call: int
    number: int
    for_ever: bool


def kinds_failing(number: int, /) -> tuple[str, ...]:
    """Return which kinds of calls may fail with an error of this number."""
    match number:
        case errno.ENOSPC | errno.EDQUOT:
            return _NEEDING_ROOM
        case errno.EROFS:
            return ("create", *CHANGING[1:])
        case errno.EMFILE:
            return _NEEDING_DESCRIPTOR
        case _:
            return ("create", *CHANGING, *READING)


def _nobody(_: str) -> None:
    """Let nothing happen after a call."""


class Watch:
    """Stands between a process and its files below `root`; installed once, in a child process.

    After each call that has changed files `after` is told its kind.
    """

    def __init__(
        self,
        root: str,
        /,
        *,
        fault: Death | Failure | None,
        after: Callable[[str], None] = _nobody,
    ) -> None:
        self._root, self._fault, self._after = root, fault, after
        self._descriptors: dict[int, None] = {}
        self._lock = threading.RLock()
        self.changing = 0
        self.calls = 0
        self.writes: list[int] = []
        """Which of the changing calls write bytes, and so can be torn."""

        self.kinds: list[str] = []
        """The kind of every call, `create` for an `open` that creates a file."""

        self.struck = ""

    def install(self) -> None:
        """Replace the calls of this process, for good."""
        for kind in (*CHANGING, *READING):
            original = getattr(os, kind, None)
            if original is not None:
                setattr(os, kind, self._watched(kind, original))

    def _watched(self, kind: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if not self._concerns(kind, args):
                return original(*args, **options)
            with self._lock:
                changes = kind in CHANGING and (
                    kind != "open" or bool(args[1] & (os.O_CREAT | os.O_TRUNC))
                )
                return self._performed(kind, original, args, options, changes)

        return call

    def _performed(
        self,
        kind: str,
        original: Callable[..., Any],
        args: tuple[Any, ...],
        options: dict[str, Any],
        changes: bool,  # noqa: FBT001 - what the call is, decided once
    ) -> Any:
        self.calls += 1
        self.kinds.append("create" if changes and kind == "open" else kind)
        self.changing += changes
        if changes and kind in {"write", "pwrite"}:
            self.writes.append(self.changing)
        fault = self._fault
        dying = isinstance(fault, Death) and changes and self.changing == fault.call
        if dying and isinstance(fault, Death):
            if fault.moment is Moment.TORN and kind in {"write", "pwrite"}:
                half = memoryview(args[1])[: len(args[1]) // 2]
                original(args[0], half, *args[2:])
            if fault.moment is not Moment.AFTER:
                _die()
        if isinstance(fault, Failure) and self._fails(fault):
            self.struck = self.struck or kind
            raise OSError(fault.number, os.strerror(fault.number), str(args[0]))
        try:
            result = original(*args, **options)
        finally:
            # A call that changes nothing, such as a second name for a file, has happened too.
            if dying:
                _die()
        if kind == "open":
            self._descriptors[result] = None
        elif kind == "close":
            self._descriptors.pop(args[0], None)
        if changes:
            self._after(kind)
        return result

    def _fails(self, fault: Failure) -> bool:
        if self.calls < fault.call or (self.calls > fault.call and not fault.for_ever):
            return False
        return self.kinds[-1] in kinds_failing(fault.number)

    def _concerns(self, kind: str, args: tuple[Any, ...]) -> bool:
        if not args:
            return False
        if kind in _ON_DESCRIPTORS or isinstance(args[0], int):
            return args[0] in self._descriptors
        return str(os.fspath(args[0])).startswith(self._root)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()
