"""Hashing, finding, compressing: how the blocks of one run come into its packs."""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from reference_engine.model.errors import RefusedError, TransientError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.units import ByteCount
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Executor
from reference_engine.repository.block_map import (
    DIGEST_SIZE,
    PAGE_BLOCKS,
    PIECES,
    BlockMap,
    Digests,
    NameTable,
    Numbers,
    Places,
)
from reference_engine.repository.codec import Header, RunOpenedEntry, index_name
from reference_engine.repository.dedup import KEYS_MAX, KnownBlocks
from reference_engine.repository.history import History
from reference_engine.repository.pack import FRAME_SIZE, Frames, Level, PackWriter
from reference_engine.repository.pages import decode_segment, encode_segment
from reference_engine.repository.publish import publish_own

_HASHERS: Final = 2


class Draft:
    """One disk in the making: its map, and what of it was new to the repository."""

    def __init__(self, blocks: BlockMap, /) -> None:
        self.blocks = blocks
        self.fresh: list[npt.NDArray[np.int64]] = []
        """Bounds of what was new, in the order in which it came."""


class BlockStorer:
    """Brings blocks and pieces of blocks into the packs of one session."""

    def __init__(
        self,
        store: BlobStore,
        header: Header,
        history: History,
        names: NameTable,
        /,
        *,
        session: str,
        executor: Executor,
        level: Level,
        borrow: Callable[[list[str]], None],
    ) -> None:
        self._store, self._history, self._names = store, history, names
        self._executor, self._borrow = executor, borrow
        self._key, self._block_size = header.key, header.block_size
        self._piece = ByteCount(header.block_size // PIECES)
        self._session = session
        self._frames = Frames(level)
        self._known: KnownBlocks | None = None
        self._added: list[tuple[Digests, Places]] = []
        self._zero_digests: dict[int, bytes] = {}
        self.packs = PackWriter(store, names, session=session)
        self.bytes_sent = 0

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
        known = await self._known_blocks()
        found, places = known.find(digests)
        packs = np.unique(places[wanted & found, 0])
        self._borrow([self._names.name(number) for number in packs.tolist()])
        first: dict[bytes, int] = {}
        for index in np.flatnonzero(wanted & ~found).tolist():
            fresh[index] = first.setdefault(digests[index].tobytes(), index) == index
        if fresh.any():
            at = np.flatnonzero(fresh)
            places[at] = await self._stored(_gathered(view, at, self._block_size), self._block_size)
            for index in at.tolist():
                known.remember(digests[index].tobytes(), tuple(places[index].tolist()))
            self._added.append((digests[at], places[at]))
            self._note(draft, numbers[at], self._block_size)
            for index in np.flatnonzero(wanted & ~found & ~fresh).tolist():
                places[index] = places[first[digests[index].tobytes()]]
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
            [lambda part=part: self._frames.compressed(part) for part in parts]  # type: ignore[misc]
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

    async def _known_blocks(self) -> KnownBlocks:
        """Return the blocks that the repository is known to have, read when first asked for."""
        if self._known is not None:
            return self._known
        known = KnownBlocks()
        sessions = [e.session for e in self._history.entries if isinstance(e, RunOpenedEntry)]
        present = {*await self._store.names("index/")}
        parts: list[tuple[Digests, Places]] = []
        count = 0
        for session in reversed(sessions):
            if index_name(session) not in present or count >= KEYS_MAX:
                continue
            content = await self._store.read(index_name(session))
            try:
                part = decode_segment(self._key, content or b"", self._names)
            except ValueError:
                # What is not found costs space only; `check` tells of the damage.
                continue
            kept = self._lasting(part[1])
            parts.append((part[0][kept], part[1][kept]))
            count += int(kept.sum())
        if count:
            known.learn(
                np.concatenate([digests for digests, _ in parts]),
                np.concatenate([places for _, places in parts]),
            )
        # Another disk's task may have been quicker.
        self._known = self._known or known
        return self._known

    def _lasting(self, places: Places) -> npt.NDArray[np.bool_]:
        """Return which places are in packs that are neither swept nor condemned."""
        packs, rows = np.unique(places[:, 0], return_inverse=True)
        lasting = [not self._history.is_doomed(self._names.name(n)) for n in packs.tolist()]
        kept: npt.NDArray[np.bool_] = np.array(lasting, np.bool_)[rows]
        return kept

    async def digests(
        self, blocks: BlockMap, numbers: Numbers, view: memoryview
    ) -> tuple[Digests, npt.NDArray[np.bool_]]:
        """Return each block's digest, and whether it is all zero."""
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
        zero: npt.NDArray[np.bool_] = (digests == self._zero_digest(size)).all(axis=1)
        zero[-1] = bool((digests[-1] == self._zero_digest(tail)).all())
        return digests, zero

    def _zero_digest(self, length: int) -> Digests:
        if length not in self._zero_digests:
            content = blake3(bytes(length), key=self._key)
            self._zero_digests[length] = content.digest(length=DIGEST_SIZE)
        return np.frombuffer(self._zero_digests[length], np.uint8)

    async def publish_index(self) -> None:
        """Let later runs find what this one stored; only now will it never be deleted.

        Nothing but space depends on it, so a failure is nobody's concern.
        """
        if not self._added:
            return
        digests = np.concatenate([digests for digests, _ in self._added])
        places = np.concatenate([places for _, places in self._added])
        content = encode_segment(self._key, digests, places, self._names)
        try:
            await publish_own(self._store, index_name(self._session), content)
        except (TransientError, RefusedError):
            return


def _gathered(view: memoryview, at: Numbers, size: int) -> memoryview:
    """Return these parts of `view`, one after the other; neighbours are not copied."""
    if int(at[-1]) - int(at[0]) + 1 == len(at):
        return view[int(at[0]) * size : (int(at[-1]) + 1) * size]
    return memoryview(b"".join([view[n * size : (n + 1) * size] for n in at.tolist()]))


def changed_pieces(
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


def equal(one: Digests, other: Digests, /) -> npt.NDArray[np.bool_]:
    """Return for each row whether both have the same digest there."""
    same: npt.NDArray[np.bool_] = (
        np.ascontiguousarray(one).view(np.uint64) == other.view(np.uint64)
    ).all(axis=1)
    return same
