"""Mending a repository: copies from copies, blocks from wherever equal ones stand."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from reference_engine.repository.block_map import PageRow
from reference_engine.repository.codec import ANCHORS, INDEX, copy_name, session_of
from reference_engine.repository.domain_names import domain_of
from reference_engine.repository.mending import (
    MENDS,
    WANTED,
    Lost,
    segment,
)
from reference_engine.repository.pages import page_seal
from reference_engine.repository.reader import Progress
from reference_engine.repository.repository import Repository
from reference_engine.repository.segmented_store import parity_name
from reference_engine.upkeep.block_mending import BlockMending
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
        domains = self._lost_blocks()
        for mending in domains.values():
            await mending.find_elsewhere()
        for other in others:
            await self._take_from(other, before, domains)
        for mending in domains.values():
            await mending.publish()
        await self._mend_lists()
        return Repaired(
            replaced=tuple(self._replaced),
            mended=sum(mending.mended for mending in domains.values()),
            wanted=sum(len(mending.lost) for mending in domains.values()),
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

    def _lost_blocks(self) -> dict[str, BlockMending]:
        """Return the mending of lost blocks, domain by domain."""
        lost: dict[str, dict[bytes, Lost]] = {}
        for each in self._check.lost():
            lost.setdefault(each.domain, {})[each.digest] = each
        return {
            domain: BlockMending(self._repository, blocks, domain=domain, token=self._token)
            for domain, blocks in sorted(lost.items())
        }

    async def _take_from(
        self, other: Repository, before: CheckResult, domains: dict[str, BlockMending]
    ) -> None:
        """Store lost blocks anew that another repository still has in the same points."""
        theirs = {entry.point for entry in await other.commits()}
        manifests = {entry.point: entry.manifest for entry in await self._repository.commits()}
        for damage in before.damage:
            mending = domains.get(domain_of(manifests.get(damage.point, "")))
            if mending is not None and damage.point in theirs:
                await mending.take_from(other, damage)

    async def _closed(self) -> dict[str, None]:
        """Return the domains whose keys are lost: what is theirs is sound if one is found again."""
        domains = self._repository.domains
        found = () if domains is None else await domains.listed()
        return {each.domain: None for each in found if not each.has_key}

    async def _mend_lists(self) -> None:
        """Make index segments anew that are damaged or absent, of what points refer to."""
        result, closed = await self._check.result(), await self._closed()
        broken: dict[str, ObjectFinding] = {}
        for each in result.objects:
            if domain_of(each.object) in closed:
                continue
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
