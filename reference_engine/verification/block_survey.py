"""Pages, packs and blocks of points: what they refer to is there, and, where asked, is right.

First every page is looked at, in both copies, and every pack for being there and long enough.
Then, where asked, each block is read once, however many points have it. Last, what was found is
said of every point that it touches. Nothing stops at what is wrong.
"""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Final, NamedTuple

import numpy as np

from reference_engine.model.errors import CorruptionError, OperationFailedError, TransientError
from reference_engine.model.extents import EMPTY, ExtentSet
from reference_engine.model.identity import DiskId, MachineId, RecoveryPointId
from reference_engine.model.units import ByteCount
from reference_engine.repository.block_map import (
    DIGEST_SIZE,
    PAGE_BLOCKS,
    NameTable,
    Page,
    PageRow,
)
from reference_engine.repository.codec import copy_name, session_of
from reference_engine.repository.errors import (
    BlockDamagedError,
    PointRemovedError,
    PointUnknownError,
)
from reference_engine.repository.fetching import Wanted, described, load_page, read_page
from reference_engine.repository.mending import Lost, Mended, PlaceName, contains, mended
from reference_engine.repository.ordered import distinct
from reference_engine.repository.read_ahead import ReadAhead
from reference_engine.repository.reader import Damage, PointReader, Progress
from reference_engine.repository.repository import Repository
from reference_engine.verification.block_keys import Keys, SeenBlocks, block_keys
from reference_engine.verification.block_reading import (
    Asked,
    BlockReading,
    Looked,
    StoredPage,
    groups,
)
from reference_engine.verification.findings import ObjectFinding, Part, PointDamage, Problem
from reference_engine.verification.pack_survey import PackSurvey

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

    def stored(self) -> StoredPage:
        return StoredPage(
            self.reader.point.id,
            self.disk,
            self.reader.size(self.disk),
            self.number,
            self.name,
            self.row,
        )


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
        self._names = NameTable()
        self.packs = PackSurvey(self._store, self._names)
        self._reading = BlockReading(
            self._store, repository.header, self._names, executor=repository.executor
        )
        self._ahead = ReadAhead(self._store)
        self._pages: dict[tuple[str, int], str] = {}
        self._counts: dict[tuple[str, int], int] = {}
        self._first: list[StoredPage] = []
        self.map_rows: dict[str, dict[int, PageRow]] = {}
        """Every object of pages, with what the points need of it by its offset."""

        self._wrong: dict[tuple[RecoveryPointId, DiskId, int], str] = {}
        self._bad_keys: list[Keys] = []
        self._causes: dict[int, str] = {}
        self._failures = 0
        self.lost: dict[tuple[str, bytes], Lost] = {}
        """Blocks that cannot be put together, by domain and digest: of those that were read."""

        self.unread: dict[RecoveryPointId, str] = {}
        """Points about which the store did not let us know everything, and why."""

        self.objects: dict[str, ObjectFinding] = {}
        self._whole: dict[RecoveryPointId, list[PointDamage]] = {}
        self.filled: dict[RecoveryPointId, ByteCount] = {}
        """How many bytes of each point are no holes."""

        self.unique_bytes = 0

    @property
    def is_any_unknown(self) -> bool:
        """Whether there is a point of which nobody knows what it refers to."""
        lost = any(each.disk is None for damage in self._whole.values() for each in damage)
        return lost or bool(self.unread)

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
        async for finding in self.packs.measure():
            self.objects.setdefault(finding.object, finding)
            if finding.problem is Problem.UNREADABLE:
                self._fail(finding.cause, *(point for point, _ in self._points))

    async def _rows(self, point: RecoveryPointId, machine: MachineId) -> AsyncIterator[_Row]:
        """Yield every page of a point; what is wrong with the point as a whole is noted."""
        try:
            reader = await self._repository.reader(point)
        except CorruptionError as error:
            self._note(point, machine, None, EMPTY, str(error))
            return
        except TransientError as error:
            self._fail(str(error), point)
            return
        for disk in reader.disks:
            try:
                reader.confirm(disk)
            except CorruptionError as error:
                self._note(point, machine, disk, ExtentSet.whole(reader.size(disk)), str(error))
            rows = reader.rows(disk)
            for _, name, row in rows:
                self.map_rows.setdefault(name, {})[row.offset] = row
                for each in (name, copy_name(name)):
                    self._ahead.expect(each, offset=row.offset, length=row.stored)
            for number, name, row in rows:
                yield _Row(reader, disk, number, name, row)

    async def _inspect(self, row: _Row) -> Page | None:
        """Return the page from a sound copy; note copies that are not, and whether none is."""
        found: Page | None = None
        cause = ""
        for name in (row.name, copy_name(row.name)):
            try:
                page = await read_page(self._ahead, self._key, self._names, name=name, row=row.row)
            except (CorruptionError, ValueError) as error:
                missing = "missing" in str(error)
                cause = f"page {row.number} in {row.name}: {error}"
                problem = Problem.MISSING if missing else Problem.DAMAGED
                self._note_object(name, problem, f"at byte {row.row.offset}: {error}")
            except TransientError as error:
                cause = cause or str(error)
                self._note_object(name, Problem.UNREADABLE, str(error))
                self._fail(str(error), row.reader.point.id)
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
        self._first.append(row.stored())
        self.packs.learn(page)
        keys = block_keys(page)
        numbers = page.numbers() + row.number * PAGE_BLOCKS
        block, size = row.reader.block_size, row.reader.size(row.disk)
        self._counts[row.place] = ExtentSet.of_pieces(numbers, piece=block, size=size).total
        fresh = ~seen.has(keys)
        seen.add(keys[fresh])
        self.unique_bytes += int(fresh.sum()) * row.reader.block_size

    async def read(self, part: Part, /, *, progress: Progress) -> None:
        """Read every block of the packs of `part`, each once."""
        seen = SeenBlocks()
        for group in groups(self._first):
            asked: list[Asked] = []
            for stored in group:
                page = await self._page(stored)
                if page is not None:
                    keys, numbers = block_keys(page), page.numbers()
                    fresh = ~seen.has(keys)
                    seen.add(keys[fresh])
                    fresh &= self.packs.in_part(page, part)[page.places[numbers, 0]]
                    asked.append(Asked(stored, page, keys, fresh))
            await self._read_blocks(asked, progress=progress)

    async def reread(self, lost: Sequence[Lost], /) -> None:
        """Read the blocks that were lost, wherever they are."""
        if not lost:
            return
        digests = np.frombuffer(b"".join([each.digest for each in lost]), np.uint8)
        asked = digests.reshape(-1, DIGEST_SIZE)
        async for stored, page in self._first_pages():
            fresh = contains(asked, page.digests[page.numbers()])
            again = Asked(stored, page, block_keys(page), fresh)
            await self._read_blocks([again], progress=lambda _: None)

    async def whole_blocks(
        self, sessions: Collection[str], /
    ) -> dict[str, list[tuple[bytes, PlaceName]]]:
        """Return the blocks that points have whole in packs of these sessions."""
        found: dict[str, dict[bytes, PlaceName]] = {session: {} for session in sessions}
        async for _, page in self._first_pages():
            numbers = page.numbers()
            for number in numbers[page.overlaid[numbers] == 0].tolist():
                pack, offset, stored, at = page.places[number].tolist()
                name = self._names.name(pack)
                session = session_of(name)
                if session in found:
                    digest = page.digests[number].tobytes()
                    found[session].setdefault(digest, (name, offset, stored, at))
        return {session: [*rows.items()] for session, rows in found.items()}

    async def _first_pages(self) -> AsyncIterator[tuple[StoredPage, Page]]:
        """Yield every page once, however many points have it."""
        for stored in self._first:
            page = await self._page(stored)
            if page is not None:
                yield stored, page

    async def _read_blocks(self, asked: Sequence[Asked], *, progress: Progress) -> None:
        """Read what is fresh of some pages."""
        block = self._repository.block_size
        origins: dict[Wanted, tuple[Asked, np.uint64]] = {}
        done: list[Looked] = []
        for each in asked:
            start, fresh = each.stored.number * PAGE_BLOCKS, each.page.numbers()[each.fresh]
            found = described(each.page, start, fresh, size=each.stored.size, block_size=block)
            for wanted, key in zip(found, each.keys[each.fresh], strict=True):
                origins[wanted] = each, key
        try:
            async for looked in self._reading.look([*origins]):
                for wanted in looked.wrong:
                    await self._read_again(wanted, *origins[wanted])
                progress(looked.length)
                done.append(looked)
            self._failures = 0
        except TransientError as error:
            looked_at = {wanted for looked in done for wanted in looked.blocks}
            left = [wanted for wanted in origins if wanted not in looked_at]
            # What was not read is not known to be sound.
            for pack in dict.fromkeys(wanted.base[0] for wanted in left):
                self._note_object(self._names.name(pack), Problem.UNREADABLE, str(error))
            self._fail(str(error), *(each for each, _ in self._points))
            progress(ByteCount(sum(wanted.length for wanted in left)))

    async def _read_again(self, wanted: Wanted, asked: Asked, key: np.uint64) -> None:
        """Have the last word on a block, from a reader that tries whatever may help."""
        stored, block = asked.stored, self._repository.block_size
        extents = ExtentSet.of_pieces(np.array([wanted.number]), piece=block, size=stored.size)
        try:
            reader = await self._repository.reader(stored.point)
        except (PointRemovedError, PointUnknownError):
            # Nobody needs it any more.
            return
        async for each in reader.surveyed(stored.disk, extents):
            if isinstance(each, Damage):
                self._lose(each, np.array([key]))

    def _lose(self, damage: Damage, keys: Keys) -> None:
        if damage.lost is None:
            return
        assert len(keys) == 1, keys
        self.lost[damage.lost.domain, damage.lost.digest] = damage.lost
        self._bad_keys.append(keys)
        cause = damage.error.cause if isinstance(damage.error, BlockDamagedError) else ""
        self._causes[int(keys[0])] = cause
        for name in dict.fromkeys(place[0] for place in damage.lost.places):
            self._note_object(name, Problem.DAMAGED, f"a block in it: {cause}")

    async def _page(self, stored: StoredPage) -> Page | None:
        try:
            return await load_page(
                self._ahead,
                self._key,
                self._names,
                name=stored.name,
                number=stored.number,
                row=stored.row,
                of=stored.point,
            )
        except (CorruptionError, TransientError):
            return None

    async def attribute(self) -> dict[RecoveryPointId, list[PointDamage]]:
        """Return for every point that is touched what of it is lost by what was found so far."""
        found = {point: [*damage] for point, damage in self._whole.items()}
        bad = distinct(np.concatenate([np.zeros(0, np.uint64), *self._bad_keys]))
        if not (len(bad) or self.packs.is_short or self._wrong):
            return found
        again = await mended(self._store, self._key)
        for point, machine in self._points:
            if any(each.disk is None for each in found.get(point, [])):
                continue
            parts: dict[DiskId, list[ExtentSet]] = {}
            causes: dict[DiskId, str] = {}
            async for row in self._rows_again(point):
                extents, cause = await self._lost_of(row, bad, again)
                if extents:
                    parts.setdefault(row.disk, []).append(extents)
                    causes.setdefault(row.disk, cause)
            for disk, several in parts.items():
                bounds = np.concatenate([each.bounds for each in several])
                whole = ExtentSet.of([(a, b) for a, b in bounds.tolist()])
                damage = PointDamage(
                    point=point, machine=machine, disk=disk, extents=whole, cause=causes[disk]
                )
                found.setdefault(point, []).append(damage)
        return found

    async def _lost_of(self, row: _Row, bad: Keys, again: Mended) -> tuple[ExtentSet, str]:
        """Return what of one page of a point is lost, and why."""
        reader, start, block = row.reader, row.number * PAGE_BLOCKS, row.reader.block_size
        size = reader.size(row.disk)
        cause = self._wrong.get((reader.point.id, row.disk, row.number), "")
        if cause:
            end = min((start + PAGE_BLOCKS) * block, size)
            return ExtentSet.of([(start * block, end)]), cause
        page = await self._page(row.stored())
        if page is None:
            return EMPTY, ""
        numbers, keys = page.numbers(), block_keys(page)
        gone = self.packs.beyond(page)[numbers]
        gone &= ~again.has(page.digests[numbers], of=row.name)
        hit = np.isin(keys, bad) | gone
        if not hit.any():
            return EMPTY, ""
        known = self._causes.get(int(keys[hit][0]), "its pack is not whole")
        lost = numbers[hit] + start
        error = BlockDamagedError(reader.point.id, row.disk, int(lost[0]), known)
        return ExtentSet.of_pieces(lost, piece=block, size=size), str(error)

    async def _rows_again(self, point: RecoveryPointId) -> AsyncIterator[_Row]:
        try:
            reader = await self._repository.reader(point)
        except (CorruptionError, TransientError):
            return
        for disk in reader.disks:
            for number, name, row in reader.rows(disk):
                yield _Row(reader, disk, number, name, row)

    def _note(
        self,
        point: RecoveryPointId,
        machine: MachineId,
        disk: DiskId | None,
        extents: ExtentSet,
        cause: str,
    ) -> None:
        self._whole.setdefault(point, []).append(
            PointDamage(point=point, machine=machine, disk=disk, extents=extents, cause=cause)
        )

    def _note_object(self, name: str, problem: Problem, cause: str) -> None:
        finding = ObjectFinding(object=name, problem=problem, cause=cause)
        self.objects.setdefault(name, finding)

    def _fail(self, cause: str, *points: RecoveryPointId) -> None:
        """Note what the store did not answer; give up where it answers nothing any more.

        Raises:
            OperationFailedError: it failed so often in a row that there is no use in going on.
        """
        for point in points:
            self.unread.setdefault(point, cause)
        self._failures += 1
        if self._failures >= FAILURES_MAX:
            raise OperationFailedError("checking", cause)
