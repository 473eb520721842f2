"""Pages of block maps, read some at a time: every read from a bucket is a request that costs."""

from collections import OrderedDict
from typing import Final, NamedTuple, Protocol

from reference_engine.model.errors import CorruptionError
from reference_engine.model.units import MIB

_AHEAD_MAX: Final = 1 * MIB
_HELD_MAX: Final = 8
"""Stretches that stay in memory: of a few objects of pages, and of their copies."""


class Ranges(Protocol):
    """Whatever parts of objects can be read from: a store, or what reads ahead in one."""

    async def read_range(self, name: str, /, *, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`."""


class _Stretch(NamedTuple):
    start: int
    content: bytes


class ReadAhead(Ranges):
    """Reads with a range those behind it, as far as somebody will ask for them too."""

    def __init__(self, store: Ranges, /) -> None:
        self._store = store
        self._expected: dict[str, dict[int, int]] = {}
        self._held: OrderedDict[str, _Stretch] = OrderedDict()

    def expect(self, name: str, /, *, offset: int, length: int) -> None:
        """Let this range be read with the one that ends where it begins."""
        self._expected.setdefault(name, {})[offset] = length

    async def read_range(self, name: str, /, *, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`.

        Raises:
            CorruptionError: the object is missing, shorter, or not what was stored.
        """
        held = self._held.get(name)
        if held is None or not held.start <= offset <= held.start + len(held.content) - length:
            held = await self._read(name, offset, length)
            self._held[name] = held
            self._held.move_to_end(name)
            while len(self._held) > _HELD_MAX:
                self._held.popitem(last=False)
        return held.content[offset - held.start : offset - held.start + length]

    async def _read(self, name: str, offset: int, length: int) -> _Stretch:
        expected, end = self._expected.get(name, {}), offset + length
        while end in expected and end + expected[end] - offset <= _AHEAD_MAX:
            end += expected[end]
        if end > offset + length:
            try:
                content = await self._store.read_range(name, offset=offset, length=end - offset)
                return _Stretch(offset, content)
            except CorruptionError:
                # Which part of it is lost shows when that is read by itself.
                pass
        content = await self._store.read_range(name, offset=offset, length=length)
        return _Stretch(offset, content)
