"""Whatever happens to the objects of a repository, a check finds it and a repair mends it."""

# ruff: noqa: S106 - the token of a run is no secret

import asyncio  # noqa: TID251 - the store is awaited on asyncio
import sys
from collections.abc import Iterator

import pytest

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import OperationFailedError
from reference_engine.model.identity import RecoveryPointId
from reference_engine.model.units import ByteCount
from reference_engine.repository.repository import Repository
from reference_engine.upkeep.dry_store import DryStore
from reference_engine.upkeep.repair import Repair
from reference_engine.verification.findings import EVERYTHING, Part, Problem
from tests.strategies.cared_repositories import checked, outcome, repaired, three_points
from tests.strategies.faulty_stores import DyingStore, PowerCutError
from tests.strategies.golden_repositories import IMAGES, golden
from tests.strategies.reclaims import NOW, expire
from tests.strategies.repositories import BLOCK, DISK, VM, block, commit, point_of


def flips(objects: dict[str, bytes], step: int) -> Iterator[tuple[str, int, bytes]]:
    """Yield every object with one bit of every `step`-th byte flipped."""
    for name, content in sorted(objects.items()):
        for at in range(0, len(content), step):
            flipped = bytes([content[at] ^ (1 << at % 8)])
            yield name, at, content[:at] + flipped + content[at + 1 :]


def test_a_flipped_byte_is_found_by_a_check_and_never_restored_wrong() -> None:
    """A check that reads everything names the object, or the byte means nothing to anybody.

    Every seventh byte; `python -m tests.unit.test_repository_care` flips each of them.
    """
    assert asyncio.run(harmless_flips(7)) < 20


async def harmless_flips(step: int) -> int:
    """Return how many flips go unnoticed because they change nothing for anybody."""
    store = golden()
    assert (await checked(store)).is_sound
    silent = 0
    for name, at, bad in flips(dict(store.objects), step):
        good, store.objects[name] = store.objects[name], bad
        result = await checked(store)
        named = {each.object for each in result.objects}
        if name not in named:
            # Some bits of a compressed frame's header have no meaning.
            silent += 1
            assert result.is_sound, (name, at)
            assert name.startswith("packs/"), (name, at)
            assert set((await outcome(store, IMAGES)).values()) == {"right"}, (name, at)
        store.objects[name] = good
    return silent


def test_a_repair_undoes_every_flip_but_in_packs() -> None:
    """Where a second copy is, everything is as before; in packs the flip is named, to the end."""

    async def scenario() -> None:
        before = golden().objects
        for name, at, bad in flips(dict(before), 29):
            store = golden()
            store.objects[name] = bad
            done = await repaired(store, "repair")
            if name.startswith("packs/"):
                restores = await outcome(store, IMAGES)
                assert "wrong" not in restores.values()
                lost = {point for point, how in restores.items() if how != "right"}
                assert {str(each.point) for each in done.after.damage} == lost, (name, at)
            else:
                assert {n: store.objects[n] for n in before} == before, (name, at)
                assert done.after.is_sound, (name, at)
                assert store.objects[f"quarantine/{name}-1"] == bad

    asyncio.run(scenario())


