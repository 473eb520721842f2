"""A domain shares nothing with others, and what was shredded opens for nobody any more."""

from collections.abc import Awaitable, Callable

import pytest

from reference_engine.adapters.memory_cache import MemoryCache
from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import (
    ConsistencyLostError,
    CorruptionError,
    InputRefusedError,
    OperationFailedError,
)
from reference_engine.model.identity import MachineId, RecoveryPointId
from reference_engine.model.units import Duration
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
from reference_engine.repository.envelope import HEAD_SIZE, decode_head
from reference_engine.repository.errors import (
    AppendOnlyError,
    DomainExistsError,
    DomainShreddedError,
    DomainUnknownError,
    PointImmutableError,
    PointLeasedError,
)
from reference_engine.repository.header import read_header
from reference_engine.repository.index_cache import IndexCache
from reference_engine.repository.known_index import KEPT_PORTIONS
from reference_engine.repository.mending import MENDS, WANTED
from reference_engine.repository.opening import opened as unsealed
from reference_engine.repository.repack_rule import RepackRule
from reference_engine.repository.repository import Repository
from reference_engine.repository.segmented_store import SegmentedStore
from reference_engine.repository.settings import Settings
from tests.strategies.domain_vaults import NOW, Vault, domains_of, put, repaired, shred
from tests.strategies.encrypted_repositories import KEY, by_words, chance, opened, run
from tests.strategies.repositories import BLOCK, DISK, block, point_of, restored, write

RED = "d0123456789abcdef"


def image(*fills: int) -> bytes:
    """Return a disk of these blocks."""
    return b"".join(block(fill) for fill in fills)


def packs(store: MemoryStore, domain: str) -> list[str]:
    """Return the packs of a domain, by its id."""
    return [n for n in sorted(store.objects) if n.startswith("packs/") and domain_of(n) == domain]


async def id_of(repository: Repository, name: str) -> str:
    """Return the id of a domain."""
    [found] = [each for each in await domains_of(repository).listed() if each.name == name]
    return found.domain


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


def test_no_run_of_a_shredded_domain_commits() -> None:
    """Whatever it had staged; what it left is given back."""

    async def scenario() -> None:
        vault = await Vault.made()
        await vault.backup("two", "blue", image(1, 2))
        session = await vault.repository.open_run(MachineId("one"), token="a" * 32, domain="red")
        await write(session, image(1, 2))
        await session.stage(point_of(session, {DISK: 2 * BLOCK}, "late"))
        red = await id_of(vault.repository, "red")
        await shred(await opened(vault.store), "red")
        with pytest.raises(ConsistencyLostError):
            await session.commit()
        vault.shredded.add("red")
        await vault.check()
        await vault.reclaim()
        assert not [name for name in vault.store.objects if domain_of(name) == red]
        await vault.check()

    run(scenario)


def test_what_is_promised_or_read_is_not_shredded() -> None:
    """A refusal leaves everything as it was."""

    async def scenario() -> None:
        vault = await Vault.made()
        await vault.backup("one", "red", image(1))
        await vault.repository.leases.take(RecoveryPointId("p1"), "a restore", at=NOW)
        before = dict(vault.store.objects)
        with pytest.raises(PointLeasedError):
            await shred(vault.repository, "red")
        assert vault.store.objects == before
        for settings, error in (
            (Settings(append_only=True), AppendOnlyError),
            (Settings(immutable_for=Duration(10)), PointImmutableError),
        ):
            vault = await Vault.made(settings=settings)
            await vault.backup("one", "red", image(1))
            before = dict(vault.store.objects)
            with pytest.raises(error):
                await shred(vault.repository, "red")
            assert vault.store.objects == before
            await vault.check()

    run(scenario)


class Stuck(MemoryStore):
    """A store that deletes nothing for a while."""

    stuck = False

    async def delete(self, name: str, /) -> None:
        """Remove the object, or fail."""
        if self.stuck:
            raise OperationFailedError(f"deleting {name}", "the store is stuck")
        await super().delete(name)


