"""Dedup domains: points that share blocks among themselves only, and go together by one key.

A domain is a tenant, a customer, a machine: whatever must be destroyed for sure one day. All that
its sessions write is sealed under its own key, and named after it. Only what has this name is
looked through for blocks that are stored already, so no point of another domain ever needs any of
it. To *shred* a domain is one entry of the log, behind which its points exist no more and no
session of it can commit, and then the deletion of its key: what is left of it in the store, in
copies of the store, on discarded disks, opens for nobody. Space is given back later, as always.
"""

from typing import Final, NamedTuple

from reference_engine.model.errors import (
    InputRefusedError,
    ObjectLockedError,
    OperationFailedError,
)
from reference_engine.model.identity import MachineId
from reference_engine.model.units import Instant
from reference_engine.ports.runtime import RandomStream
from reference_engine.repository.codec import ANCHORS, INDEX, Entry, PointCommittedEntry
from reference_engine.repository.domain_entries import DomainAddedEntry, DomainShreddedEntry
from reference_engine.repository.domain_keys import encode_domain_key, key_names
from reference_engine.repository.domain_names import OWN, domain_id, domain_of, keyed_domain
from reference_engine.repository.errors import (
    DomainExistsError,
    DomainShreddedError,
    DomainUnknownError,
    PointUnknownError,
)
from reference_engine.repository.history import History
from reference_engine.repository.log import COLLISIONS_MAX, Log
from reference_engine.repository.mending import MENDS, QUARANTINE, WANTED
from reference_engine.repository.publish import discard, publish_own
from reference_engine.repository.reclaim import Reclaim, outrun
from reference_engine.repository.segmented_store import SegmentedStore

NAME_MAX: Final = 64
_KINDS: Final = (*key_names(""), MENDS, WANTED, QUARANTINE)
"""Where there may be a key of a domain, or what no reclaim would take."""

_WRITTEN: Final = ("packs/", "maps/", "copies/maps/", "points/", "copies/points/", INDEX, ANCHORS)
"""What its sessions write."""


class DomainView(NamedTuple):
    """One domain, as its owners see it."""

    domain: str
    name: str
    points: int
    machines: int
    has_key: bool
    """Whether its key can be read; else nothing of it can."""


class Shredded(NamedTuple):
    """What became of a domain."""

    domain: str
    points: int
    """How many ceased to exist by this."""

    locked: dict[str, str]
    """Objects of its key that the store keeps by a lock, and until when."""


