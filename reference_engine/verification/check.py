"""The check of a whole repository: every copy of every object, and on request every block."""

import itertools
import re
from collections.abc import Callable
from typing import Final

import msgspec

from reference_engine.model.errors import OperationFailedError
from reference_engine.repository.codec import (
    ANCHORS,
    COMMITTED_PORTION,
    INDEX,
    PointCommittedEntry,
    copy_name,
    index_name,
    log_name,
    session_of,
)
from reference_engine.repository.domain_keys import key_names
from reference_engine.repository.domain_names import bare, domain_of
from reference_engine.repository.header import HEADER_COPIES, HEADER_NAME
from reference_engine.repository.keys.slots import slot_names
from reference_engine.repository.manifests import staged_point
from reference_engine.repository.mending import (
    MENDS,
    QUARANTINE,
    WANTED,
    Lost,
    is_mend,
    wanted_count,
)
from reference_engine.repository.reader import Progress
from reference_engine.repository.repository import Repository
from reference_engine.repository.segmented_store import PARITY, parity_name
from reference_engine.verification.block_survey import BlockSurvey
from reference_engine.verification.copy_survey import Copies, metadata, segments
from reference_engine.verification.findings import ObjectFinding, Part, PointDamage, Problem
from reference_engine.verification.known_runs import KnownRuns

_NUMBERED: Final = re.compile(r"(?:copies/)?(?:packs|maps)/(.+)-[0-9]+")
_STAGED: Final = re.compile(r"(?:copies/)?points/(.+?)(?:[.][0-9]+)?")
_CARE: Final = (MENDS, WANTED, QUARANTINE, *slot_names(""), *key_names(""))
"""What no point refers to, and what is looked at elsewhere."""

_RENEW: Final = "put that right by: repo repair --renew-log"


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """All that a check found."""

    objects: tuple[ObjectFinding, ...]
    damage: tuple[PointDamage, ...]
    points: int
    wanted: int
    """How many damaged blocks wait for the next backup of a source that still has them."""

    given_up: str
    """Why the check did not come to its end; empty where it did."""

    def with_object(self, name: str, problem: Problem, cause: str, /) -> "CheckResult":
        """Return the result with one finding more."""
        finding = ObjectFinding(object=name, problem=problem, cause=cause)
        return msgspec.structs.replace(self, objects=(*self.objects, finding))

    @property
    def is_sound(self) -> bool:
        """Whether everything is as it should be."""
        return not (self.damage or self.given_up) and not any(
            each.problem.is_fault for each in self.objects
        )

    @property
    def is_only_unread(self) -> bool:
        """Whether nothing is known to be wrong, but not everything could be read."""
        faults = {each.problem for each in self.objects if each.problem.is_fault}
        return not self.damage and faults <= {Problem.UNREADABLE}


