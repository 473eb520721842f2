"""What has to be fetched to read a block, and from where."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from reference_engine.model.errors import CorruptionError, TransientError
from reference_engine.model.identity import RecoveryPointId
from reference_engine.model.units import KIB, MIB, ByteCount
from reference_engine.repository.block_map import (
    DIGEST_SIZE,
    PIECES,
    NameTable,
    Numbers,
    Page,
    PageRow,
    Places,
)
from reference_engine.repository.codec import copy_name
from reference_engine.repository.errors import ManifestDamagedError
from reference_engine.repository.pack import unpack
from reference_engine.repository.pages import decode_page
from reference_engine.repository.read_ahead import Ranges

_GAP_MAX: Final = 64 * KIB
"""Frames of one pack no further apart than this are fetched in one read."""

_READ_MAX: Final = 4 * MIB

Frame = tuple[int, int, int]
"""Pack number, offset in the pack, stored length."""

FrameKeys = npt.NDArray[np.uint64]
"""Frames as numbers: that of the pack in the upper half, the offset in the lower one."""

_HALF: Final = np.uint64(32)

Unread = str
"""Why a frame cannot be read."""


class Wanted(NamedTuple):
    """One block to read: its base and the pieces that lie over it."""

    number: int
    length: int
    digest: bytes
    base: Frame
    at: int
    pieces: tuple[tuple[int, Frame, int], ...]

    def frames(self) -> tuple[Frame, ...]:
        """Return the frames that it needs."""
        if not self.pieces:
            return (self.base,)
        return self.base, *(frame for _, frame, _ in self.pieces)


def frame_keys(places: Places, packs: npt.NDArray[np.uint64] | None = None, /) -> FrameKeys:
    """Return for each place one number that tells its frame from every other.

    Given `packs`, what it has at the number of a pack takes the place of that number.
    """
    numbers = places[:, 0].astype(np.uint64) if packs is None else packs[places[:, 0]]
    keys: FrameKeys = numbers << _HALF | places[:, 1].astype(np.uint64)
    return keys


def packs_of(keys: FrameKeys, /) -> npt.NDArray[np.int64]:
    """Return the number of each frame's pack."""
    return (keys >> _HALF).astype(np.int64)


class Batch(NamedTuple):
    """Blocks that are read together, and the frames that they need."""

    blocks: list[Wanted]
    frames: set[Frame]


async def load_page(
    store: Ranges,
    key: bytes,
    packs: NameTable,
    /,
    *,
    name: str,
    number: int,
    row: PageRow,
    of: RecoveryPointId | None,
) -> Page:
    """Return the page that `row` of the root speaks of, from object `name` or its copy, checked.

    Raises:
        ManifestDamagedError: neither can be read back as it was written.
    """
    damage: ManifestDamagedError | TransientError | None = None
    for each in (name, copy_name(name)):
        try:
            return await read_page(store, key, packs, name=each, row=row)
        except (CorruptionError, ValueError) as error:
            cause = f"page {number} in {name}: {error}"
            damage = damage or ManifestDamagedError(of or RecoveryPointId("?"), cause)
        except TransientError as error:
            # As long as one copy may be sound, nothing is known to be damaged.
            damage = error
    assert damage is not None, name
    raise damage


async def read_page(
    store: Ranges, key: bytes, packs: NameTable, /, *, name: str, row: PageRow
) -> Page:
    """Return the page that `row` of the root speaks of as object `name` has it.

    Raises:
        CorruptionError, ValueError: it cannot be read back as it was written.
    """
    content = await store.read_range(name, offset=row.offset, length=row.stored)
    return decode_page(key, content, packs, seal=row.seal)


def described(
    page: Page, start: int, inside: Numbers, /, *, size: ByteCount, block_size: ByteCount
) -> list[Wanted]:
    """Return these blocks of a page, which are no holes, with where they are.

    `start` is the page's first block, `size` the disk's.
    """
    if not len(inside):
        return []
    digests = page.digests[inside].tobytes()
    over = _pieces_over(page, inside)
    wanted: list[Wanted] = []
    at = 0
    for number, (pack, offset, stored, place) in zip(
        inside.tolist(), page.places[inside].tolist(), strict=True
    ):
        wanted.append(
            Wanted(
                start + number,
                min(block_size, size - (start + number) * block_size),
                digests[at : at + DIGEST_SIZE],
                (pack, offset, stored),
                place,
                over.get(number, ()),
            )
        )
        at += DIGEST_SIZE
    return wanted


def _pieces_over(page: Page, inside: Numbers) -> dict[int, tuple[tuple[int, Frame, int], ...]]:
    """Return the pieces that lie over those of these blocks that have any."""
    overlaid = inside[page.overlaid[inside] != 0]
    if not len(overlaid):
        return {}
    keys = page.piece_keys
    lows = keys.searchsorted(overlaid * PIECES)
    highs = keys.searchsorted((overlaid + 1) * PIECES)
    # Of a whole page's pieces a few blocks need few.
    first, last = int(lows[0]), int(highs[-1])
    pieces = [
        (piece, (pack, offset, stored), at)
        for piece, (pack, offset, stored, at) in zip(
            (keys[first:last] % PIECES).tolist(),
            page.piece_places[first:last].tolist(),
            strict=True,
        )
    ]
    return {
        number: tuple(pieces[low:high])
        for number, low, high in zip(
            overlaid.tolist(), (lows - first).tolist(), (highs - first).tolist(), strict=True
        )
    }


class Batches:
    """Gathers blocks into batches that need few frames at once."""

    def __init__(self, *, frames_max: int) -> None:
        self._frames_max = frames_max
        self._blocks: list[Wanted] = []
        self._frames: set[Frame] = set()

    def add(self, block: Wanted, /) -> Batch | None:
        """Take a block; return the batch before it, where it does not fit into that."""
        if not block.pieces and block.base in self._frames:
            # Most blocks share their frame with the one before.
            self._blocks.append(block)
            return None
        needed = self._frames.union(block.frames())
        full = self.taken() if self._blocks and len(needed) > self._frames_max else None
        self._blocks.append(block)
        self._frames.update(block.frames())
        return full

    def taken(self) -> Batch:
        """Return the batch as far as it is, perhaps empty, and begin the next one."""
        batch = Batch(self._blocks, self._frames)
        self._blocks, self._frames = [], set()
        return batch


def runs(frames: Sequence[Frame], /) -> list[list[Frame]]:
    """Join frames that lie close together in one pack."""
    found: list[list[Frame]] = []
    for frame in frames:
        if found:
            pack, offset, stored = found[-1][-1]
            near = frame[0] == pack and frame[1] - offset - stored <= _GAP_MAX
            if near and frame[1] + frame[2] - found[-1][0][1] <= _READ_MAX:
                found[-1].append(frame)
                continue
        found.append([frame])
    return found


def decoded(stored: bytes | memoryview | Unread, /) -> bytes | Unread:
    """Return what a frame holds, or why it cannot be read."""
    if isinstance(stored, str):
        return stored
    try:
        return unpack(stored)
    except ValueError as error:
        return str(error)
