"""The index of a repository, kept in sorted runs on a local disk: a cache and nothing more.

A run holds what some whole portions of the index say. It is written once under a name that follows
from its content; later ones take in smaller ones, which are deleted then. So there is nothing to
lock, however many processes use it, and no list of runs that could be wrong.

In memory are, for each known block, 12 bits of a filter, which answers for almost all blocks that
are not known, and two or four that say where to look. What is looked at is a bucket of
some 12 rows. It is sealed like an object of the repository, under the repository's key: damaged,
half written, or another one's, it is noticed before it is believed, and the run is dropped. In an
encrypted repository that also hides all of it but the number of known blocks.

A cache is believed no more than the index: what the log calls condemned or swept does not count.
Where a portion is gone, so is every run that holds it.
"""

import struct
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from itertools import repeat
from typing import Final

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from reference_engine.ports.local_cache import LocalCache, Range
from reference_engine.repository.block_map import DIGEST_SIZE, Digests, NameTable, Places
from reference_engine.repository.columns import Columns
from reference_engine.repository.domain_names import in_domain
from reference_engine.repository.envelope import (
    HEAD_SIZE,
    TAG,
    ObjectCipher,
    Sealing,
    SegmentDamagedError,
    decode_head,
    encode_head,
)
from reference_engine.repository.ordered import distinct
from reference_engine.repository.portions import Portion

RUN_ROWS: Final = 1 << 18
"""Runs are joined up to this many blocks: some 10 MiB."""

_BUCKET_SHIFT: Final = 4
"""A bucket holds up to 2 to the power of this many rows on average."""

_ROW: Final = 32
_PLACE: Final = struct.Struct("<4I")
_FILTER_BITS: Final = 12
_PROBES: Final = 5
"""With 12 bits a block, one in two hundred unknown ones is looked up in vain."""

_START: Final = HEAD_SIZE + 8
_FRONT_MAX: Final = 1 << 28
_HALF: Final = np.uint64(32)

Numbers32 = npt.NDArray[np.uint32]
Flags = npt.NDArray[np.bool_]


