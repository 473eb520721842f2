"""Deltas, comparisons and full copies lead to the same content, and a delta costs what changed."""

# ruff: noqa: S106 - the token of a run is no secret

import asyncio  # noqa: TID251 - the store is awaited on asyncio
import enum

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import CorruptionError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.units import ByteCount
from reference_engine.repository.block_map import OVERLAID_MAX, PAGE_BLOCKS, PIECES
from reference_engine.repository.repository import Repository
from reference_engine.repository.write_session import WriteSession
from tests.strategies.repositories import (
    BLOCK,
    DISK,
    VM,
    block,
    commit,
    new_repository,
    no_progress,
    point_of,
    restored,
)

PIECE = BLOCK // PIECES


class Way(enum.Enum):
    """How a session learns what a disk holds."""

    FULL = "full"
    DELTA = "delta"
    COMPARE = "compare"


Edit = tuple[int, bytes]
edits = st.lists(
    st.tuples(st.integers(0, 20 * BLOCK), st.binary(min_size=1, max_size=3 * PIECE)), max_size=5
)
sizes = st.one_of(st.none(), st.integers(1, 20 * BLOCK))
steps = st.lists(st.tuples(st.sampled_from(Way), edits, sizes), min_size=1, max_size=6)


def edited(image: bytes, changes: list[Edit], size: int | None) -> bytes:
    """Return the image with bytes overwritten, cut off or continued with zeros."""
    size = len(image) if size is None else size
    content = bytearray(image[:size].ljust(size, b"\0"))
    for offset, written in changes:
        content[offset : offset + len(written)] = written[: max(0, size - offset)]
    return bytes(content)


def differing(before: bytes, after: bytes) -> ExtentSet:
    """Return the bytes in which an image differs from the one before, grown with zeros."""
    old = np.frombuffer(before[: len(after)].ljust(len(after), b"\0"), np.uint8)
    at = np.flatnonzero(old != np.frombuffer(after, np.uint8))
    return ExtentSet.of_pieces(at, piece=ByteCount(1), size=ByteCount(len(after)))


async def put(session: WriteSession, image: bytes, extents: ExtentSet, way: Way) -> None:
    """Put the blocks that `extents` touches."""
    aligned = extents.aligned(BLOCK, size=ByteCount(len(image)))
    if aligned:
        content = b"".join(image[part.offset : part.end] for part in aligned)
        changed = extents if way is Way.DELTA else None
        await session.put_blocks(DISK, aligned.pieces(BLOCK), content, changed=changed)


async def back_up(
    repository: Repository, before: bytes | None, after: bytes, way: Way, point: str
) -> WriteSession:
    """Commit a point whose only disk holds `after`."""
    session = await repository.open_run(VM, token=f"session-{point}")
    inherit = None if before is None or way is Way.FULL else DISK
    await session.begin_disk(DISK, ByteCount(len(after)), inherit=inherit)
    extents = ExtentSet.whole(ByteCount(len(after)))
    if inherit is not None and before is not None and way is Way.DELTA:
        extents = differing(before, after)
    if inherit is not None and way is Way.COMPARE:
        content = np.flatnonzero(np.frombuffer(after, np.uint8))
        extents = ExtentSet.of_pieces(content, piece=ByteCount(1), size=ByteCount(len(after)))
        await session.keep_only(DISK, extents)
    await put(session, after, extents, way)
    await session.stage(point_of(session, {DISK: len(after)}, point))
    await session.commit()
    return session


