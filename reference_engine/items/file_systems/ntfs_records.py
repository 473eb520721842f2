"""NTFS: the master file table: its records, and where their attributes lie.

Sources: the NTFS documentation of the Linux-NTFS project; fs/ntfs3/ntfs.h of the Linux kernel.
"""

import struct
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import AsyncIterator
from itertools import islice
from operator import attrgetter
from typing import Final

import msgspec

from reference_engine.items.disk_view import Window
from reference_engine.items.errors import TreeDamagedError
from reference_engine.items.file_systems.ntfs_attributes import (
    ATTRIBUTE_LIST,
    COMPRESSED,
    DATA,
    ENCRYPTED,
    Attribute,
    attributes_of,
    fixed_up,
)
from reference_engine.items.file_systems.ntfs_lists import (
    LIST_MAX,
    NUMBER,
    found_in,
    joined,
    listed_in,
)
from reference_engine.items.tree import Run, checked_runs
from reference_engine.model.units import MIB

_PIECES_MAX: Final = 2_000_000
"""NTFS itself comes to its limit at 1.5 million pieces of a file, with records of 1 KiB."""

_HELD_MAX: Final = 32 * MIB
"""So much of the table stays in memory: more than ten thousand files, as most are."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One record, checked, with the attributes that lie elsewhere."""

    number: int
    sequence: int
    in_use: bool
    base: int
    """The reference to the record whose part it is; 0 where it is none."""

    attributes: tuple[Attribute, ...]

    @property
    def reference(self) -> int:
        """By what other records name it: its number, and how often that was used."""
        return self.sequence << 48 | self.number

    def every(self, kind: int, /) -> list[Attribute]:
        """Return all attributes of a kind."""
        return [each for each in self.attributes if each.kind == kind]

    def one(self, kind: int, name: str = "", /) -> Attribute | None:
        """Return the attribute of this kind and name, if there is one."""
        return next((a for a in self.attributes if a.kind == kind and a.name == name), None)


class Geometry(msgspec.Struct, frozen=True, kw_only=True):
    """What the boot sector says."""

    sector: int
    cluster: int
    clusters: int
    table: int
    """The cluster with which the master file table begins."""

    record: int
    index: int


def parse_geometry(boot: bytes, /, *, size: int) -> Geometry:
    """Return what a boot sector says; `size`: of the volume.

    Raises:
        TreeDamagedError: it contradicts itself, or the volume is shorter than it says.
    """
    sector, each = struct.unpack_from("<HB", boot, 11)
    sectors, table = struct.unpack_from("<QQ", boot, 40)
    per_record, per_index = struct.unpack_from("<b3xb", boot, 64)
    cluster = sector * (each if each <= 128 else 1 << min(256 - each, 31))
    sound = sector in {512, 1024, 2048, 4096} and 0 < cluster <= 2 << 20
    if not sound or cluster & (cluster - 1):
        raise TreeDamagedError("the boot sector contradicts itself")
    record = _sized(per_record, cluster)
    geometry = Geometry(
        sector=sector,
        cluster=cluster,
        clusters=sectors * sector // cluster,
        table=table,
        record=record,
        index=_sized(per_index, cluster),
    )
    if record not in {1024, 2048, 4096} or not 512 <= geometry.index <= 65536:
        raise TreeDamagedError("the boot sector contradicts itself")
    if not 0 < table < geometry.clusters:
        raise TreeDamagedError("the master file table lies nowhere")
    if geometry.clusters * cluster > size:
        raise TreeDamagedError(
            f"the boot sector tells of {sectors * sector} bytes, the volume has {size}"
        )
    return geometry


def _sized(each: int, cluster: int) -> int:
    return each * cluster if each > 0 else 1 << min(-each, 31)


