"""What a job works with: its ports, its limits, and what the engine remembers of volumes."""

import enum
from collections.abc import Callable

import msgspec

from reference_engine.model.identity import NodeName, VolumeName
from reference_engine.model.units import GIB, MINUTE, SECOND, ByteCount, Duration, Instant
from reference_engine.ports.change_tracking import ChangeTracking
from reference_engine.ports.cluster import Cluster
from reference_engine.ports.consistency import Consistency
from reference_engine.ports.disk_io import DiskIo
from reference_engine.ports.host import Host
from reference_engine.ports.runtime import Runtime
from reference_engine.reconcile.freeze import DEFAULT_LIMITS, FreezeLimits
from reference_engine.repository.pack import Level
from reference_engine.repository.repository import Repository
from reference_engine.trace import Tracer


class ClusterPorts(msgspec.Struct, frozen=True, kw_only=True):
    """What can be asked before the repository answers."""

    runtime: Runtime
    cluster: Cluster
    host: Host
    consistency: Consistency
    tracer: Tracer


class Ports(ClusterPorts, frozen=True, kw_only=True):
    """Everything that a job may ask."""

    tracking: ChangeTracking
    disk_io: DiskIo
    repository: Repository
    wall_clock: Callable[[], Instant]
    """What the engine's own machine shows: dates points, and orders nothing."""


class Concession(enum.Enum):
    """What a run does about a guest snapshot that was lost while the host's is whole."""

    NONE = "none"
    """It is void: another attempt may do better."""

    CRASH_CONSISTENT = "crash-consistent"
    """It keeps the host's image and says so."""


class WithoutGuest(enum.Enum):
    """What is done about a machine whose guest cannot come to rest while it runs."""

    CUT = "cut"
    """Its disks are cut as it runs: a crash-consistent point, no downtime."""

    SAVE = "save"
    """It is saved, cut and resumed, where its host can do that: downtime, but nothing is lost."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What the administrator decided, and the limits of every wait."""

    application_required: bool = False
    """Fail rather than fall back to a crash-consistent point."""

    without_guest: WithoutGuest = WithoutGuest.CUT
    physical_disks_allowed: bool = True
    """Protect a machine although it has disks that no snapshot reaches; its points name them."""

    attempts: int = 3
    retry_delay: Duration = Duration(60 * SECOND)
    settle_limit: Duration = Duration(10 * MINUTE)
    """How long a migration may take before the run is deferred."""

    poll: Duration = Duration(5 * SECOND)
    step_limit: Duration = Duration(5 * MINUTE)
    hold_limit: Duration = Duration(30 * SECOND)
    """How long a guest that stands still may wait for the host's snapshot."""

    copy_limit: Duration = Duration(120 * MINUTE)
    merge_limit: Duration = Duration(10 * MINUTE)
    coordinator_hysteresis: Duration = Duration(20 * MINUTE)
    sample_blocks: int = 64
    """How many blocks that a tracker calls unchanged each incremental copy compares."""

    volume_reserve: ByteCount = GIB
    """A volume with less room than that gets no snapshot, and loses the one that it has."""

    runs_at_once: int = 4
    runs_per_volume: int = 4
    runs_per_node: int = 4
    freeze: FreezeLimits = DEFAULT_LIMITS
    level: Level = Level.DEFAULT
    """How hard blocks are compressed."""

    domain: str | None = None
    """Name of the dedup domain of new points, '' the repository's own; None: as the newest one."""


class VolumeLedger:
    """What this incarnation of the engine did to volumes: uses, moves, redirections."""

    def __init__(self) -> None:
        self._uses: dict[VolumeName, int] = {}
        self._redirections: dict[VolumeName, int] = {}
        self._moved: dict[VolumeName, Instant] = {}
        self._nodes: dict[NodeName, int] = {}
        self._owed: dict[VolumeName, None] = {}
        self._claimed: set[VolumeName] = set()

    def has_room(
        self, node: NodeName, volumes: tuple[VolumeName, ...], /, *, policy: Policy
    ) -> bool:
        """Return whether one more run fits within the limits of a node and of volumes."""
        return self._nodes.get(node, 0) < policy.runs_per_node and all(
            self.in_use(volume) < policy.runs_per_volume for volume in volumes
        )

    def enter(self, node: NodeName, volumes: tuple[VolumeName, ...], /) -> None:
        """Count one more run on a node and on volumes."""
        self._nodes[node] = self._nodes.get(node, 0) + 1
        for volume in volumes:
            self.use(volume)

    def exit(self, node: NodeName, volumes: tuple[VolumeName, ...], /) -> None:
        """Count one run less on a node and on volumes."""
        assert self._nodes.get(node, 0) > 0, node
        self._nodes[node] -= 1
        for volume in volumes:
            self.leave(volume)

    def in_use(self, volume: VolumeName, /) -> int:
        """Return how many runs use the volume."""
        return self._uses.get(volume, 0)

    def use(self, volume: VolumeName, /) -> None:
        """Count one more run that uses the volume."""
        self._uses[volume] = self.in_use(volume) + 1

    def leave(self, volume: VolumeName, /) -> None:
        """Count one run less."""
        assert self.in_use(volume) > 0, volume
        self._uses[volume] -= 1

    def claim(self, volume: VolumeName, /) -> bool:
        """Let nobody else decide how the volume is written; False: somebody else is about to."""
        if volume in self._claimed:
            return False
        self._claimed.add(volume)
        return True

    def unclaim(self, volume: VolumeName, /) -> None:
        """Let others decide again."""
        self._claimed.remove(volume)

    def redirect(self, volume: VolumeName, /) -> None:
        """Count one more run that needs the volume redirected."""
        self._redirections[volume] = self._redirections.get(volume, 0) + 1

    def unredirect(self, volume: VolumeName, /) -> None:
        """Count one such run less; where it was the last, the volume is owed its direct writes."""
        self._redirections[volume] = max(0, self._redirections.get(volume, 0) - 1)
        self._owed[volume] = None

    def owed(self) -> tuple[VolumeName, ...]:
        """Return the volumes whose redirection nobody needs and nobody has ended yet."""
        return tuple(volume for volume in self._owed if not self.redirected(volume))

    def settle(self, volume: VolumeName, /) -> None:
        """Forget a volume that writes directly again."""
        self._owed.pop(volume, None)

    def redirected(self, volume: VolumeName, /) -> bool:
        """Return whether a run needs the volume redirected."""
        return self._redirections.get(volume, 0) > 0

    def last_move(self, volume: VolumeName, /) -> Instant | None:
        """Return when the engine last moved the volume's coordinator."""
        return self._moved.get(volume)

    def note_move(self, volume: VolumeName, at: Instant, /) -> None:
        """Remember a move."""
        self._moved[volume] = at

    def forget_move(self, volume: VolumeName, /) -> None:
        """Note that the volume is where it should be: nothing of ours is left to undo."""
        self._moved.pop(volume, None)

    def moved(self) -> tuple[VolumeName, ...]:
        """Return the volumes that are where the engine moved them."""
        return tuple(sorted(self._moved))
