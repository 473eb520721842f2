"""Where items go that are taken out of a point: a folder of an administrator's."""

from typing import Protocol

from reference_engine.model.errors import RefusedError

Path = tuple[str, ...]
"""Names, one below the other; each is any text that a stranger may have written."""


class ItemRefusedError(RefusedError):
    """The target cannot hold an item; others may be possible."""

    def __init__(self, path: str, cause: str, /) -> None:
        super().__init__(path, cause)
        self.path, self.cause = path, cause

    def __str__(self) -> str:
        return f"{self.path} was not written: {self.cause}"


class ItemTarget(Protocol):
    """A tree of files that grows.

    Nothing outside of it is ever written: a name is one name, and what is on the way to it has to
    be a directory and no link. Each call raises ItemRefusedError where the item cannot be had, and
    OperationFailedError where nothing more can be written at all.
    """

    async def directory(self, path: Path, /) -> None:
        """Have a directory there; one that is there already is fine."""

    async def begin(self, path: Path, /, *, size: int) -> int:
        """Return the number of a new file of so many zeros, which has no name yet."""

    async def write(self, number: int, offset: int, content: bytes, /) -> None:
        """Write into a file that was begun."""

    async def finish(self, number: int, /, *, modified_ns: int | None) -> None:
        """Have a file be durable, and give it its name."""

    async def abandon(self, number: int, /) -> None:
        """Leave nothing of a file that was begun."""

    async def link(self, path: Path, target: str, /, *, modified_ns: int | None) -> None:
        """Have a symbolic link there, whatever it points to, with a time of its own."""

    async def same(self, path: Path, first: Path, /) -> None:
        """Have another name of a file that was finished."""

    async def settle(self, path: Path, /, *, modified_ns: int | None) -> None:
        """Give a directory its time, once everything is in it."""
