"""Whatever entries of the log are lost, the points are found, and the repository goes on."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio
import itertools

import pytest

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import SupersededError
from reference_engine.model.identity import RecoveryPointId
from reference_engine.repository import log, pack, storing, together
from reference_engine.repository.codec import RunOpenedEntry
from reference_engine.repository.errors import LogDamagedError, RunClosedError
from reference_engine.repository.reclaim_entries import ObjectsCondemnedEntry, PointsMovedEntry
from reference_engine.repository.repository import Repository
from reference_engine.verification.findings import Problem
from tests.strategies.cared_repositories import checked
from tests.strategies.lost_entries import (
    Harm,
    Past,
    back_up,
    delete,
    image,
    live,
    long_past,
    lose,
    renewed,
    restores,
    rot,
    token,
)
from tests.strategies.reclaims import LATER, OTHER, reclaim_without, staged
from tests.strategies.repositories import VM, new_repository


@pytest.fixture(scope="module")
def past() -> Past:
    """Return a long history."""
    return asyncio.run(long_past())


async def goes_on(store: MemoryStore, past: Past, points: tuple[str, ...]) -> None:
    """Make sure that the repository can be used as if nothing had happened to it."""
    assert await restores(store, past.images, *points), points
    found = await checked(store)
    assert found.is_sound, found
    repository = await Repository.open(store)
    # Blocks that were there once, and are deleted, are to be stored anew.
    images = past.images | {"g": image(1, 3, 4, 90, 18), "h": image(5, 6, 11, 12, 91)}
    await back_up(repository, images["g"], "g")
    await back_up(repository, images["h"], "h", OTHER)
    await repository.reclaim.reclaim(at=LATER)
    await repository.reclaim.reclaim(at=LATER)
    assert await live(store) == (*points, "g", "h")
    assert await restores(store, images, *points, "g", "h")
    found = await checked(store)
    assert found.is_sound, found
    await repository.reclaim.expire(tuple(map(RecoveryPointId, points)), at=LATER, allow_last=False)
    await repository.reclaim.reclaim(at=LATER)
    assert await restores(store, images, "g", "h")
    found = await checked(store)
    assert found.is_sound, found
    left = [each for each in found.objects if not each.object.startswith("copies/log/")]
    assert left == [], "space that was never given back"


@pytest.mark.parametrize("harm", [delete, rot])
def test_any_lost_entry_leaves_every_point_that_was_there(past: Past, harm: Harm) -> None:
    """And none that was not, but for one whose removal was the entry itself."""

    async def scenario() -> None:
        for number in range(1, len(past.entries) + 1):
            store = past.again()
            lose(store, number, harm=harm)
            before = dict(store.objects)
            found = await renewed(store)
            if found is None:
                # Nothing tells of an entry that was the last one, and committed nothing.
                assert number == len(past.entries), number
                continue
            points = await live(store)
            back = [point for point in points if point not in past.live]
            assert tuple(p for p in points if p in past.live) == past.live, (number, points)
            assert {*back} <= {*past.expired_by(number)}, (number, points)
            assert {*before} <= {*store.objects}, "nothing is removed"
            assert await renewed(store) is None
            await goes_on(store, past, points)

    asyncio.run(scenario())


def test_no_run_that_came_to_nothing_becomes_a_point(past: Past) -> None:
    """Whenever an entry is lost: behind each step of the history, each of its entries."""

    async def scenario() -> None:
        for stage in past.stages:
            for number in range(1, stage.entries + 1):
                store = MemoryStore()
                store.objects = dict(stage.objects)
                lose(store, number)
                if await renewed(store) is None:
                    assert number == stage.entries, number
                    continue
                points = await live(store)
                back = {point for point in points if point not in stage.live}
                assert tuple(p for p in points if p in stage.live) == stage.live, number
                may = {*past.expired_by(number)}
                if number == stage.entries and isinstance(past.entries[number - 1], RunOpenedEntry):
                    # At the end of the log nobody can tell how much more was lost.
                    may.add("lost")
                assert back <= may, (stage.live, number, points)
                assert await restores(store, past.images, *points), number
                entry = past.entries[number - 1]
                if not isinstance(entry, PointsMovedEntry):
                    found = await (await Repository.open(store)).commits()
                    named = tuple(e.manifest for e in found if e.point in stage.live)
                    assert named == stage.manifests, number

    asyncio.run(scenario())


def test_two_lost_entries_lose_no_point(past: Past) -> None:
    """Of every two."""

    async def scenario() -> None:
        last = len(past.entries)
        for first, second in itertools.combinations(range(1, last + 1), 2):
            store = past.again()
            lose(store, first, second)
            found = await renewed(store)
            assert found is not None
            points = await live(store)
            assert tuple(p for p in points if p in past.live) == past.live, (first, second)
            assert await restores(store, past.images, *past.live), (first, second)
            assert (await checked(store)).is_sound == (not found.points.damaged), (first, second)

    asyncio.run(scenario())


@pytest.mark.parametrize("names", [("log/",), ("log/", "copies/log/")])
def test_a_log_that_is_gone_altogether_is_found_in_manifests(
    past: Past, names: tuple[str, ...]
) -> None:
    """Header and points are enough; with the copies of the log nothing is lost at all."""

    async def scenario() -> None:
        store = past.again()
        for name in [name for name in store.objects if name.startswith(names)]:
            del store.objects[name]
        found = await renewed(store)
        if len(names) == 1:
            assert found is None
            assert await live(store) == past.live
            return
        assert found is not None
        assert {*await live(store)} == {*past.live}
        assert [each.point for each in found.points.by_manifest] == [*await live(store)]
        await goes_on(store, past, await live(store))

    asyncio.run(scenario())


def test_a_log_renewed_is_renewed_again(past: Past) -> None:
    """Behind a renewal another entry may be lost, and the renewal itself."""

    async def scenario() -> None:
        for later in range(24, 29):
            store = past.again()
            lose(store, 4)
            found = await renewed(store)
            assert found is not None
            assert (found.number, found.lost) == (24, (4,))
            images = past.images | {"i": image(1, 19), "j": image(5, 20)}
            repository = await Repository.open(store)
            await back_up(repository, images["i"], "i")
            await back_up(repository, images["j"], "j", OTHER)
            assert len(await repository.entries()) == 28
            lose(store, later)
            found = await renewed(store)
            assert found is not None, later
            assert await live(store) == (*past.live, "i", "j")
            assert await restores(store, images, *past.live, "i", "j")
            await goes_on(store, past._replace(images=images), await live(store))

    asyncio.run(scenario())


def test_entries_that_come_back_change_nothing(past: Past) -> None:
    """What a renewal has passed over means nothing, though somebody finds the lost entry again."""

    async def scenario() -> None:
        for number in range(1, len(past.entries) + 1):
            store = past.again()
            whole = dict(store.objects)
            lose(store, number)
            if await renewed(store) is None:
                continue
            await back_up(await Repository.open(store), image(30), "late")
            points = await live(store)
            store.objects = whole | store.objects

            assert await live(store) == points
            assert await renewed(store) is None

    asyncio.run(scenario())


@pytest.mark.parametrize("at_once", [False, True])
def test_blocks_that_were_deleted_are_stored_anew(
    at_once: bool,  # noqa: FBT001 - whether the whole log is lost
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A list of blocks speaks of packs that are gone, and the entry that said so is lost."""
    monkeypatch.setattr(pack, "PACK_MAX", 100)
    monkeypatch.setattr(storing, "FRAME_SIZE", 64)

    async def scenario() -> None:
        store = MemoryStore()
        repository = await new_repository(store)
        images = {"a": image(1, 2, 3, 4), "b": image(1, 5), "c": image(2, 3, 4, 5)}
        await back_up(repository, images["a"], "a")
        await back_up(repository, images["b"], "b")
        await reclaim_without(repository, "a")
        packs = [name for name in store.objects if name.startswith(f"packs/{token('a')}")]
        assert len(packs) == 1, "the others are deleted"
        assert any(name.startswith(f"index/{token('a')}") for name in store.objects)
        entries = await repository.entries()
        [condemned] = [
            number
            for number, entry in enumerate(entries, start=1)
            if isinstance(entry, ObjectsCondemnedEntry)
        ]
        lose(store, *(range(1, len(entries) + 1) if at_once else (condemned,)))
        assert await renewed(store) is not None
        await back_up(await Repository.open(store), images["c"], "c")
        assert await live(store) == ("b", "c")
        assert await restores(store, images, "b", "c")
        assert (await checked(store)).is_sound

    asyncio.run(scenario())


