"""One tree of errors, branched by what the caller can do about each.

`RefusedError`: change the request. `TransientError`: try again. `ConsistencyLostError`: start the
run over from a new snapshot. `CorruptionError`: stop and tell a person. An error carries values
and writes its own sentence; arguments are positional so that it can be rebuilt from `args`.
"""

from reference_engine.model.identity import MachineId, NodeName, RunTag, VolumeName


class TwinshotError(Exception):
    """Whatever the engine reports instead of a result."""


class RefusedError(TwinshotError):
    """The request cannot be met as it stands; change it."""


class TransientError(TwinshotError):
    """It did not work this time; the same request may work later."""


class ConsistencyLostError(TwinshotError):
    """What this run has read no longer fits together; take a new snapshot."""


class CorruptionError(TwinshotError):
    """Stored bytes are not what was written; a person has to decide."""


class InputRefusedError(RefusedError):
    """A file, an option or a scenario is not usable: `what` is wrong, `remedy` says what to do."""

    def __init__(self, what: str, remedy: str, /) -> None:
        super().__init__(what, remedy)
        self.what, self.remedy = what, remedy

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}"


class DeadlineExceededError(TransientError):
    """An operation did not answer within its limit, given in microseconds."""

    def __init__(self, limit: int, /) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return f"no answer within {self.limit / 1e6:g} s"


class HostUnreachableError(TransientError):
    """A node does not answer: it is down, or the network to it is."""

    def __init__(self, node: NodeName, /) -> None:
        super().__init__(node)
        self.node = node

    def __str__(self) -> str:
        return f"node {self.node} does not answer"


class OperationFailedError(TransientError):
    """A host, a guest or a store reported a failure of one operation."""

    def __init__(self, operation: str, cause: str, /) -> None:
        super().__init__(operation, cause)
        self.operation, self.cause = operation, cause

    def __str__(self) -> str:
        return f"{self.operation} failed: {self.cause}"


class NotOwnerError(ConsistencyLostError):
    """The node that was asked does not run the machine (any more); locate it again."""

    def __init__(self, machine: MachineId, node: NodeName, /) -> None:
        super().__init__(machine, node)
        self.machine, self.node = machine, node

    def __str__(self) -> str:
        return f"{self.machine} does not run on {self.node}"


class MachineBusyError(TransientError):
    """The machine is migrating, starting or stopping; wait until it has settled."""

    def __init__(self, machine: MachineId, doing: str, /) -> None:
        super().__init__(machine, doing)
        self.machine, self.doing = machine, doing

    def __str__(self) -> str:
        return f"{self.machine} is {self.doing}"


class VolumeBusyError(TransientError):
    """A volume takes no snapshot now: its coordinator changes, or another product has one."""

    def __init__(self, volume: VolumeName, doing: str, /) -> None:
        super().__init__(volume, doing)
        self.volume, self.doing = volume, doing

    def __str__(self) -> str:
        return f"volume {self.volume} is busy: {self.doing}"


class LeftoversRemainError(TransientError):
    """Something that runs left behind, and that only takes room, could not be removed now."""

    def __init__(self, machine: MachineId, what: str, /) -> None:
        super().__init__(machine, what)
        self.machine, self.what = machine, what

    def __str__(self) -> str:
        return f"leftovers of {self.machine} remain: {self.what}"


class SnapshotLostError(ConsistencyLostError):
    """A snapshot that this run was reading is gone; whatever was read from it is void."""

    def __init__(self, snapshot: str, /) -> None:
        super().__init__(snapshot)
        self.snapshot = snapshot

    def __str__(self) -> str:
        return f"snapshot {self.snapshot} is gone"


class GuestSnapshotLostError(ConsistencyLostError):
    """The guest gave its own snapshot up (its diff area overflowed); the host's is whole."""

    def __init__(self, machine: MachineId, /) -> None:
        super().__init__(machine)
        self.machine = machine

    def __str__(self) -> str:
        return f"the guest of {self.machine} gave up its snapshot: its diff area overflowed"


