"""Reed-Solomon parity of one object; `FORMAT.md` in code.

An object is cut into `data` shards of equal length, one behind the other, and `parity` more are
computed. Position j of all shards is one codeword, so that a lost run of sectors, as long as
`parity` shards, and scattered losses as well, up to `parity` at each position, can be undone.
Digests of sectors tell which ones are lost: the code alone does not.

An object of at most 64 KiB is kept twice instead; such a one may also vanish as a whole.
"""

import importlib
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from blake3 import blake3

from reference_engine.model.units import KIB
from reference_engine.repository.errors import PackageMissingError

SECTOR_MAX: Final = 16 * KIB
_SECTOR_UNIT: Final = 512
GROUP_MAX: Final = 255
MIRRORED_MAX: Final = 64 * KIB
_MAGIC: Final = b"TWINPAR2"
_HEAD_SIZE: Final = 32
_DIGEST: Final = 8
_CHECKSUM: Final = 16


class ParityPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How many parity shards stand behind how many shards of data."""

    data: int
    parity: int
    group: int = 0
    """How many packs share one more, from which any one of them can be restored; 0: none."""

    @classmethod
    def of_percent(cls, percent: float, /, *, group: int = 0) -> "ParityPlan":
        """Return the plan that costs about this much more space, from 1 to 100 percent."""
        assert 1 <= percent <= 100, percent
        data = round(200 / percent)
        if data >= 4:
            return cls(data=data, parity=2, group=group)
        return cls(data=4, parity=round(percent / 25), group=group)

    @property
    def percent(self) -> float:
        """How much more space it costs, but for groups and small objects."""
        return 100 * self.parity / self.data

    @property
    def is_usable(self) -> bool:
        """Whether the code has room for so many shards."""
        shards = self.data >= 1 and self.parity >= 1 and self.data + self.parity <= 255
        return shards and 0 <= self.group <= GROUP_MAX


class _Shape(msgspec.Struct, frozen=True, kw_only=True):
    """How one object is cut."""

    data: int
    parity: int
    length: int
    sector: int

    @property
    def sectors(self) -> int:
        """Sectors of each shard."""
        return -(-self.length // (self.data * self.sector))

    @property
    def shard(self) -> int:
        """Bytes of each shard."""
        return self.sectors * self.sector


def _shape(plan: ParityPlan, length: int) -> _Shape:
    if length <= MIRRORED_MAX:
        plan = ParityPlan(data=1, parity=1)
    each = -(-length // plan.data)
    sector = min(SECTOR_MAX, -(-max(each, 1) // _SECTOR_UNIT) * _SECTOR_UNIT)
    return _Shape(data=plan.data, parity=plan.parity, length=length, sector=sector)


def _library() -> Any:
    try:
        return importlib.import_module("zfec")
    except ModuleNotFoundError as error:
        raise PackageMissingError("a repository with parity", "zfec", "parity") from error


def check_installed() -> None:
    """Have what computes parity.

    Raises:
        PackageMissingError: it is not installed.
    """
    _library()


def _digest(part: memoryview | bytes) -> bytes:
    return blake3(part).digest(length=_DIGEST)


def _shards(shape: _Shape, content: bytes | bytearray | memoryview) -> list[memoryview]:
    """Return the data shards, the last ones filled up with zeros."""
    view, size = memoryview(content), shape.shard
    full = min(len(view) // size, shape.data) if size else 0
    shards = [view[at * size : (at + 1) * size] for at in range(full)]
    rest = [bytes(view[at * size : (at + 1) * size]) for at in range(full, shape.data)]
    return shards + [memoryview(part.ljust(size, b"\0")) for part in rest]


def _digests(shape: _Shape, shards: Sequence[memoryview]) -> list[bytes]:
    sector = shape.sector
    return [_digest(s[at : at + sector]) for s in shards for at in range(0, shape.shard, sector)]


def parity_of(plan: ParityPlan, content: bytes | bytearray | memoryview, /) -> bytes:
    """Return the object that stands by an object of this content."""
    shape = _shape(plan, len(content))
    shards = _shards(shape, content)
    encoder = _library().Encoder(shape.data, shape.data + shape.parity)
    numbers = list(range(shape.data, shape.data + shape.parity))
    extra = [memoryview(each) for each in encoder.encode(shards, numbers)]
    fields = (shape.data, shape.parity, shape.sector, 0)
    head = _MAGIC + b"".join(n.to_bytes(4, "little") for n in fields)
    head += shape.length.to_bytes(8, "little")
    table = b"".join(_digests(shape, [*shards, *extra]))
    return b"".join([head, table, blake3(head + table).digest(length=_CHECKSUM), *extra])


def mended(content: bytes, parity: bytes, /) -> tuple[bytes, int] | None:
    """Return the object as it was stored, and how many of its sectors were lost; None: too many.

    `content` is what is there of it: altered, shorter, or nothing. `parity` may be damaged too.
    """
    shape = _decoded(parity)
    if shape is None:
        return None
    count = (shape.data + shape.parity) * shape.sectors
    start = _HEAD_SIZE + count * _DIGEST + _CHECKSUM
    table = parity[_HEAD_SIZE : _HEAD_SIZE + count * _DIGEST]
    extra = memoryview(parity[start:].ljust(shape.parity * shape.shard, b"\0"))
    shards = _shards(shape, content[: shape.length])
    shards += [extra[at * shape.shard : (at + 1) * shape.shard] for at in range(shape.parity)]
    stated = [table[at : at + _DIGEST] for at in range(0, len(table), _DIGEST)]
    good = [one == other for one, other in zip(_digests(shape, shards), stated, strict=True)]
    lost = good[: shape.data * shape.sectors].count(False)
    found = bytearray(b"".join(shards[: shape.data]))
    for first, end in _stretches(shape, good):
        if not _restore(shape, shards, good, found, first=first, end=end):
            return None
    return bytes(found[: shape.length]), lost


def _decoded(parity: bytes) -> _Shape | None:
    """Return how the object was cut, if the parity's own head is sound."""
    numbers = [int.from_bytes(parity[at : at + 4], "little") for at in range(8, 24, 4)]
    length = int.from_bytes(parity[24:_HEAD_SIZE], "little")
    plan = ParityPlan(data=numbers[0], parity=numbers[1])
    if parity[:8] != _MAGIC or not plan.is_usable or numbers[2] == 0:
        return None
    shape = _Shape(data=plan.data, parity=plan.parity, length=length, sector=numbers[2])
    end = _HEAD_SIZE + (shape.data + shape.parity) * shape.sectors * _DIGEST
    checksum = parity[end : end + _CHECKSUM]
    sound = end < len(parity) and checksum == blake3(parity[:end]).digest(length=_CHECKSUM)
    return shape if sound else None