class _Run:
    """What is in memory of one run."""

    def __init__(self, name: str, cipher: ObjectCipher, front: bytearray, packs: NameTable) -> None:
        self.name, self.cipher = name, cipher
        columns = Columns(bytes(front))
        count, self._bits, named, listed, filtered = columns.take("<u4", 5).tolist()
        self.rows = int(count)
        names = columns.take("u1", named).tobytes().decode()
        self.portions = tuple(names.split("\n"))
        listed_packs = columns.take("u1", listed).tobytes().decode().split("\n")
        self.starts: Numbers32 = columns.take("<u4", (1 << self._bits) + 1).copy()
        self.filter: npt.NDArray[np.uint8] = columns.take("u1", filtered).copy()
        self.packs = np.array([packs.number(each) for each in listed_packs], np.uint32)
        self.begin = _START + len(front) + TAG

    def buckets(self, heads: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """Return in which bucket blocks of these halves of digests would be."""
        return _buckets(heads, self._bits)

    def extents(self, buckets: npt.NDArray[np.int64]) -> list[Range]:
        """Return where in the file some buckets are, sealed."""
        first, last = self.starts[buckets].astype(np.int64), self.starts[buckets + 1]
        offsets = (self.begin + first * _ROW + buckets * TAG).tolist()
        lengths = ((last - first) * _ROW + TAG).tolist()
        return [Range(self.name, *each) for each in zip(offsets, lengths, strict=True)]

    def opened(self, bucket: int, sealed: bytes) -> bytearray | None:
        """Return the rows of a bucket; None where these are not what was kept."""
        if len(sealed) < TAG:
            return None
        plain = bytearray(len(sealed) - TAG)
        sound = self.cipher.open(1 + bucket, memoryview(sealed), memoryview(plain))
        return plain if sound else None

    def place(self, rows: bytearray, digest: bytes) -> tuple[int, int, int, int] | None:
        """Return where a block is stored, if these rows of a bucket have it."""
        at = rows.find(digest)
        while at > 0 and at % _ROW:
            at = rows.find(digest, at + 1)
        if at < 0:
            return None
        pack, offset, stored, inside = _PLACE.unpack_from(rows, at + DIGEST_SIZE)
        return int(self.packs[pack]), offset, stored, inside


class IndexCache:
    """The runs of one repository's index."""

    def __init__(
        self,
        cache: LocalCache,
        sealing: Sealing,
        key: bytes,
        packs: NameTable,
        /,
        *,
        repository: str,
        domain: str,
    ) -> None:
        self._cache, self._sealing, self._key, self._packs = cache, sealing, key, packs
        # What a header says of its identity is not fit for a name of a file.
        self._group = blake3((domain + repository).encode()).hexdigest(length=16)
        self._domain = domain
        self._runs: tuple[_Run, ...] = ()
        self._filters = np.zeros(0, np.uint8)
        self._bases = np.zeros(0, np.int64)
        self._sizes = np.zeros(0, np.uint64)

    def __len__(self) -> int:
        return sum(run.rows for run in self._runs)

    def covered(self) -> set[str]:
        """Return the names of the portions of which all is in the cache."""
        return {portion for run in self._runs for portion in run.portions}

    async def load(self) -> None:
        """Know the runs that are kept, whoever kept them, and no other ones."""
        names = await self._cache.names(self._group)
        known = {run.name: run for run in self._runs}
        found: list[_Run] = []
        for name in names:
            run = known.get(name) or await self._loaded(name)
            if run is None:
                await self._cache.forget(self._group, name)
            else:
                found.append(run)
        await self._use(found)

    async def _loaded(self, name: str) -> _Run | None:
        [start] = await self._cache.read(self._group, [Range(name, 0, _START)])
        try:
            cipher = self._sealing.resume(
                _sealed_as(self._domain, name), decode_head(start[:HEAD_SIZE])
            )
            length = int.from_bytes(start[HEAD_SIZE:], "little")
            if len(start) != _START or not TAG <= length <= _FRONT_MAX:
                return None
            [sealed] = await self._cache.read(self._group, [Range(name, _START, length)])
            front = bytearray(length - TAG)
            if len(sealed) != length or not cipher.open(0, memoryview(sealed), memoryview(front)):
                return None
        except SegmentDamagedError:
            return None
        return _Run(name, cipher, front, self._packs)

    async def keep_only(self, portions: AbstractSet[str], /) -> None:
        """Drop every run that holds a portion other than these."""
        stale = [run for run in self._runs if not portions >= {*run.portions}]
        for run in stale:
            await self._drop(run)

    async def _drop(self, run: _Run) -> None:
        await self._use([each for each in self._runs if each is not run])
        await self._cache.forget(self._group, run.name)

    async def _use(self, runs: Sequence[_Run]) -> None:
        """Have these runs, largest first, but for those of which nothing is only theirs."""
        chosen: list[_Run] = []
        covered: set[str] = set()
        spare: list[_Run] = []
        for run in sorted(runs, key=lambda each: (-each.rows, each.name)):
            (spare if covered >= {*run.portions} else chosen).append(run)
            covered.update(run.portions)
        self._runs = tuple(chosen)
        self._filters = np.concatenate([np.zeros(0, np.uint8), *(run.filter for run in chosen)])
        sizes = [len(run.filter) for run in chosen]
        self._bases = np.cumsum([0, *sizes], dtype=np.int64)[:-1]
        self._sizes = np.array(sizes, np.uint64) * np.uint64(8)
        offset = 0
        for run, size in zip(chosen, sizes, strict=True):
            # A view of the whole: two copies are not needed.
            run.filter = self._filters[offset : offset + size]
            offset += size
        for run in spare:
            await self._cache.forget(self._group, run.name)

    async def find(self, digests: Digests, /) -> tuple[Flags, Places]:
        """Return for each digest whether a block has it, and a place where it is stored."""
        found = np.zeros(len(digests), np.bool_)
        places = np.zeros((len(digests), 4), np.uint32)
        runs = self._runs
        if not runs:
            return found, places
        keys = np.ascontiguousarray(digests).view(np.uint64)
        indexes, numbers = self._maybe(_probed(keys))
        looked_at: list[tuple[int, _Run, int]] = []
        extents: list[Range] = []
        for number in distinct(numbers).tolist():
            run, which = runs[number], indexes[numbers == number]
            buckets = run.buckets(keys[which, 0])
            extents += run.extents(buckets)
            looked_at += zip(which.tolist(), repeat(run), buckets.tolist(), strict=False)
        if not extents:
            return found, places
        raw = digests.tobytes()
        rows: list[int] = []
        there: list[tuple[int, int, int, int]] = []
        damaged: dict[str, _Run] = {}
        parts = await self._cache.read(self._group, extents)
        for (index, run, bucket), extent, sealed in zip(looked_at, extents, parts, strict=True):
            content = run.opened(bucket, sealed) if len(sealed) == extent.length else None
            if content is None:
                damaged[run.name] = run
                continue
            place = run.place(content, raw[index * DIGEST_SIZE : (index + 1) * DIGEST_SIZE])
            if place is not None:
                rows.append(index)
                there.append(place)
        if rows:
            found[rows], places[rows] = True, there
        for run in damaged.values():
            await self._drop(run)
        return found, places

    def _maybe(
        self, probes: npt.NDArray[np.uint64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return which blocks which runs may have: all that they have, and few that they lack."""
        count, several = len(probes), len(self._runs)
        indexes = np.repeat(np.arange(count), several)
        numbers = np.tile(np.arange(several), count)
        for probe in probes.T:
            at = probe[indexes] * self._sizes[numbers] >> _HALF
            octets = self._filters[self._bases[numbers] + (at >> np.uint64(3)).astype(np.int64)]
            hit = (octets >> (at & np.uint64(7)).astype(np.uint8) & 1).astype(np.bool_)
            indexes, numbers = indexes[hit], numbers[hit]
        return indexes, numbers

    async def keep(self, portions: Sequence[Portion], /) -> bool:
        """Keep what these portions say, with what small runs say; return whether it is kept."""
        taken = [*portions]
        names = [portion.name for portion in portions]
        rows = sum(len(portion.digests) for portion in portions)
        replaced: list[_Run] = []
        for run in sorted(self._runs, key=lambda each: each.rows):
            if run.rows > 2 * rows or rows + run.rows > RUN_ROWS:
                break
            content = await self._content(run)
            if content is None:
                await self._drop(run)
                continue
            taken.append(content)
            names += run.portions
            rows += run.rows
            replaced.append(run)
        digests = np.concatenate([each.digests for each in taken])
        places = np.concatenate([each.places for each in taken])
        name, content_bytes = self._encoded(names, digests, places)
        if not await self._cache.keep(self._group, name, content_bytes):
            return False
        run_kept = await self._loaded(name)
        if run_kept is None:
            return False
        others = [each for each in self._runs if each not in replaced]
        await self._use([run_kept, *others])
        for run in replaced:
            await self._cache.forget(self._group, run.name)
        return True

    async def _content(self, run: _Run) -> Portion | None:
        """Return all rows of a run; None where it is damaged."""
        extents = run.extents(np.arange(len(run.starts) - 1))
        parts = await self._cache.read(self._group, extents)
        plain = bytearray()
        for bucket, sealed in enumerate(parts):
            rows = run.opened(bucket, sealed)
            if rows is None or len(sealed) != extents[bucket].length:
                return None
            plain += rows
        rows_read = np.frombuffer(plain, np.uint8).reshape(-1, _ROW)
        digests = rows_read[:, :DIGEST_SIZE].copy()
        places = np.ascontiguousarray(rows_read[:, DIGEST_SIZE:]).view("<u4").astype(np.uint32)
        places[:, 0] = run.packs[places[:, 0]]
        return Portion("", digests, places)

    def _encoded(
        self, portions: list[str], digests: Digests, places: Places
    ) -> tuple[str, bytearray]:
        """Return the name and the bytes of a run."""
        keys = np.ascontiguousarray(digests).view(np.uint64)
        order = np.argsort(keys[:, 0], kind="stable")
        keys = keys[order]
        used, local = np.unique(places[order, 0], return_inverse=True)
        rows = np.empty((len(keys), _ROW), np.uint8)
        rows[:, :DIGEST_SIZE] = keys.view(np.uint8)
        numbered = places[order].astype("<u4")
        numbered[:, 0] = local
        rows[:, DIGEST_SIZE:] = numbered.view(np.uint8)
        bits = max((len(keys) - 1).bit_length() - _BUCKET_SHIFT, 0)
        starts = np.searchsorted(_buckets(keys[:, 0], bits), np.arange((1 << bits) + 1))
        filtered = _filter(keys)
        named = "\n".join(sorted({*portions})).encode()
        listed = "\n".join(self._packs.name(pack) for pack in used.tolist()).encode()
        lengths = [len(keys), bits, len(named), len(listed), len(filtered)]
        front = b"".join(
            [
                np.array(lengths, "<u4").tobytes(),
                named,
                listed,
                starts.astype("<u4").tobytes(),
                filtered.tobytes(),
            ]
        )
        plain = bytearray(front)
        plain += rows.tobytes()
        name = blake3(plain, key=self._key).hexdigest(length=16)
        head, cipher = self._sealing.begin(_sealed_as(self._domain, name), plain)
        content = bytearray(_START + len(plain) + TAG * ((1 << bits) + 1))
        content[:HEAD_SIZE] = encode_head(head)
        content[HEAD_SIZE:_START] = (len(front) + TAG).to_bytes(8, "little")
        source, target = memoryview(plain), memoryview(content)
        at = _START
        ends = [len(front), *(len(front) + starts[1:] * _ROW).tolist()]
        begin = 0
        for number, end in enumerate(ends):
            part = source[begin:end]
            cipher.seal(number, part, target[at : at + len(part) + TAG])
            at, begin = at + len(part) + TAG, end
        return name, content


def _sealed_as(domain: str, name: str) -> str:
    """Return the name that a run is bound to: none that an object could have.

    A shredded domain's runs open no more, like all else of it.
    """
    return f"cache/{in_domain(domain, name)}" if domain else f"cache/index/{name}"


def _buckets(heads: npt.NDArray[np.uint64], bits: int) -> npt.NDArray[np.int64]:
    if not bits:
        return np.zeros(len(heads), np.int64)
    return (heads >> np.uint64(64 - bits)).astype(np.int64)


def _probed(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return for each block five numbers of 32 bits. Source: Kirsch and Mitzenmacher, 2006."""
    steps = np.arange(_PROBES, dtype=np.uint64)
    mixed: npt.NDArray[np.uint64] = (keys[:, :1] + steps * (keys[:, 1:] | np.uint64(1))) >> _HALF
    return mixed


def _filter(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    size = -(-max(len(keys) * _FILTER_BITS, 64) // 8) * 8
    flags = np.zeros(size, np.bool_)
    for probe in _probed(keys).T:
        flags[(probe * np.uint64(size) >> _HALF).astype(np.int64)] = True
    return np.packbits(flags, bitorder="little")
