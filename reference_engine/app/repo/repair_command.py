"""`twinshot repo repair`: mend what can be mended; nothing is removed."""

from typing import Annotated

from cyclopts import Parameter

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime
from reference_engine.app.broken_log import open_to_read, renew
from reference_engine.app.credentials import NO_OPTIONS, Keyholder, KeyOptions, second_key
from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output
from reference_engine.app.places import Place
from reference_engine.app.repo.findings import report, report_damage
from reference_engine.app.repositories import naming, open_in, open_store
from reference_engine.model.errors import InputRefusedError
from reference_engine.ports.runtime import Runtime
from reference_engine.repository.reader import Progress
from reference_engine.upkeep.dry_store import DryStore
from reference_engine.upkeep.repair import Repair, Repaired


def repair(
    repo: Place,
    /,
    *,
    source: Annotated[str | None, Parameter(name="--from")] = None,
    renew_log: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    dry_run: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    keys: KeyOptions = NO_OPTIONS,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Read everything and mend what can be mended: from copies, parity, equal blocks,
    another repository.

    Nothing is removed: damaged objects that a sound one replaces go to quarantine. What is still
    lost is stored anew by the next backup whose source has it, and mends older points too.

    Args:
        repo: Directory of the repository, or s3://bucket/prefix.
        source: A second repository with some of the same points, made by `repo copy`.
            Encrypted, it is opened by TWINSHOT_FROM_PASSWORD, TWINSHOT_FROM_PASSWORD_FILE,
            TWINSHOT_FROM_PASSWORD_COMMAND or TWINSHOT_FROM_KEY_FILE.
        renew_log: Only let the log go on behind entries that are lost in both copies; points are
            found by their manifests. Nobody else may use the repository meanwhile.
        dry_run: Only say what would be done.
        keys: How to open an encrypted repository.
        output: Where results go.
    """
    runtime = AsyncioRuntime(seed=None)
    if renew_log and source is not None:
        raise InputRefusedError("--renew-log takes nothing from elsewhere", "leave --from away")
    if renew_log:
        return runtime.run(renew(repo, Keyholder(keys), runtime, output, dry=dry_run))
    return runtime.run(_repair(repo, source, dry_run, Keyholder(keys), runtime, output))


async def _repair(  # noqa: PLR0917 - what the command line says
    place: str,
    source: str | None,
    dry: bool,  # noqa: FBT001 - as the command line has it
    holder: Keyholder,
    runtime: Runtime,
    output: Output,
) -> ExitCode:
    store = open_store(place)
    with naming(place):
        repository = await open_in(DryStore(store) if dry else store, runtime, holder)
    others = (
        () if source is None else (await open_to_read(source, runtime, second_key("FROM"), output),)
    )
    repair = Repair(repository, token=runtime.random("repair").token())
    points = len(await repository.commits())
    with (
        output.steps("looking at points", points) as step,
        output.growing("reading blocks") as grow,
    ):

        def progress(total: int) -> Progress:
            return grow(total)

        done = await repair.run(others, step=lambda at: step(at, ""), progress=progress)
    return _report(done, output, "would be " if dry else "")


def _report(done: Repaired, output: Output, mood: str) -> ExitCode:
    report(done.before, output)
    for name in done.replaced:
        output.record("replaced", name=name)
        output.say(f"{name}: {mood}made as it was written")
    if done.mended:
        output.say(f"{done.mended} damaged blocks {mood}mended")
    if done.wanted:
        output.say(
            f"{done.wanted} damaged blocks {mood}listed: the next backup that reads them "
            "stores them anew"
        )
    if done.after.damage:
        output.say("still damaged, and restorable in part by: restore --accept-damage")
        report_damage(done.after.damage, output)
    elif not done.before.is_sound:
        output.say(f"every point {mood}sound")
    else:
        output.say("there was nothing to mend")
    code = ExitCode.FINDING if done.after.damage or done.wanted else ExitCode.OK
    output.summary(
        replaced=len(done.replaced),
        mended=done.mended,
        wanted=done.wanted,
        damaged_points=len({each.point for each in done.after.damage}),
        exit_code=int(code),
    )
    return code
