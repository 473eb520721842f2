"""A log that lost entries about domains: who is in one stays there, what was shredded is gone."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio
import itertools
from typing import Final, NamedTuple

import pytest

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.identity import MachineId, RecoveryPointId
from reference_engine.repository.codec import Entry, PointCommittedEntry, RunOpenedEntry
from reference_engine.repository.domain_entries import DomainAddedEntry, DomainShreddedEntry
from reference_engine.repository.domain_names import domain_of, keyed_domain
from reference_engine.repository.repack_rule import RepackRule
from tests.strategies.domain_vaults import NOW, domains_of, put, shred
from tests.strategies.encrypted_repositories import KEY, chance, created, opened
from tests.strategies.lost_entries import image, lose, renewed, token
from tests.strategies.repositories import restored

IMAGES: Final = {
    "a": image(1, 2, 3),
    "b": image(1, 2, 4),
    "c": image(1, 5),
    "d": image(1, 2, 6),
    "e": image(7, 2, 6),
}
HOMES: Final = {"b": "red", "d": "red", "e": ""}
"""The points that exist in the end; `a` has expired, `c` was in the domain that was shredded."""


class Past(NamedTuple):
    """A repository with a domain that stands and one that was shredded, and what its log said."""

    objects: dict[str, bytes]
    entries: tuple[Entry, ...]
    red: str
    blue: str

    def again(self) -> MemoryStore:
        """Return a store with the same objects."""
        store = MemoryStore()
        store.objects = dict(self.objects)
        return store


@pytest.fixture(scope="module")
def past() -> Past:
    """Return what happened: points in both domains, a repack in one, the other one shredded."""

    async def scenario() -> Past:
        store = MemoryStore()
        repository = await created(store)
        domains = domains_of(repository)
        red = await domains.add("red", chance=chance(2))
        blue = await domains.add("blue", chance=chance(3))
        await put(repository, "one", IMAGES["a"], "a", domain="red")
        await put(repository, "one", IMAGES["b"], "b")
        await put(repository, "two", IMAGES["c"], "c", domain="blue")
        ids = (RecoveryPointId("a"),)
        await repository.reclaim.expire(ids, at=NOW, allow_last=False)
        numbers = itertools.count(1)
        plan = await repository.repack.plan(RepackRule(unused_share=0.0), at=NOW)
        moved = await repository.repack.run(
            plan, token=lambda: token(f"repack {next(numbers)}"), at=NOW
        )
        assert moved.points == 1
        await repository.reclaim.reclaim(at=NOW)
        await put(repository, "one", IMAGES["d"], "d")
        await shred(repository, "blue")
        await put(repository, "two", IMAGES["e"], "e", domain="")
        return Past(dict(store.objects), await repository.entries(), red, blue)

    return asyncio.run(scenario())


async def stands(store: MemoryStore, past: Past, points: dict[str, str]) -> None:
    """Make sure that these points exist, each in its domain, and that the domain can go."""
    repository = await opened(store)
    history = repository.reclaim.history
    entries = {str(entry.point): entry for entry in await repository.commits()}
    assert entries.keys() == points.keys()
    for point, home in points.items():
        assert domain_of(entries[point].manifest) == (past.red if home == "red" else "")
        assert await restored(repository, point) == IMAGES[point]
    assert [(v.domain, v.name, v.has_key) for v in await domains_of(repository).listed()] == [
        (past.red, "red", True)
    ]
    assert past.blue not in [keyed_domain(name) for name in store.objects]
    again = await repository.open_run(MachineId("one"), token=token("again"))
    assert history.opened(f"{past.red}.{token('again')}") == again.run
    await again.abandon()
    await shred(repository, "red")
    await repository.reclaim.reclaim(at=NOW)
    left = await opened(store)
    assert [entry.point for entry in await left.commits()] == [
        p for p, h in points.items() if not h
    ]
    assert await restored(left, "e") == IMAGES["e"]


def test_any_lost_entry_leaves_points_in_their_domains(past: Past) -> None:
    """Also the one that added the domain, moved a point, or shredded the other one."""

    async def scenario() -> None:
        for number, entry in enumerate(past.entries, start=1):
            store = past.again()
            lose(store, number)
            assert await renewed(store, unlock=lambda: KEY) is not None, number
            await only_loses(store, past, number, entry)

    asyncio.run(scenario())


async def only_loses(store: MemoryStore, past: Past, number: int, entry: Entry) -> None:
    """Make sure of everything but what no other entry and no object can tell."""
    repository = await opened(store)
    points = [str(each.point) for each in await repository.commits()]
    if isinstance(entry, DomainShreddedEntry):
        # Its key is gone: the point is listed, and cannot be read; whoever wants may remove it.
        assert sorted(points) == ["b", "c", "d", "e"]
        ids = (RecoveryPointId("c"),)
        await repository.reclaim.expire(ids, at=NOW, allow_last=True)
        views = {view.name: view.has_key for view in await domains_of(repository).listed()}
        assert views == {"red": True, "blue": False}
        await shred(repository, "blue")
        await stands(store, past, HOMES)
        return
    assert sorted(points) == ["b", "d", "e"], (number, entry)
    await stands(store, past, {point: HOMES[point] for point in points})


def test_a_shredded_domain_does_not_come_back_with_its_key(past: Past) -> None:
    """The entry that says so stands behind the lost one, and somebody put an old copy there."""

    async def scenario() -> None:
        shredded = next(
            number
            for number, entry in enumerate(past.entries, start=1)
            if isinstance(entry, DomainShreddedEntry)
        )
        before = await before_the_shred(past)
        for number in range(1, shredded):
            store = past.again()
            store.objects |= {n: c for n, c in before.items() if past.blue in n}
            lose(store, number)
            found = await renewed(store, unlock=lambda: KEY)
            assert found is not None, number
            assert sorted(each.point for each in found.points.live) == ["b", "d", "e"], number
            repository = await opened(store)
            points = [str(each.point) for each in await repository.commits()]
            assert sorted(points) == ["b", "d", "e"], number
            await repository.reclaim.reclaim(at=NOW)
            await stands(store, past, {point: HOMES[point] for point in points})

    asyncio.run(scenario())


async def before_the_shred(past: Past) -> dict[str, bytes]:
    """Return the objects of the domain that was shredded, with its key, as they were made."""
    store = MemoryStore()
    repository = await created(store)
    await domains_of(repository).add("red", chance=chance(2))
    await domains_of(repository).add("blue", chance=chance(3))
    await put(repository, "two", IMAGES["c"], "c", domain="blue")
    mine = {name: content for name, content in store.objects.items() if past.blue in name}
    assert {name.partition("/")[0] for name in mine} >= {"domains", "packs", "points"}
    return mine


def test_a_log_that_is_gone_leaves_points_in_their_domains(past: Past) -> None:
    """Keys tell of domains, and names of objects of what is in them."""

    async def scenario() -> None:
        store = past.again()
        lose(store, *range(1, len(past.entries) + 1))
        assert await renewed(store, unlock=lambda: KEY) is not None
        repository = await opened(store)
        points = [str(each.point) for each in await repository.commits()]
        # Nobody can tell any more that a point was removed, if all of it is still there.
        assert {"b", "d", "e"} == {*points}
        await stands(store, past, {point: HOMES[point] for point in points})

    asyncio.run(scenario())


def test_the_past_has_what_these_tests_are_about(past: Past) -> None:
    """Domains added and shredded, runs in one, and points whose manifests were moved."""
    kinds = {type(entry) for entry in past.entries}
    assert {DomainAddedEntry, DomainShreddedEntry, PointCommittedEntry, RunOpenedEntry} <= kinds
    assert any(name.startswith(f"points/{past.red}.b.") for name in past.objects)
