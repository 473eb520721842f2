"""NTFS: records of the master file table, their attributes, and where those lie.

Sources: the NTFS documentation of the Linux-NTFS project; fs/ntfs3/ntfs.h of the Linux kernel.
"""

import struct
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

import msgspec

from reference_engine.items.disk_view import Window
from reference_engine.items.errors import TreeDamagedError, TreeUnsupportedError
from reference_engine.items.tree import Run, checked_runs

ATTRIBUTE_LIST: Final = 0x20
DATA: Final = 0x80

COMPRESSED: Final = 0x0001
ENCRYPTED: Final = 0x4000

_STRIDE: Final = 512
"""Every so many bytes the last two of a record are swapped out for its update number."""

_END: Final = 0xFFFFFFFF
_RECORDS_HELD: Final = 4096
_LISTED_MAX: Final = 1 << 20
_NUMBER: Final = (1 << 48) - 1


class Attribute(msgspec.Struct, frozen=True, kw_only=True):
    """One attribute, or the first part of one, with the runs of all parts."""

    kind: int
    name: str
    flags: int
    number: int
    """Its own within its record."""

    content: bytes | None
    """What a resident attribute holds; None where it lies in clusters."""

    first: int = 0
    """The cluster of the attribute with which this part begins."""

    clusters: tuple[tuple[int, int | None], ...] = ()
    """Length and place of each run of clusters; no place means zeros."""

    unit: int = 0
    """Clusters that are compressed together."""

    size: int = 0
    valid: int = 0
    """How much was ever written; zeros behind that."""


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
        own = [each for each in _attributes(raw, 0) if each.kind == DATA and not each.name]
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
            attributes=tuple(_attributes(raw, number)),
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


def fixed_up(raw: bytes, magic: bytes, what: str, /) -> bytes:
    """Return a record with the bytes that stood in the way of its update numbers.

    Raises:
        TreeDamagedError: it is none, or was torn while it was written.
    """
    if raw[:4] != magic:
        raise TreeDamagedError(f"{what} is none")
    where, count = struct.unpack_from("<HH", raw, 4)
    whole = bytearray(raw)
    if count != len(raw) // _STRIDE + 1 or where + 2 * count > _STRIDE - 2:
        raise TreeDamagedError(f"{what} makes no sense")
    mark = raw[where : where + 2]
    for index in range(1, count):
        end = index * _STRIDE
        if raw[end - 2 : end] != mark:
            raise TreeDamagedError(f"{what} was written in part only")
        whole[end - 2 : end] = raw[where + 2 * index : where + 2 * index + 2]
    return bytes(whole)


def _attributes(raw: bytes, number: int) -> Iterator[Attribute]:
    broken = TreeDamagedError(f"record {number} makes no sense")
    at = struct.unpack_from("<H", raw, 20)[0]
    used = struct.unpack_from("<I", raw, 24)[0]
    if not 42 <= at < used <= len(raw):
        raise broken
    while at + 8 <= used:
        kind, length = struct.unpack_from("<II", raw, at)
        if kind == _END:
            return
        if length < 24 or length % 8 or at + length > used:
            raise broken
        yield _attribute(raw[at : at + length], broken)
        at += length
    raise broken


def _attribute(raw: bytes, broken: TreeDamagedError) -> Attribute:
    kind, _, spread, size, where, flags, own = struct.unpack_from("<IIBBHHH", raw)
    if where + 2 * size > len(raw):
        raise broken
    name = raw[where : where + 2 * size].decode("utf-16-le", "surrogatepass")
    if not spread:
        length, start = struct.unpack_from("<IH", raw, 16)
        if start + length > len(raw):
            raise broken
        return Attribute(
            kind=kind,
            name=name,
            flags=flags,
            number=own,
            content=raw[start : start + length],
            size=length,
            valid=length,
        )
    if len(raw) < 64:
        raise broken
    first, last, start, unit = struct.unpack_from("<QQHH", raw, 16)
    real, valid = struct.unpack_from("<QQ", raw, 48)
    clusters = tuple(_clusters(raw[start:], broken))
    if first == 0 and valid > real:
        raise broken
    if sum(length for length, _ in clusters) != (last + 1 - first) % (1 << 64) or unit > 16:
        raise broken
    return Attribute(
        kind=kind,
        name=name,
        flags=flags,
        number=own,
        content=None,
        first=first,
        clusters=clusters,
        unit=1 << unit if unit else 0,
        size=real,
        valid=valid,
    )


def _clusters(packed: bytes, broken: TreeDamagedError) -> Iterator[tuple[int, int | None]]:
    """Yield the runs that mapping pairs tell: each place is a distance from the one before."""
    at = place = 0
    while at < len(packed) and packed[at]:
        wide, far = packed[at] & 15, packed[at] >> 4
        if not 0 < wide <= 8 or far > 8 or at + 1 + wide + far > len(packed):
            raise broken
        length = int.from_bytes(packed[at + 1 : at + 1 + wide], "little")
        if not 0 < length < 1 << 48:
            raise broken
        if far:
            step = packed[at + 1 + wide : at + 1 + wide + far]
            place += int.from_bytes(step, "little", signed=True)
            if place < 0:
                raise broken
        yield length, place if far else None
        at += 1 + wide + far
    if at >= len(packed):
        raise broken
