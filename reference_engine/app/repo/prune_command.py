"""`twinshot repo prune`: remove the points that no rule keeps, and free what only they used."""

import datetime as dt
from typing import Annotated

import msgspec
from cyclopts import Parameter

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime
from reference_engine.app.credentials import NO_OPTIONS, Keyholder, KeyOptions
from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output, counting, sized
from reference_engine.app.places import Place
from reference_engine.app.points_command import shown
from reference_engine.app.repo.durations import parse_duration
from reference_engine.app.repo.repacking import NO_OPTIONS as DEFAULT_REPACKING
from reference_engine.app.repo.repacking import (
    RepackOptions,
    foreseen,
    moved,
    rule_of,
    say,
)
from reference_engine.app.repositories import (
    Opened,
    naming,
    open_with_store,
    sizes_of,
)
from reference_engine.catalogue.points import MachineNotFoundError, PointLabel, select_point
from reference_engine.catalogue.retention import (
    DatedPoint,
    RetentionPolicy,
    Verdict,
    choose_kept,
)
from reference_engine.model.errors import InputRefusedError
from reference_engine.model.identity import RecoveryPointId
from reference_engine.model.units import Duration, Instant
from reference_engine.model.wording import counted
from reference_engine.ports.runtime import Runtime
from reference_engine.repository.errors import (
    AppendOnlyError,
    PointRemovedError,
    ReclaimRefusedError,
)
from reference_engine.repository.reclaim import Reclaimed
from reference_engine.repository.repack_rule import RepackRule

_COUNT_MAX = 1_000_000


