"""Which stored block stands at which place of one disk: pages of a thousand blocks, and a root.

A page holds, for each block, the digest of its content and where its base lies, and for each
overlaid piece (a sixteenth of a block) where that piece lies. The root holds one row a page. Only
pages that are looked at are in memory, only pages that changed are written again.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from reference_engine.model.extents import EMPTY, ExtentSet
from reference_engine.model.units import ByteCount
from reference_engine.repository.ordered import absent, without

Digests = npt.NDArray[np.uint8]
"""Shape (n, 16): one keyed blake3 digest, cut to 16 bytes, for each block."""

Numbers = npt.NDArray[np.int64]
"""Ascending block numbers without repetition."""

Places = npt.NDArray[np.uint32]
"""Shape (n, 4): pack number, offset and stored length of a frame, offset inside what it holds."""

DIGEST_SIZE: Final = 16
PAGE_BLOCKS: Final = 1024
PIECES: Final = 16
"""A block's pieces."""

OVERLAID_MAX: Final = PIECES // 2
"""As many pieces of earlier runs may lie over a block before it is written anew."""
PAGES_CACHED: Final = 256
"""Pages of one disk that stay in memory: some 10 MiB for 16 GiB of disk."""


def piece_masks(
    numbers: Numbers, changed: ExtentSet | None, /, *, piece: ByteCount
) -> npt.NDArray[np.uint16]:
    """Return for each block a bit for each of its pieces that `changed` touches."""
    masks = np.zeros(len(numbers), np.uint16)
    if changed is not None and changed:
        pieces = changed.pieces(piece)
        at = np.searchsorted(numbers, pieces // PIECES)
        inside = at < len(numbers)
        at, pieces = at[inside], pieces[inside]
        ours = numbers[at] == pieces // PIECES
        bits = np.left_shift(1, pieces[ours] % PIECES).astype(np.uint16)
        np.bitwise_or.at(masks, at[ours], bits)
    return masks


class NameTable:
    """Object names by number, counted from 1; numbers never change."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, name: str, /) -> int:
        """Return the name's number, a new one where it has none."""
        number = self._numbers.get(name)
        if number is None:
            self._names.append(name)
            number = self._numbers[name] = len(self._names)
        return number

    def name(self, number: int, /) -> str:
        """Return the name of a number that `number` has returned."""
        return self._names[number - 1]

    def names(self) -> tuple[str, ...]:
        """Return every name, in the order of their numbers."""
        return tuple(self._names)


class Page:
    """The blocks of one page. Pack number 0 marks a hole: all zero."""

    __slots__ = ("digests", "overlaid", "piece_keys", "piece_places", "places")

    def __init__(self) -> None:
        self.digests: Digests = np.zeros((PAGE_BLOCKS, DIGEST_SIZE), np.uint8)
        self.places: Places = np.zeros((PAGE_BLOCKS, 4), np.uint32)
        self.overlaid: npt.NDArray[np.uint16] = np.zeros(PAGE_BLOCKS, np.uint16)
        """For each block a bit for each of its pieces that lies elsewhere than its base."""

        self.piece_keys: Numbers = np.empty(0, np.int64)
        """Ascending: block within the page times 16, plus the piece within the block."""

        self.piece_places: Places = np.empty((0, 4), np.uint32)

    def numbers(self) -> Numbers:
        """Return which of the page's blocks are no holes, counted within the page."""
        return self.places[:, 0].nonzero()[0]

    def assign(self, numbers: Numbers, digests: Digests, places: Places, /) -> None:
        """Let these blocks of the page be whole at `places`."""
        self._drop_pieces(numbers)
        self.digests[numbers] = digests
        self.places[numbers] = places

    def clear(self, numbers: Numbers, /) -> None:
        """Make holes of these blocks of the page."""
        self._drop_pieces(numbers)
        self.digests[numbers] = 0
        self.places[numbers] = 0

    def _drop_pieces(self, numbers: Numbers) -> None:
        if self.overlaid[numbers].any():
            kept = absent(self.piece_keys // PIECES, numbers)
            self.piece_keys, self.piece_places = self.piece_keys[kept], self.piece_places[kept]
            self.overlaid[numbers] = 0

    def overlay(self, numbers: Numbers, digests: Digests, keys: Numbers, places: Places, /) -> None:
        """Lay pieces over these blocks, whose digests change; earlier ones give way."""
        self.digests[numbers] = digests
        kept = absent(self.piece_keys, keys)
        joined = np.concatenate((self.piece_keys[kept], keys))
        order = np.argsort(joined, kind="stable")
        self.piece_keys = joined[order]
        self.piece_places = np.concatenate((self.piece_places[kept], places))[order]
        bits = np.left_shift(1, keys % PIECES).astype(np.uint16)
        np.bitwise_or.at(self.overlaid, keys // PIECES, bits)

    def digest(self, key: bytes, /) -> bytes:
        """Return one digest of the page's content; how it came about has no say."""
        numbers = self.numbers()
        content = blake3(b"page", key=key)
        content.update(numbers.astype("<u2").tobytes())
        content.update(self.digests[numbers].tobytes())
        return content.digest(length=DIGEST_SIZE)


class Root:
    """One row a page: its content's digest, and where its latest form is stored."""

    __slots__ = ("digests", "objects", "offsets", "seals", "stored")

    def __init__(self, count: int, /) -> None:
        self.digests: Digests = np.zeros((count, DIGEST_SIZE), np.uint8)
        self.seals: Digests = np.zeros((count, DIGEST_SIZE), np.uint8)
        self.objects: npt.NDArray[np.uint32] = np.zeros(count, np.uint32)
        """0 marks a page of holes only, or one that is in memory only."""

        self.offsets: npt.NDArray[np.uint32] = np.zeros(count, np.uint32)
        self.stored: npt.NDArray[np.uint32] = np.zeros(count, np.uint32)

    def resized(self, count: int, /) -> "Root":
        """Return a copy with another number of pages."""
        other = Root(count)
        common = min(count, len(self.objects))
        for name in Root.__slots__:
            getattr(other, name)[:common] = getattr(self, name)[:common]
        return other

    def close(self) -> None:
        """Let nobody change a row any more: the root has several readers."""
        for name in Root.__slots__:
            getattr(self, name).flags.writeable = False


class PageRow(NamedTuple):
    """Where one page is stored, and the seal over its stored bytes."""

    object_number: int
    offset: int
    stored: int
    seal: bytes


class Standing(NamedTuple):
    """What a disk holds so far at some blocks."""

    digests: Digests
    stored: npt.NDArray[np.bool_]
    overlaid: npt.NDArray[np.uint16]


def may_be_overlaid(standing: Standing, masks: npt.NDArray[np.uint16], /) -> npt.NDArray[np.bool_]:
    """Return for each block whether the pieces of its mask may be laid over what stands there.

    What one run lays over a block comes out of one or two frames, however much it is; only pieces
    of earlier runs have to be few.
    """
    older = np.bitwise_count(standing.overlaid & ~masks) < OVERLAID_MAX
    partly = (masks | standing.overlaid) != (1 << PIECES) - 1
    may: npt.NDArray[np.bool_] = standing.stored & (masks != 0) & older & partly
    return may


LoadPage = Callable[[int, PageRow], Awaitable[Page]]
"""Returns a page, checked, given its number and its row of the root."""

SavePage = Callable[[Page], PageRow]
"""Takes a changed page that has to leave memory, and returns where it will be."""


def _refuse(page: Page) -> PageRow:
    raise AssertionError(page)


class BlockMap:
    """The complete content of one disk by reference."""

    def __init__(
        self,
        size: ByteCount,
        /,
        *,
        block_size: ByteCount,
        key: bytes,
        load: LoadPage,
        save: SavePage = _refuse,
        root: Root | None = None,
    ) -> None:
        """Describe a disk of `size` bytes: what `root` says, or nothing but zeros."""
        assert size >= 0, size
        self.size, self.block_size = size, block_size
        self.count = -(-size // block_size)
        pages = -(-self.count // PAGE_BLOCKS)
        self.root = Root(pages) if root is None else root
        assert len(self.root.objects) == pages, (len(self.root.objects), pages)
        self._key, self._load, self._save = key, load, save
        self._pages: OrderedDict[int, Page] = OrderedDict()
        self._changed: set[int] = set()

    def length(self, number: int, /) -> int:
        """Return how many bytes this block holds: the disk's last one perhaps less."""
        assert 0 <= number < self.count, number
        return min(self.block_size, self.size - number * self.block_size)

    async def page(self, number: int, /) -> Page:
        """Return a page; whoever changes it says so with `touch` before awaiting anything."""
        held = self._pages.get(number)
        if held is None:
            row = self.row(number)
            loaded = Page() if row.object_number == 0 else await self._load(number, row)
            # Another task may have loaded it, and changed it, meanwhile.
            held = self._pages.setdefault(number, loaded)
            while len(self._pages) > PAGES_CACHED:
                self._evict(next(iter(self._pages)))
        self._pages.move_to_end(number)
        return held

    def row(self, number: int, /) -> PageRow:
        """Return where the page was stored last."""
        root = self.root
        return PageRow(
            int(root.objects[number]),
            int(root.offsets[number]),
            int(root.stored[number]),
            root.seals[number].tobytes(),
        )

    def forget(self, number: int, /) -> None:
        """Have the page read anew when it is asked for next."""
        assert number not in self._changed, number
        self._pages.pop(number, None)

    def relocate(self, root: Root, /) -> None:
        """Take the same content from where `root` says: a point that is only read was moved."""
        assert not self._changed, "only a stored map is relocated"
        assert np.array_equal(root.digests, self.root.digests), "another content"
        self.root = root
        self._pages.clear()

    def touch(self, number: int, /) -> None:
        """Note that the page was changed."""
        assert number in self._pages, number
        self._changed.add(number)

    def _evict(self, number: int) -> None:
        if number in self._changed:
            self._write(number)
        del self._pages[number]

    def _write(self, number: int) -> None:
        page, root = self._pages[number], self.root
        row = PageRow(0, 0, 0, bytes(DIGEST_SIZE))
        content = bytes(DIGEST_SIZE)
        if page.places[:, 0].any():
            row, content = self._save(page), page.digest(self._key)
        root.objects[number], root.offsets[number], root.stored[number] = row[:3]
        root.seals[number] = np.frombuffer(row.seal, np.uint8)
        root.digests[number] = np.frombuffer(content, np.uint8)
        self._changed.discard(number)

    def settle(self) -> None:
        """Hand every changed page on to be stored, so that the root is complete."""
        for number in sorted(self._changed):
            self._write(number)

    def root_digest(self) -> str:
        """Return one digest of the whole content: equal for equal content only.

        It covers the size, the block size, and the digest of every page that is not all zero.
        """
        digests = self.root.digests
        if self._changed:
            digests = digests.copy()
            for number in self._changed:
                page = self._pages[number]
                filled = bool(page.places[:, 0].any())
                content = page.digest(self._key) if filled else bytes(DIGEST_SIZE)
                digests[number] = np.frombuffer(content, np.uint8)
        pages = np.flatnonzero(digests.any(axis=1))
        root = blake3(b"root", key=self._key)
        root.update(np.array([self.size, self.block_size, len(pages)], "<u8").tobytes())
        root.update(pages.astype("<u8").tobytes())
        root.update(digests[pages].tobytes())
        return root.hexdigest()

    def spans(self, numbers: Numbers, /) -> Iterator[tuple[int, slice, Numbers]]:
        """Yield page by page: its number, which of `numbers` it has, and those within the page."""
        pages = numbers // PAGE_BLOCKS
        cuts = (pages[1:] != pages[:-1]).nonzero()[0] + 1
        starts, ends = [0, *cuts.tolist()], [*cuts.tolist(), len(numbers)]
        for start, end in zip(starts, ends, strict=True):
            if start < end:
                part = slice(start, end)
                yield int(pages[start]), part, numbers[part] % PAGE_BLOCKS

    async def standing(self, numbers: Numbers, /) -> Standing:
        """Return what stands at these blocks."""
        standing = Standing(
            digests=np.zeros((len(numbers), DIGEST_SIZE), np.uint8),
            stored=np.zeros(len(numbers), np.bool_),
            overlaid=np.zeros(len(numbers), np.uint16),
        )
        for number, part, inside in self.spans(numbers):
            page = await self.page(number)
            standing.digests[part] = page.digests[inside]
            standing.stored[part] = page.places[inside, 0] != 0
            standing.overlaid[part] = page.overlaid[inside]
        return standing

    async def clear(self, numbers: Numbers, /) -> None:
        """Make holes of these blocks."""
        for number, _, inside in self.spans(numbers):
            page = await self.page(number)
            page.clear(inside)
            self.touch(number)

    async def keep_only(self, extents: ExtentSet, /) -> None:
        """Make holes of the blocks that `extents` does not touch."""
        size = self.block_size
        for number in self.pages():
            start = number * PAGE_BLOCKS * size
            part = extents & ExtentSet.of([(start, start + PAGE_BLOCKS * size)])
            page = await self.page(number)
            gone = without(page.numbers(), part.pieces(size) % PAGE_BLOCKS)
            if len(gone):
                page.clear(gone)
                self.touch(number)

    def pages(self) -> tuple[int, ...]:
        """Return the numbers of the pages that hold anything, ascending."""
        return tuple(sorted({*np.flatnonzero(self.root.objects).tolist(), *self._changed}))

    async def allocated(self) -> ExtentSet:
        """Return every byte outside the holes."""
        parts: list[Numbers] = []
        for number in self.pages():
            page = await self.page(number)
            parts.append(page.numbers() + number * PAGE_BLOCKS)
        if not parts:
            return EMPTY
        return ExtentSet.of_pieces(np.concatenate(parts), piece=self.block_size, size=self.size)

    async def resized(self, size: ByteCount, /, *, save: SavePage) -> "BlockMap":
        """Return a map of another size with the same blocks where both have them.

        A block whose length differs between the two sizes still describes its old content; whoever
        asked writes it anew.
        """
        assert not self._changed, "only a stored map is inherited"
        count = -(-size // self.block_size)
        pages = -(-count // PAGE_BLOCKS)
        other = BlockMap(
            size,
            block_size=self.block_size,
            key=self._key,
            load=self._load,
            save=save,
            root=self.root.resized(pages),
        )
        inside = other.count % PAGE_BLOCKS
        if other.count < self.count and inside:
            last = pages - 1
            page = await other.page(last)
            page.clear(np.arange(inside, PAGE_BLOCKS))
            other.touch(last)
        return other
