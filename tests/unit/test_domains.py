"""A domain shares nothing with others."""

from collections.abc import Awaitable, Callable

import pytest

from reference_engine.adapters.memory_cache import MemoryCache
from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import (
    InputRefusedError,
)
from reference_engine.model.identity import MachineId
from reference_engine.ports.runtime import Inline
from reference_engine.repository.block_map import NameTable
from reference_engine.repository.codec import copy_name
from reference_engine.repository.domain_names import (
    bare,
    domain_of,
    in_domain,
    key_name,
    keyed_domain,
)
from reference_engine.repository.errors import (
    DomainExistsError,
    DomainShreddedError,
    DomainUnknownError,
)
from reference_engine.repository.header import read_header
from reference_engine.repository.index_cache import IndexCache
from reference_engine.repository.known_index import KEPT_PORTIONS
from reference_engine.repository.opening import opened as unsealed
from reference_engine.repository.repository import Repository
from reference_engine.repository.segmented_store import SegmentedStore
from tests.strategies.domain_vaults import (
    Vault,
    domains_of,
    id_of,
    image,
    packs,
    put,
    shred,
)
from tests.strategies.encrypted_repositories import KEY, chance, opened, run
from tests.strategies.repositories import BLOCK, restored

RED = "d0123456789abcdef"


def test_names_tell_of_which_domain_an_object_is() -> None:
    """Also copies and what is in quarantine; names of other forms are of none."""
    for name in (
        "packs/{}.s-1",
        "copies/maps/{}.s-1",
        "points/{}.p.1",
        "quarantine/packs/{}.s-1-1",
    ):
        assert domain_of(name.format(RED)) == RED
    for name in (f"packs/{RED}", "packs/s-1", f"log/{RED}.1/x", f"packs/x{RED}.s-1", key_name(RED)):
        assert not domain_of(name) or name.startswith("log/")
    assert bare(in_domain(RED, "token")) == bare("token") == in_domain("", "token") == "token"
    assert keyed_domain(key_name(RED)) == keyed_domain(copy_name(key_name(RED))) == RED
    assert keyed_domain(f"quarantine/domains/{RED}-1") == RED
    assert not any(map(keyed_domain, ("domains/x", f"keys/{RED}", f"domains/{RED}.x")))


def test_equal_blocks_of_two_domains_are_stored_twice() -> None:
    """Within a domain they are stored once, whatever machine has them."""

    async def scenario() -> None:
        vault = await Vault.made()
        repository, red = vault.repository, await id_of(vault.repository, "red")
        await put(repository, "one", image(1, 2), "a", domain="red")
        await put(repository, "two", image(1, 2), "b", domain="red")
        assert len(packs(vault.store, red)) == 1
        await put(repository, "three", image(1, 2), "c", domain="blue")
        await put(repository, "four", image(1, 2), "d")
        blue = await id_of(repository, "blue")
        assert len(packs(vault.store, blue)) == len(packs(vault.store, "")) == 1

    run(scenario)


def test_a_machine_stays_in_its_domain_until_it_is_told_to_go() -> None:
    """In another one it starts anew: nothing there may refer to the domain that it left."""

    async def scenario() -> None:
        vault = await Vault.made()
        await vault.backup("one", "red", image(1, 2))
        await vault.backup("one", None, image(1, 3))
        token = "1" * 32
        session = await vault.repository.open_run(MachineId("one"), token=token, domain="blue")
        assert session.base is None
        await session.abandon()
        session = await vault.repository.open_run(MachineId("one"), token="2" * 32)
        assert session.base is not None
        assert session.base.id == "p2"
        await session.abandon()
        await vault.backup("one", "", image(1, 3))
        await vault.shred("red")
        assert [*vault.held] == ["p3"]
        await vault.check()

    run(scenario)


