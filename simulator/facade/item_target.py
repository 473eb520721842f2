"""The `ItemTarget` port over a folder that the simulated administrator looks into afterwards."""

import msgspec

from reference_engine.model.units import MIB
from reference_engine.ports.item_target import ItemRefusedError, ItemTarget, Path

_LARGEST = 256 * MIB


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What lies in the folder under one name."""

    kind: str
    content: bytes = b""
    modified_ns: int | None = None


class ItemTargetFacade(ItemTarget):
    """A folder in memory; what is in it has a name as soon as it is whole."""

    def __init__(self) -> None:
        self.taken: dict[Path, Taken] = {}
        self._open: dict[int, tuple[Path, bytearray]] = {}
        self._begun = 0

    @property
    def unfinished(self) -> int:
        """How many files were begun, and neither finished nor abandoned."""
        return len(self._open)

    async def directory(self, path: Path, /) -> None:
        """Have a directory there."""
        self._look(path)
        if self.taken.setdefault(path, Taken(kind="directory")).kind != "directory":
            raise ItemRefusedError("/".join(path), "something else has its name")

    async def begin(self, path: Path, /, *, size: int) -> int:
        """Return the number of a new file of so many zeros."""
        self._free(path)
        if size > _LARGEST:
            raise ItemRefusedError("/".join(path), "its name or size cannot be had here")
        self._begun += 1
        self._open[self._begun] = (path, bytearray(size))
        return self._begun

    async def write(self, number: int, offset: int, content: bytes, /) -> None:
        """Write into a file that was begun."""
        _, held = self._open[number]
        if offset + len(content) > len(held):
            held.extend(bytes(offset + len(content) - len(held)))
        held[offset : offset + len(content)] = content

    async def finish(self, number: int, /, *, modified_ns: int | None) -> None:
        """Give a file its name."""
        path, held = self._open.pop(number)
        self._free(path)
        self.taken[path] = Taken(kind="file", content=bytes(held), modified_ns=modified_ns)

    async def abandon(self, number: int, /) -> None:
        """Leave nothing of a file that was begun."""
        self._open.pop(number, None)

    async def link(self, path: Path, target: str, /, *, modified_ns: int | None) -> None:
        """Have a symbolic link there."""
        self._free(path)
        content = target.encode("utf-8", "surrogateescape")
        self.taken[path] = Taken(kind="link", content=content, modified_ns=modified_ns)

    async def same(self, path: Path, first: Path, /) -> None:
        """Have another name of a file that was finished."""
        self._free(path)
        self.taken[path] = self.taken[first]

    async def settle(self, path: Path, /, *, modified_ns: int | None) -> None:
        """Give a directory its time."""
        self.taken[path] = msgspec.structs.replace(self.taken[path], modified_ns=modified_ns)

    def _look(self, path: Path) -> None:
        for name in path:
            if name in {"", ".", ".."} or "/" in name or "\0" in name:
                raise ItemRefusedError("/".join(path), f"{name!r} cannot be a name here")
        for length in range(1, len(path)):
            above = self.taken.get(path[:length])
            if above is None or above.kind != "directory":
                raise ItemRefusedError("/".join(path), f"{path[length - 1]} is no directory")

    def _free(self, path: Path) -> None:
        self._look(path)
        if path in self.taken:
            raise ItemRefusedError("/".join(path), "it exists already")