@pytest.mark.parametrize("by", ["shred", "reclaim"])
def test_a_shred_that_was_cut_off_is_ended_by_whoever_comes_next(by: str) -> None:
    """From the log's entry on the points are gone; the key goes with the next look at it."""

    async def scenario() -> None:
        store = Stuck()
        vault = await Vault.made(store=store)
        await vault.backup("one", "red", image(1))
        await vault.backup("two", None, image(1))
        red = await id_of(vault.repository, "red")
        store.stuck = True
        with pytest.raises(OperationFailedError):
            await vault.shred("red")
        store.stuck = False
        fresh = await opened(store)
        assert [entry.point for entry in await fresh.commits()] == ["p2"]
        assert key_name(red) in store.objects
        if by == "shred":
            await shred(fresh, "red")
        else:
            await fresh.reclaim.reclaim(at=NOW)
        assert red not in [keyed_domain(name) for name in store.objects]
        del vault.held["p1"]
        await vault.check()

    run(scenario)


def test_one_copy_of_a_key_is_enough_and_is_repaired() -> None:
    """Without both, a check says of every point of the domain that it is damaged."""

    async def scenario() -> None:
        vault = await Vault.made()
        await vault.backup("one", "red", image(1))
        await vault.backup("two", None, image(1))
        red = await id_of(vault.repository, "red")
        both = (key_name(red), copy_name(key_name(red)))
        whole = {name: vault.store.objects[name] for name in both}
        for lost in both:
            for harm in (b"", whole[lost][:-1] + b"x", None):
                vault.store.objects[lost] = harm if harm is not None else b""
                if harm is None:
                    del vault.store.objects[lost]
                assert await restored(await opened(vault.store), "p1") == image(1)
                done = await repaired(await opened(vault.store), f"{len(vault.store.objects)}")
                assert done.replaced == (lost,)
                assert vault.store.objects[lost] == whole[lost]
        for name in both:
            del vault.store.objects[name]
        fresh = await opened(vault.store)
        with pytest.raises(CorruptionError):
            await restored(fresh, "p1")
        assert await restored(fresh, "p2") == image(1)
        assert [v.has_key for v in await domains_of(fresh).listed()] == [False, True]

    run(scenario)


def test_nothing_of_it_opens_with_any_key_that_there_ever_was() -> None:
    """Not from a copy of the store that was made before, if it lacks the domain's key only."""

    async def scenario() -> None:
        vault = await Vault.made()
        await vault.backup("one", "red", image(1, 2))
        await vault.damage(0)
        red = await id_of(vault.repository, "red")
        archive = dict(vault.store.objects)
        await vault.shred("red")
        assert await vault.repository.store.read(packs_of(archive, red)[0]) == b""
        vault.store.objects |= {n: c for n, c in archive.items() if keyed_domain(n) != red}
        fresh = await opened(vault.store)
        mine = [name for name in vault.store.objects if domain_of(name) == red]
        assert {name.partition("/")[0] for name in mine} >= {"packs", "maps", "points", "index"}
        for name in mine:
            assert await fresh.store.read(name) == b"", name
        assert await restored_elsewhere(archive) == image(1, 2)

    run(scenario)


def packs_of(objects: dict[str, bytes], domain: str) -> list[str]:
    """Return the packs of a domain among some objects."""
    return [name for name in sorted(objects) if name.startswith(f"packs/{domain}.")]


async def restored_elsewhere(objects: dict[str, bytes]) -> bytes:
    """Return the first point of a copy of a store that has all keys."""
    store = MemoryStore()
    store.objects = dict(objects)
    return await restored(await opened(store), "p1")


def test_what_was_kept_in_quarantine_goes_with_the_domain() -> None:
    """Damaged bytes that a repair put aside are content of the domain too."""

    async def scenario() -> None:
        vault = await Vault.made()
        await vault.backup("one", "red", image(1, 2))
        red = await id_of(vault.repository, "red")
        [name] = [n for n in vault.store.objects if n.startswith(f"points/{red}.")]
        other = await Vault.made()
        await other.backup("one", "red", image(3))
        # Another point's manifest, soundly sealed, stands where it should not.
        swapped = await other.repository.store.read(name)
        assert swapped is not None
        await vault.repository.store.delete(name)
        await vault.repository.store.create(name, swapped)
        await repaired(await opened(vault.store), "9")
        [aside] = [n for n in vault.store.objects if n.startswith("quarantine/")]
        assert await (await opened(vault.store)).store.read(aside) == swapped
        stored = vault.store.objects[aside]
        await vault.shred("red")
        assert aside not in vault.store.objects
        vault.store.objects[aside] = stored
        assert await (await opened(vault.store)).store.read(aside) == b""

    run(scenario)


