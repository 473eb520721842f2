"""What a restore of a damaged point leaves out, written down."""

from pathlib import Path

import msgspec

from reference_engine.formats.output_file import Existing, OutputFile
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import DiskId, RecoveryPointId
from reference_engine.repository.reader import Damage


class Holes:
    """Gathers what of one point cannot be read, where that was accepted."""

    def __init__(self, point: RecoveryPointId, accepted: Path | None, /) -> None:
        self._point, self._accepted = point, accepted
        self._lost: dict[DiskId, ExtentSet] = {}

    def __bool__(self) -> bool:
        return bool(self._lost)

    @property
    def total(self) -> int:
        """How many bytes are missing."""
        return sum(extents.total for extents in self._lost.values())

    def note(self, disk: DiskId, damage: Damage, /) -> None:
        """Take what of a disk cannot be read.

        Raises:
            CorruptionError: losses were not accepted.
        """
        if self._accepted is None:
            raise damage.error
        extents = ExtentSet.of([(damage.offset, damage.offset + damage.length)])
        self._lost[disk] = self._lost.get(disk, ExtentSet.of([])) | extents

    def write(self) -> None:
        """Write the map of what is missing: JSON, byte ranges of each disk.

        Raises:
            InputRefusedError, OperationFailedError: it cannot be written there.
        """
        assert self._accepted is not None, self._point
        lost = {disk: extents.bounds.tolist() for disk, extents in self._lost.items()}
        content = msgspec.json.encode({"point": self._point, "lost": lost})
        file = OutputFile(self._accepted, existing=Existing.REPLACE)
        file.write(msgspec.json.format(content, indent=2) + b"\n", 0)
        file.publish()
