"""`twinshot prove power-cuts`: real file systems, on a disk whose power is cut."""

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic  # noqa: TID251 - the rate is real time
from typing import Annotated, Final, Literal

from cyclopts import Parameter

from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output, counting
from reference_engine.model.errors import InputRefusedError
from simulator.campaign.naming import named
from simulator.campaign.proving.deaths import workshop
from simulator.campaign.proving.mutants import removed, repository_mutant
from simulator.campaign.proving.power.mounting import KINDS, withdraw
from simulator.campaign.proving.power.recording import Company, Judged, Recording
from simulator.campaign.proving.power.story import Story

_ALARMS_SHOWN: Final = 10
_USUAL: Final = KINDS[:2]

FileSystem = Literal["ext4", "xfs", "btrfs"]


class _Tally:
    """What came of the cuts on one file system."""

    def __init__(self, recording: Recording, /) -> None:
        self.recording, self.kept = recording, recording.place.resolve()
        self.cuts = self.points = 0
        self.wall_s = 0.0
        self.broken: list[Judged] = []

    def note(self, judged: Judged, /) -> None:
        """Add one cut."""
        self.cuts += 1
        self.points += judged.verdict.points
        if judged.verdict.findings:
            self.broken.append(judged)

    @property
    def story(self) -> Story:
        """What was done on the disk."""
        return self.recording.story

    @property
    def name(self) -> str:
        """The file system, and whether somebody else was on it."""
        return self.story.file_system + (" beside another" if self.story.neighbour else "")

    @property
    def failures(self) -> int:
        """How many cuts break a promise, and the command that fails without one."""
        return len(self.broken) + bool(self.story.failure)


