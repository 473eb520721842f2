"""What is used moves out of packs of which little is, and no point notices."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio
import itertools

import numpy as np
import pytest

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import MachineId, RecoveryPointId
from reference_engine.model.units import HOUR, ByteCount, Duration, Instant
from reference_engine.repository.errors import AppendOnlyError, RepackOvertakenError
from reference_engine.repository.mending import segment
from reference_engine.repository.reclaim import SILENCE_MAX
from reference_engine.repository.repack import Repacked
from reference_engine.repository.repack_rule import RepackRule, choose
from reference_engine.repository.repack_run import RepackRun
from reference_engine.repository.repository import INLINE, Repository
from reference_engine.repository.settings import Settings
from reference_engine.repository.usage import ObjectUse, Usage
from reference_engine.repository.write_session import WriteSession
from reference_engine.verification.check import Check
from tests.strategies.reclaims import give_back
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
    write,
)

NOW = Instant(1_000_000)
EVERYTHING = RepackRule(unused_share=0.0)
PIECE = BLOCK // 16
OTHER = MachineId("other")
tokens = itertools.count(1)


def image(*fills: int) -> bytes:
    """Return a disk of these blocks."""
    return b"".join(block(fill) for fill in fills)


def patched(content: bytes, piece: int, fill: int) -> bytes:
    """Return the disk with another content of its n-th piece."""
    at = piece * PIECE
    return content[:at] + block(fill)[:PIECE] + content[at + PIECE :]


async def repack(repository: Repository, rule: RepackRule = EVERYTHING) -> Repacked:
    """Move what the rule asks for, and give back the space."""
    plan = await repository.repack.plan(rule, at=NOW)
    done = await repository.repack.run(plan, token=lambda: f"repack-{next(tokens)}", at=NOW)
    await repository.reclaim.reclaim(at=NOW)
    return done


async def expire(repository: Repository, *points: str) -> None:
    """Remove these points and what only they used."""
    ids = tuple(RecoveryPointId(point) for point in points)
    await repository.reclaim.expire(ids, at=NOW, allow_last=True)
    await repository.reclaim.reclaim(at=NOW)


async def scattered(store: MemoryStore) -> Repository:
    """Return a repository in which point `b` needs one block of `a`'s pack, and `a` is gone."""
    repository = await new_repository(store)
    await commit(repository, image(1, 2, 3, 4), "a")
    await commit(repository, image(1, 5, 6, 7), "b")
    await expire(repository, "a")
    return repository


