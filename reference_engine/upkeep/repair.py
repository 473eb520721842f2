"""Mending a repository: copies from copies, blocks from wherever equal ones stand."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np
from blake3 import blake3

from reference_engine.model.errors import CorruptionError, OperationFailedError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import MachineId
from reference_engine.repository.assembling import Stretch
from reference_engine.repository.block_map import DIGEST_SIZE, NameTable, PageRow
from reference_engine.repository.codec import ANCHORS, INDEX, copy_name, session_of
from reference_engine.repository.mending import (
    MEND_SESSION,
    MENDS,
    WANTED,
    Lost,
    PlaceName,
    Rescue,
    contains,
    listed,
    outstanding,
    segment,
)
from reference_engine.repository.pack import Frames, Level, PackWriter
from reference_engine.repository.pages import page_seal
from reference_engine.repository.reader import Progress
from reference_engine.repository.repository import Repository
from reference_engine.repository.segmented_store import parity_name
from reference_engine.repository.write_session import WriteSession
from reference_engine.upkeep.replacing import keep_aside, put_right, set_aside
from reference_engine.verification.check import Check, CheckResult
from reference_engine.verification.findings import EVERYTHING, ObjectFinding, Problem

_LISTS: Final = (ANCHORS, MENDS, WANTED)
"""What may go once nothing can be read from it."""


class Repaired(msgspec.Struct, frozen=True, kw_only=True):
    """What a repair did, and what it could not do."""

    replaced: tuple[str, ...]
    """Objects that are as they were written again."""

    mended: int
    """Blocks that were damaged and can be read again."""

    wanted: int
    """Blocks that are left to the next backup of a source that still has them."""

    before: CheckResult
    after: CheckResult


class Repair:
    """One repair of a repository, with what was found in it."""

    def __init__(self, repository: Repository, /, *, token: str) -> None:
        """`token` names what this repair writes; it was never used before."""
        self._repository, self._token = repository, token
        self._store, self._key = repository.store, repository.header.key
        self._check = Check(repository)
        self._names = NameTable()
        self._session = f"{MEND_SESSION}{token}"
        self._packs = PackWriter(self._store, self._names, session=self._session)
        self._run: WriteSession | None = None
        """Open from the first pack to the list that names it, so that no reclaim takes the packs,
        and the next one does if this process dies."""

        self._frames = Frames(Level.DEFAULT)
        self._rows: list[tuple[bytes, PlaceName]] = []
        self._replaced: list[str] = []

    async def run(
        self,
        others: Sequence[Repository],
        /,
        *,
        step: Callable[[int], None],
        progress: Callable[[int], Progress],
    ) -> Repaired:
        """Mend what can be mended, from this repository and then from `others`.

        Everything is read once. `progress` is given the number of bytes to read.

        Raises:
            TransientError: the store failed, or a reclaim took this for dead after a day; what was
                done so far stays, so run it again.
            RefusedError: the store cannot be written to.
        """
        await self._check.structure(step)
        await self._mend_copies()
        await self._mend_maps()
        await self._check.read(EVERYTHING, progress=progress(self._check.survey.unique_bytes))
        before = await self._check.result()
        await self._renew()
        lost = {each.digest: each for each in self._check.lost()}
        await self._find_elsewhere(lost)
        for other in others:
            await self._take_from(other, before, lost)
        await self._packs.flush()
        if self._rows:
            await self._store.create(f"{MENDS}{self._token}", segment(self._key, self._rows))
        await self._end_run()
        await self._want(lost)
        await self._mend_lists()
        return Repaired(
            replaced=tuple(self._replaced),
            mended=len(self._rows),
            wanted=len(lost),
            before=before,
            after=await self._again(),
        )

    async def _again(self) -> CheckResult:
        """Return what is still wrong; blocks that were sound are not read again."""
        again = Check(self._repository)
        await again.structure(lambda _: None)
        await again.survey.reread(self._check.lost())
        return await again.result()

    async def _mend_copies(self) -> None:
        """Give every copy of header, log and manifests the bytes of a sound one."""
        for _, state in self._check.copies:
            if state.sound is not None:
                for each in state.findings:
                    await self._put_right(each, state.sound)

    async def _put_right(self, finding: ObjectFinding, sound: bytes) -> None:
        # A store that fails is not asked to delete anything.
        if finding.problem is not Problem.UNREADABLE and await put_right(
            self._store, finding.object, sound
        ):
            self._replaced.append(finding.object)

    async def _mend_maps(self) -> None:
        """Make each object of pages from the sound pages of both its copies."""
        found = self._check.survey.objects
        for name, rows in self._check.survey.map_rows.items():
            findings = [found[each] for each in (name, copy_name(name)) if each in found]
            if not findings:
                continue
            sound = await self._merged(name, tuple(rows.values()))
            for each in findings if sound is not None else ():
                assert sound is not None, name
                await self._put_right(each, sound)

    async def _merged(self, name: str, rows: tuple[PageRow, ...]) -> bytes | None:
        """Return the object with every page that a point needs; None: one is lost in both."""
        held = [await self._store.read(each) or b"" for each in (name, copy_name(name))]
        merged = bytearray(max(held, key=len))
        for row in rows:
            start, end = row.offset, row.offset + row.stored
            sound = [
                each[start:end]
                for each in held
                if page_seal(self._key, each[start:end]) == row.seal
            ]
            if not sound:
                return None
            merged[start:end] = sound[0]
        return bytes(merged)

    async def _renew(self) -> None:
        """Store packs as they were that parity had to restore, and parity that is missing."""
        unprotected = await self._repository.unprotected(self._check.survey.packs.names)
        for name in sorted(self._repository.mended):
            damaged = await self._repository.renew(name)
            if damaged is not None:
                self._replaced.append(name)
            if damaged:
                await keep_aside(self._store, name, damaged)
        for name in unprotected:
            if await self._repository.protect(name):
                self._replaced.append(parity_name(name))
        await self._store.tidy()

    async def _find_elsewhere(self, lost: dict[bytes, Lost]) -> None:
        """Look for other places where equal blocks stand, by the index."""
        if not lost:
            return
        index = await listed(self._store, self._key, INDEX)
        bad = {place[:2] for each in lost.values() for place in each.places}
        known: dict[bytes, PlaceName] = {}
        asked = np.frombuffer(b"".join(lost), np.uint8).reshape(-1, DIGEST_SIZE)
        for row in np.flatnonzero(contains(asked, index.digests)).tolist():
            pack, offset, stored, at = index.places[row].tolist()
            name = index.names.name(pack)
            if (name, offset) not in bad:
                known[index.digests[row].tobytes()] = (name, offset, stored, at)
        rescue = Rescue(self._store, self._key, piece=0)
        for digest, place in known.items():
            found = lost[digest]._replace(places=(place,), pieces=())
            if await rescue.block(found) is not None:
                self._rows.append((digest, place))
                del lost[digest]

    async def _take_from(
        self, other: Repository, before: CheckResult, lost: dict[bytes, Lost]
    ) -> None:
        """Store lost blocks anew that another repository still has in the same point."""
        theirs = {entry.point for entry in await other.commits()}
        for damage in before.damage:
            if damage.point not in theirs or damage.disk is None or not lost:
                continue
            try:
                reader = await other.reader(damage.point)
            except CorruptionError:
                continue
            if damage.disk not in reader.disks or not damage.extents <= ExtentSet.whole(
                reader.size(damage.disk)
            ):
                continue
            async for each in reader.surveyed(damage.disk, damage.extents):
                if isinstance(each, Stretch):
                    await self._store_lost(each, lost)

    async def _store_lost(self, stretch: Stretch, lost: dict[bytes, Lost]) -> None:
        """Store those blocks of a stretch that were lost."""
        size = self._repository.block_size
        for at in range(0, len(stretch.content), size):
            content = stretch.content[at : at + size]
            digest = blake3(content, key=self._key).digest(length=DIGEST_SIZE)
            if digest in lost:
                await self._open_run()
                [(pack, offset, stored)] = self._packs.add([self._frames.compressed(content)])
                await self._packs.publish_full()
                self._rows.append((digest, (self._names.name(pack), offset, stored, 0)))
                del lost[digest]

    async def _open_run(self) -> None:
        if self._run is None:
            machine = MachineId(self._session)
            self._run = await self._repository.open_run(machine, token=self._session)

    async def _end_run(self) -> None:
        """Close the run behind the list of its packs, which keeps them from here on."""
        if self._run is None:
            return
        await self._run.abandon()
        for pack in dict.fromkeys(place[0] for _, place in self._rows):
            if pack.startswith(f"packs/{self._session}") and await self._repository.is_swept(pack):
                await self._store.delete(f"{MENDS}{self._token}")
                raise OperationFailedError("repair", "it was taken for dead by a prune")

    async def _want(self, lost: dict[bytes, Lost]) -> None:
        """List what is lost for runs to come, unless it is listed already."""
        _, missing = await outstanding(self._store, self._key)
        have = {digest.tobytes() for digest in missing}
        mends = await listed(self._store, self._key, MENDS)
        rows = [
            (each.digest, place)
            for each in lost.values()
            if each.digest not in have
            for place in each.places
        ]
        for digest, place in zip(mends.digests, mends.places.tolist(), strict=True):
            # What once mended it did not help.
            if digest.tobytes() in lost and digest.tobytes() not in have:
                rows.append((digest.tobytes(), (mends.names.name(place[0]), *place[1:])))
        if rows:
            await self._store.create(f"{WANTED}{self._token}", segment(self._key, rows))

    async def _mend_lists(self) -> None:
        """Make index segments anew that are damaged or absent, of what points refer to."""
        result = await self._check.result()
        broken: dict[str, ObjectFinding] = {}
        for each in result.objects:
            if each.object.startswith(INDEX) and each.problem is not Problem.UNREADABLE:
                broken[each.object] = each
            elif each.problem is Problem.DAMAGED and each.object.startswith(_LISTS):
                # Nothing could be read from it, so nothing changes by its going.
                await set_aside(self._store, each.object)
                self._replaced.append(each.object)
        if not broken:
            return
        rows = await self._check.survey.whole_blocks({session_of(name) for name in broken})
        for name, finding in broken.items():
            found = rows.pop(session_of(name), [])
            if found:
                await self._put_right(finding, segment(self._key, found))
            elif finding.problem is Problem.DAMAGED:
                # The session's first broken portion speaks of everything by now.
                await set_aside(self._store, name)
                self._replaced.append(name)
