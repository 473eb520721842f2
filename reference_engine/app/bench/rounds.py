"""All tools at all jobs, in turn: within each run every job is done by one tool after the other."""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from reference_engine.app.bench.changes import ChangeRequest, Changes, change_image
from reference_engine.app.bench.contestants import WRITING, Contestant, Job, Place
from reference_engine.app.bench.images import ImageMade, chunks_of, describe_image
from reference_engine.app.bench.measuring import Call, Measured, measure, stored_in
from reference_engine.app.bench.samples import Finding, Sample
from reference_engine.model.units import MIB, ByteCount

DAYS: Final = (
    ChangeRequest(permille=10, seed=7),
    ChangeRequest(permille=50, seed=8),
)
"""The second generation changes 1 % of the disk, the third another 5 %."""

_TOLD_MOST: Final = 200


class Generations(msgspec.Struct, frozen=True, kw_only=True):
    """The image of a machine on some days that follow each other."""

    images: tuple[ImageMade, ...]
    changes: tuple[Changes | None, ...]
    maps: tuple[Path | None, ...]


def make_generations(first: ImageMade, days: Sequence[ChangeRequest], /) -> Generations:
    """Return the image with the days that follow, each made from the one before."""
    images = [first]
    changes: list[Changes | None] = [None]
    maps: list[Path | None] = [None]
    for number, request in enumerate(days, start=1):
        path = first.path.with_name(f"day-{number}.raw")
        made = change_image(images[-1].path, path, request)
        map_path = path.with_suffix(".json")
        made.write_map(map_path)
        images.append(describe_image(path))
        changes.append(made)
        maps.append(map_path)
    return Generations(images=tuple(images), changes=tuple(changes), maps=tuple(maps))


