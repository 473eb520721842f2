"""`twinshot repo copy`: points in a second repository."""

from typing import Annotated, Literal

from cyclopts import Parameter

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime
from reference_engine.app.broken_log import open_to_read
from reference_engine.app.credentials import NO_OPTIONS, Keyholder, KeyOptions, second_key
from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.local_cache import NoCache, local_cache
from reference_engine.app.output import Output, sized
from reference_engine.app.repositories import (
    naming,
    open_or_create_repository,
    open_store,
)
from reference_engine.catalogue.points import (
    MachineNotFoundError,
    NoPointError,
    PointLabel,
    point_labels,
    select_point,
)
from reference_engine.model.errors import CorruptionError, InputRefusedError
from reference_engine.model.identity import RecoveryPointId
from reference_engine.model.wording import counted
from reference_engine.ports.local_cache import LocalCache
from reference_engine.ports.runtime import Runtime
from reference_engine.repository.errors import PointUnknownError
from reference_engine.repository.header import HEADER_COPIES, HEADER_NAME
from reference_engine.repository.pack import Level
from reference_engine.repository.repository import Repository
from reference_engine.upkeep.copying import CopyPlan, PointCopy, plan_copy


def copy(
    source: str,
    target: str,
    /,
    *,
    machine: str | None = None,
    points: str | None = None,
    domain: str | None = None,
    level: Literal["fast", "default", "best"] = "default",
    no_cache: NoCache = False,
    keys: KeyOptions = NO_OPTIONS,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Copy points to a second repository: those that it lacks, oldest first, each whole or not.

    Every block is checked on the way. What is cut off goes on with the first missing point.

    Args:
        source: Directory of the repository, or s3://bucket/prefix.
        target: The second one, anywhere; made when it does not exist, unless the source is
            encrypted. Encrypted itself, it is opened by TWINSHOT_TO_PASSWORD,
            TWINSHOT_TO_PASSWORD_FILE, TWINSHOT_TO_PASSWORD_COMMAND or TWINSHOT_TO_KEY_FILE.
        machine: Copy points of this machine only.
        points: Copy these points only: ids or their beginnings, separated by commas.
        domain: The second repository's domain for the copies, '' its own; without it, the one of
            the same name, which has to be there.
        level: How hard to compress.
        no_cache: Keep nothing on this machine: what the second one holds is looked up in memory.
        keys: How to open an encrypted source.
        output: Where results go.
    """
    runtime = AsyncioRuntime(seed=None)
    chosen = (machine, points)
    return runtime.run(
        _copy(
            source,
            target,
            chosen,
            (Level[level.upper()], domain),
            Keyholder(keys),
            runtime,
            output,
            local_cache(is_wanted=not no_cache),
        )
    )


async def _copy(  # noqa: PLR0917 - what the command line says
    source: str,
    target: str,
    chosen: tuple[str | None, str | None],
    how: tuple[Level, str | None],
    holder: Keyholder,
    runtime: Runtime,
    output: Output,
    cache: LocalCache | None,
) -> ExitCode:
    ours = await open_to_read(source, runtime, holder, output)
    labels = _chosen(await point_labels(ours), *chosen)
    wanted = {label.point for label in labels}
    asked = tuple(entry for entry in await ours.commits() if entry.point in wanted)
    store = open_store(target)
    headers = [found for name in (HEADER_NAME, *HEADER_COPIES) for found in await store.names(name)]
    if ours.keys is not None and not headers:
        raise InputRefusedError(
            f"{source} is encrypted, and there is no repository in {target}",
            "make one first, in clear or not: repo init, or repo init --encrypt",
        )
    if how[1] and not headers:
        raise InputRefusedError(
            f"there is no repository in {target}, and so no domain {how[1]!r}",
            "make one first: repo init --encrypt, and repo domain add",
        )
    theirs = await open_or_create_repository(
        target,
        store,
        second_key("TO"),
        runtime=runtime,
        output=output,
        cache=cache,
        block_size=ours.block_size,
    )
    plan = plan_copy(asked, await theirs.commits())
    names = {label.point: label.name for label in labels}
    level, domain = how
    copier = PointCopy(ours, theirs, level=level, domain=domain)
    return await _run(plan, ours, copier, names, target, runtime, output)


async def _run(  # noqa: PLR0917 - what a copy is made of
    plan: CopyPlan,
    ours: Repository,
    copier: PointCopy,
    names: dict[RecoveryPointId, str],
    place: str,
    runtime: Runtime,
    output: Output,
) -> ExitCode:
    chance = runtime.random("copy")
    damaged = removed = 0
    for number, entry in enumerate(plan.missing, 1):
        with naming(place), output.growing(f"copying {number} of {len(plan.missing)}") as grow:
            try:
                sent = await copier.copy(entry.point, token=chance.token(), progress=grow)
            except (CorruptionError, PointUnknownError) as error:
                if entry.point not in {each.point for each in await ours.commits()}:
                    output.say(f"{entry.point}: not copied, it was removed meanwhile")
                    removed += 1
                    continue
                damaged += 1
                output.record("damaged-point", id=entry.point, message=str(error))
                output.say(f"{entry.point}: not copied, it is damaged: {error}")
                continue
        output.record("point", id=entry.point, vm=names[entry.point], bytes_sent=sent)
        output.say(f"{entry.point}: {names[entry.point]}, {sized(sent)} new")
    for late in plan.late:
        output.record("late-point", id=late)
        output.say(f"{late}: not copied, its machine has newer points there already")
    copied = len(plan.missing) - damaged - removed
    code = ExitCode.OK
    if damaged:
        code = ExitCode.FINDING
    elif plan.late:
        code = ExitCode.PARTIAL
    output.say(f"{counted(copied, 'point')} copied, {plan.present} already there")
    output.summary(
        copied=copied,
        present=plan.present,
        damaged=damaged,
        late=len(plan.late),
        exit_code=int(code),
    )
    return code


def _chosen(
    labels: tuple[PointLabel, ...], machine: str | None, points: str | None
) -> tuple[PointLabel, ...]:
    """Return the labels of what is to be copied, in commit order."""
    if not labels:
        raise NoPointError
    chosen = labels
    if machine is not None:
        chosen = tuple(label for label in labels if machine in {label.name, label.machine})
        if not chosen:
            raise MachineNotFoundError(machine, {label.name for label in labels})
    if points is not None:
        wanted = {select_point(chosen, each.strip()).point for each in points.split(",")}
        chosen = tuple(label for label in chosen if label.point in wanted)
    return chosen