class Check:
    """One look at a repository: structure first, then, where asked, blocks; it changes nothing."""

    def __init__(self, repository: Repository, /) -> None:
        self._repository = repository
        self._survey: BlockSurvey | None = None
        self._found: dict[str, ObjectFinding] = {}
        self._given_up = ""
        self._commits: tuple[PointCommittedEntry, ...] = ()
        self.copies: list[tuple[tuple[str, ...], Copies]] = []
        """Header, log entries and manifests of which a copy is not as it was written."""

    @property
    def survey(self) -> BlockSurvey:
        """What the points' pages and packs were found to be."""
        assert self._survey is not None, "structure comes first"
        return self._survey

    async def structure(self, step: Callable[[int], None], /) -> None:
        """Check every copy of all metadata, and that packs are there and long enough."""
        async for names, state in metadata(self._repository):
            if state.findings:
                self.copies.append((names, state))
                self._note(state.findings)
        lists = await segments(self._repository)
        self._note(lists.findings)
        self._commits = commits = await self._repository.commits()
        self._survey = BlockSurvey(
            self._repository, [(entry.point, entry.machine) for entry in commits]
        )
        try:
            await self._survey.look(step)
        except OperationFailedError as error:
            self._given_up = str(error)
            return
        await self._look_around(lists.indexed)

    async def read(self, part: Part, /, *, progress: Progress) -> None:
        """Read the blocks of `part`, each once."""
        if self._given_up:
            return
        try:
            await self.survey.read(part, progress=progress)
        except OperationFailedError as error:
            self._given_up = str(error)

    async def result(self) -> CheckResult:
        """Return all that was found, objects by name and points in commit order."""
        damage = await self.survey.attribute()
        # Of points that expired or were moved meanwhile nothing is to be said any more.
        looked_at = {*self._commits}
        live = {e.point for e in await self._repository.commits() if e in looked_at}
        harmed = any(found for point, found in damage.items() if point in live)
        for name, finding in (*self._found.items(), *self.survey.objects.items()):
            pack = name.removeprefix(PARITY)
            gone = finding.problem is Problem.MISSING and await self._repository.is_swept(pack)
            # Where the log was renewed, what was lost with a pack is damage, and the pack swept.
            if gone and not harmed:
                # Its points were removed meanwhile.
                self._found.pop(name, None)
                self.survey.objects.pop(name, None)
        self._note(tuple(self.survey.objects.values()))
        self._note(await self._mended())
        return CheckResult(
            objects=tuple(self._found[name] for name in sorted(self._found)),
            damage=tuple(
                each for point, found in damage.items() if point in live for each in found
            ),
            points=len(await self._repository.commits()),
            wanted=await wanted_count(self._repository.store, self._repository.header.key),
            given_up=self._given_up,
        )

    async def _mended(self) -> tuple[ObjectFinding, ...]:
        """Return what parity has restored while it was read."""
        mended = self._repository.mended
        present = {*await self._repository.store.names("packs/")} if mended else {""}
        return tuple(
            ObjectFinding(
                object=name,
                problem=Problem.DAMAGED if name in present else Problem.MISSING,
                cause=f"{sectors} sectors are gone, and are restored from parity",
            )
            for name, sectors in mended.items()
        )

    def lost(self) -> tuple[Lost, ...]:
        """Return the blocks that were read and cannot be put together."""
        return tuple(self.survey.lost.values())

    def _note(self, findings: tuple[ObjectFinding, ...]) -> None:
        for each in findings:
            self._found.setdefault(each.object, each)

    async def _look_around(self, indexed: tuple[str, ...]) -> None:
        """Note what should be there and is not, and what is there and should not be."""
        survey, repository = self.survey, self._repository
        present = await repository.store.names("")
        # Read behind the listing: a run may have opened or committed meanwhile.
        entries = await repository.entries()
        runs = KnownRuns(entries)
        expected = {HEADER_NAME, *HEADER_COPIES}
        for number in range(1, len(entries) + 1):
            expected |= {log_name(number), copy_name(log_name(number))}
        for entry in await repository.commits():
            expected |= {entry.manifest, copy_name(entry.manifest)}
        for name in survey.map_rows:
            expected |= {name, copy_name(name)}
        expected.update(survey.packs.names)
        for name in map(parity_name, await repository.unprotected(survey.packs.names)):
            cause = "it is missing: lost sectors of the pack could not be restored"
            self._note((ObjectFinding(object=name, problem=Problem.MISSING, cause=cause),))
        portions = [name for name in present if name.startswith((INDEX, ANCHORS))]
        expected.update(name for name in portions if session_of(name) in runs)
        known = not survey.is_any_unknown
        for name in present if known else ():
            # As long as no point is unreadable, all that points refer to is known.
            if name not in expected and not name.startswith(_CARE):
                self._note((await self._extra(name, runs),))
        for name in portions:
            session = session_of(name)
            told = name == index_name(session, COMMITTED_PORTION)
            if told and runs.lacks_commit(session):
                cause = f"the log lacks the entry that committed the point of {name}; {_RENEW}"
                last = log_name(len(entries) + 1)
                self._note((ObjectFinding(object=last, problem=Problem.MISSING, cause=cause),))
        for name in survey.packs.bases:
            session = session_of(name)
            if session in runs and name not in indexed:
                first = COMMITTED_PORTION if runs.has_committed(session) else 1
                portion = next(
                    free
                    for number in itertools.count(first)
                    if (free := index_name(session, number)) not in expected
                )
                cause = f"it is missing, which costs space only: {name} is in no index"
                finding = ObjectFinding(object=portion, problem=Problem.MISSING, cause=cause)
                self._note((finding,))

    async def _extra(self, name: str, runs: KnownRuns) -> ObjectFinding:
        """Return what an object is that nothing refers to."""
        match = _NUMBERED.fullmatch(name)
        ours = match is not None and (match[1] in runs or is_mend(match[1]))
        staged = _STAGED.fullmatch(name)
        if staged is not None:
            store, header = self._repository.store, self._repository.header
            record = await staged_point(store, header, name)
            # A manifest of a run that the log does not know tells of a log that was lost.
            known = record is not None and runs.knows(record.run, record.id)
            ours = (
                known and record is not None and (record.id == bare(staged[1]) or runs.moved(name))
            )
            if record is not None and not known:
                cause = f"the log does not know the run that wrote it; {_RENEW}"
                return ObjectFinding(object=name, problem=Problem.FOREIGN, cause=cause)
        if ours or domain_of(name) in self._repository.reclaim.history.shredded:
            cause = "no point refers to it"
            return ObjectFinding(object=name, problem=Problem.LEFTOVER, cause=cause)
        cause = "no run of this repository wrote it"
        return ObjectFinding(object=name, problem=Problem.FOREIGN, cause=cause)