def prune(  # noqa: PLR0913 - each is an option of its own
    repo: Place,
    /,
    *,
    keep_last: int = 0,
    keep_hourly: int = 0,
    keep_daily: int = 0,
    keep_weekly: int = 0,
    keep_monthly: int = 0,
    keep_yearly: int = 0,
    keep_within: str | None = None,
    machine: str | None = None,
    remove: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    allow_last: Annotated[bool, Parameter(negative=())] = False,
    repacking: RepackOptions = DEFAULT_REPACKING,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    keys: KeyOptions = NO_OPTIONS,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Remove the points that no rule keeps, and free the space that no point needs.

    Without a rule no point is removed but those named by --remove; space is freed all the same.
    A machine's newest point is kept by every rule. Killed at any moment, a prune does no harm, and
    the next one goes on.

    Args:
        repo: Directory of the repository, or s3://bucket/prefix.
        keep_last: Keep this many newest points of each machine.
        keep_hourly: Keep the newest point of this many hours that have any.
        keep_daily: Likewise of days, in UTC.
        keep_weekly: Likewise of weeks, from Monday.
        keep_monthly: Likewise of months.
        keep_yearly: Likewise of years.
        keep_within: Keep what is at most this much older than the machine's newest point: 30d.
        machine: Only points of this machine.
        remove: A point to remove whatever the rules say, by its id or the beginning of it.
        allow_last: Let --remove take a machine's last point.
        repacking: How much may stay unused.
        dry_run: Say what would be removed, copied and freed, and change nothing.
        keys: How to open an encrypted repository.
        output: Where results go.
    """
    counts = (keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly)
    if not all(0 <= count <= _COUNT_MAX for count in counts):
        raise InputRefusedError(
            "a --keep option is negative or too large", f"give a number from 0 to {_COUNT_MAX}"
        )
    within = Duration(0) if keep_within is None else parse_duration(keep_within, "--keep-within")
    last, hourly, daily, weekly, monthly, yearly = counts
    request = _Request(
        place=repo,
        policy=RetentionPolicy(
            last=last,
            hourly=hourly,
            daily=daily,
            weekly=weekly,
            monthly=monthly,
            yearly=yearly,
            within=within,
        ),
        machine=machine,
        remove=remove,
        allow_last=allow_last,
        rule=rule_of(repacking),
        dry_run=dry_run,
        now=Instant(int(dt.datetime.now(dt.UTC).timestamp() * 1_000_000)),
        keys=keys,
    )
    runtime = AsyncioRuntime(seed=None)
    return runtime.run(_prune(request, runtime, output))


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for, and when."""

    place: str
    policy: RetentionPolicy
    machine: str | None
    remove: tuple[str, ...]
    allow_last: bool
    rule: RepackRule
    dry_run: bool
    now: Instant
    keys: KeyOptions


async def _prune(request: _Request, runtime: Runtime, output: Output) -> ExitCode:
    opened = await open_with_store(request.place, runtime, Keyholder(request.keys))
    with naming(request.place):
        if opened.repository.settings.append_only:
            raise AppendOnlyError
        verdicts, labels = await _judged(opened, request)
        _list(verdicts, labels, output)
        going = tuple(verdict.point.point for verdict in verdicts if not verdict.keep)
        kept = len(verdicts) - len(going)
        return await _free(opened, request, going, kept=kept, runtime=runtime, output=output)


async def _judged(
    opened: Opened, request: _Request
) -> tuple[tuple[Verdict, ...], dict[RecoveryPointId, PointLabel]]:
    """Return what becomes of each point that the request is about."""
    labels, dates = await _read(opened, request)
    removed = {select_exactly(tuple(labels.values()), wanted) for wanted in request.remove}
    named = {name for label in labels.values() for name in (label.name, label.machine)}
    if request.machine is not None and request.machine not in named:
        raise MachineNotFoundError(request.machine, {label.name for label in labels.values()})
    about = tuple(
        DatedPoint(point=label.point, machine=label.machine, at=dates[label.point])
        for label in labels.values()
        if request.machine in {None, label.name, label.machine} or label.point in removed
    )
    verdicts = choose_kept(
        about,
        request.policy,
        now=request.now,
        immutable_for=opened.repository.settings.immutable_for,
    )
    if request.policy == RetentionPolicy():
        verdicts = tuple(
            msgspec.structs.replace(verdict, reasons=verdict.reasons or ("no rule",))
            for verdict in verdicts
        )
    return tuple(
        msgspec.structs.replace(verdict, reasons=()) if verdict.point.point in removed else verdict
        for verdict in verdicts
    ), labels


async def _read(
    opened: Opened, request: _Request
) -> tuple[dict[RecoveryPointId, PointLabel], dict[RecoveryPointId, Instant]]:
    """Return every point's names and date.

    Raises:
        ReclaimRefusedError: a point's record is damaged, and it is not named to be removed.
    """
    labels: dict[RecoveryPointId, PointLabel] = {}
    dates: dict[RecoveryPointId, Instant] = {}
    repository = opened.repository
    async for entry, record, damage in repository.manifests.each(await repository.commits()):
        name, dates[entry.point] = str(entry.machine), request.now
        if record is not None:
            name, dates[entry.point] = record.machine.name, record.made
        elif damage is None:
            raise PointRemovedError(entry.point)
        elif not any(wanted and entry.point.startswith(wanted) for wanted in request.remove):
            raise ReclaimRefusedError(entry.point, str(damage)) from damage
        labels[entry.point] = PointLabel(point=entry.point, machine=entry.machine, name=name)
    return labels, dates


def select_exactly(labels: tuple[PointLabel, ...], wanted: str, /) -> RecoveryPointId:
    """Return the one point whose id begins with `wanted`; names of machines do not count.

    Raises:
        RefusedError: there is none, or more than one.
    """
    nameless = tuple(msgspec.structs.replace(label, name="", machine="") for label in labels)
    if wanted in {"", "latest"}:
        raise InputRefusedError(f"--remove is {wanted!r}", "name a point by its id")
    return select_point(nameless, wanted).point


def _list(
    verdicts: tuple[Verdict, ...], labels: dict[RecoveryPointId, PointLabel], output: Output
) -> None:
    rows: list[tuple[str, ...]] = []
    for verdict in verdicts:
        point, at = verdict.point.point, shown(verdict.point.at)
        name = labels[point].name
        output.record("point", id=point, vm=name, at=at, kept=verdict.keep, reasons=verdict.reasons)
        done = "keep" if verdict.keep else "remove"
        rows.append((point, name, at, done, ", ".join(verdict.reasons) or "-"))
    if rows:
        output.table(("POINT", "VM", "AT", "DOES", "WHY"), rows)


async def _free(
    opened: Opened,
    request: _Request,
    going: tuple[RecoveryPointId, ...],
    *,
    kept: int,
    runtime: Runtime,
    output: Output,
) -> ExitCode:
    repository, reclaim = opened.repository, opened.repository.reclaim
    points = len(await repository.commits())
    with output.steps("reading block maps", points) as step:
        unneeded = await reclaim.unneeded(going, progress=counting(step))
    sizes = await opened.store.sizes("")
    reclaimed = Reclaimed(deleted=unneeded, waiting=(), awaited=(), locked={})
    written: tuple[str, ...] = ()
    foreseen_bytes = 0
    if going:
        await reclaim.check_expiry(going, at=request.now, allow_last=request.allow_last)
    if request.dry_run:
        with output.steps("measuring packs", points - len(going)) as step:
            plan = await repository.repack.plan(
                request.rule, at=request.now, without=going, progress=counting(step)
            )
        moving = foreseen(plan)
        foreseen_bytes = moving.freed_bytes
    else:
        if going:
            await reclaim.expire(going, at=request.now, allow_last=request.allow_last)
        # A repack that died would be waited for; one that lives ends, and this one does its work.
        await repository.repack.end_open()
        reclaimed = await _reclaim(opened, request, len(unneeded), output)
        moving, sessions = await moved(
            repository.repack,
            request.rule,
            now=request.now,
            points=points - len(going),
            runtime=runtime,
            output=output,
        )
        if sessions:
            sizes |= await opened.store.sizes("")
            written = tuple(n for n in sizes if any(session in n for session in sessions))
            before = reclaimed.deleted
            reclaimed = await _reclaim(opened, request, moving.objects, output)
            reclaimed = reclaimed._replace(deleted=(*before, *reclaimed.deleted))
    # What was written anew takes room itself, but for what a repack has deleted again.
    freed = foreseen_bytes + sizes_of(reclaimed.deleted, sizes)
    freed -= sum(sizes[name] for name in written)
    # What an earlier prune had deleted may be named again, and is gone.
    objects = sum(name in sizes for name in reclaimed.deleted)
    waiting = sizes_of(reclaimed.waiting, sizes)
    would = "would be " if request.dry_run else ""
    say(moving, output, dry=request.dry_run)
    output.say(
        f"{counted(len(going), 'point')} {would}removed, {kept} kept; "
        f"{sized(max(freed, 0))} {would}freed in {counted(objects, 'object')}"
    )
    if reclaimed.waiting:
        runs = ", ".join(str(run) for run in reclaimed.awaited)
        output.say(f"{sized(waiting)} will be freed by a prune after the end of {runs}")
    locked = sizes_of(tuple(reclaimed.locked), sizes)
    if reclaimed.locked:
        output.say(
            f"{sized(locked)} in {counted(len(reclaimed.locked), 'object')} are locked by the "
            f"store and will be freed by a prune after {max(reclaimed.locked.values())}"
        )
    output.summary(
        removed=len(going),
        kept=kept,
        freed_bytes=freed,
        objects=objects,
        waiting_bytes=waiting,
        locked_bytes=locked,
        locked_objects=len(reclaimed.locked),
        repacked_objects=moving.objects,
        repacked_bytes=moving.moved_bytes,
        repack_frees_bytes=moving.freed_bytes,
        unused_bytes=moving.unused_bytes,
        damaged_packs=moving.damaged,
        dry_run=request.dry_run,
        exit_code=int(ExitCode.OK),
    )
    return ExitCode.OK


async def _reclaim(opened: Opened, request: _Request, objects: int, output: Output) -> Reclaimed:
    with output.steps("deleting", objects) as step:
        advance = counting(step)
        return await opened.repository.reclaim.reclaim(at=request.now, progress=lambda _: advance())
