"""A cache in a directory of this machine: one file for each thing that is kept."""

import asyncio  # noqa: TID251 - adapters are where blocking calls meet the event loop
import contextlib
import os
import re
import time  # noqa: TID251 - how old a file is
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from reference_engine.adapters.os_file_system import NEW, READ
from reference_engine.ports.local_cache import LocalCache, Range

_NAME: Final = re.compile("[a-z0-9]{1,128}")
_PARTIAL: Final = "~"
"""No part of any name, so what a killed process left half written is never taken for whole."""

_OPEN_MAX: Final = 128
_ABANDONED_S: Final = 86_400


class _Descriptor:
    """An open file, which is closed when nobody can read from it any more."""

    def __init__(self, path: Path, /) -> None:
        self.number = os.open(path, READ)

    def __del__(self) -> None:
        # Opening may have failed.
        if hasattr(self, "number"):
            os.close(self.number)

    def read(self, offset: int, length: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self.number, length, offset)
        os.lseek(self.number, offset, os.SEEK_SET)
        return os.read(self.number, length)


class CacheDirectory(LocalCache):
    """Files below `root`, which is made when something is kept. Only their owner may read them.

    Nothing is flushed: a power cut may leave names without content, which readers notice.
    """

    def __init__(self, root: Path, /) -> None:
        self._root = root
        self._open: dict[tuple[str, str], _Descriptor] = {}

    async def names(self, group: str, /) -> tuple[str, ...]:
        """Return what is kept in a group, ascending."""
        with contextlib.suppress(OSError):
            found = await asyncio.to_thread(os.listdir, self._directory(group))
            return tuple(sorted(name for name in found if _NAME.fullmatch(name)))
        return ()

    async def read(self, group: str, ranges: Sequence[Range], /) -> list[bytes]:
        """Return the bytes of each range: fewer or none where there are no more."""
        files = {name: self._opened(group, name) for name in {each.name: None for each in ranges}}
        return await asyncio.to_thread(_all_read, files, ranges)

    def _opened(self, group: str, name: str) -> "_Descriptor | None":
        file = self._open.get((group, name))
        if file is None:
            try:
                file = _Descriptor(self._path(group, name))
            except OSError:
                return None
            if hasattr(os, "pread") and len(self._open) < _OPEN_MAX:
                # Elsewhere two threads would move each other's position.
                self._open[group, name] = file
        return file

    async def keep(self, group: str, name: str, content: bytes | bytearray, /) -> bool:
        """Keep `content`, in the place of what had the name; return whether that was possible."""
        path = self._path(group, name)
        kept = await asyncio.to_thread(_written, path, content)
        self._open.pop((group, name), None)
        return kept

    async def forget(self, group: str, name: str, /) -> None:
        """Delete it, as far as possible."""
        path = self._path(group, name)
        self._open.pop((group, name), None)
        with contextlib.suppress(OSError):
            await asyncio.to_thread(path.unlink)

    def _directory(self, group: str) -> Path:
        assert _NAME.fullmatch(group), group
        return self._root / group

    def _path(self, group: str, name: str) -> Path:
        assert _NAME.fullmatch(name), name
        return self._directory(group) / name


def _all_read(files: dict[str, _Descriptor | None], ranges: Sequence[Range]) -> list[bytes]:
    found: list[bytes] = []
    for name, offset, length in ranges:
        file, part = files[name], b""
        with contextlib.suppress(OSError):
            part = b"" if file is None else file.read(offset, length)
        found.append(part)
    return found


def _written(path: Path, content: bytes | bytearray) -> bool:
    partial = path.with_name(f"{_PARTIAL}{os.urandom(8).hex()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_abandoned(path.parent)
        try:
            with os.fdopen(os.open(partial, NEW, 0o600), "wb") as file:
                file.write(content)
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
    except OSError:
        return False
    return True


def _remove_abandoned(directory: Path) -> None:
    """Remove what killed processes left half written."""
    for each in directory.glob(f"{_PARTIAL}*"):
        with contextlib.suppress(OSError):
            if time.time() - each.stat().st_mtime > _ABANDONED_S:
                each.unlink()
