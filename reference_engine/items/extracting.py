"""Taking items out: exact and whole, or named among what is missing."""

import enum
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec

from reference_engine.items.browsing import Located, joined, walk
from reference_engine.items.errors import TreeDamagedError, TreeUnsupportedError
from reference_engine.items.tree import FileTree, ItemKind, Piece
from reference_engine.model.errors import CorruptionError
from reference_engine.ports.item_target import ItemRefusedError, ItemTarget, Path

_SPECIAL: Final = "is a {}, which holds nothing"

Progress = Callable[[int], None]
"""Takes how many bytes were done since the last call."""


class Streams(enum.Enum):
    """What becomes of streams."""

    LEFT_OUT = "left-out"
    BESIDE = "beside"
    """Files of their own: `NAME:STREAM`."""


class Missed(msgspec.Struct, frozen=True, kw_only=True):
    """An item that was not taken out, and why."""

    path: str
    cause: str
    is_damage: bool = False


class Extraction:
    """One call's work: some items of one tree into one target."""

    def __init__(
        self, tree: FileTree, target: ItemTarget, /, *, streams: Streams, progress: Progress
    ) -> None:
        self._tree, self._target, self._progress = tree, target, progress
        self._streams = streams
        self._first: dict[int, Path] = {}
        self.missed: list[Missed] = []
        self.files = self.directories = self.links = self.bytes = self.streams_left = 0

    async def take(self, start: Located, /) -> None:
        """Take an item with everything below it; the root's content goes into the target itself.

        Raises:
            OperationFailedError: nothing more can be written.
        """
        above = len(start.path) - 1 if start.path else 0
        directories: list[tuple[Path, int | None]] = []
        async for each in walk(self._tree, start):
            path = each.path[above:]
            try:
                await self._one(each, path)
                if each.item.kind is ItemKind.DIRECTORY:
                    directories.append((path, each.item.modified_ns))
            except (TreeUnsupportedError, ItemRefusedError) as error:
                cause = error.what if isinstance(error, TreeUnsupportedError) else error.cause
                self._miss(each, cause)
            except TreeDamagedError as error:
                self._miss(each, error.cause, is_damage=True)
            except CorruptionError as error:
                self._miss(each, str(error), is_damage=True)
        for path, modified in reversed(directories):
            if path:
                await self._target.settle(path, modified_ns=modified)

    def _miss(self, each: Located, cause: str, *, is_damage: bool = False) -> None:
        self.missed.append(Missed(path=joined(each.path), cause=cause, is_damage=is_damage))

    async def _one(self, each: Located, path: Path) -> None:
        item = each.item
        if item.kind is ItemKind.DIRECTORY:
            if path:
                await self._target.directory(path)
                self.directories += 1
            # It is there, and what should be in it is missing.
            if item.damaged:
                raise TreeDamagedError(item.damaged)
            if item.unsupported:
                raise TreeUnsupportedError(item.unsupported)
        elif item.damaged:
            raise TreeDamagedError(item.damaged)
        elif item.unsupported:
            raise TreeUnsupportedError(item.unsupported)
        elif item.kind is ItemKind.LINK:
            await self._target.link(path, item.target, modified_ns=item.modified_ns)
            self.links += 1
        elif item.kind is ItemKind.OTHER:
            raise TreeUnsupportedError(_SPECIAL.format(item.note))
        elif item.number in self._first and item.links > 1:
            await self._again(each, path)
            self.files += 1
        else:
            await self._file(each, path, "", item.size)
            if item.links > 1:
                self._first[item.number] = path
            self.files += 1
        if self._streams is Streams.LEFT_OUT:
            self.streams_left += len(item.streams)
            return
        for stream in item.streams:
            own = (*path[:-1], f"{path[-1]}:{stream.name}") if path else (f":{stream.name}",)
            await self._file(each, own, stream.name, stream.size)

    async def _again(self, each: Located, path: Path) -> None:
        """Have a second name of a file, or the file once more where it can have only one."""
        try:
            await self._target.same(path, self._first[each.item.number])
        except ItemRefusedError:
            await self._file(each, path, "", each.item.size)

    async def _file(self, each: Located, path: Path, stream: str, size: int) -> None:
        number = await self._target.begin(path, size=size)
        stored = 0
        try:
            async for piece in _checked(self._tree.pieces(each.item, stream), size=size):
                await self._target.write(number, piece.offset, piece.content)
                self._progress(len(piece.content))
                stored += len(piece.content)
            self._progress(size - stored)
            self.bytes += stored
            await self._target.finish(number, modified_ns=each.item.modified_ns)
        except BaseException:
            await self._target.abandon(number)
            raise


async def _checked(pieces: AsyncIterator[Piece], *, size: int) -> AsyncIterator[Piece]:
    """Yield pieces that ascend and lie inside the file."""
    end = 0
    async for piece in pieces:
        if piece.offset < end or piece.offset + len(piece.content) > size:
            raise TreeDamagedError("what it holds is not as long as it says")
        end = piece.offset + len(piece.content)
        yield piece
