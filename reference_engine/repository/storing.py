"""Hashing, finding, compressing: how the blocks of one run come into its packs."""

from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from reference_engine.model.errors import RefusedError, TransientError
from reference_engine.model.extents import EMPTY, ExtentSet
from reference_engine.model.units import ByteCount
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Executor
from reference_engine.repository.anchors import ShiftedBlocks
from reference_engine.repository.block_map import (
    DIGEST_SIZE,
    PAGE_BLOCKS,
    PIECES,
    BlockMap,
    Digests,
    Numbers,
    Places,
    may_be_overlaid,
    piece_masks,
)
from reference_engine.repository.codec import ANCHORS, DiskRoot
from reference_engine.repository.dedup import KnownBlocks
from reference_engine.repository.domain_names import domain_of_session
from reference_engine.repository.fetching import frame_keys
from reference_engine.repository.header import Header
from reference_engine.repository.history import History
from reference_engine.repository.index_writer import IndexWriter
from reference_engine.repository.known_index import KnownIndex
from reference_engine.repository.mending import (
    MENDS,
    Listed,
    contains,
    outstanding,
)
from reference_engine.repository.ordered import distinct
from reference_engine.repository.overlaid_blocks import OverlaidBlocks
from reference_engine.repository.pack import FRAME_SIZE, Level, PackWriter, compressor
from reference_engine.repository.pages import encode_segment
from reference_engine.repository.publish import publish_own

_HASHERS: Final = 2


class BlockBatch(NamedTuple):
    """Blocks of one disk with what has been found out about them."""

    numbers: Numbers
    view: memoryview
    digests: Digests
    zero: npt.NDArray[np.bool_]


class Draft:
    """One disk in the making: its map, and what of it was new to the repository."""

    def __init__(self, blocks: BlockMap, /, *, anew: bool) -> None:
        self.blocks = blocks
        self.anew = anew
        """Whether no point has the disk: most of what another disk holds would be found now."""

        self.fresh: list[npt.NDArray[np.int64]] = []
        """Bounds of what was new, in the order in which it came."""

    def rooted(self) -> DiskRoot:
        """Return the root of the map; its pages were handed on to be stored."""
        return DiskRoot(size=self.blocks.size, root=self.blocks.root)

    def sent(self) -> ExtentSet:
        """Return the bytes of the disk that were new to the repository."""
        if not self.fresh:
            return EMPTY
        return ExtentSet.of([(a, b) for a, b in np.concatenate(self.fresh).tolist()])


