"""Copying what pages use out of packs that are to go, into frames of other packs.

Whoever moves a block reads it, whole, as a restore does, and looks at its digest before a byte of
it is written anew: so nothing is copied that flipped at rest or on the way, and what cannot be read
back stays where it is, for a repair. What lies hidden below overlaid pieces is copied as zeros.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from reference_engine.model.units import ByteCount
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Executor
from reference_engine.repository.block_map import (
    DIGEST_SIZE,
    PAGE_BLOCKS,
    PIECES,
    Digests,
    NameTable,
    Numbers,
    Page,
    Places,
)
from reference_engine.repository.fetching import FrameKeys, Wanted, described, frame_keys
from reference_engine.repository.header import Header
from reference_engine.repository.ordered import absent, distinct
from reference_engine.repository.pack import FRAME_SIZE, Level, PackWriter, compressor
from reference_engine.repository.verified_blocks import VerifiedBlocks

_NOWHERE: Final = -1
_ALL: Final = (1 << PIECES) - 1
_PIECE_SHOWN: Final = 1 << PIECES
"""A piece is shown whole, as a kind of its own."""


class _Kind(NamedTuple):
    """What is compressed together: equal parts of equal use, so that the index tells the whole."""

    is_base: bool
    is_indexed: bool


_WHOLE: Final = _Kind(is_base=True, is_indexed=True)
_OVERLAID: Final = _Kind(is_base=True, is_indexed=False)
_PIECE: Final = _Kind(is_base=False, is_indexed=False)


class _Waiting(NamedTuple):
    """A page whose copies may have no places yet."""

    number: int
    page: Page
    rows: Numbers
    copies: Numbers
    piece_rows: Numbers
    piece_copies: Numbers


class MovedPage(NamedTuple):
    """A page as it is now, by the number that it was given in with."""

    number: int
    page: Page


class PageMover:
    """Gives every place in packs that are to go another one, page by page."""

    def __init__(
        self,
        store: BlobStore,
        header: Header,
        packs: NameTable,
        writer: PackWriter,
        /,
        *,
        leaving: tuple[FrameKeys, npt.NDArray[np.int64]],
        executor: Executor,
    ) -> None:
        """`leaving` has the frames that are to go, ascending, and how many pieces each has."""
        self._packs, self._writer, self._executor = packs, writer, executor
        self._frames, extents = leaving
        self._starts = np.concatenate((np.zeros(1, np.int64), np.cumsum(extents)))
        self._copy_of = np.full(int(self._starts[-1]), _NOWHERE, np.int32)
        self._block_size = header.block_size
        self._unit = header.block_size // PIECES
        self._blocks = VerifiedBlocks(store, header, packs, executor=executor)
        self._compressor = compressor(Level.DEFAULT)
        self._places: Places = np.zeros((1024, 4), np.uint32)
        self._right = np.zeros(1024, np.uint32)
        """For each copy of a base a bit for each piece of it that is right; else `_PIECE_SHOWN`."""

        self._count = 0
        self._open: dict[_Kind, list[tuple[int, bytes | bytearray]]] = {}
        self._filled: dict[_Kind, int] = {}
        self._waiting: list[_Waiting] = []
        self._indexed: list[tuple[int, bytes]] = []
        self.bytes_moved = 0
        """How much was copied, decompressed."""

        self.damaged: dict[str, None] = {}
        """Packs that have to stay: blocks in them cannot be read back."""

    async def take(
        self,
        number: int,
        page: Page,
        /,
        *,
        of: tuple[int, int],
        size: ByteCount,
    ) -> bool:
        """Take a page under a number; return whether it changes.

        `of` is the number of its disk, and of the page on it; `size` is the disk's.

        Raises:
            TransientError: the store failed.
            RefusedError: the store cannot be written to.
        """
        rows = page.numbers()
        slots, piece_slots = self._slots(page.places[rows]), self._slots(page.piece_places)
        shown = ~page.overlaid[rows].astype(np.int64) & _ALL
        if not (slots >= 0).any() and not (piece_slots >= 0).any():
            return False
        lacking = self._lacks(slots, shown)
        # One copy of a whole base serves every block of which it is a part, too.
        served = lacking & (shown != _ALL)
        if served.any():
            whole = np.sort(slots[lacking & (shown == _ALL)])
            served[served] = ~absent(slots[served], whole)
        owners = rows[lacking & ~served]
        piece_owners = page.piece_keys[self._lacks(piece_slots, _PIECE_SHOWN)] // PIECES
        needed = distinct(np.concatenate((owners, piece_owners)))
        start = of[1] * PAGE_BLOCKS
        where = np.full(PAGE_BLOCKS, _NOWHERE, np.int64)
        where[rows[~served]] = slots[~served]
        made = np.full(PAGE_BLOCKS, _NOWHERE, np.int64)
        async for block, content in self._blocks.contents(
            of, described(page, start, needed, size=size, block_size=self._block_size)
        ):
            if content is None:
                packs = [self._packs.name(frame[0]) for frame in block.frames()]
                self.damaged.update(dict.fromkeys(packs))
                continue
            inside = block.number - start
            low, high = np.searchsorted(page.piece_keys, [inside * PIECES, (inside + 1) * PIECES])
            slot, pieces_at = int(where[inside]), piece_slots[low:high].tolist()
            made[inside] = await self._copy(block, content, slot, pieces_at)
        going, pieces_going = slots >= 0, np.flatnonzero(piece_slots >= 0)
        # A base may have several copies, of which each shows what one block needs of it.
        own, latest = made[rows[going]], self._copied(slots[going], shown[going])
        self._waiting.append(
            _Waiting(
                number,
                page,
                rows[going],
                np.where(own >= 0, own, latest),
                pieces_going,
                self._copied(piece_slots[pieces_going], _PIECE_SHOWN),
            )
        )
        return True

    def _slots(self, places: Places) -> Numbers:
        """Return for each place its number among all that are to go; -1 where it stays."""
        if not len(self._frames) or not len(places):
            return np.full(len(places), _NOWHERE, np.int64)
        keys = frame_keys(places)
        row = np.minimum(self._frames.searchsorted(keys), len(self._frames) - 1)
        slot = self._starts[row] + places[:, 3] // self._unit
        going = (self._frames[row] == keys) & (slot < self._starts[row + 1])
        slot[~going] = _NOWHERE
        return slot

    def _copied(self, slots: Numbers, shown: Numbers | int) -> Numbers:
        """Return for each slot its copy, if it is of the same kind, and right where it is shown."""
        copies = self._copy_of[slots].astype(np.int64)
        right = self._right[copies].astype(np.int64)
        # A base's copy has no bit in common with a piece's, so neither is taken for the other.
        fits = (shown & ~right) == 0
        copies[(copies >= 0) & ~fits] = _NOWHERE
        return copies

    def _copy_at(self, slot: int, shown: int) -> int:
        """Return the copy of one slot, as `_copied` does."""
        copy = int(self._copy_of[slot])
        return _NOWHERE if copy >= 0 and shown & ~int(self._right[copy]) else copy

    def _lacks(self, slots: Numbers, shown: Numbers | int) -> npt.NDArray[np.bool_]:
        lacking = slots >= 0
        part = shown if isinstance(shown, int) else shown[lacking]
        lacking[lacking] = self._copied(slots[lacking], part) < 0
        return lacking

    async def _copy(
        self, block: Wanted, content: bytes, slot: int, piece_slots: Sequence[int]
    ) -> int:
        """Copy what of the block lies in packs that are to go, and was not copied yet.

        Return the copy of its base that fits it, or -1.
        """
        unit, shown = self._unit, _ALL
        for piece, _, _ in block.pieces:
            shown &= ~(1 << piece)
        copy = self._copy_at(slot, shown) if slot >= 0 else _NOWHERE
        if slot >= 0 and copy < 0:
            visible = bytearray(content)
            for piece, _, _ in block.pieces:
                visible[piece * unit : (piece + 1) * unit] = bytes(unit)
            copy = self._new(slot, shown)
            if not block.pieces:
                self._indexed.append((copy, block.digest))
            await self._put(_OVERLAID if block.pieces else _WHOLE, copy, visible)
        for (piece, _, _), at in zip(block.pieces, piece_slots, strict=True):
            if at >= 0 and self._copy_at(at, _PIECE_SHOWN) < 0:
                part = content[piece * unit : (piece + 1) * unit]
                await self._put(_PIECE, self._new(at, _PIECE_SHOWN), part)
        return copy

    def _new(self, slot: int, shown: int) -> int:
        copy = self._count
        self._count += 1
        if copy == len(self._right):
            self._right = np.concatenate((self._right, np.zeros_like(self._right)))
            self._places = np.concatenate((self._places, np.zeros_like(self._places)))
        self._copy_of[slot], self._right[copy] = copy, shown
        return copy

    async def _put(self, kind: _Kind, copy: int, content: bytes | bytearray) -> None:
        size = self._filled.get(kind, 0)
        if size and size + len(content) > FRAME_SIZE:
            await self._close(kind)
        self._open.setdefault(kind, []).append((copy, content))
        self._filled[kind] = self._filled.get(kind, 0) + len(content)
        self.bytes_moved += len(content)
        if kind.is_base and len(content) < self._unit * PIECES:
            # Nothing lies behind the short block of a disk's end: there, offsets are no multiples.
            await self._close(kind)

    async def _close(self, kind: _Kind) -> None:
        """Compress what is gathered, and give it its place."""
        parts = self._open.pop(kind, [])
        self._filled.pop(kind, None)
        if not parts:
            return
        content = b"".join([each for _, each in parts])
        [frame] = await self._executor.offload_all([lambda: self._compressor.compressed(content)])
        [place] = self._writer.add([frame])
        at = 0
        for copy, each in parts:
            self._places[copy] = (*place, at)
            at += len(each)
        await self._writer.publish_full()

    @property
    def waiting(self) -> int:
        """How many pages wait until `settle` gives them their places."""
        return len(self._waiting)

    async def settle(self) -> list[MovedPage]:
        """Return the pages taken since the last call, every one with its new places.

        Raises:
            TransientError, RefusedError: as `take`.
        """
        for kind in sorted(self._open):
            await self._close(kind)
        found: list[MovedPage] = []
        for number, page, rows, copies, piece_rows, piece_copies in self._waiting:
            known = copies >= 0
            page.places[rows[known]] = self._places[copies[known]]
            known = piece_copies >= 0
            page.piece_places[piece_rows[known]] = self._places[piece_copies[known]]
            found.append(MovedPage(number, page))
        self._waiting = []
        return found

    def indexed(self) -> tuple[Digests, Places]:
        """Return the whole blocks that were copied, which later runs may find; all is settled."""
        assert not self._open, "settle first"
        digests = np.frombuffer(b"".join([digest for _, digest in self._indexed]), np.uint8)
        copies = np.array([copy for copy, _ in self._indexed], np.int64)
        return digests.reshape(-1, DIGEST_SIZE), self._places[copies]
