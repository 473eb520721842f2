"""A Cluster Shared Volume: one coordinator, direct and redirected I/O, shared bandwidth."""

from reference_engine.model.identity import NodeName, VolumeName
from reference_engine.model.units import ByteCount
from simulator.kernel.bandwidth import SharedLink
from simulator.kernel.gate import Gate
from simulator.kernel.simulation import Simulation


class SimVolume:
    """Direct readers share the disk; redirected ones share the coordinator's network as well."""

    def __init__(
        self,
        sim: Simulation,
        volume: VolumeName,
        /,
        *,
        coordinator: NodeName,
        direct_rate: ByteCount,
        redirected_rate: ByteCount,
        pinned: bool,
    ) -> None:
        self.name, self.coordinator, self.pinned = volume, coordinator, pinned
        self.preferred = coordinator
        self.redirected = False
        self.moving = False
        self.moved_by_engine = False
        self.foreign = False
        """Another backup product has a snapshot in progress."""

        self.room: ByteCount | None = None
        """What is left for snapshots; None: room without end."""

        self.local = False
        """It belongs to one node, and is lost with it."""

        self.by_storage = False
        """The storage takes snapshots, of the machines of one host and through that host."""

        self.redirections = 0
        """How often direct writes came back, or another node became the coordinator."""

        self.gate = Gate(sim)
        """Closed while the volume is paused."""

        self.disk = SharedLink(sim, direct_rate)
        self.network = SharedLink(sim, redirected_rate)

    async def ready(self) -> None:
        """Return once the volume is not paused."""
        await self.gate.passed()

    async def transfer(self, amount: ByteCount, /, *, redirected: bool) -> None:
        """Return once `amount` bytes were read, over the coordinator's network if redirected."""
        if amount == 0:
            return
        await self.ready()
        await self.disk.transfer(amount)
        if redirected:
            await self.network.transfer(amount)
