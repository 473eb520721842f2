"""Writing VHDX as a stream: payload first, the parts that make it a VHDX last.

Payload goes straight to its place at the end of the file. Block table, metadata and region tables
follow when the image is finished, and only once they are durable the headers and the identifier.
"""

import os
import struct
from enum import Enum
from types import TracebackType
from typing import Final, Self

import msgspec
import numpy as np

from reference_engine.formats import vhdx_layout as layout
from reference_engine.formats.output_file import Existing, OutputFile
from reference_engine.formats.vhdx_layout import BlockState, Header, ItemFlag, Region, TableShape
from reference_engine.formats.writer import data_runs
from reference_engine.model.errors import InputRefusedError
from reference_engine.model.units import MIB, ByteCount

LOG_AT: Final = layout.FRONT_BYTES
LOG_BYTES: Final = MIB
METADATA_AT: Final = LOG_AT + LOG_BYTES
METADATA_BYTES: Final = MIB
TABLE_AT: Final = METADATA_AT + METADATA_BYTES

CREATOR: Final = "Twinshot"
_TABLE_PIECE: Final = MIB // 8


class Allocation(Enum):
    """Whether blocks take their place in the file once they hold data, or from the start."""

    DYNAMIC = "dynamic"
    FIXED = "fixed"


class VhdxIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Three identifiers of 16 bytes; they should be new, but for the disk's when it comes back."""

    disk_id: bytes
    data_write_id: bytes
    file_write_id: bytes


class VhdxForm(msgspec.Struct, frozen=True, kw_only=True):
    """How a disk is laid out in a VHDX file."""

    allocation: Allocation
    block: ByteCount
    """A power of two from 1 to 256 MiB."""

    logical_sector: ByteCount
    physical_sector: ByteCount


DYNAMIC: Final = VhdxForm(
    allocation=Allocation.DYNAMIC,
    # Hyper-V takes 32 MiB; smaller blocks keep sparse disks small and cost 4 bytes a MiB.
    block=ByteCount(2 * MIB),
    logical_sector=ByteCount(512),
    physical_sector=ByteCount(4096),
)
FIXED: Final = msgspec.structs.replace(DYNAMIC, allocation=Allocation.FIXED)


