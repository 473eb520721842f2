"""What is used moves out of packs of which little is, and no point notices."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio

import numpy as np
import pytest

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import RecoveryPointId
from reference_engine.model.units import HOUR, ByteCount, Duration, Instant
from reference_engine.repository.errors import AppendOnlyError
from reference_engine.repository.mending import segment
from reference_engine.repository.repository import Repository
from reference_engine.repository.settings import Settings
from reference_engine.verification.check import Check
from tests.strategies.reclaims import NOW, OTHER, reclaim_without
from tests.strategies.repacks import EVERYTHING, image, repack, scattered
from tests.strategies.repositories import (
    BLOCK,
    DISK,
    block,
    commit,
    commit_changes,
    new_repository,
    no_progress,
    point_of,
    restored,
    write,
)

PIECE = BLOCK // 16


def patched(content: bytes, piece: int, fill: int) -> bytes:
    """Return the disk with another content of its n-th piece."""
    at = piece * PIECE
    return content[:at] + block(fill)[:PIECE] + content[at + PIECE :]


async def overlay(repository: Repository, before: bytes, after: bytes, point: str) -> None:
    """Commit a point whose changes are told piece by piece."""
    pieces = [
        n
        for n in range(len(after) // PIECE)
        if before[n * PIECE :][:PIECE] != after[n * PIECE :][:PIECE]
    ]
    changed = ExtentSet.of_pieces(
        np.array(pieces), piece=ByteCount(PIECE), size=ByteCount(len(after))
    )
    await commit_changes(repository, after, point, changed=changed)


async def soundness(repository: Repository) -> None:
    """Make sure that a check finds nothing at all, leftovers included."""
    check = Check(repository)
    await check.structure(lambda _: None)
    assert (await check.result()).objects == ()


def test_a_pack_of_which_one_block_is_used_goes() -> None:
    """The block is elsewhere, the point is as it was, and nothing is left over."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await scattered(store)
        record = await repository.point(RecoveryPointId("b"))
        digest = record.disks[0].digest
        done = await repack(repository)

        assert done.points == 1
        assert done.moved == BLOCK
        assert [name for name in store.objects if "session-a" in name] == []
        again = await Repository.open(store)
        assert await restored(again, "b") == image(1, 5, 6, 7)
        assert await again.point(RecoveryPointId("b")) == record
        assert (await again.point(RecoveryPointId("b"))).disks[0].digest == digest
        await no_progress(again, "b")
        await soundness(again)

    asyncio.run(scenario())


def test_a_second_repack_finds_nothing() -> None:
    """What was moved is used to the last byte."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await scattered(store)
        await repack(repository)
        before = dict(store.objects)
        done = await repack(repository)

        assert done.points == 0
        assert store.objects == before

    asyncio.run(scenario())


def test_overlaid_pieces_and_what_lies_below_move_too() -> None:
    """A block's base, the pieces over it, and the same base without them, all come along."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await new_repository(store)
        first = image(1, 2, 3, 4)
        second = patched(patched(first, 1, 8), 40, 9)
        third = patched(patched(second, 2, 10), 40, 12)[: 3 * BLOCK] + block(13)
        fourth = patched(third, 33, 11)
        await commit(repository, first, "a")
        await overlay(repository, first, second, "b")
        await overlay(repository, second, third, "c")
        await overlay(repository, third, fourth, "d")
        await reclaim_without(repository, "a", "b")
        assert (await repack(repository)).points == 2

        assert [n for n in store.objects if "session-a" in n or "session-b" in n] == []
        again = await Repository.open(store)
        assert await restored(again, "c") == third
        assert await restored(again, "d") == fourth
        await soundness(again)

    asyncio.run(scenario())


