"""Machines that appear while the engine runs: a rule says which of them are protected, and when."""

from collections.abc import Callable, Iterable
from contextlib import suppress

import msgspec

from reference_engine.jobs.insisting import insist
from reference_engine.jobs.surroundings import Policy, Ports
from reference_engine.model.errors import TwinshotError
from reference_engine.model.identity import MachineId
from reference_engine.model.units import Duration, Instant
from reference_engine.repository.codec import Entry, RunOpenedEntry
from reference_engine.repository.history import REPACK
from reference_engine.repository.renewal_entries import LogRenewedEntry
from reference_engine.trace.engine import MachineDiscovered


class DiscoveryRule(msgspec.Struct, frozen=True, kw_only=True):
    """Every machine of the cluster is protected: looked for every `poll`, due every `interval`."""

    poll: Duration
    delay: Duration
    """From the sight of a machine to its first slot: what an earlier engine left is cleared."""

    interval: Duration
    until: Instant


class Census:
    """Which machines there are, by identity: a name that comes back is somebody else."""

    def __init__(self, known: tuple[MachineId, ...], /) -> None:
        self._known = dict.fromkeys(known)
        self._there = dict.fromkeys(known)

    def there(self, machine: MachineId, /) -> bool:
        """Return whether the cluster still had the machine when it was last asked."""
        return machine in self._there

    def take(self, machines: tuple[MachineId, ...], /) -> tuple[MachineId, ...]:
        """Note who is there now; return who was never there before, each exactly once."""
        new = tuple(machine for machine in machines if machine not in self._known)
        self._known |= dict.fromkeys(new)
        self._there = dict.fromkeys(machines)
        return new

    def unnamed(self, machines: Iterable[MachineId], /) -> tuple[MachineId, ...]:
        """Return those of `machines` that no list named and that were never seen."""
        return tuple(machine for machine in machines if machine not in self._known)


async def discover(
    ports: Ports,
    policy: Policy,
    rule: DiscoveryRule,
    census: Census,
    begin: Callable[[MachineId], None],
    /,
    *,
    clear: Callable[[MachineId], None],
    within: Duration,
) -> None:
    """Look for machines until the rule ends; `begin` is called once for each that is new.

    `clear` is called once for each that an earlier engine had found and that is there no more: of
    what that one left, no list and no cluster knows any longer, and only the log does.

    The first look is at once: a machine that an earlier engine had found may stand still for it, or
    hold what it left. Where none was answered until the rule ends, it is tried for as long as
    `within`.
    """
    answered = False

    async def look() -> None:
        nonlocal answered
        machines = await ports.cluster.machines()
        for machine in census.take(machines):
            ports.tracer(MachineDiscovered(at=ports.runtime.now(), machine=machine))
            begin(machine)
        if not answered:
            bygone = census.unnamed(_backed_up(await ports.repository.entries()))
            answered = True
            for machine in bygone:
                clear(machine)

    if ports.runtime.now() + rule.poll < rule.until:
        await insist(ports, policy, look, within=rule.poll)
    while ports.runtime.now() + rule.poll < rule.until:
        await ports.runtime.sleep(rule.poll)
        # Nobody is new, and nobody gone, on the word of a cluster that is silent.
        with suppress(TwinshotError):
            async with ports.runtime.deadline(policy.step_limit):
                await look()
    if not answered:
        await insist(ports, policy, look, within=within)


def _backed_up(entries: Iterable[Entry], /) -> tuple[MachineId, ...]:
    """Return every machine of which a run was ever opened, as far as the log remembers."""
    machines: dict[MachineId, None] = {}
    for entry in entries:
        match entry:
            case RunOpenedEntry(machine=machine):
                machines[machine] = None
            case LogRenewedEntry(epochs=epochs):
                machines.update((taken.machine, None) for taken in epochs)
            case _:
                pass
    machines.pop(REPACK, None)
    return tuple(machines)