class VhdxWriter:
    """A `DiskWriter` of VHDX images."""

    __slots__ = ("_end", "_file", "_form", "_identity", "_reach", "_shape", "_table", "size")

    def __init__(
        self, file: OutputFile, /, *, size: ByteCount, identity: VhdxIdentity, form: VhdxForm
    ) -> None:
        """Take over the empty `file`; `size` and `form` are valid."""
        self._file, self.size, self._identity, self._form = file, size, identity, form
        self._shape = TableShape(size=size, block=form.block, sector=form.logical_sector)
        self._table = np.zeros(self._shape.entries, np.dtype("<u8"))
        self._reach = 0
        self._end = TABLE_AT + self._table_bytes
        if form.allocation is Allocation.FIXED:
            blocks = np.arange(self._shape.blocks, dtype=np.uint64)
            offsets = np.uint64(self._end) + blocks * np.uint64(form.block)
            places = blocks + blocks // np.uint64(self._shape.ratio)
            self._table[places] = offsets | np.uint64(BlockState.FULLY_PRESENT)
            self._end += self._shape.blocks * form.block
        file.extend(self._end)

    @classmethod
    def create(
        cls,
        target: str | os.PathLike[str] | int,
        size: ByteCount,
        /,
        *,
        identity: VhdxIdentity,
        form: VhdxForm = DYNAMIC,
        existing: Existing = Existing.REFUSE,
    ) -> Self:
        """Start an image of a disk of `size` bytes that will be at `target`.

        Raises:
            InputRefusedError: no VHDX can have this size, or the target is not usable.
            OperationFailedError: the storage is full or faulty.
        """
        identifiers = (identity.disk_id, identity.data_write_id, identity.file_write_id)
        assert all(len(each) == 16 for each in identifiers), identity
        assert layout.BLOCK_MIN <= form.block <= layout.BLOCK_MAX, form
        assert form.block & (form.block - 1) == 0, form
        assert {form.logical_sector, form.physical_sector} <= set(layout.SECTORS), form
        if not 0 < size <= layout.SIZE_MAX or size % form.logical_sector:
            raise InputRefusedError(
                f"a VHDX cannot have a size of {size} bytes "
                f"in sectors of {form.logical_sector} bytes",
                "restore to a raw image",
            )
        file = OutputFile(target, existing=existing)
        return cls(file, size=size, identity=identity, form=form)

    @property
    def _table_bytes(self) -> int:
        return -(-self._shape.entries * 8 // MIB) * MIB

    def write(self, offset: ByteCount, data: bytes | memoryview, /) -> None:
        """Put `data` at `offset`; a block of which all is zero takes no place."""
        assert 0 <= offset <= offset + len(data) <= self.size, (offset, len(data), self.size)
        fresh = offset >= self._reach
        at = 0
        while at < len(data):
            number, inside = divmod(offset + at, self._form.block)
            part = data[at : at + self._form.block - inside]
            self._write_part(number, inside, part, fresh=fresh)
            at += len(part)
        self._reach = max(self._reach, offset + len(data))

    def _write_part(
        self, number: int, inside: int, part: bytes | memoryview, *, fresh: bool
    ) -> None:
        view = memoryview(part)
        # Where nothing was written yet, and where no block is, zeros are there already.
        absent = self._table[self._shape.index(number)] == BlockState.NOT_PRESENT
        for start, end in data_runs(part) if fresh or absent else [(0, len(part))]:
            self._file.write(view[start:end], self._place(number) + inside + start)

    def _place(self, number: int) -> int:
        """Return where in the file a block lies, after giving it a place if it has none."""
        index = self._shape.index(number)
        entry = int(self._table[index])
        if entry:
            return entry - BlockState.FULLY_PRESENT
        place = self._end
        self._end += self._form.block
        self._table[index] = place | BlockState.FULLY_PRESENT
        return place

    def finish(self) -> None:
        """Make the image durable, then give it its name."""
        self._file.extend(self._end)
        for start in range(0, len(self._table), _TABLE_PIECE):
            piece = self._table[start : start + _TABLE_PIECE]
            if piece.any():
                self._file.write(piece.tobytes(), TABLE_AT + 8 * start)
        self._file.write(layout.packed_metadata(self._metadata()), METADATA_AT)
        regions = layout.packed_regions(self._regions())
        for at in layout.REGION_TABLES_AT:
            self._file.write(regions, at)
        self._file.sync()
        for sequence, at in enumerate(layout.HEADERS_AT, start=1):
            self._file.write(self._header(sequence).packed(), at)
        creator = CREATOR.encode("utf-16-le").ljust(512, b"\0")
        self._file.write(layout.IDENTIFIER + creator, 0)
        self._file.publish()

    def _metadata(self) -> tuple[tuple[bytes, ItemFlag, bytes], ...]:
        fixed = self._form.allocation is Allocation.FIXED
        parameters = struct.pack("<II", self._form.block, layout.LEAVE_ALLOCATED if fixed else 0)
        of_disk = ItemFlag.VIRTUAL_DISK | ItemFlag.REQUIRED
        return (
            (layout.FILE_PARAMETERS, ItemFlag.REQUIRED, parameters),
            (layout.VIRTUAL_SIZE, of_disk, struct.pack("<Q", self.size)),
            (layout.DISK_ID, of_disk, self._identity.disk_id),
            (layout.LOGICAL_SECTOR, of_disk, struct.pack("<I", self._form.logical_sector)),
            (layout.PHYSICAL_SECTOR, of_disk, struct.pack("<I", self._form.physical_sector)),
        )

    def _regions(self) -> tuple[Region, ...]:
        return (
            Region(kind=layout.BAT_REGION, at=TABLE_AT, length=self._table_bytes, required=1),
            Region(kind=layout.METADATA_REGION, at=METADATA_AT, length=METADATA_BYTES, required=1),
        )

    def _header(self, sequence: int) -> Header:
        return Header(
            sequence=sequence,
            file_write_id=self._identity.file_write_id,
            data_write_id=self._identity.data_write_id,
            log_id=layout.NO_LOG,
            log_version=0,
            version=1,
            log_length=LOG_BYTES,
            log_at=LOG_AT,
        )

    def abandon(self) -> None:
        """Leave nothing of the image behind."""
        self._file.abandon()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        self.abandon()
