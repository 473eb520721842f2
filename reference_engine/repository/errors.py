"""What can be wrong with a repository, in its own words."""

from reference_engine.model.errors import ConsistencyLostError, CorruptionError, RefusedError
from reference_engine.model.identity import DiskId, MachineId, RecoveryPointId, RunTag
from reference_engine.model.units import HOUR, Duration
from reference_engine.repository.domain_names import key_name


class RepositoryAbsentError(RefusedError):
    """There is no repository at this place."""

    def __str__(self) -> str:
        return "there is no repository here; name another place, or back up to create one"


class RepositoryExistsError(RefusedError):
    """A repository was to be created where there is one already."""

    def __str__(self) -> str:
        return "there is a repository here already; open it instead"


class RepositoryForeignError(RefusedError):
    """What is at this place was not written by this program; `found` says what gives it away."""

    def __init__(self, found: str, /) -> None:
        super().__init__(found)
        self.found = found

    def __str__(self) -> str:
        return f"this place holds something else ({self.found}); choose an empty one"


class RepositoryNewerError(RefusedError):
    """The repository was written in a format that this program does not know yet."""

    def __init__(self, found: int, known: int, /) -> None:
        super().__init__(found, known)
        self.found, self.known = found, known

    def __str__(self) -> str:
        return (
            f"the repository has format {self.found} and this program knows formats up to "
            f"{self.known}; use a newer program"
        )


class RepositoryFeatureError(RefusedError):
    """The repository has something that this program does not know; without it nothing is safe."""

    def __init__(self, feature: str, /) -> None:
        super().__init__(feature)
        self.feature = feature

    def __str__(self) -> str:
        return f"the repository uses {self.feature!r}, which is unknown here; use a newer program"


class PackageMissingError(RefusedError):
    """What the repository uses needs a package that is not installed."""

    def __init__(self, purpose: str, package: str, extra: str, /) -> None:
        super().__init__(purpose, package, extra)
        self.purpose, self.package, self.extra = purpose, package, extra

    def __str__(self) -> str:
        return (
            f"{self.purpose} needs the package {self.package}; "
            f"install it by: pip install 'twinshot[{self.extra}]'"
        )


class PointUnknownError(RefusedError):
    """No point of this id was ever committed."""

    def __init__(self, point: RecoveryPointId, /) -> None:
        super().__init__(point)
        self.point = point

    def __str__(self) -> str:
        return f"the repository has no point {self.point}"


class PointRemovedError(RefusedError):
    """The point was removed while it was being read."""

    def __init__(self, point: RecoveryPointId, /) -> None:
        super().__init__(point)
        self.point = point

    def __str__(self) -> str:
        return f"point {self.point} was removed while it was being read; choose another one"


class LogDamagedError(CorruptionError):
    """An entry of the history is missing, altered or not decodable."""

    def __init__(self, number: int, cause: str, /) -> None:
        super().__init__(number, cause)
        self.number, self.cause = number, cause

    def __str__(self) -> str:
        return (
            f"log entry {self.number} is damaged: {self.cause}; "
            "go on behind it by: repo repair --renew-log"
        )


class ManifestDamagedError(CorruptionError):
    """A committed point's manifest is missing or not what was written."""

    def __init__(self, point: RecoveryPointId, cause: str, /) -> None:
        super().__init__(point, cause)
        self.point, self.cause = point, cause

    def __str__(self) -> str:
        return f"the manifest of point {self.point} is damaged: {self.cause}"


class PointSealedError(ManifestDamagedError):
    """A committed point is sealed under the key of a domain that can be read nowhere."""

    def __init__(self, point: RecoveryPointId, domain: str, /) -> None:
        name = key_name(domain)
        super().__init__(point, f"the key of its domain is neither in {name} nor in copies/{name}")

    def __str__(self) -> str:
        return (
            f"point {self.point} cannot be opened: {self.cause}; "
            "bring one of them back from a copy of the repository"
        )


class BlockDamagedError(CorruptionError):
    """A block of a committed point cannot be read back as it was written."""

    def __init__(self, point: RecoveryPointId, disk: DiskId, block: int, cause: str, /) -> None:
        super().__init__(point, disk, block, cause)
        self.point, self.disk, self.block, self.cause = point, disk, block, cause

    def __str__(self) -> str:
        return f"block {self.block} of disk {self.disk} in point {self.point}: {self.cause}"