class BlockStorer:
    """Brings blocks and pieces of blocks into the packs of one session."""

    def __init__(
        self,
        store: BlobStore,
        header: Header,
        history: History,
        known: KnownIndex,
        /,
        *,
        session: str,
        executor: Executor,
        level: Level,
        borrow: Callable[[list[str]], None],
    ) -> None:
        names = known.packs
        self._store, self._history, self._names = store, history, names
        self._executor, self._borrow = executor, borrow
        self._index_of_all = known
        self._key, self._block_size = header.key, header.block_size
        self._piece = ByteCount(header.block_size // PIECES)
        self._session, self._domain = session, domain_of_session(session)
        self._compressor = compressor(level)
        self._is_index_known = False
        self._own = KnownBlocks()
        """Whole blocks of this run, which others may not know before they are durable."""

        self._index = IndexWriter(store, header.key, names, session=session)
        self._anchors = IndexWriter(store, header.key, names, session=session, kind=ANCHORS)
        self._shifted = ShiftedBlocks(
            store,
            names,
            header.key,
            block_size=header.block_size,
            executor=executor,
            usable=self._usable,
            domain=self._domain,
        )
        self._overlaid = OverlaidBlocks(store, header, names, executor=executor)
        self._zero_digests: dict[int, bytes] = {}
        self._lost: tuple[Listed, Digests] | None = None
        self._healed: list[tuple[Digests, Places]] = []
        self.packs = PackWriter(store, names, session=session)
        self.bytes_sent = 0

    async def place(
        self, draft: Draft, batch: BlockBatch, /, *, changed: ExtentSet | None
    ) -> npt.NDArray[np.bool_]:
        """Let the draft hold the blocks; return for each whether new bytes were stored.

        Given `changed`, the blocks are as the disk has them outside of it; else nothing that stands
        there is relied on before it was read back, where a tracker's word is in it.
        """
        numbers, view, digests, zero = batch
        blocks = draft.blocks
        standing = await blocks.standing(numbers)
        lost = standing.stored & await self.is_lost(standing.digests)
        same = standing.stored & equal(standing.digests, digests) & ~lost
        if changed is None:
            doubted = np.flatnonzero(same & (standing.overlaid != 0))
            if len(doubted):
                same[doubted] = ~await self._overlaid.wrong(blocks, numbers[doubted])
        await blocks.clear(numbers[zero & standing.stored])
        wanted = ~(zero | same)
        fresh = np.zeros(len(numbers), np.bool_)
        if wanted.any():
            masks = piece_masks(numbers, changed, piece=self._piece)
            whole = (numbers + 1) * self._block_size <= blocks.size
            overlay = wanted & whole & ~lost & may_be_overlaid(standing, masks)
            fresh |= await self.overlay(draft, numbers, view, digests, masks=masks, chosen=overlay)
            fresh |= await self.store_whole(draft, numbers, view, digests, wanted=wanted & ~overlay)
        return fresh

    async def overlay(
        self,
        draft: Draft,
        numbers: Numbers,
        view: memoryview,
        digests: Digests,
        /,
        *,
        masks: npt.NDArray[np.uint16],
        chosen: npt.NDArray[np.bool_],
    ) -> npt.NDArray[np.bool_]:
        """Store the changed pieces of the chosen blocks, and lay them over what is there."""
        if not chosen.any():
            return chosen
        at = np.flatnonzero(chosen)
        bits = (masks[at, None] >> np.arange(PIECES, dtype=np.uint16)) & 1
        which, piece = np.nonzero(bits)
        # The disk's last block, shorter than the others, is never among them.
        usable = len(view) // self._piece
        pieces = np.frombuffer(view, np.uint8, usable * self._piece).reshape(usable, -1)
        gathered = pieces[at[which] * PIECES + piece]
        places = await self._stored(memoryview(gathered.reshape(-1)), self._piece)
        keys = numbers[at][which] * PIECES + piece
        for number, part, inside in draft.blocks.spans(numbers[at]):
            page = await draft.blocks.page(number)
            first = number * PAGE_BLOCKS * PIECES
            low, high = np.searchsorted(keys, [first, first + PAGE_BLOCKS * PIECES])
            page.overlay(inside, digests[at[part]], keys[low:high] - first, places[low:high])
            draft.blocks.touch(number)
        self._note(draft, keys, self._piece)
        return chosen

    async def store_whole(
        self,
        draft: Draft,
        numbers: Numbers,
        view: memoryview,
        digests: Digests,
        /,
        *,
        wanted: npt.NDArray[np.bool_],
    ) -> npt.NDArray[np.bool_]:
        """Let the wanted blocks be whole: where they are stored already, or newly stored."""
        fresh = np.zeros(len(numbers), np.bool_)
        if not wanted.any():
            return fresh
        await self._know_index()
        await self._all_lost()
        found, places = await self._index_of_all.find(digests)
        found &= self._usable(places)
        self._rely_on(places[wanted & found])
        here, own_places = self._own.find(digests)
        places[here] = own_places[here]
        found |= here
        if draft.anew:
            whole = (numbers + 1) * self._block_size <= draft.blocks.size
            there, rows = await self._shifted.find(view, wanted & ~found & whole)
            self._rely_on(rows[there])
            places[there] = rows[there]
            found |= there
        first: dict[bytes, int] = {}
        unknown = np.flatnonzero(wanted & ~found).tolist()
        raw = digests.tobytes()
        own = {at: raw[at * DIGEST_SIZE : (at + 1) * DIGEST_SIZE] for at in unknown}
        fresh[[at for at, digest in own.items() if first.setdefault(digest, at) == at]] = True
        if fresh.any():
            at = np.flatnonzero(fresh)
            places[at] = await self._stored(_gathered(view, at, self._block_size), self._block_size)
            self._own.remember(digests[at], places[at])
            self._index.add(digests[at], places[at])
            if draft.anew:
                self._anchors.add(*self._shifted.anchored(view, fresh & whole, places))
            self._note(draft, numbers[at], self._block_size)
            for index in np.flatnonzero(wanted & ~found & ~fresh).tolist():
                places[index] = places[first[own[index]]]
        healed = wanted & await self.is_lost(digests)
        if healed.any():
            self._healed.append((digests[healed], places[healed]))
        for number, part, _ in draft.blocks.spans(numbers):
            page = await draft.blocks.page(number)
            ours = np.flatnonzero(wanted[part]) + part.start
            if len(ours):
                page.assign(numbers[ours] % PAGE_BLOCKS, digests[ours], places[ours])
                draft.blocks.touch(number)
        return fresh

    async def _stored(self, content: memoryview, each: int) -> Places:
        """Store `content` in frames; return the places of its parts of `each` bytes."""
        step = max(FRAME_SIZE // each, 1) * each
        parts = [content[at : at + step] for at in range(0, len(content), step)]
        frames = await self._executor.offload_all(
            [lambda part=part: self._compressor.compressed(part) for part in parts]  # type: ignore[misc]
        )
        rows = np.array(self.packs.add(frames), np.uint32)
        self.bytes_sent += len(content)
        starts = np.arange(0, len(content), each)
        return np.concatenate((rows[starts // step], (starts % step)[:, None]), axis=1).astype(
            np.uint32
        )

    def _note(self, draft: Draft, pieces: Numbers, size: ByteCount) -> None:
        extents = ExtentSet.of_pieces(pieces, piece=size, size=draft.blocks.size)
        draft.fresh.append(extents.bounds)

    async def _know_index(self) -> None:
        """Have the blocks that the repository had when this was first asked, and perhaps more."""
        if not self._is_index_known:
            await self._index_of_all.refresh()
            self._is_index_known = True

    def _usable(self, places: Places) -> npt.NDArray[np.bool_]:
        """Return which places new points may refer to."""
        assert self._lost is not None, "what is lost is looked up first"
        if not places[:, 0].any():
            # Mostly nothing was found: zeros are no places.
            return np.zeros(len(places), np.bool_)
        # Of a frame that has lost a block nobody knows what else will be readable.
        broken = np.isin(frame_keys(places), self._lost[0].frames(self._names))
        usable: npt.NDArray[np.bool_] = self._lasting(places) & ~broken
        return usable

    def _rely_on(self, places: Places) -> None:
        """Let the point need packs that other sessions wrote."""
        if len(places):
            self._borrow([self._names.name(number) for number in distinct(places[:, 0]).tolist()])

    def _lasting(self, places: Places) -> npt.NDArray[np.bool_]:
        """Return which places are in packs that are neither swept nor condemned."""
        packs = distinct(places[:, 0])
        lasting = [n and not self._history.is_doomed(self._names.name(n)) for n in packs.tolist()]
        kept: npt.NDArray[np.bool_] = np.array(lasting, np.bool_)[packs.searchsorted(places[:, 0])]
        return kept

    async def _all_lost(self) -> tuple[Listed, Digests]:
        if self._lost is None:
            self._lost = await outstanding(self._store, self._key, domain=self._domain)
        return self._lost

    async def is_lost(self, digests: Digests, /) -> npt.NDArray[np.bool_]:
        """Return for each digest whether its block was found damaged and not stored since."""
        _, missing = await self._all_lost()
        return contains(missing, digests)

    async def lost_blocks(self, blocks: BlockMap, /) -> ExtentSet:
        """Return which blocks of a disk were found damaged and not stored since."""
        _, missing = await self._all_lost()
        parts: list[Numbers] = [np.zeros(0, np.int64)]
        for number in blocks.pages() if len(missing) else ():
            page = await blocks.page(number)
            inside = page.numbers()
            hit = inside[contains(missing, page.digests[inside])]
            parts.append(hit + number * PAGE_BLOCKS)
        lost = np.concatenate(parts)
        return ExtentSet.of_pieces(lost, piece=self._block_size, size=blocks.size)

    async def digested(self, blocks: BlockMap, numbers: Numbers, view: memoryview) -> BlockBatch:
        """Return the blocks with each one's digest, and whether it is all zero."""
        tail = blocks.length(int(numbers[-1]))
        size, key = self._block_size, self._key
        assert view.nbytes == (len(numbers) - 1) * size + tail, view.nbytes
        assert len(view) == view.nbytes, "bytes, not items"

        def hashed(start: int, end: int) -> bytes:
            return b"".join(
                [
                    blake3(view[at : at + size], key=key).digest(length=DIGEST_SIZE)
                    for at in range(start, end, size)
                ]
            )

        step = -(-len(numbers) // _HASHERS) * size
        raw = await self._executor.offload_all(
            [
                lambda at=at: hashed(at, min(at + step, len(view)))  # type: ignore[misc]
                for at in range(0, len(view), step)
            ]
        )
        digests = np.frombuffer(b"".join(raw), np.uint8).reshape(-1, DIGEST_SIZE)
        zero = equal(digests, self._zero_digest(size))
        zero[-1] = bool((digests[-1] == self._zero_digest(tail)).all())
        return BlockBatch(numbers, view, digests, zero)

    def _zero_digest(self, length: int) -> Digests:
        if length not in self._zero_digests:
            content = blake3(bytes(length), key=self._key)
            self._zero_digests[length] = content.digest(length=DIGEST_SIZE)
        return np.frombuffer(self._zero_digests[length], np.uint8)

    async def publish_full(self) -> None:
        """Make every full pack durable, and let later runs find what is in them.

        Raises:
            TransientError, RefusedError: as `PackWriter.publish_full`.
        """
        await self.packs.publish_full()
        await self._index.publish_due(self.packs.durable)
        await self._anchors.publish_due(self.packs.durable)

    async def publish_index(self) -> None:
        """Let later runs find all that this one stored, once its packs are durable.

        What was lost before and is stored again mends older points. Nothing else depends on it, so
        a failure is nobody's concern: a repair finds it again.
        """
        if self._healed:
            digests = np.concatenate([digests for digests, _ in self._healed])
            places = np.concatenate([places for _, places in self._healed])
            content = encode_segment(self._key, digests, places, self._names)
            with suppress(TransientError, RefusedError):
                await publish_own(self._store, f"{MENDS}{self._session}", content)
        await self._index.publish_rest(self.packs.durable)
        await self._anchors.publish_rest(self.packs.durable)

    async def discard(self) -> None:
        """Delete the packs of this session, but those that later runs may have found."""
        await self.packs.discard(keep=self._index.spoken_of | self._anchors.spoken_of)


def _gathered(view: memoryview, at: Numbers, size: int) -> memoryview:
    """Return these parts of `view`, one after the other; neighbours are not copied."""
    if int(at[-1]) - int(at[0]) + 1 == len(at):
        return view[int(at[0]) * size : (int(at[-1]) + 1) * size]
    return memoryview(b"".join([view[n * size : (n + 1) * size] for n in at.tolist()]))


def equal(one: Digests, other: Digests, /) -> npt.NDArray[np.bool_]:
    """Return for each row whether both have the same digest there."""
    same: npt.NDArray[np.bool_] = (
        np.ascontiguousarray(one).view(np.uint64) == other.view(np.uint64)
    ).all(axis=1)
    return same