def test_an_epoch_that_a_lost_entry_took_is_never_used_again(past: Past) -> None:
    """A run that nobody knows of any more, and that is still alive, can never commit."""

    async def scenario() -> None:
        store = past.again()
        session = await staged(await Repository.open(store), image(40), point="late")
        await back_up(await Repository.open(store), image(41), "known")
        for name in ("points/late", "copies/points/late"):
            del store.objects[name]
        lose(store, len(past.entries) + 1)
        assert await renewed(store) is not None
        fresh = await staged(await Repository.open(store), image(42), point="next")
        assert fresh.run.epoch > session.run.epoch
        with pytest.raises((SupersededError, RunClosedError)):
            await session.commit()
        await fresh.commit()
        assert await live(store) == (*past.live, "known", "next")

    asyncio.run(scenario())


def test_no_machine_has_a_base_that_may_not_be_its_last_point(past: Past) -> None:
    """The entry of a later point may be lost with its manifest; trackers know of that one only."""

    async def scenario() -> None:
        store = past.again()
        lose(store, len(past.entries) - 1, len(past.entries), harm=rot)
        for name in ("points/f", "copies/points/f"):
            del store.objects[name]
        assert await renewed(store) is not None
        assert await live(store) == past.live[:-1]
        session = await (await Repository.open(store)).open_run(VM, token=token("next"))
        assert session.base is None
        await session.abandon()

    asyncio.run(scenario())