class DiskDamagedError(CorruptionError):
    """Every block of a disk is whole, but together they are not the disk that was recorded."""

    def __init__(self, point: RecoveryPointId, disk: DiskId, cause: str, /) -> None:
        super().__init__(point, disk, cause)
        self.point, self.disk, self.cause = point, disk, cause

    def __str__(self) -> str:
        return f"disk {self.disk} in point {self.point}: {self.cause}"


class ObjectConflictError(CorruptionError):
    """An object that only this run may write exists already with other bytes."""

    def __init__(self, name: str, /) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"object {self.name} exists already with other bytes"


class RunClosedError(ConsistencyLostError):
    """Somebody took this run for dead; its point will never exist."""

    def __init__(self, run: RunTag, /) -> None:
        super().__init__(run)
        self.run = run

    def __str__(self) -> str:
        return f"run {self.run} was silent for so long that a prune closed it; run it again"


class BlocksReclaimedError(ConsistencyLostError):
    """Blocks that this run found in the repository were deleted before it could commit."""

    def __init__(self, run: RunTag, name: str, /) -> None:
        super().__init__(run, name)
        self.run, self.name = run, name

    def __str__(self) -> str:
        return (
            f"run {self.run} built on {self.name}, which was reclaimed meanwhile; run it again, "
            "and what is missing is stored anew"
        )


class RepackOvertakenError(ConsistencyLostError):
    """Somebody else began to repack, or what was to be moved is gone; nothing came of this one."""

    def __init__(self, run: RunTag, /) -> None:
        super().__init__(run)
        self.run = run

    def __str__(self) -> str:
        return f"repack {self.run.epoch} was overtaken by another prune, which does its work"


class ReclaimRefusedError(CorruptionError):
    """What a point uses cannot be told, so nothing may be deleted."""

    def __init__(self, point: RecoveryPointId, cause: str, /) -> None:
        super().__init__(point, cause)
        self.point, self.cause = point, cause

    def __str__(self) -> str:
        return (
            f"nothing was deleted, for what point {self.point} needs cannot be told ({self.cause})"
            "; repair the point, or remove it by its id"
        )


class LastPointError(RefusedError):
    """A machine would be left without any point."""

    def __init__(self, machine: MachineId, point: RecoveryPointId, /) -> None:
        super().__init__(machine, point)
        self.machine, self.point = machine, point

    def __str__(self) -> str:
        return (
            f"point {self.point} is the last one of {self.machine}; keep it, or allow by "
            "--allow-last that nothing of the machine is left"
        )


class PointLeasedError(RefusedError):
    """A point is being read, by a restore or by somebody who looks for files in it."""

    def __init__(self, point: RecoveryPointId, holder: str, /) -> None:
        super().__init__(point, holder)
        self.point, self.holder = point, holder

    def __str__(self) -> str:
        return f"point {self.point} is being read by {self.holder}; remove it when that is over"


class DomainUnknownError(RefusedError):
    """There is no dedup domain of this name."""

    def __init__(self, name: str, /) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"the repository has no domain {self.name!r:.80}; add it by: repo domain add"


class DomainExistsError(RefusedError):
    """A dedup domain was to be added of whose name there is one already."""

    def __init__(self, name: str, /) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"the repository has a domain {self.name!r} already; choose another name"


class DomainShreddedError(RefusedError):
    """A machine's points were in a dedup domain that was shredded; where it belongs is unknown."""

    def __init__(self, machine: MachineId, name: str, /) -> None:
        super().__init__(machine, name)
        self.machine, self.name = machine, name

    def __str__(self) -> str:
        return (
            f"the points of {self.machine} were in domain {self.name!r}, which was shredded; say "
            "by --domain where the next ones belong ('' is the repository's own)"
        )


class AppendOnlyError(RefusedError):
    """Something was to be removed from a repository to which points are only added."""

    def __str__(self) -> str:
        return "the repository is append-only: nothing is ever removed from it; let it grow"


class PointImmutableError(RefusedError):
    """A point is too young to be removed from this repository."""

    def __init__(self, point: RecoveryPointId, left: Duration, /) -> None:
        super().__init__(point, left)
        self.point, self.left = point, left

    def __str__(self) -> str:
        hours = -(-self.left // HOUR)
        left = f"{hours} h" if hours < 48 else f"{-(-hours // 24)} days"
        return f"point {self.point} is immutable for another {left}; remove it then"