class Domains:
    """The domains of one opened repository."""

    def __init__(self, store: SegmentedStore, log: Log, /) -> None:
        self._store, self._log = store, log

    async def listed(self) -> tuple[DomainView, ...]:
        """Return every domain that was not shredded, in the order in which they came.

        Raises:
            LogDamagedError: the history is not what was written.
        """
        await self._log.refresh()
        history = self._log.history
        found: list[DomainView] = []
        for domain, name in tuple(history.domains.items()):
            points = history.live_in(domain)
            has_key = await self._store.learn(domain)
            machines = {each.machine for each in points}
            found.append(DomainView(domain, name, len(points), len(machines), has_key))
        return tuple(found)

    async def add(self, name: str, /, *, chance: RandomStream) -> str:
        """Return the id of a new domain of this name; its key is durable.

        Raises:
            InputRefusedError: it is no name.
            DomainExistsError: there is one of this name.
            TransientError: the store failed, or a reclaim took us for dead; add it again.
            RefusedError: the store cannot be written to.
        """
        if not name.isprintable() or name != name.strip() or not 0 < len(name) <= NAME_MAX:
            raise InputRefusedError(
                f"{name!r:.80} is no name of a domain",
                f"give 1 to {NAME_MAX} printable characters without spaces at the ends",
            )
        await self._log.refresh()
        _check_free(self._log.history, name)
        domain = domain_id(chance.token())
        content = encode_domain_key(domain, name, chance)
        for each in key_names(domain):
            await publish_own(self._store, each, content)

        def decide(history: History) -> Entry | None:
            if domain in history.domains:
                return None
            _check_free(history, name)
            if any(history.is_swept(each) for each in key_names(domain)):
                raise OperationFailedError(f"adding {name!r}", "a reclaim has removed its key")
            return DomainAddedEntry(domain=domain, name=name)

        try:
            await self._log.append(decide)
        except DomainExistsError:
            # No entry speaks of this key, and none ever will.
            for each in key_names(domain):
                await discard(self._store, each)
            raise
        return domain

    async def shred(self, name: str, /, *, reclaim: Reclaim, at: Instant) -> Shredded:
        """Let the domain of this name, all its points, and its key exist no more.

        Called again, also after an error or a crash, it does what is left to do.

        Raises:
            DomainUnknownError: there is none of this name, and there was none.
            AppendOnlyError: nothing is removed from this repository.
            PointImmutableError: one of its points is too young.
            PointLeasedError: one of them is being read.
            TransientError: the store failed; shred again.
        """
        points = 0
        for _ in range(COLLISIONS_MAX):
            await self._log.settle()
            history = self._log.history
            number = len(history.entries)
            domain = history.domain_named(name)
            if domain is None:
                earlier = [each for each, was in history.shredded.items() if was == name]
                if not earlier:
                    raise DomainUnknownError(name)
                return Shredded(earlier[-1], points, await self.clear())
            going = tuple(each.point for each in history.live_in(domain))
            try:
                await reclaim.check_expiry(going, at=at, allow_last=True)
            except PointUnknownError:
                continue  # It has expired meanwhile.
            # A log that was renewed may know a second one of this name, by its key: it goes next.
            if await self._log.append_after(number, DomainShreddedEntry(domain=domain, at=at)):
                points += len(going)
        raise outrun()

    async def unclaimed(self) -> tuple[str, ...]:
        """Return the objects of keys that no entry speaks of: whoever was to add one has died.

        Where a domain has left anything else, the log may lack its end, and its key is needed.
        """
        history = self._log.history
        found: list[str] = []
        for kind in key_names(""):
            for name in await self._store.names(kind):
                domain = keyed_domain(name)
                if domain == OWN or domain in history.domains or domain in history.shredded:
                    continue
                left = [await self._store.names(f"{kind}{domain}.") for kind in _WRITTEN]
                found += [] if any(left) else [name]
        return tuple(found)

    async def clear(self) -> dict[str, str]:
        """Leave no key of a domain that was shredded, nor what repairs wrote about it.

        Return what the store keeps by a lock, and until when.

        Raises:
            TransientError, RefusedError: the store failed; call again.
        """
        await self._log.settle()
        shredded = self._log.history.shredded
        if not shredded:
            return {}
        locked: dict[str, str] = {}
        for domain in shredded:
            self._store.forget(domain)
        for kind in _KINDS:
            for name in await self._store.names(kind):
                if (domain_of(name) or keyed_domain(name)) not in shredded:
                    continue
                try:
                    await self._store.delete(name)
                except ObjectLockedError as error:
                    locked[name] = error.until
        return locked


def home_of(history: History, machine: MachineId, wanted: str | None, /) -> str:
    """Return the id of the domain in which a run of the machine writes.

    `wanted` is the name of one, empty for the repository's own; None: that of its newest point.

    Raises:
        DomainUnknownError: there is none of this name.
        DomainShreddedError: the one of its newest point was shredded.
    """
    if wanted is not None:
        found = history.domain_named(wanted) if wanted else OWN
        if found is None:
            raise DomainUnknownError(wanted)
        return found
    live = history.live_of(machine)
    newest = history.newest(machine) or (live[-1] if live else None)
    domain = OWN if newest is None else domain_of(newest.manifest)
    if domain in history.shredded:
        raise DomainShreddedError(machine, history.shredded[domain])
    return domain


def base_in(history: History, machine: MachineId, home: str, /) -> PointCommittedEntry | None:
    """Return the machine's newest point; None where it is gone, or in another domain.

    Trackers know what changed since that point, and not since any earlier one.
    """
    newest = history.newest(machine)
    if newest is None or newest.point not in history.live or domain_of(newest.manifest) != home:
        return None
    return newest


def _check_free(history: History, name: str) -> None:
    if history.domain_named(name) is not None:
        raise DomainExistsError(name)
