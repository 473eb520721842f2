"""Replaying the log of a VHDX in memory: what a crash left only there lies over the file.

The log is a ring of entries. The active sequence is the run of entries with consecutive numbers
that ends with the newest entry whose `Tail` lies in the same run; it is replayed from there on.
Entries that a torn write left behind fail their checksum and end a run.

Source: [MS-VHDX] 2.3.
"""

import struct
from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

import msgspec

from reference_engine.formats.image import DamagedImageError
from reference_engine.formats.image_file import ImageFile
from reference_engine.formats.vhdx_layout import Header, is_sealed
from reference_engine.model.errors import InputRefusedError
from reference_engine.model.units import KIB, MIB

SECTOR: Final = 4 * KIB
LOG_MAX: Final = 64 * MIB
"""Hyper-V writes logs of 1 MiB; the bound keeps the memory of a replay small."""

LENGTH_MAX: Final = 1 << 62
"""No file is longer; sums of offsets below it fit into 64 bits."""

HASHED_MAX: Final = 4
"""How often the log may be hashed over; only entries made to overlap would need more."""

PATCHES_MAX: Final = 1 << 16
"""Four times the pages that fit into the largest log; only ranges of zeros could be more."""

_ENTRY: Final = struct.Struct("<4sIIIQII16sQQ")
_DATA: Final = struct.Struct("<4s4s8sQQ")
_ZERO: Final = struct.Struct("<4sIQQQ")
_DESCRIPTOR_BYTES: Final = 32


class Patch(msgspec.Struct, frozen=True, kw_only=True):
    """The bytes `[start, end)` of the file as the log has them; without data they are zero."""

    start: int
    end: int
    data: bytes | None

    def part(self, start: int, end: int, /) -> bytes:
        """Return the patch's bytes in `[start, end)`."""
        assert self.start <= start <= end <= self.end, (self.start, start, end, self.end)
        if self.data is None:
            return bytes(end - start)
        return self.data[start - self.start : end - self.start]


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One valid entry of the log."""

    at: int
    length: int
    tail: int
    sequence: int
    flushed: int
    last: int
    patches: tuple[Patch, ...]


class PatchedFile:
    """An image file as it will be once its log is replayed; the file itself stays as it is."""

    __slots__ = ("_file", "_patches", "_starts", "length", "path")

    def __init__(self, file: ImageFile, patches: Iterable[Patch], /, *, length: int) -> None:
        """Lay `patches` over `file`, later ones over earlier ones; it is `length` bytes long."""
        self._file, self.path, self.length = file, file.path, length
        self._patches: list[Patch] = []
        self._starts: list[int] = []
        for patch in patches:
            self._lay(patch)
        assert all(a.end <= b.start for a, b in pairwise(self._patches)), file.path

    def read(self, offset: int, length: int, /) -> bytes:
        """Return exactly the `length` bytes at `offset`, which lie inside the replayed file."""
        end = offset + length
        assert 0 <= offset <= end <= self.length, (offset, length, self.length)
        first, last = self._touched(offset, end)
        if first == last:
            return self._unpatched(offset, end)
        parts: list[bytes] = []
        at = offset
        for patch in self._patches[first:last]:
            parts.append(self._unpatched(at, max(at, patch.start)))
            parts.append(patch.part(max(patch.start, offset), min(patch.end, end)))
            at = min(patch.end, end)
        parts.append(self._unpatched(at, end))
        return b"".join(parts)

    def part(self, offset: int, length: int, /, *, name: str) -> bytes:
        """Return the bytes of a structure that the file must hold.

        Raises:
            DamagedImageError: the file ends before the structure does.
        """
        if offset + length > self.length:
            raise DamagedImageError(
                self.path, f"it ends after {self.length} bytes, before the end of its {name}"
            )
        return self.read(offset, length)

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def _unpatched(self, start: int, end: int) -> bytes:
        """Return the file's own bytes; where a replay would have extended it, they are zero."""
        inside = max(start, min(end, self._file.length))
        found = self._file.read(start, inside - start) if start < inside else b""
        return found if inside == end else found + bytes(end - inside)

    def _touched(self, start: int, end: int) -> tuple[int, int]:
        first = bisect_right(self._starts, start)
        if first and self._patches[first - 1].end > start:
            first -= 1
        last = first
        while last < len(self._patches) and self._patches[last].start < end:
            last += 1
        return first, last

    def _lay(self, patch: Patch) -> None:
        if patch.start == patch.end:
            return
        first, last = self._touched(patch.start, patch.end)
        covered = self._patches[first:last]
        kept = [patch]
        if covered and covered[0].start < patch.start:
            front = covered[0]
            data = None if front.data is None else front.part(front.start, patch.start)
            kept.insert(0, Patch(start=front.start, end=patch.start, data=data))
        if covered and covered[-1].end > patch.end:
            back = covered[-1]
            data = None if back.data is None else back.part(patch.end, back.end)
            kept.append(Patch(start=patch.end, end=back.end, data=data))
        self._patches[first:last] = kept
        self._starts[first:last] = [piece.start for piece in kept]