def _pattern(shape: _Shape, good: Sequence[bool], sector: int) -> tuple[bool, ...]:
    return tuple(good[sector :: shape.sectors])


def _stretches(shape: _Shape, good: Sequence[bool]) -> list[tuple[int, int]]:
    """Return stretches of positions at which the same shards are lost, where any data is."""
    found: list[tuple[int, int]] = []
    before: tuple[bool, ...] | None = None
    for sector in range(shape.sectors):
        pattern = _pattern(shape, good, sector)
        if all(pattern[: shape.data]):
            before = None
            continue
        if pattern == before:
            found[-1] = (found[-1][0], sector + 1)
        else:
            found.append((sector, sector + 1))
        before = pattern
    return found


def _restore(
    shape: _Shape,
    shards: Sequence[memoryview],
    good: Sequence[bool],
    found: bytearray,
    *,
    first: int,
    end: int,
) -> bool:
    """Restore the data of one stretch in `found`; return whether enough of it was there."""
    pattern = _pattern(shape, good, first)
    usable = [number for number, sound in enumerate(pattern) if sound]
    if len(usable) < shape.data:
        return False
    low, high = first * shape.sector, end * shape.sector
    # The decoder wants data in its own places, and parity where data is lost.
    spare = [number for number in usable if number >= shape.data]
    chosen = [n if pattern[n] else spare.pop(0) for n in range(shape.data)]
    decoder = _library().Decoder(shape.data, shape.data + shape.parity)
    parts = decoder.decode([shards[number][low:high] for number in chosen], chosen)
    for number, part in enumerate(parts):
        found[number * shape.shard + low : number * shape.shard + high] = part
    return True
