"""What can be wrong with a repository, in its own words."""

from reference_engine.model.errors import CorruptionError, RefusedError
from reference_engine.model.identity import DiskId, RecoveryPointId


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


class FeatureUnknownError(RefusedError):
    """The repository uses something that this program does not know."""

    def __init__(self, feature: str, /) -> None:
        super().__init__(feature)
        self.feature = feature

    def __str__(self) -> str:
        return f"the repository uses {self.feature!r}, unknown to this program; use a newer program"


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


class LogDamagedError(CorruptionError):
    """An entry of the history is missing, altered or not decodable."""

    def __init__(self, number: int, cause: str, /) -> None:
        super().__init__(number, cause)
        self.number, self.cause = number, cause

    def __str__(self) -> str:
        return f"log entry {self.number} is damaged: {self.cause}"


class ManifestDamagedError(CorruptionError):
    """A committed point's manifest is missing or not what was written."""

    def __init__(self, point: RecoveryPointId, cause: str, /) -> None:
        super().__init__(point, cause)
        self.point, self.cause = point, cause

    def __str__(self) -> str:
        return f"the manifest of point {self.point} is damaged: {self.cause}"


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
