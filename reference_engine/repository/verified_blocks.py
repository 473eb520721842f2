"""Blocks of one version of a page after the other, each put together, and seen to be right.

From one version of a page to the next most of a block stays: what was read for the one serves for
the other, and only pieces that differ are fetched. The digest is that of the whole block each time.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple

from blake3 import blake3

from reference_engine.model.units import MIB, ByteCount
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Executor
from reference_engine.repository.block_map import DIGEST_SIZE, PIECES, NameTable
from reference_engine.repository.fetching import Frame, Wanted
from reference_engine.repository.frames import Frames
from reference_engine.repository.header import Header
from reference_engine.repository.mending import REREADS

_FRAMES_MAX: Final = ByteCount(32 * MIB)
_BLOCKS_MAX: Final = ByteCount(64 * MIB)
"""Blocks of the page that was read last: all of them, with blocks of 64 KiB."""

_BATCH_FRAMES: Final = 16

Piece = tuple[int, Frame, int]
"""Which one of its block, its frame, offset inside what that holds."""


class _Known(NamedTuple):
    """A block as it was put together last."""

    block: Wanted
    content: bytes


class _Plan(NamedTuple):
    """How a block is put together: over what, and from which frames."""

    block: Wanted
    over: bytes | None
    """An earlier form of it; None: its base."""

    pieces: Sequence[Piece]

    @property
    def frames(self) -> list[Frame]:
        base = [self.block.base] if self.over is None else []
        return [*base, *(frame for _, frame, _ in self.pieces)]


class VerifiedBlocks:
    """Reads blocks for those who copy them."""

    def __init__(
        self, store: BlobStore, header: Header, packs: NameTable, /, *, executor: Executor
    ) -> None:
        self._key, self._piece = header.key, header.block_size // PIECES
        self._executor = executor
        self._frames = Frames(store, packs, executor=executor, limit=_FRAMES_MAX)
        self._known: OrderedDict[int, _Known] = OrderedDict()
        self._held = 0
        self._page: object = None

    async def contents(
        self, page: object, wanted: Sequence[Wanted], /
    ) -> AsyncIterator[tuple[Wanted, bytes | None]]:
        """Yield each block with its content, or None where it cannot be read back.

        `page` tells which page of which disk this is a version of.

        Raises:
            TransientError: the store failed, which says nothing about the blocks.
        """
        if page != self._page:
            self._page, self._known, self._held = page, OrderedDict(), 0
        for batch in self._batches(wanted):
            found = await self._read(batch)
            for _ in range(REREADS):
                failed = [
                    plan.block
                    for plan, content in zip(batch, found, strict=True)
                    if content is None
                ]
                if not failed:
                    break
                # Memory and cables flip bits too: nothing that was read is trusted.
                for each in failed:
                    self._forget(each.number)
                    self._frames.forget(each.frames())
                again = [_Plan(each, None, each.pieces) for each in failed]
                mended = dict(
                    zip((each.number for each in failed), await self._read(again), strict=True)
                )
                found = [
                    mended[plan.block.number] if content is None else content
                    for plan, content in zip(batch, found, strict=True)
                ]
            self._frames.trim()
            for plan, content in zip(batch, found, strict=True):
                if content is not None:
                    self._remember(plan.block, content)
                yield plan.block, content

    def _batches(self, wanted: Sequence[Wanted]) -> list[list[_Plan]]:
        """Return how to put the blocks together, in parts that need few frames at once."""
        found: list[list[_Plan]] = []
        frames: set[Frame] = set()
        for each in wanted:
            plan = self._planned(each)
            needed = set(plan.frames)
            if not found or len(frames | needed) > _BATCH_FRAMES:
                found.append([])
                frames = set()
            found[-1].append(plan)
            frames |= needed
        return found

    def _planned(self, block: Wanted) -> _Plan:
        known = self._known.get(block.number)
        if known is None or (known.block.base, known.block.at) != (block.base, block.at):
            return _Plan(block, None, block.pieces)
        before = {piece: (frame, at) for piece, frame, at in known.block.pieces}
        if not before.keys() <= {piece for piece, _, _ in block.pieces}:
            return _Plan(block, None, block.pieces)
        changed = [each for each in block.pieces if before.get(each[0]) != each[1:]]
        return _Plan(block, known.content, changed)

    async def _read(self, batch: Sequence[_Plan]) -> list[bytes | None]:
        await self._frames.have({frame for plan in batch for frame in plan.frames})
        half = -(-len(batch) // 2)
        found = await self._executor.offload_all(
            [
                lambda part=part: [self._checked(plan) for plan in part]  # type: ignore[misc]
                for part in (batch[:half], batch[half:])
                if part
            ]
        )
        return [content for part in found for content in part]

    def _checked(self, plan: _Plan) -> bytes | None:
        """Return the block if its digest is right."""
        held, size, block = self._frames.held, self._piece, plan.block
        content: bytes | bytearray
        if plan.over is None:
            base = held[block.base]
            if isinstance(base, str):
                return None
            content = base[block.at : block.at + block.length]
        else:
            content = plan.over
        if plan.pieces:
            content = bytearray(content)
            for piece, frame, at in plan.pieces:
                raw = held[frame]
                if isinstance(raw, str):
                    return None
                content[piece * size : (piece + 1) * size] = raw[at : at + size]
        right = blake3(content, key=self._key).digest(length=DIGEST_SIZE) == block.digest
        return bytes(content) if right else None

    def _remember(self, block: Wanted, content: bytes) -> None:
        self._forget(block.number)
        self._known[block.number] = _Known(block, content)
        self._held += len(content)
        while self._held > _BLOCKS_MAX:
            self._forget(next(iter(self._known)))

    def _forget(self, number: int) -> None:
        known = self._known.pop(number, None)
        if known is not None:
            self._held -= len(known.content)