def replayed(file: ImageFile, header: Header, /) -> PatchedFile:
    """Return the file as its log leaves it; `header` names the log.

    Raises:
        InputRefusedError: the log is larger, or newer, than what is known here.
        DamagedImageError: no run of entries is whole, or the file is shorter than it was.
    """
    if header.log_version != 0 or header.log_length > LOG_MAX:
        raise InputRefusedError(
            f"{file.path} has a log of version {header.log_version} "
            f"and {header.log_length} bytes, which cannot be replayed here",
            "attach and detach it once on a Hyper-V host",
        )
    active = _active_sequence(_entries(file, header), ring=header.log_length)
    if not active:
        raise DamagedImageError(file.path, "its log is in use, but holds no whole sequence")
    newest = active[-1]
    if file.length < newest.flushed:
        raise DamagedImageError(
            file.path,
            f"it ends after {file.length} of the {newest.flushed} bytes its log speaks of",
        )
    if newest.last > LENGTH_MAX:
        raise DamagedImageError(file.path, f"its log speaks of {newest.last} bytes")
    patches = (patch for entry in active for patch in entry.patches)
    return PatchedFile(file, patches, length=max(file.length, newest.last))


def _entries(file: ImageFile, header: Header) -> list[LogEntry]:
    ring = file.part(header.log_at, header.log_length, name="log")
    found: list[LogEntry] = []
    hashed = patches = 0
    for at in range(0, len(ring), SECTOR):
        if ring[at : at + 4] != b"loge" or ring[at + 32 : at + 48] != header.log_id:
            continue
        (length,) = struct.unpack_from("<I", ring, at + 8)
        if length % SECTOR or not 0 < length <= len(ring):
            continue
        hashed += length
        if hashed > HASHED_MAX * len(ring):
            raise DamagedImageError(file.path, "the entries of its log overlap")
        whole = (ring[at : at + length] + ring[: max(0, at + length - len(ring))])[:length]
        if is_sealed(whole, b"loge"):
            found.append(_parsed_entry(file.path, whole, at=at))
            patches += len(found[-1].patches)
        if patches > PATCHES_MAX:
            raise DamagedImageError(file.path, "its log holds more changes than a log can need")
    return found


def _parsed_entry(path: str, whole: bytes, *, at: int) -> LogEntry:
    _, _, length, tail, sequence, count, _, _, flushed, last = _ENTRY.unpack_from(whole)
    data_at = -(-(_ENTRY.size + count * _DESCRIPTOR_BYTES) // SECTOR) * SECTOR
    patches: list[Patch] = []
    if data_at > length or count > PATCHES_MAX:
        raise DamagedImageError(path, f"entry {sequence} of its log cannot name {count} changes")
    for place in range(_ENTRY.size, _ENTRY.size + count * _DESCRIPTOR_BYTES, _DESCRIPTOR_BYTES):
        kind = whole[place : place + 4]
        if kind == b"desc":
            _, trailing, leading, start, number = _DATA.unpack_from(whole, place)
            sector = whole[data_at : data_at + SECTOR]
            data_at += SECTOR
            stamps = struct.pack("<4sI", b"data", sequence >> 32), sequence & 0xFFFF_FFFF
            if sector[:8] != stamps[0] or sector[4092:] != struct.pack("<I", stamps[1]):
                raise DamagedImageError(path, f"entry {sequence} of its log is torn")
            patch = Patch(start=start, end=start + SECTOR, data=leading + sector[8:4092] + trailing)
        elif kind == b"zero":
            _, _, zeros, start, number = _ZERO.unpack_from(whole, place)
            patch = Patch(start=start, end=start + zeros, data=None)
        else:
            raise DamagedImageError(path, f"entry {sequence} of its log has no valid descriptors")
        if number != sequence or patch.start % SECTOR or patch.end % SECTOR:
            raise DamagedImageError(path, f"entry {sequence} of its log has no valid descriptors")
        patches.append(patch)
    return LogEntry(
        at=at,
        length=length,
        tail=tail,
        sequence=sequence,
        flushed=flushed,
        last=last,
        patches=tuple(patches),
    )


def _active_sequence(entries: list[LogEntry], *, ring: int) -> list[LogEntry]:
    """Return the entries to replay, oldest first; none where no run reaches back to its tail."""
    runs: list[list[LogEntry]] = []
    open_runs: dict[tuple[int, int], list[LogEntry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.sequence):
        run = open_runs.pop((entry.at, entry.sequence), None)
        if run is None:
            run = []
            runs.append(run)
        run.append(entry)
        open_runs[(entry.at + entry.length) % ring, entry.sequence + 1] = run
    for run in sorted(runs, key=lambda run: run[-1].sequence, reverse=True):
        start = next((i for i, entry in enumerate(run) if entry.at == run[-1].tail), None)
        if start is not None:
            return run[start:]
    return []