class Records:
    """The master file table of one volume."""

    def __init__(self, window: Window, geometry: Geometry, /) -> None:
        self._window, self.geometry = window, geometry
        self._runs: list[Run] = []
        self._count = 1
        self._held: OrderedDict[int, Record] = OrderedDict()
        self._weight = 0

    async def begin(self) -> None:
        """Find the whole table by its own first record.

        Raises:
            TreeDamagedError: that is not possible.
        """
        shape = self.geometry
        self._runs = [Run(0, shape.record, shape.table * shape.cluster)]
        first = await self._alone(0)
        own = first.one(DATA)
        if own is None or own.content is not None:
            raise TreeDamagedError("the master file table does not say where it lies")
        self._runs = []
        self._reach(own)
        parts = [own]
        async for part in self._parts(first):
            if part.kind == DATA and not part.name and part != own:
                # The next part may be told by a record that lies in this one.
                self._reach(part)
                parts.append(part)
        [whole] = joined(parts, 0)
        self._runs = self.runs(whole)
        self._count = whole.size // shape.record

    def _reach(self, part: Attribute) -> None:
        """Have the records in a part of the table, too; whether it fits is seen in the end."""
        shape, at = self.geometry, part.first * self.geometry.cluster
        for length, where in part.clusters:
            place = None if where is None else where * shape.cluster
            self._runs.append(Run(at, length * shape.cluster, place))
            at += length * shape.cluster
        self._count = at // shape.record

    async def record(self, number: int, /) -> Record:
        """Return a record with all its attributes.

        Raises:
            TreeDamagedError: it is not there, or not what was written.
        """
        held = self._held.get(number)
        if held is not None:
            self._held.move_to_end(number)
            return held
        alone = await self._alone(number)
        parts = [each async for each in self._parts(alone)]
        found = msgspec.structs.replace(alone, attributes=joined(parts, number))
        self._hold(found)
        return found

    def _hold(self, record: Record) -> None:
        """Have a record in memory, beside those asked for last for which there is room."""
        self._held[record.number] = record
        self._weight += _weight(record)
        while self._weight > _HELD_MAX and len(self._held) > 1:
            self._weight -= _weight(self._held.popitem(last=False)[1])

    async def _alone(self, number: int) -> Record:
        shape = self.geometry
        if not 0 <= number < self._count:
            raise TreeDamagedError(f"there is no record {number}")
        raw = await self._at(self._runs, number * shape.record, shape.record)
        raw = fixed_up(raw, b"FILE", f"record {number}")
        sequence, flags, base = struct.unpack_from("<16xH4xH8xQ", raw)
        return Record(
            number=number,
            sequence=sequence,
            in_use=bool(flags & 1),
            base=base,
            attributes=tuple(attributes_of(raw, number)),
        )

    async def _parts(self, record: Record) -> AsyncIterator[Attribute]:
        """Yield a record's attributes, and those that its list names: each part of one by itself.

        A record is read when the part before was taken.
        """
        listed = record.one(ATTRIBUTE_LIST)
        if listed is None:
            for each in record.attributes:
                yield each
            return
        holders = {record.reference: record}
        pieces = 0
        for entry in listed_in(await self.content(listed, limit=LIST_MAX), record.number):
            holder = holders.get(entry.holder)
            if holder is None:
                holder = holders[entry.holder] = await self._alone(entry.holder & NUMBER)
                if holder.base != record.reference or not holder.in_use:
                    raise TreeDamagedError(
                        f"record {holder.number} is not a part of {record.number}"
                    )
                if holder.reference != entry.holder:
                    raise TreeDamagedError(f"record {holder.number} is another file's by now")
                pieces += sum(len(each.clusters) for each in holder.attributes)
                if pieces > _PIECES_MAX:
                    raise TreeDamagedError(f"record {record.number} lies in too many pieces")
            yield found_in(holder.attributes, entry, record.number)

    def runs(self, attribute: Attribute, /) -> list[Run]:
        """Return where an attribute lies that is in clusters.

        Raises:
            TreeDamagedError: nowhere, or in more clusters than there are.
        """
        cluster, at = self.geometry.cluster, 0
        found: list[Run] = []
        for length, where in attribute.clusters:
            place = None if where is None else where * cluster
            found.append(Run(at * cluster, length * cluster, place))
            at += length
        if at * cluster < attribute.size:
            raise TreeDamagedError("a file has fewer clusters than bytes")
        return checked_runs(found, room=self.geometry.clusters * cluster)

    async def content(self, attribute: Attribute, /, *, limit: int) -> bytes:
        """Return the whole of a small attribute that is stored as it is.

        Raises:
            TreeDamagedError: it is larger than the limit, or stored as no system stores it.
        """
        if attribute.content is not None:
            return attribute.content
        if attribute.flags & (COMPRESSED | ENCRYPTED):
            raise TreeDamagedError("metadata is said to be compressed or encrypted")
        if attribute.size > limit:
            raise TreeDamagedError(f"{attribute.size} bytes where {limit} are the most")
        written = await self._at(self.runs(attribute), 0, attribute.valid)
        return written.ljust(attribute.size, b"\0")

    async def _at(self, runs: list[Run], offset: int, length: int) -> bytes:
        """Return bytes of what lies in `runs`; what is stored nowhere is zeros."""
        parts: list[bytes] = []
        end = offset + length
        first = max(0, bisect_right(runs, offset, key=attrgetter("offset")) - 1)
        for run in islice(runs, first, None):
            low, high = max(offset, run.offset), min(end, run.offset + run.length)
            if low >= high:
                break
            part = (
                bytes(high - low)
                if run.at is None
                else await self._window.read(run.at + low - run.offset, high - low)
            )
            parts.append(part)
        found = b"".join(parts)
        if len(found) != length:
            raise TreeDamagedError("a file has fewer clusters than bytes")
        return found


def _weight(record: Record) -> int:
    """Return about how many bytes of memory a record takes."""
    return sum(
        400 + len(each.content or b"") + 128 * len(each.clusters) for each in record.attributes
    )