def test_a_file_far_behind_the_log_is_refused(past: Past) -> None:
    """A number that no log can have reached is named, instead of being filled up to."""

    async def scenario() -> None:
        store = past.again()
        lose(store, 4)
        store.objects["log/9999999999"] = b"not ours"
        with pytest.raises(LogDamagedError, match="log/9999999999 is too far"):
            await renewed(store)

    asyncio.run(scenario())


@pytest.mark.parametrize("enough", [2, 256])
def test_a_long_log_is_read_behind_a_renewal(
    past: Past, enough: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether its entries are read one after the other or several at a time."""
    monkeypatch.setattr(log, "TOGETHER_FROM", enough)
    monkeypatch.setattr(together, "AT_ONCE", 4)

    async def scenario() -> None:
        for number in range(1, len(past.entries)):
            store = past.again()
            lose(store, number, harm=rot)
            assert await renewed(store) is not None
            repository = await Repository.open(store)
            for count in range(4):
                await back_up(repository, image(50 + count), f"p{count}")
            assert (await live(store))[-4:] == ("p0", "p1", "p2", "p3")

    asyncio.run(scenario())


def test_a_repository_that_lost_an_entry_names_the_way_out(past: Past) -> None:
    """The sentence says which entry, and what to do."""

    async def scenario() -> None:
        store = past.again()
        lose(store, 4)
        with pytest.raises(LogDamagedError, match=r"log entry 4 .*repo repair --renew-log"):
            await Repository.open(store)

    asyncio.run(scenario())


def test_a_log_of_copies_alone_has_gaps_too(past: Past) -> None:
    """An entry that is lost must not hide the ones behind it, of which only copies are left."""

    async def scenario() -> None:
        store = past.again()
        lose(store, 4)
        for name in [name for name in store.objects if name.startswith("log/")]:
            del store.objects[name]
        with pytest.raises(LogDamagedError, match="copies/log/0000000023 exists"):
            await Repository.open(store)
        assert await renewed(store) is not None
        assert await live(store) == past.live

    asyncio.run(scenario())


def test_a_point_of_which_no_entry_speaks_must_be_whole(past: Past) -> None:
    """Else it is left out, and named; one of which an entry speaks is kept as damaged."""

    async def scenario() -> None:
        for number in (23, 22):
            store = past.again()
            lose(store, number, harm=rot)
            for name in [name for name in store.objects if name.startswith(f"packs/{token('f')}")]:
                del store.objects[name]
            found = await renewed(store)
            assert found is not None
            left, harmed = found.points.left_out, found.points.damaged
            if number == 23:
                assert [each.point for each in left] == ["f"]
                assert await live(store) == past.live[:-1]
                assert (await checked(store)).is_sound
            else:
                assert [each.point for each in harmed] == ["f"]
                assert await live(store) == past.live
                result = await checked(store)
                assert {each.point for each in result.damage} == {"f"}
                assert any(each.object.startswith("packs/") for each in result.objects)
            # What its packs held is stored anew.
            images = past.images | {"g": past.images["f"]}
            await back_up(await Repository.open(store), images["g"], "g")
            assert await restores(store, images, "g")

    asyncio.run(scenario())


def test_a_prune_takes_nothing_of_points_whose_entries_are_lost(past: Past) -> None:
    """Where the end of the log is gone, or all of it, what nobody refers to may be a point."""

    async def scenario() -> None:
        last = len(past.entries)
        for lost in ((last,), (last - 1, last), range(1, last + 1)):
            store = past.again()
            lose(store, *lost)
            before = dict(store.objects)
            repository = await Repository.open(store)
            if len(lost) == 1:
                with pytest.raises(LogDamagedError, match=r"was written behind it; .*--renew-log"):
                    await repository.reclaim.reclaim(at=LATER)
            else:
                await repository.reclaim.reclaim(at=LATER)
            assert before.items() <= store.objects.items()
            assert await renewed(store) is not None
            assert {*await live(store)} == {*past.live}
            await goes_on(store, past, await live(store))

    asyncio.run(scenario())


def test_backups_behind_a_log_that_is_gone_hide_no_point(past: Past) -> None:
    """Whoever knows of no loss takes numbers and epochs again; a prune keeps what was before."""

    async def scenario() -> None:
        last = len(past.entries)
        for lost in ((last - 1, last), range(1, last + 1)):
            store = past.again()
            lose(store, *lost)
            images = past.images | {"i": image(1, 19), "j": image(5, 20)}
            repository = await Repository.open(store)
            await back_up(repository, images["i"], "i")
            await back_up(repository, images["j"], "j", OTHER)
            await repository.reclaim.reclaim(at=LATER)
            assert any("--renew-log" in each.cause for each in (await checked(store)).objects)
            assert await renewed(store) is not None
            assert {*await live(store)} == {*past.live, "i", "j"}
            assert await restores(store, images, *past.live, "i", "j")
            assert await renewed(store) is None
            await goes_on(store, past._replace(images=images), await live(store))

    asyncio.run(scenario())


def test_what_a_run_left_whose_opening_is_lost_is_given_back(past: Past) -> None:
    """It is told from somebody's file by the name that only a run gives; that one stays."""

    async def scenario() -> None:
        store = past.again()
        session = f"{token('dead')}00abcdef0"
        await (await Repository.open(store)).open_run(OTHER, token=session)
        await back_up(await Repository.open(store), image(60), "i")
        left = (f"packs/{session}-1", f"packs/{token('dead')}-3-1")
        store.objects |= dict.fromkeys((*left, "packs/thesis-1"), b"anything")
        lose(store, len(past.entries) + 1)
        assert await renewed(store) is not None
        found = {each.object: each.problem for each in (await checked(store)).objects}
        assert [found.pop(name) for name in left] == [Problem.LEFTOVER] * 2
        assert found.pop("packs/thesis-1") is Problem.FOREIGN
        await (await Repository.open(store)).reclaim.reclaim(at=LATER)
        assert [name for name in left if name in store.objects] == []
        assert "packs/thesis-1" in store.objects

    asyncio.run(scenario())
