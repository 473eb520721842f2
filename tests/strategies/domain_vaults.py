"""Encrypted repositories with dedup domains, and what must be true of them at any time."""

from typing import Final

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.identity import MachineId, RecoveryPointId
from reference_engine.model.units import Instant
from reference_engine.repository.codec import ANCHORS, INDEX
from reference_engine.repository.domain_names import domain_of, keyed_domain
from reference_engine.repository.domains import Domains
from reference_engine.repository.errors import DomainShreddedError
from reference_engine.repository.manifests import ManifestReader
from reference_engine.repository.mending import MENDS, WANTED, listed
from reference_engine.repository.opening import Features
from reference_engine.repository.repack_rule import RepackRule
from reference_engine.repository.repository import NO_SETTINGS, Repository
from reference_engine.repository.settings import Settings
from reference_engine.repository.survey import Survey
from reference_engine.upkeep.repair import Repair, Repaired
from reference_engine.verification.check import Check
from reference_engine.verification.findings import EVERYTHING, Problem
from tests.strategies.encrypted_repositories import chance, created, features, opened
from tests.strategies.repositories import DISK, block, no_progress, point_of, restored, write

NOW: Final = Instant(1)
DOMAINS: Final = ("", "red", "blue")


def domains_of(repository: Repository) -> Domains:
    """Return the domains of a repository that is encrypted."""
    assert repository.domains is not None, "it is encrypted"
    return repository.domains


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


async def put(
    repository: Repository, machine: str, image: bytes, point: str, *, domain: str | None = None
) -> None:
    """Commit a point of a machine's only disk."""
    token = point.encode().hex().rjust(32, "0")
    run = await repository.open_run(MachineId(machine), token=token, domain=domain)
    await write(run, image)
    await run.stage(point_of(run, {DISK: len(image)}, point))
    await run.commit()


async def shred(repository: Repository, name: str) -> None:
    """Destroy a domain."""
    await domains_of(repository).shred(name, reclaim=repository.reclaim, at=NOW)


async def repaired(repository: Repository, token: str, *others: Repository) -> Repaired:
    """Return what a repair did."""
    repair = Repair(repository, token=token)
    return await repair.run(others, step=lambda _: None, progress=lambda _: lambda _: None)


class Vault:
    """An encrypted repository with two domains, and what every point of it should hold."""

    def __init__(self, store: MemoryStore, repository: Repository) -> None:
        self.store, self.repository = store, repository
        self.held: dict[str, tuple[str, bytes]] = {}
        """Of each point that should exist: the name of its domain, and its disk."""

        self.homes: dict[str, str] = {}
        self.shredded: set[str] = set()
        self._count = 0

    @classmethod
    async def made(
        cls,
        wanted: Features | None = None,
        *,
        store: MemoryStore | None = None,
        settings: Settings = NO_SETTINGS,
    ) -> "Vault":
        """Return one without points."""
        store = MemoryStore() if store is None else store
        repository = await created(
            store, features() if wanted is None else wanted, settings=settings
        )
        for seed, name in enumerate(DOMAINS[1:]):
            await domains_of(repository).add(name, chance=chance(100 + seed))
        return cls(store, repository)

    def _token(self) -> str:
        self._count += 1
        return f"{self._count:032x}"

    async def backup(self, machine: str, wanted: str | None, image: bytes) -> None:
        """Commit a point of the machine in the wanted domain, or in that of its newest point."""
        home = self.homes.get(machine, "") if wanted is None else wanted
        token = self._token()
        if wanted is None and home in self.shredded:
            try:
                await self.repository.open_run(MachineId(machine), token=token)
            except DomainShreddedError:
                return
            raise AssertionError("nobody said where the point belongs")
        if home in self.shredded:
            await domains_of(self.repository).add(home, chance=chance(1000 + self._count))
            self.shredded.discard(home)
        point = f"p{self._count}"
        await put(self.repository, machine, image, point, domain=wanted)
        self.held[point], self.homes[machine] = (home, image), home

    async def expire(self, nth: int) -> None:
        """Remove a point."""
        if self.held:
            point = sorted(self.held)[nth % len(self.held)]
            ids = (RecoveryPointId(point),)
            await self.repository.reclaim.expire(ids, at=NOW, allow_last=True)
            del self.held[point]

    async def reclaim(self) -> None:
        """Give back what no point needs."""
        await self.repository.reclaim.reclaim(at=NOW)

    async def repack(self) -> None:
        """Move what is used out of packs of which a part is not."""
        plan = await self.repository.repack.plan(RepackRule(unused_share=0.0), at=NOW)
        await self.repository.repack.run(plan, token=self._token, at=NOW)
        await self.repository.reclaim.reclaim(at=NOW)

    async def damage(self, nth: int) -> None:
        """Lose a pack of a living point, and repair what can be repaired."""
        packs = sorted(name for name in self.store.objects if name.startswith("packs/"))
        living = [name for name in packs if not await self.repository.is_swept(name)]
        if living:
            name = living[nth % len(living)]
            content = self.store.objects[name]
            self.store.objects[name] = bytes(len(content))
            await repaired(self.repository, self._token())
            # It was only out of sight.
            self.store.objects[name] = content

    async def shred(self, name: str) -> None:
        """Destroy a domain."""
        await shred(self.repository, name)
        self.held = {p: held for p, held in self.held.items() if held[0] != name}
        self.shredded.add(name)

    async def reopen(self) -> None:
        """Go on in a process of its own: all that is known is what is stored."""
        self.repository = await opened(self.store)

    async def check(self) -> None:
        """Make sure of every point, of what each is made of, and of what nobody may read."""
        fresh = await opened(self.store)
        entries = {str(entry.point): entry for entry in await fresh.commits()}
        assert entries.keys() == self.held.keys()
        history = fresh.reclaim.history
        for point, (home, image) in self.held.items():
            assert history.domains.get(domain_of(entries[point].manifest), "") == home
            assert await restored(fresh, point) == image
            await no_progress(fresh, point)
        await self._check_apart()
        for name in self.store.objects:
            assert keyed_domain(name) not in history.shredded, name
            if domain_of(name) in history.shredded:
                assert await fresh.store.read(name) == b"", name
        check = Check(fresh)
        await check.structure(lambda _: None)
        await check.read(EVERYTHING, progress=lambda _: None)
        found = await check.result()
        assert found.is_sound, found
        assert not [each for each in found.objects if each.problem is Problem.FOREIGN], found

    async def _check_apart(self) -> None:
        """Make sure that points, and lists of blocks, speak of objects of their own domain only."""
        # Without lists of mends, what a point is said to use is what it refers to.
        store = MemoryStore()
        store.objects |= {n: c for n, c in self.store.objects.items() if not n.startswith(MENDS)}
        alone = await opened(store)
        survey = Survey(alone.store, alone.header, ManifestReader(alone.store, alone.header))
        for entry in await alone.commits():
            used = await survey.used((entry,))
            assert {domain_of(name) for name in used} == {domain_of(entry.manifest)}
        fresh = await opened(self.store)
        for kind in (INDEX, ANCHORS, MENDS, WANTED):
            for name in await fresh.store.names(kind):
                named = await listed(fresh.store, fresh.header.key, name)
                homes = {domain_of(pack) for pack in named.names.names()}
                assert homes <= {domain_of(name)}, (name, homes)
