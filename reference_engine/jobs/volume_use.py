"""Which volumes a run counts on: taken, perhaps redirected, and always given back."""

from contextlib import suppress

from reference_engine.jobs.snapshotting import VolumeHold, prepare_volumes, restore_preference
from reference_engine.jobs.surroundings import Policy, Ports, VolumeLedger
from reference_engine.model.errors import RefusedError, TransientError
from reference_engine.model.identity import NodeName, RunTag, VolumeName
from reference_engine.model.machine import Machine, Placement
from reference_engine.trace.engine import VolumesReleased, VolumesTaken


class VolumeUse:
    """One run's use of its node and its volumes; every way of giving back may be repeated."""

    def __init__(self, ports: Ports, policy: Policy, ledger: VolumeLedger, /) -> None:
        self._ports, self._policy, self._ledger = ports, policy, ledger
        self._taken: tuple[RunTag, NodeName, tuple[VolumeName, ...]] | None = None
        self._redirected: list[VolumeName] = []
        self.holds: tuple[VolumeHold, ...] = ()

    @property
    def limited(self) -> tuple[VolumeName, ...]:
        """The volumes of which somebody says how much room is left."""
        return tuple(hold.volume for hold in self.holds if hold.room_known)

    async def take(self, machine: Machine, placement: Placement, /, *, run: RunTag) -> None:
        """Wait for room within the limits, then have each volume as the run needs it."""
        ports, node = self._ports, placement.owner
        volumes = tuple(sorted({disk.volume for disk in machine.disks}))
        while not self._ledger.has_room(node, volumes, policy=self._policy):
            await ports.runtime.sleep(self._policy.poll)
        self._taken = (run, node, volumes)
        self._ledger.enter(node, volumes)
        ports.tracer(VolumesTaken(at=ports.runtime.now(), run=run, node=node, volumes=volumes))
        self.holds = await prepare_volumes(
            ports,
            self._policy,
            self._ledger,
            machine,
            placement,
            run=run,
            redirect=self.redirect,
        )

    async def redirect(self, volume: VolumeName, /) -> VolumeHold:
        """Send the volume's writes through its coordinator until this run's snapshots exist."""
        if volume not in self._redirected:
            self._ledger.redirect(volume)
            self._redirected.append(volume)
        await self._ports.cluster.enter_redirected(volume)
        now = await self._ports.cluster.volume(volume)
        return VolumeHold(volume=volume, coordinator=now.coordinator, redirections=now.redirections)

    async def let_direct(self) -> None:
        """End the redirections that nobody needs any more, those too that ended badly before."""
        redirected, self._redirected = self._redirected, []
        for volume in redirected:
            self._ledger.unredirect(volume)
        await make_direct(self._ports, self._ledger)

    async def release(self) -> None:
        """Count towards no limit any more, and redirect nothing."""
        if self._taken is not None:
            (run, node, volumes), self._taken = self._taken, None
            self._ledger.exit(node, volumes)
            self._ports.tracer(VolumesReleased(at=self._ports.runtime.now(), run=run))
        await self.let_direct()

    async def go_home(self) -> None:
        """Release, and give volumes back to the nodes that should coordinate them."""
        await self.release()
        await give_back(self._ports, self._policy, self._ledger)


async def make_direct(ports: Ports, ledger: VolumeLedger, /) -> None:
    """End every redirection that nobody needs and that could not be ended before."""
    for volume in ledger.owed():
        await ports.cluster.leave_redirected(volume)
        ledger.settle(volume)


async def give_back(ports: Ports, policy: Policy, ledger: VolumeLedger, /) -> None:
    """Give back every volume that this engine moved, that nobody uses and that came to rest."""
    for volume in ledger.moved():
        with suppress(TransientError, RefusedError):  # the next run gives it back
            await restore_preference(ports, policy, ledger, volume)
