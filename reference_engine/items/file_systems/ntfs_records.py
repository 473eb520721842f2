"""NTFS: the master file table: its records, and where their attributes lie.

Sources: the NTFS documentation of the Linux-NTFS project; fs/ntfs3/ntfs.h of the Linux kernel.
"""

import struct
from collections import OrderedDict
from typing import Final

import msgspec

from reference_engine.items.disk_view import Window
from reference_engine.items.errors import TreeDamagedError, TreeUnsupportedError
from reference_engine.items.file_systems.ntfs_attributes import (
    ATTRIBUTE_LIST,
    COMPRESSED,
    DATA,
    ENCRYPTED,
    Attribute,
    attributes_of,
    fixed_up,
)
from reference_engine.items.tree import Run, checked_runs

_RECORDS_HELD: Final = 4096
_LISTED_MAX: Final = 1 << 20
_NUMBER: Final = (1 << 48) - 1


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One record, checked, with the attributes that lie elsewhere."""

    number: int
    sequence: int
    in_use: bool
    base: int
    attributes: tuple[Attribute, ...]

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

    async def begin(self) -> None:
        """Find the whole table by its own first record.

        Raises:
            TreeDamagedError: that is not possible.
        """
        shape = self.geometry
        start = shape.table * shape.cluster
        self._runs = [Run(0, shape.record, start)]
        raw = fixed_up(await self._window.read(start, shape.record), b"FILE", "the first record")
        own = [each for each in attributes_of(raw, 0) if each.kind == DATA and not each.name]
        if not own or own[0].content is not None:
            raise TreeDamagedError("the master file table does not say where it lies")
        # Its own first part says where the rest is listed, if it is in several records.
        self._runs = self.runs(own[0])
        self._count = own[0].size // shape.record
        whole = (await self.record(0)).one(DATA)
        assert whole is not None
        self._runs = self.runs(whole)
        self._count = whole.size // shape.record
        self._held.clear()

    async def record(self, number: int, /) -> Record:
        """Return a record with all its attributes.

        Raises:
            TreeDamagedError: it is not there, or not what was written.
        """
        held = self._held.get(number)
        if held is not None:
            self._held.move_to_end(number)
            return held
        found = await self._alone(number)
        listed = found.one(ATTRIBUTE_LIST)
        if listed is not None:
            found = msgspec.structs.replace(found, attributes=await self._gathered(found, listed))
        self._held[number] = found
        if len(self._held) > _RECORDS_HELD:
            self._held.popitem(last=False)
        return found

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
            base=base & _NUMBER,
            attributes=tuple(attributes_of(raw, number)),
        )

    async def _gathered(self, found: Record, listed: Attribute) -> tuple[Attribute, ...]:
        """Return the attributes that a list names, each with the runs of all its parts."""
        content = listed.content
        if content is None:
            if listed.size > _LISTED_MAX:
                raise TreeDamagedError(f"the attributes of record {found.number} are too many")
            content = await self._at(self.runs(listed), 0, listed.size)
        records: dict[int, Record] = {found.number: found}
        gathered: dict[tuple[int, str], Attribute] = {}
        at = 0
        while at + 26 <= len(content):
            kind, length, size, where = struct.unpack_from("<IHBB", content, at)
            first, reference, own = struct.unpack_from("<QQH", content, at + 8)
            if length < 26 or at + length > len(content) or where + 2 * size > length:
                raise TreeDamagedError(f"the attributes of record {found.number} make no sense")
            name = content[at + where : at + where + 2 * size].decode("utf-16-le", "surrogatepass")
            at += length
            holder = reference & _NUMBER
            if holder not in records:
                records[holder] = await self._alone(holder)
                if records[holder].base != found.number or not records[holder].in_use:
                    raise TreeDamagedError(f"record {holder} is not a part of {found.number}")
            part = next(
                (a for a in records[holder].attributes if (a.kind, a.number) == (kind, own)), None
            )
            if part is None or part.name != name:
                raise TreeDamagedError(f"record {found.number} lacks an attribute")
            key = (kind, name) if part.content is None else (kind, f"{name}\0{at}")
            before = gathered.get(key)
            if before is None:
                if first:
                    raise TreeDamagedError(f"record {found.number} lacks the start of an attribute")
                gathered[key] = part
                continue
            if first != sum(length for length, _ in before.clusters) or part.first != first:
                raise TreeDamagedError(f"record {found.number} lacks a part of an attribute")
            gathered[key] = msgspec.structs.replace(
                before, clusters=before.clusters + part.clusters
            )
        return tuple(gathered.values())

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
            TreeDamagedError: it is larger than the limit.
            TreeUnsupportedError: it is compressed or encrypted.
        """
        if attribute.content is not None:
            return attribute.content
        if attribute.flags & (COMPRESSED | ENCRYPTED):
            raise TreeUnsupportedError("compressed metadata")
        if attribute.size > limit:
            raise TreeDamagedError(f"{attribute.size} bytes where {limit} are the most")
        return await self._at(self.runs(attribute), 0, attribute.size)

    async def _at(self, runs: list[Run], offset: int, length: int) -> bytes:
        """Return bytes of what lies in `runs`; what is stored nowhere is zeros."""
        parts: list[bytes] = []
        end = offset + length
        for run in runs:
            low, high = max(offset, run.offset), min(end, run.offset + run.length)
            if low < high:
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