@settings(max_examples=40, deadline=None)
@given(steps)
def test_every_history_restores_what_was_written(
    history: list[tuple[Way, list[Edit], int]],
) -> None:
    """Full copies, deltas and comparisons in any order, with resizes, restore every image."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await new_repository(store)
        images: list[bytes] = []
        digests: list[str] = []
        image = b"".join(block(fill) for fill in (1, 2, 3, 0, 4, 5, 1, 6, 7, 8))
        for number, (way, changes, size) in enumerate(history):
            before = images[-1] if images else None
            image = edited(image, changes, size)
            session = await back_up(repository, before, image, way, f"p{number}")
            images.append(image)
            digests.append(session.root_digest(DISK))

        again = await Repository.open(store)
        fresh = await new_repository(MemoryStore())
        for number, expected in enumerate(images):
            assert await restored(again, f"p{number}") == expected
            await no_progress(again, f"p{number}")
            direct = await commit(fresh, expected, f"p{number}")
            assert direct.root_digest(DISK) == digests[number]

    asyncio.run(scenario())


def test_a_comparison_reads_back_what_stands_on_a_word() -> None:
    """Of which block a delta left a change out is stored anew, and nothing else."""

    async def scenario() -> None:
        repository = await new_repository(MemoryStore())
        image = b"".join(block(fill) for fill in (1, 2, 3))
        await back_up(repository, None, image, Way.FULL, "p0")
        last = 2 * len(block(3))
        after = edited(image, [(0, b"seen"), (2 * PIECE, b"hidden"), (last, b"told")], None)
        session = await repository.open_run(VM, token="session-p1")
        await session.begin_disk(DISK, ByteCount(len(after)), inherit=DISK)
        await put(session, after, ExtentSet.of([(0, 4), (last, last + 4)]), Way.DELTA)
        await session.stage(point_of(session, {DISK: len(after)}, "p1"))
        await session.commit()
        with pytest.raises(CorruptionError):
            await restored(repository, "p1")

        compared = await back_up(repository, after, after, Way.COMPARE, "p2")

        assert await restored(repository, "p2") == after
        assert compared.bytes_sent == len(block(1))

    asyncio.run(scenario())


def test_a_delta_stores_the_pieces_that_changed() -> None:
    """One changed byte stores one piece, and once half of a block is overlaid the whole block."""

    async def scenario() -> None:
        repository = await new_repository(MemoryStore())
        image = b"".join(block(fill) for fill in range(1, 5))
        await back_up(repository, None, image, Way.FULL, "p0")
        sent: list[int] = []
        for number in range(OVERLAID_MAX + 2):
            before, image = image, edited(image, [(BLOCK + number * PIECE, b"new")], None)
            session = await back_up(repository, before, image, Way.DELTA, f"p{number + 1}")
            sent.append(session.bytes_sent)
        assert sent == [*[PIECE] * OVERLAID_MAX, BLOCK, PIECE]
        assert await restored(repository, f"p{len(sent)}") == image

    asyncio.run(scenario())


def test_a_delta_of_most_of_a_block_stores_no_more_than_that() -> None:
    """Up to all pieces but one are an overlay; the next run's first piece makes the block whole."""

    async def scenario() -> None:
        repository = await new_repository(MemoryStore())
        image = block(1) + block(2)
        await back_up(repository, None, image, Way.FULL, "p0")
        sent: list[int] = []
        for number, (start, end) in enumerate(((1, PIECES), (0, 1), (3, PIECES), (2, PIECES))):
            new = bytes([50 + number]) * (end - start) * PIECE
            before, image = image, edited(image, [(BLOCK + start * PIECE, new)], None)
            session = await back_up(repository, before, image, Way.DELTA, f"p{number + 1}")
            sent.append(session.bytes_sent)
            assert await restored(repository, f"p{number + 1}") == image
        assert sent == [15 * PIECE, BLOCK, 13 * PIECE, 14 * PIECE]

    asyncio.run(scenario())


def test_a_piece_that_changes_daily_is_no_chain() -> None:
    """However often one piece changes, its block is overlaid once."""

    async def scenario() -> None:
        repository = await new_repository(MemoryStore())
        image = block(1)
        await back_up(repository, None, image, Way.FULL, "p0")
        for number in range(1, 40):
            before, image = image, edited(image, [(5, bytes([number]))], None)
            session = await back_up(repository, before, image, Way.DELTA, f"p{number}")
            assert session.bytes_sent == PIECE
        assert await restored(repository, "p39") == image

    asyncio.run(scenario())


def test_only_pages_that_changed_are_written() -> None:
    """A manifest and its pages cost what changed, however large the disk is."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await new_repository(store)
        rng = np.random.default_rng(1)
        image = rng.bytes(5 * PAGE_BLOCKS * BLOCK)
        await back_up(repository, None, image, Way.FULL, "p0")
        after = edited(image, [(2 * PAGE_BLOCKS * BLOCK + 3, b"edit")], None)
        await back_up(repository, image, after, Way.DELTA, "p1")

        first = sum(len(store.objects[name]) for name in await store.names("maps/session-p0"))
        second = sum(len(store.objects[name]) for name in await store.names("maps/session-p1"))
        assert second < first / 4
        assert await restored(repository, "p1") == after

    asyncio.run(scenario())


def test_a_failed_run_does_not_build_on_damaged_pages() -> None:
    """A delta over a damaged page fails once; the next run starts from nothing."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await new_repository(store)
        image = block(1) + block(2)
        await back_up(repository, None, image, Way.FULL, "p0")
        for name in ("maps/session-p0-1", "copies/maps/session-p0-1"):
            store.objects[name] = bytes(len(store.objects[name]))
        with pytest.raises(CorruptionError):
            await back_up(repository, image, image[:-1] + b"x", Way.DELTA, "p1")

        session = await repository.open_run(VM, token="third")
        assert session.base is None

    asyncio.run(scenario())


def test_blocks_are_found_across_machines_and_time() -> None:
    """A block that any committed run has stored whole is not stored again."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await new_repository(store)
        await commit(repository, block(1) + block(2), "a")
        await commit(repository, block(3), "b")
        session = await (await Repository.open(store)).open_run(VM, token="late")
        await session.begin_disk(DISK, ByteCount(2 * BLOCK), inherit=None)
        fresh = await session.put_blocks(DISK, np.arange(2), block(2) + block(1))
        assert not fresh.any()

    asyncio.run(scenario())