def test_a_base_that_is_hidden_here_and_shown_there_is_right_in_both() -> None:
    """What is hidden below pieces is copied as zeros, and never shown again."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await new_repository(store)
        first = image(1, 2, 3, 4)
        second = patched(first, 1, 8)
        await commit(repository, first, "a")
        await overlay(repository, first, second, "b")
        session = await repository.open_run(OTHER, token="session-c")  # noqa: S106
        await write(session, image(1, 12))
        await session.stage(point_of(session, {DISK: 2 * BLOCK}, "c"))
        await session.commit()
        await overlay(repository, second, second[: 2 * BLOCK] + image(13, 14), "d")
        await reclaim_without(repository, "a", "b")
        assert (await repack(repository)).points == 2

        again = await Repository.open(store)
        assert await restored(again, "c") == image(1, 12)
        assert await restored(again, "d") == second[: 2 * BLOCK] + image(13, 14)

    asyncio.run(scenario())


def test_a_short_last_block_moves() -> None:
    """The block at a disk's end is as long as it was."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await new_repository(store)
        await commit(repository, image(1, 2, 3)[:-7], "a")
        await commit(repository, image(4, 5, 3)[:-7], "b")
        await reclaim_without(repository, "a")
        await repack(repository)

        assert [name for name in store.objects if "session-a" in name] == []
        assert await restored(await Repository.open(store), "b") == image(4, 5, 3)[:-7]

    asyncio.run(scenario())


def test_what_was_moved_is_found_by_later_runs() -> None:
    """The index speaks of the new packs."""

    async def scenario() -> None:
        store = MemoryStore()
        await repack(await scattered(store))
        session = await commit(await Repository.open(store), image(1, 1, 5, 6), "c")

        assert session.bytes_sent == 0

    asyncio.run(scenario())


def test_a_pack_with_a_damaged_block_stays() -> None:
    """What cannot be read back is not copied: the pack is left to a repair, and named."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await new_repository(store)
        await commit(repository, image(1, 2, 3, 4), "a")
        await commit(repository, image(1, 5, 6, 2), "b")
        await reclaim_without(repository, "a")
        content = bytearray(store.objects["packs/session-a-1"])
        at = content.index(block(1)[:16])
        content[at] ^= 1
        store.objects["packs/session-a-1"] = bytes(content)
        done = await repack(repository)

        assert done.damaged == ("packs/session-a-1",)
        assert "packs/session-a-1" in store.objects
        content[at] ^= 1
        store.objects["packs/session-a-1"] = bytes(content)
        assert await restored(await Repository.open(store), "b") == image(1, 5, 6, 2)

    asyncio.run(scenario())


def test_packs_that_a_repair_speaks_of_stay() -> None:
    """Places of lost and of mended blocks keep their meaning."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await scattered(store)
        rows = [(b"0" * 16, ("packs/session-a-1", 0, 1, 0))]
        store.objects["wanted/one"] = segment(repository.header.key, rows)
        assert (await repack(repository)).points == 0

        del store.objects["wanted/one"]
        assert (await repack(repository)).points == 1

    asyncio.run(scenario())


def test_nothing_moves_that_was_written_lately_in_a_repository_of_immutable_points() -> None:
    """Only what is older than the promise is copied and deleted."""

    async def scenario() -> None:
        store = MemoryStore()
        settings = Settings(immutable_for=Duration(24 * HOUR))
        repository = await Repository.create(
            store, identity_token="ab" * 16, block_size=BLOCK, settings=settings
        )
        await commit(repository, image(1, 2, 3, 4), "a")
        other = await repository.open_run(OTHER, token="session-o")  # noqa: S106
        await write(other, image(1, 9))
        await other.abandon()
        await commit(repository, image(1, 5, 6, 7), "b")
        rule, old = EVERYTHING, Instant(NOW + 25 * HOUR)
        ids = (RecoveryPointId("a"),)
        assert (await repository.repack.plan(rule, at=NOW, without=ids)).choice.objects == ()
        await repository.reclaim.expire(ids, at=old, allow_last=False)
        assert (await repository.repack.plan(rule, at=old)).choice.objects != ()

    asyncio.run(scenario())


def test_nothing_moves_in_an_append_only_repository() -> None:
    """Nothing is ever removed from it."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await Repository.create(
            store,
            identity_token="ab" * 16,
            block_size=BLOCK,
            settings=Settings(append_only=True),
        )
        await commit(repository, image(1, 2), "a")
        plan = await repository.repack.plan(EVERYTHING, at=NOW)
        with pytest.raises(AppendOnlyError):
            await repository.repack.run(plan, token=lambda: "repack", at=NOW)

    asyncio.run(scenario())
