"""What was shredded opens for nobody any more, and nothing else is lost."""

import pytest

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import (
    ConsistencyLostError,
    OperationFailedError,
)
from reference_engine.model.identity import MachineId, RecoveryPointId
from reference_engine.model.units import Duration
from reference_engine.repository.domain_names import (
    domain_of,
    key_name,
    keyed_domain,
)
from reference_engine.repository.envelope import HEAD_SIZE, decode_head
from reference_engine.repository.errors import (
    AppendOnlyError,
    PointImmutableError,
    PointLeasedError,
)
from reference_engine.repository.repository import Repository
from reference_engine.repository.settings import Settings
from tests.strategies.domain_vaults import NOW, Vault, id_of, image, packs, put, repaired, shred
from tests.strategies.encrypted_repositories import by_words, chance, opened, run
from tests.strategies.repositories import BLOCK, DISK, point_of, restored, write


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
