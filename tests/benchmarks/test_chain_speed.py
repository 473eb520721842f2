"""What a long history costs: opening a repository of many points, and restoring the newest.

Nothing here is held against a limit: a figure belongs to the machine that it was measured on.
"""

import asyncio  # noqa: TID251 - the store is awaited on asyncio
from typing import Any, Final

import numpy as np
import pytest

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import RecoveryPointId
from reference_engine.model.units import KIB, MIB, ByteCount
from reference_engine.repository.repository import Repository
from tests.strategies.repositories import DISK, VM, point_of

SIZE: Final = ByteCount(32 * MIB)
BLOCK: Final = ByteCount(64 * KIB)
PIECE: Final = BLOCK // 16
DAILY: Final = 80
"""Pieces that change from one point to the next, 1 % of the disk: three of four in a hot tenth."""


async def grown(points: int) -> tuple[MemoryStore, dict[int, bytes]]:
    """Return a repository with that many points, and the first and the last one's image."""
    store = MemoryStore()
    chance = np.random.default_rng(1)
    repository = await Repository.create(store, identity_token="ab" * 16, block_size=BLOCK)
    image = bytearray(chance.bytes(SIZE))
    images: dict[int, bytes] = {}
    for number in range(1, points + 1):
        session = await repository.open_run(VM, token=f"{number:x}")
        changed = ExtentSet.whole(SIZE)
        if number > 1:
            hot = chance.integers(0, SIZE // PIECE // 10, DAILY * 3 // 4)
            cold = chance.integers(0, SIZE // PIECE, DAILY // 4)
            pieces = np.unique(np.concatenate((hot, cold)))
            for piece in pieces.tolist():
                image[piece * PIECE : (piece + 1) * PIECE] = chance.bytes(PIECE)
            changed = ExtentSet.of_pieces(pieces, piece=ByteCount(PIECE), size=SIZE)
        await session.begin_disk(DISK, SIZE, inherit=DISK if number > 1 else None)
        whole = changed.aligned(BLOCK, size=SIZE)
        content = b"".join([image[part.offset : part.end] for part in whole])
        await session.put_blocks(
            DISK, whole.pieces(BLOCK), content, changed=None if number == 1 else changed
        )
        await session.stage(point_of(session, {DISK: SIZE}, f"p{number}"))
        await session.commit()
        if number in {1, points}:
            images[number] = bytes(image)
    return store, images


History = tuple[int, MemoryStore, dict[int, bytes]]


@pytest.fixture(scope="module")
def history(request: pytest.FixtureRequest) -> History:
    """Return a long history when it is measured, and a short one when it is only tried."""
    points = 1000 if request.config.getoption("benchmark_enable") else 20
    return (points, *asyncio.run(grown(points)))


@pytest.mark.parametrize("which", ["first", "last"])
def test_speed_of_restoring_out_of_a_long_history(
    benchmark: Any, history: History, which: str
) -> None:
    """The newest of a thousand points, opened and read to its last byte, beside the first one."""
    points, store, images = history
    number = 1 if which == "first" else points

    async def story() -> bytes:
        repository = await Repository.open(store)
        reader = await repository.reader(RecoveryPointId(f"p{number}"))
        return await reader.read(DISK, ExtentSet.whole(SIZE))

    content = benchmark.pedantic(lambda: asyncio.run(story()), rounds=3, iterations=1)

    assert content == images[number]
    benchmark.extra_info["stored_bytes_a_point"] = sum(map(len, store.objects.values())) / points


def test_speed_of_opening_a_long_history(benchmark: Any, history: History) -> None:
    """The whole log, read and checked: two entries for each point."""
    points, store, _ = history

    repository = benchmark.pedantic(
        lambda: asyncio.run(Repository.open(store)), rounds=3, iterations=1
    )

    assert len(asyncio.run(repository.commits())) == points