def test_a_domain_that_is_not_there_is_refused() -> None:
    """By its name, before anything was written; also where nobody says which one comes next."""

    async def scenario() -> None:
        vault = await Vault.made()
        await vault.backup("one", "red", image(1))
        before = dict(vault.store.objects)
        with pytest.raises(DomainUnknownError, match="'green'"):
            await put(vault.repository, "one", image(1), "x", domain="green")
        assert vault.store.objects == before
        await vault.shred("red")
        with pytest.raises(DomainShreddedError, match="'red'"):
            await put(vault.repository, "one", image(1), "x")
        with pytest.raises(DomainUnknownError, match="'red'"):
            await put(vault.repository, "two", image(1), "x", domain="red")
        await vault.backup("one", "blue", image(1))
        await vault.check()

    run(scenario)


@pytest.mark.parametrize("name", ["", " red", "red\n", "x" * 65, "\x07"])
def test_what_is_no_name_is_refused(name: str) -> None:
    """Nothing is stored for it."""

    async def scenario() -> None:
        vault = await Vault.made()
        before = dict(vault.store.objects)
        with pytest.raises(InputRefusedError, match="no name of a domain"):
            await domains_of(vault.repository).add(name, chance=chance(7))
        assert vault.store.objects == before

    run(scenario)


class Meeting(MemoryStore):
    """A store in which somebody else does something as soon as a domain's key is stored."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], Awaitable[object]] | None = None

    async def create(self, name: str, content: bytes | bytearray, /) -> bool:
        """Store the object, and then let the other one go on."""
        created = await super().create(name, content)
        if name.startswith("copies/domains/") and self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return created


def test_of_two_who_add_the_same_name_one_is_refused_and_leaves_nothing() -> None:
    """The key that he made is nobody's."""

    async def scenario() -> None:
        store = Meeting()
        vault = await Vault.made(store=store)
        other = await opened(store)
        store.meanwhile = lambda: domains_of(other).add("green", chance=chance(8))
        with pytest.raises(DomainExistsError):
            await domains_of(vault.repository).add("green", chance=chance(9))
        keys = sorted(name for name in store.objects if keyed_domain(name))
        green = await id_of(other, "green")
        known = [view.domain for view in await domains_of(other).listed()]
        assert keys == sorted(n for d in known for n in (key_name(d), copy_name(key_name(d))))
        await put(vault.repository, "one", image(1), "a", domain="green")
        assert packs(store, green)

    run(scenario)


def test_a_cache_is_each_domain_s_own_and_goes_with_it() -> None:
    """What is kept on a machine tells nothing of a domain that was shredded."""

    async def scenario() -> None:
        cache = MemoryCache()
        vault = await Vault.made()
        content = image(*range(1, 40))

        async def fresh() -> Repository:
            return await Repository.open(vault.store, unlock=lambda: KEY, cache=cache)

        async def cached(domain: str) -> int:
            """Return how many blocks of a domain can be found in the cache."""
            stored = (await read_header(vault.store)).stored
            found = await unsealed(vault.store, stored, executor=Inline(), unlock=lambda: KEY)
            assert isinstance(found.store, SegmentedStore)
            await found.store.learn(domain)
            index = IndexCache(
                cache,
                found.sealing,
                found.header.key,
                NameTable(),
                repository=stored.repository,
                domain=domain,
            )
            await index.load()
            return len(index)

        for machine in range(KEPT_PORTIONS + 7):
            part = content[: (machine + 1) * BLOCK]
            await put(await fresh(), f"m{machine}", part, f"r{machine}", domain="red")
        red = await id_of(await fresh(), "red")
        assert len(packs(vault.store, red)) == KEPT_PORTIONS + 7
        assert await cached(red) >= KEPT_PORTIONS
        kept = dict(cache.files)
        await put(await fresh(), "own", content, "own")
        await put(await fresh(), "another", content, "another", domain="red")
        assert packs(vault.store, "")
        assert await cached(red) >= KEPT_PORTIONS
        assert kept.items() <= cache.files.items()
        await shred(await fresh(), "red")
        assert await cached(red) == 0
        assert await restored(await fresh(), "own") == content

    run(scenario)
