"""Finding content that is stored already, but lies elsewhere within its blocks.

Blocks have fixed places on a disk, so two machines that were installed one by one hold the same
files at other offsets, and hardly a block of one equals a block of the other. But files begin at
multiples of 4 KiB, and neighbours of a file lie side by side in a frame: what fills a block here is
found there, whole, at some multiple of a piece. A few pieces, chosen by their content, are the
anchors by which such a place is found; what lies there is compared byte for byte before anything
refers to it. Not finding one costs space only.

Measured: two disks that share a quarter of their 4 KiB pieces, each file by itself, share 0.1 % of
their blocks; 20 % of the blocks of one lie at some place within a frame of the other.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from reference_engine.model.errors import CorruptionError, TransientError
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Executor
from reference_engine.repository.block_map import DIGEST_SIZE, PIECES, Digests, NameTable, Places
from reference_engine.repository.codec import ANCHORS
from reference_engine.repository.dedup import KnownBlocks
from reference_engine.repository.domain_names import only_of
from reference_engine.repository.fetching import Frame
from reference_engine.repository.pack import unpack
from reference_engine.repository.portions import batches, read_portions

_ONE_IN: Final = 5
"""One piece in 2^5 is an anchor: one for 128 KiB, 16 bytes of memory for a block."""

_SAMPLES: Final = 8
"""Words of a piece that decide whether it is one. Most of its bytes are not even looked at."""

_SHORTEST: Final = 8 * _SAMPLES
_FACTORS: Final = np.array(
    [
        0x23D98775F23554BD,
        0x3B06DAFAA17D654F,
        0x0F9482C9728F1939,
        0x42E4D4999FE86D4F,
        0x345FA1631EEBC03F,
        0x092B7C142C118193,
        0x0CAAF0A6046824A5,
        0x7E3EB275D4CD8C9B,
    ],
    np.uint64,
)
"""Odd numbers, drawn at random once: others would choose other pieces than what is stored."""

_FRAMES_KEPT: Final = 6
"""Frames in memory, a megabyte each."""

_KNOWN_MAX: Final = 1 << 21
"""Anchors of 256 GiB of different blocks, 64 MiB of memory."""

_FETCHED_FREELY: Final = 64
"""So many frames are fetched before it is asked whether they were worth it."""

Flags = npt.NDArray[np.bool_]
Spot = tuple[Frame, int]
"""A frame, and an offset inside what it holds."""


class Anchors(NamedTuple):
    """Chosen pieces of a batch of blocks: of which block, the how manieth, and their digests."""

    blocks: npt.NDArray[np.int64]
    pieces: npt.NDArray[np.int64]
    digests: Digests


def anchors_of(key: bytes, view: memoryview, chosen: Flags, /, *, block_size: int) -> Anchors:
    """Return the anchors in the chosen blocks of `view`, at most one for each.

    All chosen blocks are whole. Equal pieces are anchors wherever they lie. Blocks that are too
    small for it have none.
    """
    size = block_size // PIECES
    at = np.flatnonzero(chosen) if size % _SHORTEST == 0 else np.zeros(0, np.int64)
    if not len(at):
        return Anchors(at, at, np.zeros((0, DIGEST_SIZE), np.uint8))
    count = len(view) // block_size
    words = np.frombuffer(view, np.uint64, count * block_size // 8).reshape(count, PIECES, -1)
    sample = words[at, :, :: words.shape[2] // _SAMPLES]
    mixed = ((sample ^ (sample >> np.uint64(32))) * _FACTORS).sum(axis=2, dtype=np.uint64)
    # Pieces of one repeated word are everywhere and lead nowhere.
    telling = (sample != sample[:, :, :1]).any(axis=2)
    is_anchor = ((mixed >> np.uint64(64 - _ONE_IN)) == 0) & telling
    which = np.flatnonzero(is_anchor.any(axis=1))
    pieces = is_anchor[which].argmax(axis=1)
    blocks = at[which]
    raw = [
        blake3(view[start : start + size], key=key).digest(length=DIGEST_SIZE)
        for start in (blocks * block_size + pieces * size).tolist()
    ]
    digests = np.frombuffer(b"".join(raw), np.uint8).reshape(-1, DIGEST_SIZE)
    return Anchors(blocks, pieces, digests)


class _Batch(NamedTuple):
    view: memoryview
    wanted: Flags
    placed: dict[int, Spot]


class ShiftedBlocks:
    """Looks for blocks at any place within the frames of other sessions."""

    def __init__(
        self,
        store: BlobStore,
        names: NameTable,
        key: bytes,
        /,
        *,
        block_size: int,
        executor: Executor,
        usable: Callable[[Places], Flags],
        domain: str,
    ) -> None:
        """`usable` says of places in the domain whether new points may refer to their frames."""
        self._domain = domain
        self._store, self._names, self._key = store, names, key
        self._block_size, self._executor, self._usable = block_size, executor, usable
        self._known: KnownBlocks | None = None
        self._frames: dict[Frame, bytes] = {}
        self._next: Spot | None = None
        """Behind the block that was found last: where its file may go on."""

        self._fetched = self._found = 0

    async def find(self, view: memoryview, wanted: Flags, /) -> tuple[Flags, Places]:
        """Return which of the wanted blocks, all of them whole, stand somewhere already, and where.

        What is returned was compared byte for byte.
        """
        batch = _Batch(view, wanted, {})
        known = await self._all_known()
        # Where frames do not bring a block each, storing anew is cheaper than looking.
        if len(known) and (self._fetched < _FETCHED_FREELY or self._fetched < self._found):
            hints = await self._hints(view, wanted)
            there, size = range(len(wanted)), self._block_size
            self._next = self._follow(batch, there, size, hints=hints, spot=self._next)
            self._follow(batch, reversed(there), -size, hints={}, spot=None)
            self._found += len(batch.placed)
        found = np.zeros(len(wanted), np.bool_)
        places = np.zeros((len(wanted), 4), np.uint32)
        for index, (frame, inside) in batch.placed.items():
            found[index], places[index] = True, (*frame, inside)
        return found, places

    def anchored(
        self, view: memoryview, stored: Flags, places: Places, /
    ) -> tuple[Digests, Places]:
        """Return what later sessions find the stored blocks by, given where those stand."""
        blocks, pieces, digests = anchors_of(self._key, view, stored, block_size=self._block_size)
        rows = places[blocks]
        rows[:, 3] += (pieces * (self._block_size // PIECES)).astype(np.uint32)
        return digests, rows

    def _follow(
        self,
        batch: _Batch,
        order: Iterable[int],
        step: int,
        /,
        *,
        hints: Mapping[int, Spot],
        spot: Spot | None,
    ) -> Spot | None:
        """Place blocks where hints say, or `step` from the one before; return where the next is."""
        for index in order:
            if index not in batch.placed and batch.wanted[index]:
                for guess in (hints.get(index), spot):
                    if guess is not None and self._stands(batch.view, index, guess):
                        batch.placed[index] = guess
                        break
            spot = None
            if index in batch.placed:
                frame, inside = batch.placed[index]
                spot = (frame, inside + step)
        return spot

    def _stands(self, view: memoryview, index: int, spot: Spot) -> bool:
        content, inside, size = self._frames.get(spot[0], b""), spot[1], self._block_size
        return (
            0 <= inside <= len(content) - size
            and content[inside : inside + size] == view[index * size : (index + 1) * size].tobytes()
        )

    async def _hints(self, view: memoryview, wanted: Flags) -> dict[int, Spot]:
        """Return where anchors say that blocks stand, with the frames of most of them fetched."""
        size = self._block_size
        blocks, pieces, digests = anchors_of(self._key, view, wanted, block_size=size)
        found, places = (await self._all_known()).find(digests)
        found &= self._usable(places)
        inside = places[:, 3].astype(np.int64) - pieces * (size // PIECES)
        hints: dict[int, Spot] = {}
        for at in np.flatnonzero(found & (inside >= 0)).tolist():
            pack, offset, stored, _ = places[at].tolist()
            hints[int(blocks[at])] = ((pack, offset, stored), int(inside[at]))
        await self._fetch(Counter(frame for frame, _ in hints.values()))
        return hints

    async def _all_known(self) -> KnownBlocks:
        """Return the anchors that other sessions left, read when first asked for."""
        if self._known is None:
            self._known = KnownBlocks()
            for names in batches(only_of(self._domain, await self._store.names(ANCHORS))):
                for portion in await read_portions(
                    self._store, self._key, names, self._names, executor=self._executor
                ):
                    if len(self._known) < _KNOWN_MAX:
                        self._known.learn(portion.digests, portion.places)
        return self._known

    async def _fetch(self, asked: Counter[Frame]) -> None:
        """Have the frames that are asked for most often in memory, beside the ones that are."""
        missing = [each for each, _ in asked.most_common(_FRAMES_KEPT) if each not in self._frames]

        async def fetched(frame: Frame) -> bytes:
            pack, offset, stored = frame
            try:
                name = self._names.name(pack)
                return unpack(await self._store.read_range(name, offset=offset, length=stored))
            except (TransientError, CorruptionError, ValueError):
                return b""  # then its blocks are stored anew

        contents = await self._executor.ask_all(
            [lambda frame=frame: fetched(frame) for frame in missing]  # type: ignore[misc]
        )
        self._fetched += len(missing)
        for frame, content in zip(missing, contents, strict=True):
            self._frames[frame] = content
        # The newest stay: a file goes on from one batch to the next.
        while len(self._frames) > _FRAMES_KEPT:
            del self._frames[next(iter(self._frames))]