async def damaged_twice() -> tuple[Vault, dict[str, str]]:
    """Return equal content in two domains, both of which lost it, after a repair."""
    vault = await Vault.made()
    await vault.backup("one", "red", image(1, 2))
    await vault.backup("two", "blue", image(1, 2))
    ids = {name: await id_of(vault.repository, name) for name in ("red", "blue")}
    for domain in ids.values():
        [pack] = packs(vault.store, domain)
        vault.store.objects[pack] = bytes(len(vault.store.objects[pack]))
    done = await repaired(await opened(vault.store), "9")
    assert done.wanted == 4
    return vault, ids


async def outcomes(store: MemoryStore, *points: str) -> list[bool]:
    """Return for each point whether it is restored."""
    found: list[bool] = []
    for point in points:
        try:
            found.append(await restored(await opened(store), point) == image(1, 2))
        except CorruptionError:
            found.append(False)
    return found


def test_a_domain_is_healed_by_its_own_runs_only() -> None:
    """What another one stores could go at any time."""

    async def scenario() -> None:
        vault, ids = await damaged_twice()
        store = vault.store
        assert sorted(n for n in store.objects if n.startswith(WANTED)) == sorted(
            f"{WANTED}{domain}.9" for domain in ids.values()
        )
        await put(await opened(store), "three", image(1, 2), "own")
        assert await outcomes(store, "p1", "p2", "own") == [False, False, True]
        await put(await opened(store), "four", image(1, 2), "blue", domain="blue")
        assert await outcomes(store, "p1", "p2", "blue") == [False, True, True]
        assert [domain_of(n) for n in store.objects if n.startswith(MENDS)] == [ids["blue"]]
        await shred(await opened(store), "blue")
        assert [n for n in store.objects if n.startswith((MENDS, WANTED))] == [
            f"{WANTED}{ids['red']}.9"
        ]
        await put(await opened(store), "one", image(1, 2), "red")
        assert await outcomes(store, "p1", "own", "red") == [True, True, True]

    run(scenario)


def test_a_repair_takes_blocks_into_the_domains_that_lost_them() -> None:
    """From another repository, whatever domains it has; a shred takes them along."""

    async def scenario() -> None:
        vault, ids = await damaged_twice()
        second = await Vault.made()
        await second.backup("one", "", image(1, 2))
        await second.backup("two", "", image(1, 2))
        done = await repaired(await opened(vault.store), "8", second.repository)
        assert (done.mended, done.wanted) == (4, 0)
        assert await outcomes(vault.store, "p1", "p2") == [True, True]
        await vault.check()
        await vault.shred("red")
        await vault.reclaim()
        assert not packs(vault.store, ids["red"])
        assert await outcomes(vault.store, "p2") == [True]
        await vault.check()

    run(scenario)


def test_a_repack_of_several_domains_mixes_nothing() -> None:
    """Though all that it moves would fit into one pack."""

    async def scenario() -> None:
        vault = await Vault.made()
        for name in ("red", "blue", ""):
            await vault.backup(f"{name} first", name, image(1, 2, 3))
            await vault.backup(f"{name} second", name, image(3, 4))
        for point in ("p1", "p3", "p5"):
            ids = (RecoveryPointId(point),)
            await vault.repository.reclaim.expire(ids, at=NOW, allow_last=True)
            del vault.held[point]
        plan = await vault.repository.repack.plan(RepackRule(unused_share=0.0), at=NOW)
        assert len({domain_of(each.name) for each in plan.choice.objects}) == 3
        tokens = iter(f"{n:032x}" for n in range(100, 200))
        await vault.repository.repack.run(plan, token=lambda: next(tokens), at=NOW)
        await vault.reclaim()
        await vault.check()
        await vault.shred("red")
        await vault.reclaim()
        await vault.check()

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


def test_a_rotated_master_key_takes_back_what_comes_in_a_domain() -> None:
    """Who knew the old one and the domain's key opens nothing that was written since."""

    async def scenario() -> None:
        vault = await Vault.made()
        await vault.backup("one", "red", image(1))
        red = await id_of(vault.repository, "red")
        [old] = packs(vault.store, red)
        assert vault.repository.keys is not None
        await vault.repository.keys.rotate_master(by_words(), chance=chance(5))
        after = await Repository.open(vault.store, unlock=lambda: by_words().credential)
        await put(after, "one", image(2), "new")
        [new] = [name for name in packs(vault.store, red) if name != old]
        heads = [decode_head(vault.store.objects[each][:HEAD_SIZE]) for each in (old, new)]
        assert [head.generation for head in heads] == [1, 2]
        assert await restored(after, "p1") == image(1)
        assert await restored(after, "new") == image(2)

    run(scenario)