class MachineChangedError(ConsistencyLostError):
    """A machine's disks, or how a volume is written, changed while it was being snapshotted."""

    def __init__(self, machine: MachineId, what: str, /) -> None:
        super().__init__(machine, what)
        self.machine, self.what = machine, what

    def __str__(self) -> str:
        return f"{self.machine} changed while it was being snapshotted: {self.what}"


class SourceChangedError(ConsistencyLostError):
    """A disk file was changed while it was being read; what was read is no one image."""

    def __init__(self, path: str, /) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"{self.path} changed while it was being read; stop its writer, or back it up again"


class NoCommonCutError(ConsistencyLostError):
    """Without a guest snapshot the disks were cut at different instants: no consistent image."""

    def __init__(self, machine: MachineId, /) -> None:
        super().__init__(machine)
        self.machine = machine

    def __str__(self) -> str:
        return f"the disks of {self.machine} were not snapshotted at one instant"


class ApplicationConsistencyRequiredError(ConsistencyLostError):
    """The policy forbids a crash-consistent point, and the guest did not freeze."""

    def __init__(self, machine: MachineId, cause: str, /) -> None:
        super().__init__(machine, cause)
        self.machine, self.cause = machine, cause

    def __str__(self) -> str:
        return f"{self.machine} must be application-consistent, but {self.cause}"


class SharedOwnerError(ConsistencyLostError):
    """Not exactly one machine of a guest cluster owns a set of shared disks: nobody can hold it."""

    def __init__(self, machine: MachineId, owners: str, /) -> None:
        super().__init__(machine, owners)
        self.machine, self.owners = machine, owners

    def __str__(self) -> str:
        claimed = f"claimed by {self.owners}" if self.owners else "owned by no machine"
        return f"the shared disks {self.machine} are {claimed}; look at the guest cluster's role"


class TrackerUnusableError(ConsistencyLostError):
    """Change tracking cannot vouch for the interval asked for; compare or copy in full."""

    def __init__(self, tracker: str, cause: str, /) -> None:
        super().__init__(tracker, cause)
        self.tracker, self.cause = tracker, cause

    def __str__(self) -> str:
        return f"change tracking of {self.tracker} is unusable: {self.cause}"


class CoordinatorMoveRefusedError(RefusedError):
    """The cluster did not move a volume's coordinator; read redirected instead."""

    def __init__(self, volume: VolumeName, node: NodeName, /) -> None:
        super().__init__(volume, node)
        self.volume, self.node = volume, node

    def __str__(self) -> str:
        return f"the coordinator of {self.volume} was not moved to {self.node}"


class MachineUnknownError(RefusedError):
    """The cluster has no machine of this identity (any more)."""

    def __init__(self, machine: MachineId, /) -> None:
        super().__init__(machine)
        self.machine = machine

    def __str__(self) -> str:
        return f"the cluster has no machine {self.machine}; take it out of the schedule"


class MachinePresentError(RefusedError):
    """A machine of the identity that is to be restored is there already."""

    def __init__(self, machine: MachineId, nodes: str, /) -> None:
        super().__init__(machine, nodes)
        self.machine, self.nodes = machine, nodes

    def __str__(self) -> str:
        return (
            f"{self.machine} is there already (on {self.nodes}); restore it as a new machine, or "
            "confirm that it may be replaced"
        )


class PathTooLongError(RefusedError):
    """No path below the host's folder is short enough for a disk."""

    def __init__(self, path: str, longest: int, /) -> None:
        super().__init__(path, longest)
        self.path, self.longest = path, longest

    def __str__(self) -> str:
        return (
            f"the path {self.path} has {len(self.path)} characters, more than the {self.longest} "
            "that its host allows; choose a folder with a shorter name there"
        )


