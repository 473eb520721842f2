"""What every file system looks like to whoever browses it."""

import enum
import stat
from collections.abc import AsyncIterator, Awaitable, Iterable
from typing import Final, NamedTuple, Protocol

import msgspec

from reference_engine.items.disk_view import Window
from reference_engine.items.errors import TreeDamagedError
from reference_engine.model.units import MIB

PIECE_MAX: Final = 1 * MIB
"""So much of a file is in memory at once."""

DIRECTORY_MAX: Final = 256 * MIB
"""No directory is larger; ext4's own limit is 2 GiB, of which nobody has seen the half."""


class ItemKind(enum.Enum):
    """What an item is."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"
    """A symbolic link or a junction: it has a target, and nobody follows it."""

    OTHER = "other"
    """A device, a socket, a pipe."""


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """A stream that an item has beside its content."""

    name: str
    size: int


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One name in a directory, and what it stands for.

    Names that are no text have their odd bytes as surrogates, as Python's file functions have.
    """

    name: str
    kind: ItemKind
    number: int
    """Two names of one file have the same."""

    size: int = 0
    modified_ns: int | None = None
    """Since 1970. FAT knows only local time, which is taken for UTC."""

    links: int = 1
    target: str = ""
    streams: tuple[Stream, ...] = ()
    note: str = ""
    """What else is worth saying, such as `junction`."""

    unsupported: str = ""
    """Why its content cannot be had, by the name of what is not supported."""

    damaged: str = ""
    """Why it cannot be read, where the file system contradicts itself."""


class Run(NamedTuple):
    """Bytes of a file that lie together; `at` is None where nothing is stored: zeros."""

    offset: int
    length: int
    at: int | None


class Piece(NamedTuple):
    """Some bytes of a file; what no piece covers is zeros."""

    offset: int
    content: bytes


class FileTree(Protocol):
    """A file system that was recognised and can be read."""

    name: str
    """What people call it."""

    label: str
    """The volume's label; empty if it has none."""

    unrest: str
    """Why newer changes may be missing here; empty if it was at rest."""

    is_windows: bool
    r"""Whether names differ by more than case, and `\\` separates them too."""

    async def root(self) -> Item:
        """Return the root directory.

        Raises:
            TreeDamagedError: it cannot be read.
        """

    async def entries(self, directory: Item, /) -> list[Item]:
        """Return everything in a directory, in its order, without itself and the one above.

        Raises:
            TreeDamagedError: the directory is not whole.
            TreeUnsupportedError: its names cannot be read here.
        """

    def pieces(self, item: Item, stream: str, /) -> AsyncIterator[Piece]:
        """Yield what an item holds, ascending; `stream`: which one of it, empty for its content.

        Raises:
            TreeDamagedError: where it lies cannot be told.
            TreeUnsupportedError: it is stored in a way that is not known here.
        """


async def pieces_of_runs(
    window: Window, runs: Iterable[Run], /, *, size: int
) -> AsyncIterator[Piece]:
    """Yield the bytes of runs that ascend, as far as the file goes, a piece at a time."""
    for run in runs:
        if run.at is None:
            continue
        end = min(run.length, size - run.offset)
        for done in range(0, end, PIECE_MAX):
            length = min(PIECE_MAX, end - done)
            yield Piece(run.offset + done, await window.read(run.at + done, length))


def checked_runs(runs: Iterable[Run], /, *, room: int) -> list[Run]:
    """Return the runs, neighbours joined; `room`: what the volume has, more cannot be stored.

    Raises:
        TreeDamagedError: they overlap, lie outside, or are more than fits.
    """
    joined: list[Run] = []
    end = stored = 0
    for run in runs:
        if run.offset < end or run.length <= 0:
            raise TreeDamagedError("parts of a file overlap")
        end = run.offset + run.length
        if run.at is not None:
            stored += run.length
            if run.at < 0 or run.at + run.length > room or stored > room:
                raise TreeDamagedError("a file lies outside of its volume")
        last = joined[-1] if joined else None
        if (
            last is not None
            and last.offset + last.length == run.offset
            and (
                (last.at is None and run.at is None)
                or (last.at is not None and last.at + last.length == run.at)
            )
        ):
            joined[-1] = Run(last.offset, last.length + run.length, last.at)
        else:
            joined.append(run)
    return joined


async def directory_content(window: Window, runs: list[Run], /, *, size: int) -> bytes:
    """Return all that a directory holds.

    Raises:
        TreeDamagedError: no directory is that large.
    """
    if size > DIRECTORY_MAX:
        raise TreeDamagedError(f"a directory of {size} bytes")
    pieces = pieces_of_runs(window, runs, size=size)
    return await content_of(pieces, size=size, limit=DIRECTORY_MAX)


async def item_or_damage(name: str, number: int, item: Awaitable[Item], /) -> Item:
    """Return an item, or what stands for it in its directory where it cannot be read."""
    try:
        return await item
    except TreeDamagedError as error:
        return Item(name=name, kind=ItemKind.OTHER, number=number, damaged=error.cause)


def special_in_words(mode: int, /) -> str:
    """Return what something is that is no file, directory or link, by its mode of POSIX."""
    return {stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}.get(stat.S_IFMT(mode), "device")


async def content_of(pieces: AsyncIterator[Piece], /, *, size: int, limit: int) -> bytes:
    """Return the whole of something small.

    Raises:
        TreeDamagedError: it is larger than the limit.
    """
    if size > limit:
        raise TreeDamagedError(f"{size} bytes where {limit} are the most")
    content = bytearray(size)
    async for piece in pieces:
        content[piece.offset : piece.offset + len(piece.content)] = piece.content
    return bytes(content[:size])