def power_cuts(
    *,
    fs: tuple[FileSystem, ...] = (),
    cuts: int = 100,
    seed: int = 1,
    cut: int | None = None,
    recording: Path | None = None,
    out: Path | None = None,
    mutant: str | None = None,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Cut the power under a file system while commands work, and look for all they acknowledged.

    Needs root, FUSE, loop devices and the package mfusepy; whatever it mounts, nobody else sees,
    and it goes with this process.

    Args:
        fs: File systems to try; ext4 and XFS by default.
        cuts: How many times the power is cut under each: half of them while commands are alone on
            it (even numbers), half while another program flushes it after each of their calls.
        seed: What decides when, and what survives of the writes that were not flushed.
        cut: Try the cut of this number only.
        recording: Take the cuts from what an earlier call has recorded, and run no commands.
        out: New directory to keep the recordings in; those with a loss are kept in any case.
        mutant: A safety rule to take away first; `mutants --of repository` names them all.
        output: Where results go.
    """
    numbers = _numbers(cuts, seed, cut)
    if mutant is not None:
        repository_mutant(mutant)
    if recording is not None and (fs or out or mutant):
        raise InputRefusedError(
            "what was recorded stays as it is", "leave --fs, --out and --mutant away"
        )
    earlier = None if recording is None else Recording(recording)
    if out is not None and out.exists():
        raise InputRefusedError(f"{out} exists", "name a new directory with --out")
    kinds = [named(name, KINDS, kind="file system") for name in dict.fromkeys(fs)] or _USUAL
    withdraw()
    began = monotonic()
    tallies: list[_Tally] = []
    ways = [
        (kind, company, part)
        for kind in kinds
        for index, company in enumerate(Company)
        if (part := [number for number in numbers if number % len(Company) == index])
    ]
    total = len(numbers) * (1 if earlier else len(kinds))
    with workshop() as root, output.steps("prove power-cuts", total) as step:
        work, advance = root / "work", counting(step)
        if earlier is not None:
            tallies.append(_tried(earlier, work, seed=seed, numbers=numbers, advance=advance))
        for kind, company, part in () if earlier else ways:
            place = root / f"{kind.name}-{company.value}"
            made = Recording.made(kind, place, company=company, broken=removed(mutant))
            tally = _tried(made, work, seed=seed, numbers=part, advance=advance)
            tallies.append(tally)
            if out is not None or tally.failures:
                tally.kept = _keep(made.place, out)
            shutil.rmtree(made.place, ignore_errors=True)
    return _tell(tallies, seed, monotonic() - began, output)


def _numbers(cuts: int, seed: int, cut: int | None) -> range:
    if cuts < 1:
        raise InputRefusedError(f"{cuts} cuts show nothing", "ask for at least one with --cuts")
    if seed < 0:
        raise InputRefusedError(f"{seed} is no seed", "give 0 or more")
    if cut is not None and cut < 0:
        raise InputRefusedError(f"there is no cut {cut}", "give 0 or more")
    if not hasattr(os, "fork"):
        raise InputRefusedError("this system cannot fork", "run this on Linux")
    return range(cuts) if cut is None else range(cut, cut + 1)


def _tried(
    recording: Recording,
    work: Path,
    /,
    *,
    seed: int,
    numbers: Sequence[int],
    advance: Callable[[], None],
) -> _Tally:
    tally = _Tally(recording)
    began = monotonic()
    for judged in recording.judged(seed, numbers, work):
        tally.note(judged)
        advance()
    tally.wall_s = monotonic() - began
    return tally


def _keep(place: Path, out: Path | None) -> Path:
    """Return where the recording now lies that would be gone with this process."""
    parent = Path(tempfile.mkdtemp(prefix="twinshot-power-cuts-")) if out is None else out.resolve()
    target = parent / place.name
    parent.mkdir(parents=True, exist_ok=True)
    shutil.move(place, target)
    return target


def _tell(tallies: list[_Tally], seed: int, wall_s: float, output: Output) -> ExitCode:
    output.table(
        (
            *("FILE SYSTEM", "COMMANDS", "WRITES", "FLUSHES"),
            *("POWER CUTS", "CUTS/S", "POINTS RESTORED", "CUTS WITH A LOSS"),
        ),
        [
            (
                tally.name,
                str(len(tally.story.commands)),
                f"{len(tally.recording.log.records) - tally.recording.log.flushes:,}",
                f"{tally.recording.log.flushes:,}",
                f"{tally.cuts:,}",
                f"{tally.cuts / max(tally.wall_s, 1e-3):.1f}",
                f"{tally.points:,}",
                f"{len(tally.broken):,}",
            )
            for tally in tallies
        ],
    )
    for tally in tallies:
        if tally.story.failure:
            output.record(
                "failure",
                file_system=tally.story.file_system,
                neighbour=tally.story.neighbour,
                cut=None,
                findings=[tally.story.failure],
                replay=None,
            )
            output.say(f"FAIL {tally.name}: {tally.story.failure}")
    broken = [(tally, judged) for tally in tallies for judged in tally.broken]
    for tally, judged in broken:
        output.record(
            "failure",
            file_system=tally.story.file_system,
            neighbour=tally.story.neighbour,
            cut=judged.cut,
            findings=judged.verdict.findings,
            replay=_replay(tally, judged, seed),
        )
    for tally, judged in broken[:_ALARMS_SHOWN]:
        cut = judged.cut
        output.say(f"FAIL {tally.name}, cut {cut.number}: {judged.verdict.findings[0]}")
        output.say(f"     {cut.moment}; {cut.fate.value}")
        output.say(f"     replay: {_replay(tally, judged, seed)}")
    if len(broken) > _ALARMS_SHOWN:
        output.say(f"     and {len(broken) - _ALARMS_SHOWN} more")
    for tally in tallies:
        output.record(
            "file-system",
            name=tally.story.file_system,
            neighbour=tally.story.neighbour,
            cuts=tally.cuts,
            points_restored=tally.points,
            failures=tally.failures,
            records=len(tally.recording.log.records),
            flushes=tally.recording.log.flushes,
            wall_s=round(tally.wall_s, 3),
        )
    cuts = sum(tally.cuts for tally in tallies)
    failures = sum(tally.failures for tally in tallies)
    output.say(
        f"{cuts:,} power cuts in {wall_s:.0f} s; "
        + (f"{failures:,} promises broken" if failures else "nothing acknowledged is lost")
    )
    code = ExitCode.FINDING if failures else ExitCode.OK
    output.summary(
        cuts=cuts,
        points_restored=sum(tally.points for tally in tallies),
        failures=failures,
        wall_s=round(wall_s, 3),
        exit_code=int(code),
    )
    return code


def _replay(tally: _Tally, judged: Judged, seed: int) -> str:
    return (
        f"twinshot prove power-cuts --recording {tally.kept} "
        f"--seed {seed} --cut {judged.cut.number}"
    )