async def overlay(repository: Repository, before: bytes, after: bytes, point: str) -> None:
    """Commit a point whose changes are told piece by piece."""
    session = await repository.open_run(VM, token=f"session-{point}")
    await session.begin_disk(DISK, ByteCount(len(after)), inherit=DISK)
    pieces = [
        n
        for n in range(len(after) // PIECE)
        if before[n * PIECE :][:PIECE] != after[n * PIECE :][:PIECE]
    ]
    changed = ExtentSet.of_pieces(
        np.array(pieces), piece=ByteCount(PIECE), size=ByteCount(len(after))
    )
    await session.put_blocks(DISK, np.arange(len(after) // BLOCK), after, changed=changed)
    await session.stage(point_of(session, {DISK: len(after)}, point))
    await session.commit()


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
        await expire(repository, "a", "b")
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
        await expire(repository, "a", "b")
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
        await expire(repository, "a")
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


def test_a_reader_from_before_reads_on() -> None:
    """What it was reading is deleted: it goes on with the point's new manifest."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await scattered(store)
        other = await Repository.open(store)
        early = await other.reader(RecoveryPointId("b"))
        paged = await other.reader(RecoveryPointId("b"))
        await paged.allocated(DISK)
        await repack(repository)

        for reader in (early, paged):
            assert await reader.read(DISK, ExtentSet.whole(reader.size(DISK))) == image(1, 5, 6, 7)

    asyncio.run(scenario())


async def _waiting_run(store: MemoryStore, content: bytes, machine: MachineId) -> WriteSession:
    """Return a run that has staged `content` and is yet to commit."""
    session = await (await Repository.open(store)).open_run(machine, token="late")  # noqa: S106
    await write(session, content)
    await session.stage(point_of(session, {DISK: len(content)}, "late"))
    return session


@pytest.mark.parametrize("machine", [VM, OTHER])
@pytest.mark.parametrize("when", ["before the sweep", "behind the sweep"])
def test_a_run_that_builds_on_what_was_moved_commits(machine: MachineId, when: str) -> None:
    """It inherited pages, or found blocks, in packs that the repack gave up meanwhile."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await scattered(store)
        session = await _waiting_run(store, image(1, 5, 9, 7), machine)
        plan = await repository.repack.plan(EVERYTHING, at=NOW)
        await repository.repack.run(plan, token=lambda: "repack", at=NOW)
        condemned = await repository.reclaim.condemn(at=NOW)
        assert condemned is not None
        if when == "before the sweep":
            await session.commit()
        await repository.reclaim.sweep(condemned)
        if when != "before the sweep":
            await session.commit()
        await give_back(repository, condemned)

        again = await Repository.open(store)
        assert await restored(again, "late") == image(1, 5, 9, 7)
        assert await restored(again, "b") == image(1, 5, 6, 7)

    asyncio.run(scenario())


async def _staged_repack(repository: Repository, session: str) -> RepackRun:
    """Return a repack that is yet to commit."""
    plan = await repository.repack.plan(EVERYTHING, at=NOW)
    run = await repository.repack._opened(plan.usage, plan.choice.objects, session)
    assert await run.stage(lambda _: None) > 0
    return run


def test_a_point_that_expired_meanwhile_does_not_come_back() -> None:
    """The repack names only points that exist as they were read."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await scattered(store)
        run = await _staged_repack(repository, "slow")
        await commit(repository, image(20), "c")
        await expire(await Repository.open(store), "b")
        with pytest.raises(RepackOvertakenError):
            await run.commit(at=NOW)
        await run.abandon()

        again = await Repository.open(store)
        assert [point.id for point in await again.points()] == ["c"]
        assert [name for name in store.objects if "slow" in name] == []

    asyncio.run(scenario())


def test_of_two_repacks_the_later_one_commits() -> None:
    """The first one learns that it was overtaken, and what it wrote is given back."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await scattered(store)
        slow = await _staged_repack(repository, "slow")
        await repack(await Repository.open(store))
        with pytest.raises(RepackOvertakenError, match="overtaken"):
            await slow.commit(at=NOW)
        await slow.abandon()

        again = await Repository.open(store)
        assert [name for name in store.objects if "slow" in name] == []
        assert await restored(again, "b") == image(1, 5, 6, 7)

    asyncio.run(scenario())


def test_what_an_open_repack_wrote_is_spared_and_a_dead_one_leaves_nothing() -> None:
    """Nobody condemns its manifests although the runs of their points ended long ago."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await scattered(store)
        await commit(repository, image(1, 30), "c")
        run = await _staged_repack(repository, "slow")
        other = await Repository.open(store)
        await other.reclaim.reclaim(at=NOW)
        assert any("points/b.slow" in name for name in store.objects)
        assert await run.commit(at=NOW) == 2
        await other.reclaim.reclaim(at=NOW)
        assert await restored(await Repository.open(store), "b") == image(1, 5, 6, 7)

        await commit(repository, image(30, 31), "d")
        await expire(repository, "c")
        await _staged_repack(repository, "dead")
        await repository.reclaim.reclaim(at=NOW)
        await repository.reclaim.reclaim(at=Instant(NOW + SILENCE_MAX))
        assert [name for name in store.objects if "dead" in name] == []

    asyncio.run(scenario())


def test_a_pack_with_a_damaged_block_stays() -> None:
    """What cannot be read back is not copied: the pack is left to a repair, and named."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await new_repository(store)
        await commit(repository, image(1, 2, 3, 4), "a")
        await commit(repository, image(1, 5, 6, 2), "b")
        await expire(repository, "a")
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


def test_use_is_counted_to_the_piece() -> None:
    """A pack's use is what points need of its frames; a block that two points have counts once."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await scattered(store)
        usage = Usage(store, repository.header, executor=INLINE)
        for entry in await repository.commits():
            await usage.add(entry)
        uses = {use.name: use for use in await usage.measured()}

        of_a = uses["packs/session-a-1"]
        assert of_a.stored == len(store.objects["packs/session-a-1"])
        assert of_a.used == pytest.approx(of_a.stored / 4, abs=1)
        assert uses["packs/session-b-1"].unused == 0
        assert uses["maps/session-b-1"].unused == 0

    asyncio.run(scenario())


USES = (
    ObjectUse("packs/a", 100, 10),
    ObjectUse("packs/b", 100, 50),
    ObjectUse("packs/c", 100, 90),
    ObjectUse("packs/d", 100, 99),
)


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        (RepackRule(unused_share=0.0), "abc"),
        (RepackRule(unused_share=0.05), "ab"),
        (RepackRule(unused_share=0.2), "a"),
        (RepackRule(unused_share=0.5), ""),
        (RepackRule(unused_share=None), ""),
        (RepackRule(unused_share=None, unused_bytes=ByteCount(0)), "abc"),
        (RepackRule(unused_share=None, unused_bytes=ByteCount(61)), "a"),
        (RepackRule(unused_share=0.0, size_max=ByteCount(60)), "ab"),
        (RepackRule(unused_share=0.0, size_max=ByteCount(9)), ""),
    ],
)
def test_what_gives_most_for_its_copy_is_chosen_first(rule: RepackRule, names: str) -> None:
    """Until the rule holds, or as much is copied as may be; what is nearly full stays."""
    chosen = choose(USES, rule, left_alone=())

    assert [each.name for each in chosen.objects] == [f"packs/{name}" for name in names]
