"""What can go wrong below a store in a directory, and when: by kind of call and occurrence."""

import errno
from typing import Final

SHORT: Final = -1
"""In place of an error number: the call does half of what was asked."""

_WRITING: Final = ("create", "write", "link", "make-directory")
_READING: Final = ("read", "entries")


class StorageClock:
    """Time on the store's machine, in seconds: what has passed, and what its clock shows."""

    def __init__(self, now: int, /) -> None:
        self.now = now
        self.offset = 0
        """How far the clock that programs see is ahead of the true one."""

    @property
    def shown(self) -> int:
        """What programs see."""
        return self.now + self.offset


class StorageFaults:
    """Which calls fail. Calls are counted over everybody who uses the storage."""

    def __init__(self, clock: StorageClock, /) -> None:
        self._clock = clock
        self._planned: dict[tuple[str, int], int] = {}
        self._counts: dict[str, int] = {}
        self._unreadable: dict[str, int] = {}
        self._full_until = 0
        self._broken: dict[str, int] = {}

    def plan(self, kind: str, occurrence: int, number: int, /) -> None:
        """Let the occurrence-th call of this kind, counted from 1 on, fail with this number."""
        self._planned[kind, self._counts.get(kind, 0) + occurrence] = number

    def fill(self, seconds: int, /) -> None:
        """Let there be no room for this long."""
        self._full_until = self._clock.now + seconds

    def fail(self, kind: str, seconds: int, /) -> None:
        """Let every call of this kind fail for this long."""
        self._broken[kind] = self._clock.now + seconds

    def hide(self, path: str, seconds: int, /) -> None:
        """Let nothing below `path` be readable for this long."""
        self._unreadable[path] = self._clock.now + seconds

    def strike(self, kind: str, path: str, /) -> int:
        """Count one call and return what becomes of it: 0, SHORT, or an error's number."""
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        if self._planned:
            planned = self._planned.pop((kind, count), 0)
            if planned:
                return planned
        if self._full_until > self._clock.now and kind in _WRITING:
            return errno.ENOSPC
        if self._broken.get(kind, 0) > self._clock.now:
            return errno.EIO
        if self._unreadable and kind in _READING:
            for hidden, until in self._unreadable.items():
                if until > self._clock.now and path.startswith(hidden):
                    return errno.EIO
        return 0
