"""A story told on a disk that notes all, and the cuts that are taken from what it noted."""

import enum
import functools
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import msgspec

from reference_engine.model.errors import InputRefusedError
from simulator.campaign.proving.power.cuts import Cut, Platter, Span, draw
from simulator.campaign.proving.power.judgement import Case, Verdict, judge
from simulator.campaign.proving.power.mounting import (
    KINDS,
    FileSystemKind,
    copy_sparse,
    logged,
    make,
    mounted,
)
from simulator.campaign.proving.power.neighbour import Neighbour
from simulator.campaign.proving.power.story import Author, CommandFailedError, Story, tell
from simulator.campaign.proving.power.write_log import WriteLog
from simulator.kernel.streams import Stream

_BASE: Final = "base.img"
_LOG: Final = "writes.log"
_STORY: Final = "story.json"
_BESIDE: Final = "beside"


class Company(enum.Enum):
    """Who else is on the file system."""

    ALONE = "alone"
    NEIGHBOUR = "neighbour"


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """One power cut, and what it has left."""

    cut: Cut
    verdict: Verdict


class Recording:
    """A directory with the disk as it was new, the log of what came then, and the story of it."""

    def __init__(self, place: Path, /) -> None:
        self.place = place
        try:
            self.story: Story = msgspec.json.decode((place / _STORY).read_bytes(), type=Story)
            self.log = WriteLog.read(place / _LOG)
        except (OSError, msgspec.DecodeError) as error:
            raise InputRefusedError(
                f"{place} holds no recording ({error})", "name a directory that --out left"
            ) from error

    @classmethod
    def made(
        cls,
        kind: FileSystemKind,
        place: Path,
        /,
        *,
        company: Company,
        broken: AbstractContextManager[None],
    ) -> "Recording":
        """Return a new recording below `place`, of commands that lack what `broken` takes away.

        It ends with the first command that fails.

        Raises:
            InputRefusedError: this file system cannot be made and mounted here.
        """
        place.mkdir(parents=True)
        make(kind, place / _BASE)
        disk = place / "disk.img"
        copy_sparse(place / _BASE, disk)
        beside = place / _BESIDE
        beside.mkdir()
        log = place / _LOG
        log.touch()
        with (
            logged(disk, log, place / "fuse") as device,
            mounted(kind, device, place / "mounted") as mount,
            broken,
        ):
            neighbour = None
            if company is Company.NEIGHBOUR:
                neighbour = Neighbour(mount, journal_shared=kind.journal_shared)
            os.sync()
            author = Author(mount, beside, lambda: log.stat().st_size, neighbour=neighbour)
            failure = ""
            try:
                tell(author)
            except CommandFailedError as error:
                failure = f"with the power on {error}"
            if neighbour is not None:
                neighbour.move_out()
            told = author.told(kind.name, failure=failure)
            (place / _STORY).write_bytes(msgspec.json.encode(told))
        disk.unlink()
        for empty in ("fuse", "mounted"):
            (place / empty).rmdir()
        return cls(place)

    @property
    def kind(self) -> FileSystemKind:
        """The file system on the disk."""
        return next(kind for kind in KINDS if kind.name == self.story.file_system)

    def cut(self, seed: int, number: int, /) -> Cut:
        """Return the cut of this number."""
        return draw(self.log, seed, number, spans=self._spans)

    @functools.cached_property
    def _spans(self) -> tuple[Span, ...]:
        """The commands that wrote anything."""
        log = self.log
        spans = [
            Span(
                command=each.name,
                first=log.records_before(each.began),
                last=log.records_before(each.ended),
            )
            for each in self.story.commands
        ]
        return tuple(each for each in spans if each.last > each.first)

    def judged(self, seed: int, numbers: Iterable[int], work: Path, /) -> Iterator[Judged]:
        """Yield what comes of each of these cuts, the earliest in the log first."""
        work.mkdir()
        cuts = [self.cut(seed, number) for number in numbers] if self._spans else []
        cuts.sort(key=lambda cut: (cut.at, cut.number))
        platter = Platter(self.log, self.place / _BASE, work / "platter")
        for cut in cuts:
            platter.after(cut, seed, work / "cut")
            yield Judged(cut=cut, verdict=self._verdict(cut, seed, work))
        shutil.rmtree(work)

    def _verdict(self, cut: Cut, seed: int, work: Path) -> Verdict:
        outlives = Stream("power-cut", seed, cut.number, "cache").chance(500)
        cache = work / "cache" if outlives else None
        if cache is not None:
            shutil.rmtree(cache, ignore_errors=True)
            shutil.copytree(self.place / _BESIDE / "cache", cache)
        position = self.log.position(cut.at)
        try:
            with mounted(self.kind, work / "cut", work / "mounted") as place:
                return judge(
                    Case(
                        place=str(place),
                        beside=str(self.place / _BESIDE),
                        cache=None if cache is None else str(cache),
                        made=self.story.promises,
                        under_way=self.story.is_under_way(position),
                        worked_on=self.story.worked_on(position),
                        position=position,
                    )
                )
        except InputRefusedError as error:
            return Verdict(points=0, findings=(f"the file system is gone: {error}",))
