"""Pages, packs and blocks of points: what they refer to is there, and, where asked, is right.

First every page is looked at, in both copies, and every pack for being there and long enough.
Then, where asked, each block is read once, however many points have it. Last, what was found is
said of every point that it touches. Nothing stops at what is wrong.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from reference_engine.model.errors import CorruptionError, OperationFailedError, TransientError
from reference_engine.model.extents import EMPTY, ExtentSet
from reference_engine.model.identity import DiskId, MachineId, RecoveryPointId
from reference_engine.model.units import ByteCount
from reference_engine.repository.block_map import (
    PAGE_BLOCKS,
    PIECES,
    NameTable,
    Page,
    PageRow,
)
from reference_engine.repository.codec import copy_name
from reference_engine.repository.errors import BlockDamagedError
from reference_engine.repository.fetching import load_page, read_page
from reference_engine.repository.mending import MENDS, Lost, contains, listed
from reference_engine.repository.reader import Damage, PointReader, Progress
from reference_engine.repository.repository import Repository
from reference_engine.verification.block_keys import Keys, SeenBlocks, block_keys, part_of
from reference_engine.verification.findings import ObjectFinding, Part, PointDamage, Problem

FAILURES_MAX: Final = 3
"""So many failures of the store in a row, and it is taken to be gone."""


class _Row(NamedTuple):
    """One page of one disk of one point."""

    reader: PointReader
    disk: DiskId
    number: int
    name: str
    row: PageRow

    @property
    def place(self) -> tuple[str, int]:
        return self.name, self.row.offset


class BlockSurvey:
    """What some points of a repository are made of, and which of it is right."""

    def __init__(
        self,
        repository: Repository,
        points: Sequence[tuple[RecoveryPointId, MachineId]],
        /,
    ) -> None:
        self._repository, self._points = repository, tuple(points)
        self._store, self._key = repository.store, repository.header.key
        self._packs = NameTable()
        self._ends = np.zeros(1, np.int64)
        self._limits = np.zeros(1, np.int64)
        self._pages: dict[tuple[str, int], str] = {}
        self._counts: dict[tuple[str, int], int] = {}
        self._first: list[tuple[RecoveryPointId, DiskId, int]] = []
        self._wrong: dict[tuple[RecoveryPointId, DiskId, int], str] = {}
        self._bad_keys: list[Keys] = []
        self._causes: dict[int, str] = {}
        self._failures = 0
        self.lost: dict[bytes, Lost] = {}
        """Blocks that cannot be put together, by digest: of those that were read."""

        self.maps: dict[str, None] = {}
        self.bases: dict[str, None] = {}
        """Packs that hold whole blocks."""

        self.unread: dict[RecoveryPointId, str] = {}
        """Points about which the store did not let us know everything, and why."""

        self.objects: dict[str, ObjectFinding] = {}
        self.damage: dict[RecoveryPointId, list[PointDamage]] = {}
        self.filled: dict[RecoveryPointId, ByteCount] = {}
        """How many bytes of each point are no holes."""

        self.unique_bytes = 0

    @property
    def packs(self) -> tuple[str, ...]:
        """The packs that the points refer to."""
        return self._packs.names()

    @property
    def pack_count(self) -> int:
        """How many packs the points refer to."""
        return len(self._packs.names())

    async def look(self, step: Callable[[int], None], /) -> None:
        """Check every page of every point in both copies, and every pack's length.

        `step` is told how many points were looked at.
        """
        seen = SeenBlocks()
        for done, (point, machine) in enumerate(self._points):
            step(done)
            async for row in self._rows(point, machine):
                if row.place not in self._pages:
                    page = await self._inspect(row)
                    if page is not None:
                        self._learn(row, page, seen)
                filled = self._counts.get(row.place, 0) + self.filled.get(point, 0)
                self.filled[point] = ByteCount(filled)
                if self._pages[row.place]:
                    self._wrong[point, row.disk, row.number] = self._pages[row.place]
        await self._measure_packs()

    async def _rows(self, point: RecoveryPointId, machine: MachineId) -> AsyncIterator[_Row]:
        """Yield every page of a point; what is wrong with the point as a whole is noted."""
        try:
            reader = await self._repository.reader(point)
        except CorruptionError as error:
            self._note(point, machine, None, EMPTY, str(error))
            return
        except TransientError as error:
            self._fail(error, point)
            return
        for disk in reader.disks:
            try:
                reader.confirm(disk)
            except CorruptionError as error:
                self._note(point, machine, disk, ExtentSet.whole(reader.size(disk)), str(error))
            for number, name, row in reader.rows(disk):
                self.maps[name] = None
                yield _Row(reader, disk, number, name, row)

    async def _inspect(self, row: _Row) -> Page | None:
        """Return the page from a sound copy; note copies that are not, and whether none is."""
        found: Page | None = None
        cause = ""
        for name in (row.name, copy_name(row.name)):
            try:
                page = await read_page(self._store, self._key, self._packs, name=name, row=row.row)
            except (CorruptionError, ValueError) as error:
                missing = "missing" in str(error)
                cause = f"page {row.number} in {row.name}: {error}"
                problem = Problem.MISSING if missing else Problem.DAMAGED
                self._note_object(name, problem, f"at byte {row.row.offset}: {error}")
            except TransientError as error:
                cause = cause or str(error)
                self._note_object(name, Problem.UNREADABLE, str(error))
                self._fail(error, row.reader.point.id)
            else:
                self._failures = 0
                if page.digest(self._key) == row.reader.content_digest(row.disk, row.number):
                    found = found or page
                else:
                    cause = f"page {row.number} is another one's"
        self._pages[row.place] = "" if found is not None else cause
        return found

    def _learn(self, row: _Row, page: Page, seen: SeenBlocks) -> None:
        """Note what a page that was not met before refers to."""
        self._first.append((row.reader.point.id, row.disk, row.number))
        grown = len(self._packs.names()) + 1 - len(self._ends)
        self._ends = np.concatenate((self._ends, np.zeros(grown, np.int64)))
        for places in (page.places, page.piece_places):
            ends = places[:, 1].astype(np.int64) + places[:, 2]
            np.maximum.at(self._ends, places[:, 0], ends)
        used = np.unique(page.places[page.numbers(), 0])
        self.bases.update((self._packs.name(pack), None) for pack in used.tolist())
        keys = block_keys(page)
        numbers = page.numbers() + row.number * PAGE_BLOCKS
        block, size = row.reader.block_size, row.reader.size(row.disk)
        self._counts[row.place] = ExtentSet.of_pieces(numbers, piece=block, size=size).total
        fresh = ~seen.has(keys)
        seen.add(keys[fresh])
        self.unique_bytes += int(fresh.sum()) * row.reader.block_size

    async def _measure_packs(self) -> None:
        """Make sure that every pack reaches to the end of the last frame that is needed of it."""
        names = self._packs.names()
        self._limits = np.full(len(names) + 1, np.iinfo(np.int64).max)
        self._ends = np.concatenate(
            (self._ends, np.zeros(len(names) + 1 - len(self._ends), np.int64))
        )
        present = {*await self._store.names("packs/")}
        for number, name in enumerate(names, 1):
            end = int(self._ends[number])
            try:
                length = end if name in present and await self._reaches(name, end) else None
                if length is None:
                    length = await self._length(name, end) if name in present else 0
                    missing = name not in present
                    problem = Problem.MISSING if missing else Problem.DAMAGED
                    words = "it is missing" if missing else f"it ends at byte {length} of {end}"
                    self._note_object(name, problem, words)
                    self._limits[number] = length
            except TransientError as error:
                self._note_object(name, Problem.UNREADABLE, str(error))
                self._fail(error, *(point for point, _ in self._points))

    async def _reaches(self, name: str, end: int) -> bool:
        """Return whether the object has `end` bytes at least."""
        try:
            await self._store.read_range(name, offset=end - 1, length=1)
        except CorruptionError:
            return False
        return True

    async def _length(self, name: str, end: int) -> int:
        """Return how long the object is, given that it is shorter than `end`."""
        low, high = 0, end
        while high - low > 1:
            middle = (low + high) // 2
            if await self._reaches(name, middle):
                low = middle
            else:
                high = middle
        return low

    async def read(self, part: Part, /, *, progress: Progress) -> None:
        """Read every block of the packs of `part`, each once."""
        seen = SeenBlocks()
        readers: dict[RecoveryPointId, PointReader] = {}
        for point, disk, number in self._first:
            if point not in readers:
                # One reader at a time: each keeps pages in memory.
                readers = {point: await self._repository.reader(point)}
            reader = readers[point]
            [(name, row)] = [(n, r) for k, n, r in reader.rows(disk) if k == number]
            each = _Row(reader, disk, number, name, row)
            page = await self._page(each)
            if page is not None:
                fresh = ~seen.has(block_keys(page))
                seen.add(block_keys(page)[fresh])
                await self._read_blocks(each, page, fresh, part=part, progress=progress)

    async def _read_blocks(
        self,
        row: _Row,
        page: Page,
        fresh: npt.NDArray[np.bool_],
        *,
        part: Part,
        progress: Progress,
    ) -> None:
        """Read those of the page's blocks that are fresh and in `part`."""
        reader, disk, number = row.reader, row.disk, row.number
        keys, numbers = block_keys(page), page.numbers()
        fresh = fresh & self._in_part(page, part)[page.places[numbers, 0]]
        block, size = reader.block_size, reader.size(disk)
        extents = ExtentSet.of_pieces(numbers[fresh] + number * PAGE_BLOCKS, piece=block, size=size)
        if not extents:
            return
        before = 0
        try:
            async for each in reader.surveyed(disk, extents):
                if isinstance(each, Damage):
                    self._lose(each, keys[numbers == each.offset // block - number * PAGE_BLOCKS])
                    length = each.length
                else:
                    length = len(each.content)
                before += length
                progress(ByteCount(length))
            self._failures = 0
        except TransientError as error:
            self._fail(error, *(each for each, _ in self._points))
            progress(ByteCount(extents.total - before))

    def _in_part(self, page: Page, part: Part) -> npt.NDArray[np.bool_]:
        """Return for each pack number whether its blocks are to be read."""
        names = self._packs.names()
        chosen = np.zeros(len(names) + 1, np.bool_)
        for pack in np.unique(page.places[:, 0]).tolist():
            chosen[pack] = pack and part_of(names[pack - 1], count=part.count) == part.number
        return chosen

    def _lose(self, damage: Damage, keys: Keys) -> None:
        if damage.lost is None:
            return
        assert len(keys) == 1, keys
        self.lost[damage.lost.digest] = damage.lost
        self._bad_keys.append(keys)
        cause = damage.error.cause if isinstance(damage.error, BlockDamagedError) else ""
        self._causes[int(keys[0])] = cause
        for name in dict.fromkeys(place[0] for place in damage.lost.places):
            self._note_object(name, Problem.DAMAGED, f"a block in it: {cause}")

    async def _page(self, row: _Row) -> Page | None:
        try:
            return await load_page(
                self._store,
                self._key,
                self._packs,
                name=row.name,
                number=row.number,
                row=row.row,
                of=row.reader.point.id,
            )
        except (CorruptionError, TransientError):
            return None

    async def attribute(self) -> None:
        """Say of every point what of it is lost by what was found so far."""
        bad = np.unique(np.concatenate([np.zeros(0, np.uint64), *self._bad_keys]))
        short = bool((self._limits < self._ends).any())
        if not (len(bad) or short or self._wrong):
            return
        mended = (await listed(self._store, self._key, MENDS)).digests
        for point, machine in self._points:
            if any(each.disk is None for each in self.damage.get(point, [])):
                continue
            parts: dict[DiskId, list[ExtentSet]] = {}
            causes: dict[DiskId, str] = {}
            async for row in self._rows_again(point):
                block, start = row.reader.block_size, row.number * PAGE_BLOCKS
                cause = self._wrong.get((point, row.disk, row.number), "")
                if cause:
                    numbers = np.arange(PAGE_BLOCKS)
                else:
                    page = await self._page(row)
                    if page is None:
                        continue
                    numbers = page.numbers()
                    keys = block_keys(page)
                    gone = self._beyond(page)[numbers] & ~contains(mended, page.digests[numbers])
                    hit = np.isin(keys, bad) | gone
                    numbers = numbers[hit]
                    if len(numbers):
                        known = self._causes.get(int(keys[hit][0]), "its pack is not whole")
                        error = BlockDamagedError(point, row.disk, start + int(numbers[0]), known)
                        cause = str(error)
                if cause:
                    size = row.reader.size(row.disk)
                    numbers = numbers[numbers + start < -(-size // block)]
                    found = ExtentSet.of_pieces(numbers + start, piece=block, size=size)
                    parts.setdefault(row.disk, []).append(found)
                    causes.setdefault(row.disk, cause)
            for disk, extents in parts.items():
                bounds = np.concatenate([each.bounds for each in extents])
                whole = ExtentSet.of([(a, b) for a, b in bounds.tolist()])
                self._note(point, machine, disk, whole, causes[disk])

    async def _rows_again(self, point: RecoveryPointId) -> AsyncIterator[_Row]:
        try:
            reader = await self._repository.reader(point)
        except (CorruptionError, TransientError):
            return
        for disk in reader.disks:
            for number, name, row in reader.rows(disk):
                yield _Row(reader, disk, number, name, row)

    def _beyond(self, page: Page) -> npt.NDArray[np.bool_]:
        """Return for each block whether a frame of it lies where its pack has ended."""

        def over(places: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
            ends = places[:, 1].astype(np.int64) + places[:, 2]
            found: npt.NDArray[np.bool_] = ends > self._limits[places[:, 0]]
            return found

        found = over(page.places)
        np.logical_or.at(found, page.piece_keys // PIECES, over(page.piece_places))
        return found

    def _note(
        self,
        point: RecoveryPointId,
        machine: MachineId,
        disk: DiskId | None,
        extents: ExtentSet,
        cause: str,
    ) -> None:
        self.damage.setdefault(point, []).append(
            PointDamage(point=point, machine=machine, disk=disk, extents=extents, cause=cause)
        )

    def _note_object(self, name: str, problem: Problem, cause: str) -> None:
        finding = ObjectFinding(object=name, problem=problem, cause=cause)
        self.objects.setdefault(name, finding)

    def _fail(self, error: TransientError, *points: RecoveryPointId) -> None:
        """Note what the store did not answer; give up where it answers nothing any more.

        Raises:
            OperationFailedError: it failed so often in a row that there is no use in going on.
        """
        for point in points:
            self.unread.setdefault(point, str(error))
        self._failures += 1
        if self._failures >= FAILURES_MAX:
            raise OperationFailedError("checking", str(error)) from error
