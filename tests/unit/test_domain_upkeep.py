"""What mends, repairs and repacks blocks keeps to their domain."""

import pytest

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import (
    CorruptionError,
)
from reference_engine.model.identity import RecoveryPointId
from reference_engine.repository.codec import copy_name
from reference_engine.repository.domain_names import (
    domain_of,
    key_name,
)
from reference_engine.repository.mending import MENDS, WANTED
from reference_engine.repository.repack_rule import RepackRule
from tests.strategies.domain_vaults import (
    NOW,
    Vault,
    domains_of,
    id_of,
    image,
    packs,
    put,
    repaired,
    shred,
)
from tests.strategies.encrypted_repositories import opened, run
from tests.strategies.repositories import restored


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
