"""Small simulated clusters: their scenario as text, the world, and its ports through the door."""

from collections.abc import Callable, Coroutine
from typing import Any

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.identity import Epoch, MachineId, NodeName, RunTag, VolumeName
from reference_engine.model.units import SECOND, Duration
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.change_tracking import ChangeTracking
from reference_engine.ports.cluster import Cluster
from reference_engine.ports.consistency import Consistency
from reference_engine.ports.disk_io import DiskIo
from reference_engine.ports.host import Host
from reference_engine.trace import Event as Fact
from simulator.facade.blob_store import BlobStoreFacade
from simulator.facade.change_tracking import ChangeTrackingFacade
from simulator.facade.cluster import ClusterFacade
from simulator.facade.consistency import ConsistencyFacade
from simulator.facade.disk_io import DiskIoFacade
from simulator.facade.door import Door
from simulator.facade.host import HostFacade
from simulator.faults.plan import FaultPlan
from simulator.kernel.digest import TraceDigest
from simulator.kernel.runtime import SimRuntime
from simulator.kernel.simulation import Simulation
from simulator.kernel.task import SimNode
from simulator.scenario.building import build_world
from simulator.scenario.reading import parse_scenario
from simulator.world.truth import empty_truth

A, B = NodeName("A"), NodeName("B")
V1, PINNED = VolumeName("V1"), VolumeName("V2")
X = MachineId("x")

SMALL_DISKS = ("512 KiB + 512 B", "640 KiB")


def scenario_text(
    *,
    back_end: str = "E1",
    guest: str = "vss",
    disks: tuple[str, ...] = SMALL_DISKS,
    cell: str = "4096 B",
    duration: str = "70m",
    bursts_per_hour: int = 3600,
    more: str = "",
) -> str:
    """Return a scenario of two nodes, a movable and a pinned volume, and the machine `x`."""
    listed = ", ".join(f'{{ volume = "V1", size = "{size}" }}' for size in disks)
    return f"""\
why = "A small cluster for tests."
duration = "{duration}"
back_end = "{back_end}"
cell = "{cell}"

[protection]
interval = "30m"
first = "5m"
block = "16 KiB"

[skew]
shortest = "8s"
longest = "8s"

[[nodes]]
name = "A"

[[nodes]]
name = "B"

[[volumes]]
name = "V1"
coordinator = "A"

[[volumes]]
name = "V2"
coordinator = "B"
pinned = true

[[machines]]
name = "x"
node = "A"
guest = "{guest}"
disks = [{listed}]
writes = {{ bursts_per_hour = {bursts_per_hour} }}
{more}"""


def run_number(epoch: int) -> RunTag:
    """Return a run of the machine `x`."""
    return RunTag(machine=X, epoch=Epoch(epoch))


class SimulatedCluster:
    """A world at instant 0 and every port of it as an engine sees them."""

    def __init__(self, text: str, *, seed: int = 1) -> None:
        scenario = parse_scenario(text, name="test.toml")
        self.sim = Simulation(seed)
        self.facts: list[Fact] = []
        self.truth = empty_truth()
        self.world = build_world(scenario, self.sim, self.facts.append, self.truth, images={})
        self.plan = FaultPlan()
        self.runtime = SimRuntime(self.sim, node=SimNode("engine"))
        door = Door(self.world, TraceDigest(), self.plan)
        skew = (Duration(8 * SECOND), Duration(8 * SECOND))
        self.cluster: Cluster = door.opened("cluster", ClusterFacade(self.world))
        self.host: Host = door.opened("host", HostFacade(self.world, skew=skew))
        self.consistency: Consistency = door.opened("consistency", ConsistencyFacade(self.world))
        self.tracking: ChangeTracking = door.opened(
            "change_tracking", ChangeTrackingFacade(self.world)
        )
        self.disk_io: DiskIo = door.opened("disk_io", DiskIoFacade(self.world))
        self.store: BlobStore = door.opened(
            "blob_store", BlobStoreFacade(self.world, MemoryStore())
        )

    def run(self, story: Callable[[], Coroutine[Any, Any, Any]], /) -> Any:
        """Return what a story returns in which the engine talks to this cluster."""
        try:
            return self.runtime.run(story())
        finally:
            self.sim.close()
