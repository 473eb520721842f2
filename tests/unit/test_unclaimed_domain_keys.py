"""Keys of domains that never came to be are given back, and no other key ever is."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import pytest

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import TransientError
from reference_engine.model.identity import MachineId
from reference_engine.model.units import Instant
from reference_engine.repository.domain_names import DOMAINS
from reference_engine.repository.repository import Repository
from tests.strategies.encrypted_repositories import KEY, chance, created, features, opened
from tests.strategies.lost_entries import renewed
from tests.strategies.repositories import DISK, block, no_progress, point_of, write

NOW: Final = Instant(1)


class Interrupted(MemoryStore):
    """A store in which something happens right behind the creation of an object."""

    def __init__(self) -> None:
        super().__init__()
        self.behind: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {}
        """By the beginning of its name; each happens once."""

    async def create(self, name: str, content: bytes | bytearray, /) -> bool:
        """Store the object, and let happen what is to."""
        done = await super().create(name, content)
        for beginning in [each for each in self.behind if name.startswith(each)]:
            await self.behind.pop(beginning)()
        return done


async def add(repository: Repository, name: str, *, seed: int) -> str:
    """Return the id of a new domain."""
    assert repository.domains is not None, "it is encrypted"
    return await repository.domains.add(name, chance=chance(seed))


def keys(store: MemoryStore) -> list[str]:
    """Return the objects of domains' keys, by what they hold: each is there twice or half."""
    return sorted(name for name in store.objects if DOMAINS in name)


async def died() -> None:
    """Let the process die here."""
    raise ProcessLookupError


@pytest.mark.parametrize("last", [DOMAINS, f"copies/{DOMAINS}"])
def test_a_key_that_no_entry_speaks_of_is_given_back(last: str) -> None:
    """Whoever was to add the domain died behind its key; those of other domains stay."""

    async def scenario() -> None:
        store = Interrupted()
        repository = await created(store, features())
        await add(repository, "red", seed=1)
        standing = keys(store)
        store.behind[last] = died
        with pytest.raises(ProcessLookupError):
            await add(repository, "blue", seed=2)
        assert keys(store) != standing

        await (await opened(store)).reclaim.reclaim(at=NOW)
        assert keys(store) == standing
        await add(await opened(store), "blue", seed=3)
        await (await opened(store)).reclaim.reclaim(at=NOW)
        assert len(keys(store)) == 4

    asyncio.run(scenario())


@pytest.mark.parametrize("behind", [DOMAINS, f"copies/{DOMAINS}"])
def test_a_key_that_was_taken_for_left_over_makes_no_domain(behind: str) -> None:
    """A reclaim overtakes whoever adds a domain: he is told to try again, and then may."""

    async def scenario() -> None:
        store = Interrupted()
        repository = await created(store, features())

        async def reclaimed() -> None:
            await (await opened(store)).reclaim.reclaim(at=NOW)

        store.behind[behind] = reclaimed
        with pytest.raises(TransientError):
            await add(repository, "red", seed=1)
        await add(repository, "red", seed=2)

        fresh = await opened(store)
        assert fresh.domains is not None
        assert [(each.name, each.has_key) for each in await fresh.domains.listed()] == [
            ("red", True)
        ]

    asyncio.run(scenario())


def test_a_domain_that_is_added_while_its_key_is_condemned_keeps_it() -> None:
    """What was no domain's key when it was condemned is one's when it is to be swept."""

    async def scenario() -> None:
        store = Interrupted()
        repository = await created(store, features())

        async def condemned() -> None:
            assert await (await opened(store)).reclaim.condemn(at=NOW) is not None

        store.behind[f"copies/{DOMAINS}"] = condemned
        await add(repository, "red", seed=1)
        held = keys(store)

        await (await opened(store)).reclaim.reclaim(at=NOW)
        assert keys(store) == held != []

    asyncio.run(scenario())


def test_a_key_stays_where_its_domain_has_left_more_than_that() -> None:
    """The log may have lost its end: then what a point was sealed with is not thrown away."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await created(store, features())
        before = dict(store.objects)
        await add(repository, "red", seed=1)
        run = await repository.open_run(MachineId("vm"), token="ab" * 16, domain="red")
        await write(run, block(1))
        await run.stage(point_of(run, {DISK: len(block(1))}, "p"))
        later = {name for name in store.objects if "log/" in name} - before.keys()
        rolled_back = {name: store.objects.pop(name) for name in later}

        await (await opened(store)).reclaim.reclaim(at=NOW)
        assert len(keys(store)) == 2
        store.objects = {n: c for n, c in store.objects.items() if "log/" not in n} | rolled_back
        store.objects |= {n: c for n, c in before.items() if "log/" in n}
        await run.commit()
        await no_progress(await opened(store), "p")

    asyncio.run(scenario())


def test_a_shred_destroys_whatever_has_the_name() -> None:
    """A renewed log may know two domains of one name by their keys: none of them is left."""

    async def scenario() -> None:
        store = Interrupted()
        repository = await created(store, features())
        store.behind[f"copies/{DOMAINS}"] = died
        with pytest.raises(ProcessLookupError):
            await add(repository, "red", seed=1)
        before = [*store.objects]
        await add(repository, "red", seed=2)
        lost = [name for name in store.objects if "log/" in name and name not in before]
        run = await repository.open_run(MachineId("vm"), token="ab" * 16, domain="red")
        await write(run, block(1))
        await run.stage(point_of(run, {DISK: len(block(1))}, "p"))
        await run.commit()
        for entry in lost:
            del store.objects[entry]
        assert await renewed(store, unlock=lambda: KEY) is not None

        fresh = await opened(store)
        assert fresh.domains is not None
        assert [(each.name, each.points) for each in await fresh.domains.listed()] in (
            [("red", 0), ("red", 1)],
            [("red", 1), ("red", 0)],
        )
        done = await fresh.domains.shred("red", reclaim=fresh.reclaim, at=NOW)
        assert done.points == 1
        assert keys(store) == []
        assert await (await opened(store)).commits() == ()

    asyncio.run(scenario())