class OverlayFullError(RefusedError):
    """A machine that runs from a point has written as much as there is room for, in bytes."""

    def __init__(self, disk: str, room: int, /) -> None:
        super().__init__(disk, room)
        self.disk, self.room = disk, room

    def __str__(self) -> str:
        return f"{self.disk} has written all of its {self.room} bytes of room; move it, or add room"


class RestoreDiffersError(TransientError):
    """What a host reads back of a restored disk is not what was written to it."""

    def __init__(self, disk: str, amount: int, /) -> None:
        super().__init__(disk, amount)
        self.disk, self.amount = disk, amount

    def __str__(self) -> str:
        return f"blocks of {self.amount} bytes of {self.disk} read back other than written"


class SupersededError(RefusedError):
    """A newer run of the same machine was opened: this one may not commit."""

    def __init__(self, run: RunTag, newer: int, /) -> None:
        super().__init__(run, newer)
        self.run, self.newer = run, newer

    def __str__(self) -> str:
        return f"run {self.run} is superseded by epoch {self.newer}"


class NotEligibleError(RefusedError):
    """The guest cannot come to rest as the policy asks, and the host says so beforehand."""

    def __init__(self, machine: MachineId, obstacle: str, /) -> None:
        super().__init__(machine, obstacle)
        self.machine, self.obstacle = machine, obstacle

    def __str__(self) -> str:
        return f"{self.machine} must be application-consistent, but its host says: {self.obstacle}"


class NotProtectableError(RefusedError):
    """The machine has disks that no snapshot reaches, and the policy wants all of them."""

    def __init__(self, machine: MachineId, disks: str, /) -> None:
        super().__init__(machine, disks)
        self.machine, self.disks = machine, disks

    def __str__(self) -> str:
        return f"{self.machine} has disks that no snapshot reaches: {self.disks}; take them out"


class VolumeFullError(RefusedError):
    """A volume has less room left than the policy keeps in reserve, in bytes."""

    def __init__(self, volume: VolumeName, free: int, reserve: int, /) -> None:
        super().__init__(volume, free, reserve)
        self.volume, self.free, self.reserve = volume, free, reserve

    def __str__(self) -> str:
        return (
            f"volume {self.volume} has {self.free} bytes left, less than the reserve of "
            f"{self.reserve}; make room on it"
        )


class ProductionDiskError(RefusedError):
    """What should show a snapshot shows the production disk, which must not be touched."""

    def __init__(self, machine: MachineId, disk: str, /) -> None:
        super().__init__(machine, disk)
        self.machine, self.disk = machine, disk

    def __str__(self) -> str:
        return (
            f"the snapshot of {self.disk} of {self.machine} is mounted as the production disk "
            "itself; nothing was changed; look at the host's shadow copies"
        )


class IdentityDoubtError(CorruptionError):
    """Several hosts have a machine of this identity, and it is open which one the points are of."""

    def __init__(self, machine: MachineId, nodes: str, /) -> None:
        super().__init__(machine, nodes)
        self.machine, self.nodes = machine, nodes

    def __str__(self) -> str:
        return (
            f"several machines have the identity {self.machine} (on {self.nodes}), and none or "
            "more than one goes on with its points; give the copy an identity of its own"
        )


class RepositoryFullError(RefusedError):
    """The repository's place has no room for an object; `place` says where that is."""

    def __init__(self, place: str, /) -> None:
        super().__init__(place)
        self.place = place

    def __str__(self) -> str:
        return f"{self.place} has no space left; make room there, or keep fewer points"


class ObjectLockedError(RefusedError):
    """A lock of the store keeps an object until an instant, written out in `until`; wait."""

    def __init__(self, name: str, until: str, /) -> None:
        super().__init__(name, until)
        self.name, self.until = name, until

    def __str__(self) -> str:
        return f"the store keeps {self.name} locked until {self.until}; try again after that"
