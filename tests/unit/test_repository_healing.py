"""Lost blocks come back from the next backup or another repository, for older points too."""

# ruff: noqa: S106 - the token of a run is no secret

import asyncio  # noqa: TID251 - the store is awaited on asyncio

import numpy as np

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.extents import ExtentSet
from reference_engine.model.units import ByteCount
from reference_engine.repository.repository import Repository
from tests.strategies.cared_repositories import checked, outcome, repaired, three_points
from tests.strategies.reclaims import reclaim_without
from tests.strategies.repositories import BLOCK, DISK, VM, commit, point_of


def test_the_next_backup_heals_what_its_source_still_has() -> None:
    """Lost blocks are stored anew, and older points that had them restore again."""

    async def scenario() -> None:
        store = MemoryStore()
        images = await three_points(store)
        store.objects["packs/session-a-1"] = bytes(len(store.objects["packs/session-a-1"]))
        first = await repaired(store, "repair")
        assert set((await outcome(store, images)).values()) == {"refused"}

        await commit(await Repository.open(store), images["c"], "d")

        found = await outcome(store, {**images, "d": images["c"]})
        # What the source has changed since is gone for good from the points before.
        assert found == {"a": "refused", "b": "refused", "c": "right", "d": "right"}
        [a, b] = (await checked(store)).damage
        assert (a.point, a.extents.total) == ("a", 3 * BLOCK - BLOCK)
        assert (b.point, b.extents.total) == ("b", BLOCK)
        assert first.wanted == 10

    asyncio.run(scenario())


def test_a_tracked_backup_reads_what_was_lost_though_it_did_not_change() -> None:
    """The session says what of its base is lost, so that a delta brings it again."""

    async def scenario() -> None:
        store = MemoryStore()
        images = await three_points(store)
        frame = store.objects["packs/session-c-1"]
        store.objects["packs/session-c-1"] = frame[:-1] + bytes([frame[-1] ^ 1])
        await repaired(store, "repair")
        session = await (await Repository.open(store)).open_run(VM, token="session-d")
        await session.begin_disk(DISK, ByteCount(10 * BLOCK), inherit=DISK)
        lost = await session.lost(DISK)

        assert lost == ExtentSet.of([(2 * BLOCK, 3 * BLOCK)])
        numbers = lost.pieces(BLOCK)
        content = images["c"][2 * BLOCK : 3 * BLOCK]
        fresh = await session.put_blocks(DISK, numbers, content, changed=ExtentSet.of([]))
        assert fresh.all()
        await session.stage(point_of(session, {DISK: 10 * BLOCK}, "d"))
        await session.commit()
        assert set((await outcome(store, {**images, "d": images["c"]})).values()) == {"right"}
        assert (await checked(store)).damage == ()
        assert (await checked(store)).wanted == 0

    asyncio.run(scenario())


def test_nothing_is_found_where_something_was_lost() -> None:
    """A block that seems to be stored in a damaged frame is stored again by any machine."""

    async def scenario() -> None:
        store = MemoryStore()
        images = await three_points(store)
        store.objects["packs/session-a-1"] = bytes(len(store.objects["packs/session-a-1"]))
        await repaired(store, "repair")
        session = await (await Repository.open(store)).open_run(VM, token="session-d")
        await session.begin_disk(DISK, ByteCount(10 * BLOCK), inherit=None)

        fresh = await session.put_blocks(DISK, np.arange(10), images["c"])
        # The second and third block are in packs that are whole.
        assert fresh.tolist() == [True, False, False, *[True] * 7]

    asyncio.run(scenario())


def test_a_second_repository_gives_back_what_was_lost() -> None:
    """Blocks of the same point are taken from there, checked, and no source is needed."""

    async def scenario() -> None:
        store, other = MemoryStore(), MemoryStore()
        images = await three_points(store)
        await three_points(other)
        del store.objects["packs/session-a-1"]
        done = await repaired(store, "repair", await Repository.open(other))

        assert done.after.damage == ()
        assert done.wanted == 0
        assert set((await outcome(store, images)).values()) == {"right"}

    asyncio.run(scenario())


def test_a_mend_that_is_lost_too_is_wanted_again() -> None:
    """Damage may come back; each time the next source heals it."""

    async def scenario() -> None:
        store = MemoryStore()
        images = await three_points(store)
        for token in ("one", "two", "three"):
            for name in [name for name in store.objects if name.startswith("packs/")]:
                store.objects[name] = bytes(len(store.objects[name]))
            await repaired(store, token)
            await commit(await Repository.open(store), images["c"], token)
            found = await outcome(store, {"c": images["c"], token: images["c"]})
            assert set(found.values()) == {"right"}

    asyncio.run(scenario())


def test_what_mends_older_points_outlives_the_point_that_brought_it() -> None:
    """Blocks that were stored anew are needed as long as anybody may look for them."""

    async def scenario() -> None:
        store = MemoryStore()
        images = await three_points(store)
        store.objects["packs/session-c-1"] = bytes(len(store.objects["packs/session-c-1"]))
        await repaired(store, "repair")
        await commit(await Repository.open(store), images["c"], "d")
        await commit(await Repository.open(store), images["a"], "e")
        assert set((await outcome(store, images)).values()) == {"right"}
        await reclaim_without(await Repository.open(store), "d")

        assert set((await outcome(store, images)).values()) == {"right"}
        assert (await checked(store)).damage == ()

    asyncio.run(scenario())