def injuries(objects: dict[str, bytes]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield the objects with one deleted, cut short, doubled under another name, or swapped."""
    names = sorted(objects)
    for at, name in enumerate(names):
        yield f"delete {name}", {n: c for n, c in objects.items() if n != name}
        yield f"truncate {name}", {**objects, name: objects[name][:-1]}
        yield f"empty {name}", {**objects, name: b""}
        yield f"double {name}", {**objects, f"{name}-copy": objects[name]}
        other = names[(at + 1) % len(names)]
        if objects[other] != objects[name]:
            swapped = {name: objects[other], other: objects[name]}
            yield f"swap {name} and {other}", {**objects, **swapped}


def test_every_object_that_is_not_in_its_place_raises_the_alarm() -> None:
    """Deleted, cut short, doubled or swapped: a check says so, and no restore is wrong."""

    async def scenario() -> None:
        newest_copy = max(name for name in golden().objects if name.startswith("copies/log/"))
        for what, objects in injuries(golden().objects):
            store = MemoryStore()
            store.objects = objects
            result = await checked(store)
            if what == f"delete {newest_copy}":
                assert [each.object for each in result.objects] == [newest_copy]
            else:
                assert not result.is_sound, what
            assert "wrong" not in (await outcome(store, IMAGES)).values(), what

    asyncio.run(scenario())


def test_a_repair_makes_every_lost_object_anew_but_packs() -> None:
    """All else is there twice or follows from the rest."""

    async def scenario() -> None:
        before = golden().objects
        for name in sorted(before):
            store = golden()
            del store.objects[name]
            done = await repaired(store, "repair")
            if name.startswith("packs/"):
                assert done.after.damage
            else:
                assert store.objects[name] == before[name] or name.startswith("index/")
                assert done.after.is_sound, name

    asyncio.run(scenario())


def test_a_dry_run_changes_nothing_and_says_the_same() -> None:
    """What would be done is found out by doing it in memory."""

    async def scenario() -> None:
        store = MemoryStore()
        await three_points(store)
        store.objects["log/0000000003"] = b"?"
        del store.objects["packs/session-a-1"]
        before = dict(store.objects)
        repair = Repair(await Repository.open(DryStore(store)), token="repair")
        said = await repair.run((), step=lambda _: None, progress=lambda _: lambda _: None)

        assert store.objects == before
        done = await repaired(store, "repair")
        assert (said.replaced, said.wanted) == (done.replaced, done.wanted)
        assert said.after.damage == done.after.damage

    asyncio.run(scenario())


class FailingStore(MemoryStore):
    """A store that cannot read one object, for a reason that may pass."""

    def __init__(self, objects: dict[str, bytes], name: str, /) -> None:
        super().__init__()
        self.objects, self._name = objects, name

    async def read(self, name: str, /) -> bytes | None:
        """Fail for the one object."""
        self._fail(name)
        return await super().read(name)

    async def read_range(self, name: str, /, *, offset: int, length: int) -> bytes:
        """Fail for the one object."""
        self._fail(name)
        return await super().read_range(name, offset=offset, length=length)

    def _fail(self, name: str) -> None:
        if name == self._name:
            raise OperationFailedError(f"reading {name}", "input/output error")


@pytest.mark.parametrize("name", ["copies/log/0000000002", "packs/session-a-1", "points/b"])
def test_what_cannot_be_read_is_not_taken_for_damage(name: str) -> None:
    """A failing disk says nothing about content: nothing is replaced, quarantined or wanted."""

    async def scenario() -> None:
        sound = MemoryStore()
        await three_points(sound)
        store = FailingStore(dict(sound.objects), name)
        # A listing has the lengths of packs: only whoever reads them finds out.
        result = await checked(store, part=EVERYTHING if name.startswith("packs/") else None)

        assert {each.problem for each in result.objects} <= {Problem.UNREADABLE}
        assert not result.is_sound
        assert result.is_only_unread
        if not name.startswith("packs/"):
            await repaired(store, "repair")
            assert store.objects.keys() == sound.objects.keys()

    asyncio.run(scenario())


def test_parts_are_all_of_the_data_and_none_twice() -> None:
    """Checked one after the other, parts find what a whole check finds."""

    async def scenario() -> None:
        store = MemoryStore()
        await three_points(store)
        bad = store.objects["packs/session-a-1"]
        store.objects["packs/session-a-1"] = bytes(len(bad))
        found = [
            len((await checked(store, part=Part(number=number, count=3))).damage)
            for number in (1, 2, 3)
        ]

        assert sorted(found) == [0, 0, 3]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("back", "lost", "is_sound"),
    [(0, "copies/log", True), (0, "log", False), (1, "copies/log", False)],
)
def test_only_the_newest_entry_may_be_without_its_copy(
    back: int, lost: str, *, is_sound: bool
) -> None:
    """Whoever wrote the newest entry may have died before its copy, which the next one writes."""

    async def scenario() -> None:
        store = MemoryStore()
        await three_points(store)
        names = [name for name in sorted(store.objects) if name.startswith(f"{lost}/")]
        del store.objects[names[-1 - back]]

        assert (await checked(store, part=None)).is_sound == is_sound
        await (await Repository.open(store)).open_run(VM, token="next")
        assert (not (await checked(store, part=None)).objects) == is_sound

    asyncio.run(scenario())


def test_a_leftover_of_a_dead_run_is_no_fault() -> None:
    """A run that was cut off leaves objects, and the repository is sound all the same."""

    async def scenario() -> None:
        store = MemoryStore()
        await three_points(store)
        session = await (await Repository.open(store)).open_run(VM, token="dead")
        await session.begin_disk(DISK, ByteCount(BLOCK), inherit=None)
        await session.put(DISK, 0, block(77))
        await session.stage(point_of(session, {DISK: BLOCK}, "dead"))
        result = await checked(store)

        assert result.is_sound
        assert {each.problem for each in result.objects} == {Problem.LEFTOVER}
        assert RecoveryPointId("dead") not in {each.point for each in result.damage}

    asyncio.run(scenario())


class BusyStore(MemoryStore):
    """A store in which somebody commits a point just before everything is listed."""

    async def names(self, prefix: str, /) -> tuple[str, ...]:
        """List, having let the other one work first."""
        if prefix == "":
            other = MemoryStore()
            other.objects = self.objects
            await commit(await Repository.open(other), block(77), "meanwhile")
        return await super().names(prefix)


def test_a_run_that_is_opened_and_commits_meanwhile_is_no_strangers() -> None:
    """What a run wrote while the check went on is known to be a run's of this repository."""

    async def scenario() -> None:
        quiet, store = MemoryStore(), BusyStore()
        await three_points(quiet)
        store.objects = quiet.objects
        result = await checked(store)

        assert "points/meanwhile" in store.objects
        assert result.is_sound
        assert {each.problem for each in result.objects} <= {Problem.LEFTOVER}

    asyncio.run(scenario())


def test_a_check_agrees_with_what_a_reclaim_leaves() -> None:
    """What a removed point leaves is a leftover until it is reclaimed, and then nothing is."""

    async def scenario() -> None:
        store = MemoryStore()
        images = await three_points(store)
        repository = await Repository.open(store)
        await expire(repository, "b")
        before = await checked(store)
        await repository.reclaim.reclaim(at=NOW)
        after = await checked(store)

        assert before.is_sound
        assert {each.problem for each in before.objects} == {Problem.LEFTOVER}
        assert after.is_sound
        assert after.objects == ()
        assert set((await outcome(store, {n: images[n] for n in "ac"})).values()) == {"right"}

    asyncio.run(scenario())


def test_a_repair_that_is_cut_off_costs_nothing_and_is_finished_by_the_next() -> None:
    """Wherever it dies, every point restores that did before, and the rest is mended later."""

    async def scenario() -> None:
        injured, other = MemoryStore(), MemoryStore()
        images = await three_points(injured)
        await three_points(other)
        for name in ("log/0000000003", "copies/points/b", "maps/session-a-1", "repository.json"):
            injured.objects[name] = b"?" + injured.objects[name][1:]
        del injured.objects["packs/session-b-1"], injured.objects["index/session-a-0"]
        before = await outcome(injured, images)
        for left in range(100):
            objects = dict(injured.objects)
            try:
                await repaired(DyingStore(objects, left), "one", await Repository.open(other))
                break
            except PowerCutError:
                store = MemoryStore()
                store.objects = objects
                now = await outcome(store, images)
                assert all(now[point] == "right" for point in now if before[point] == "right")
                await repaired(store, "two", await Repository.open(other))
                assert set((await outcome(store, images)).values()) == {"right"}
                assert (await checked(store)).damage == ()
        assert before["a"] == "right"
        assert left > 10

    asyncio.run(scenario())


if __name__ == "__main__":
    total = sum(len(content) for content in golden().objects.values())
    sys.stdout.write(f"{total} flips, {asyncio.run(harmless_flips(1))} mean nothing\n")