class Rounds:
    """Runs the contestants and keeps what they cost."""

    def __init__(
        self,
        contestants: Sequence[Contestant],
        generations: Generations,
        work: Path,
        /,
        *,
        progress: Callable[[str], None],
    ) -> None:
        self.samples: list[Sample] = []
        self.findings: list[Finding] = []
        self._contestants = tuple(contestants)
        self._generations = generations
        self._work = work
        self._source = work / "source" / "disk.raw"
        self._source.parent.mkdir(exist_ok=True)
        self._progress = progress
        self._out: set[str] = set()
        self._newest: dict[str, int] = {}

    def run(self, number: int, /) -> None:
        """Have every tool do every job once, each from an empty repository."""
        self._newest = {}
        for tool in self._contestants:
            if tool.name not in self._out:
                self._prepare(tool, number)
        for generation, job in enumerate(WRITING[: len(self._generations.images)]):
            self._show(generation)
            for tool in self._taking_part():
                self._store(tool, job, generation, number)
            self._hand_over(generation)
        for tool in self._taking_part():
            self._restore(tool, number)
        for tool in self._taking_part():
            self._verify(tool, number)
        if number == 0:
            for tool in self._taking_part():
                self._restore_older(tool)

    def place(self, tool: Contestant, /) -> Place:
        """Return where a tool works."""
        return Place(root=self._work / tool.name.replace(" ", "-"), source=self._source)

    def _taking_part(self) -> tuple[Contestant, ...]:
        return tuple(each for each in self._contestants if each.name not in self._out)

    def _prepare(self, tool: Contestant, number: int) -> None:
        place = self.place(tool)
        shutil.rmtree(place.root, ignore_errors=True)
        for directory in (place.repository, place.scratch, place.target):
            directory.mkdir(parents=True)
        call = tool.prepare(place)
        if call is not None:
            self._kept(tool, Job.FULL, number, measure(call))

    def _show(self, generation: int) -> None:
        """Have the source be a generation; what has read it before may not rely on its name."""
        self._source.unlink(missing_ok=True)
        self._source.hardlink_to(self._generations.images[generation].path)

    def _store(self, tool: Contestant, job: Job, generation: int, number: int) -> None:
        if generation == 0 and tool.starts_as is not None:
            return
        place = self.place(tool)
        changed = self._generations.maps[generation]
        call = tool.store(generation, place, changed=changed)
        if call is None:
            return
        before, _ = stored_in(place.repository)
        self._progress(f"run {number + 1}: {tool.name}, {job.value}")
        measured = self._measure(call)
        if self._kept(tool, job, number, measured):
            self._newest[tool.name] = generation
            self._note(tool, job, number, measured, before=before)

    def _hand_over(self, generation: int) -> None:
        """Give a copy of the first backup to those that go on from another tool's."""
        if generation:
            return
        for tool in self._taking_part():
            origin = next((each for each in self._contestants if each.name == tool.starts_as), None)
            if origin is not None and origin.name in self._newest:
                place = self.place(tool)
                shutil.rmtree(place.repository)
                shutil.copytree(self.place(origin).repository, place.repository)
                self._newest[tool.name] = 0

    def _restore(self, tool: Contestant, number: int) -> None:
        newest = self._newest.get(tool.name)
        if newest is None:
            return
        place = self.place(tool)
        call = tool.restore(newest, newest, place)
        if call is None:
            return
        self._progress(f"run {number + 1}: {tool.name}, restore")
        measured = self._measure(call)
        if self._kept(tool, Job.RESTORE, number, measured):
            self._note(tool, Job.RESTORE, number, measured, before=None)
        # What a call left behind is compared even where it says that it failed.
        self._compare(tool, place, newest, number, ended_well=measured.exit_code == 0)

    def _restore_older(self, tool: Contestant) -> None:
        """Restore what came before the newest generation, once, and not measured."""
        newest = self._newest.get(tool.name, 0)
        for generation in range(newest):
            place = self.place(tool)
            call = tool.restore(generation, newest, place)
            if call is None:
                continue
            self._progress(f"{tool.name}, restore of generation {generation + 1}")
            measured = measure(call)
            if self._kept(tool, Job.RESTORE, 0, measured):
                self._compare(tool, place, generation, 0, ended_well=True)

    def _verify(self, tool: Contestant, number: int) -> None:
        place = self.place(tool)
        call = tool.verify(place) if tool.name in self._newest else None
        if call is None:
            return
        self._progress(f"run {number + 1}: {tool.name}, verify")
        measured = self._measure(call)
        if self._kept(tool, Job.VERIFY, number, measured):
            self._note(tool, Job.VERIFY, number, measured, before=None)

    def _measure(self, call: Call) -> Measured:
        """Measure a call whose source is in memory, with no writes of others still to come."""
        for _ in chunks_of(self._source):
            pass
        os.sync()
        return measure(call)

    def _note(
        self,
        tool: Contestant,
        job: Job,
        number: int,
        measured: Measured,
        *,
        before: ByteCount | None,
    ) -> None:
        after, objects = stored_in(self.place(tool).repository)
        self.samples.append(
            Sample(
                tool=tool.name,
                job=job,
                run=number,
                cost=measured.cost,
                stored=None if before is None else ByteCount(after - before),
                objects=objects,
                requests=tool.requests(measured.said),
            )
        )

    def _kept(self, tool: Contestant, job: Job, number: int, measured: Measured) -> bool:
        """Return whether a call ended well; a tool that failed takes no further part."""
        if measured.exit_code == 0:
            return True
        self._out.add(tool.name)
        told = measured.complaint[-_TOLD_MOST:]
        what = f"ended with {measured.exit_code}: {told or 'it said nothing'}"
        self._find(tool, job, number, what, is_wrong_restore=False)
        return False

    def _compare(
        self, tool: Contestant, place: Place, generation: int, number: int, *, ended_well: bool
    ) -> None:
        restored = [path for path in place.target.rglob("*") if path.is_file()]
        wanted = self._generations.images[generation].path
        what = (
            difference(wanted, restored[0])
            if len(restored) == 1
            else f"left {len(restored)} files where one image was expected"
        )
        if what and ended_well:
            said = f"generation {generation + 1} {what}"
            self._find(tool, Job.RESTORE, number, said, is_wrong_restore=True)
        shutil.rmtree(place.target)
        place.target.mkdir()

    def _find(
        self, tool: Contestant, job: Job, number: int, what: str, *, is_wrong_restore: bool
    ) -> None:
        self.findings.append(
            Finding(
                tool=tool.name, job=job, run=number, what=what, is_wrong_restore=is_wrong_restore
            )
        )


def difference(wanted: Path, restored: Path, /) -> str:
    """Return where two files differ first; empty where they are the same to the last byte."""
    sizes = wanted.stat().st_size, restored.stat().st_size
    if sizes[0] != sizes[1]:
        return f"has {sizes[1]} bytes instead of {sizes[0]}"
    with wanted.open("rb", buffering=0) as left, restored.open("rb", buffering=0) as right:
        for offset in range(0, sizes[0], MIB):
            mine, theirs = left.read(MIB), right.read(MIB)
            if mine != theirs:
                pairs = zip(mine, theirs, strict=False)
                place = next((i for i, (a, b) in enumerate(pairs) if a != b), len(theirs))
                return f"differs from its source at byte {offset + place}"
    return ""
