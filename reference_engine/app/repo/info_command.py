"""`twinshot repo info`: what a repository is, and what is going on in it."""

from typing import Annotated

from cyclopts import Parameter

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime
from reference_engine.app.credentials import NO_OPTIONS, Keyholder, KeyOptions
from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output, sized
from reference_engine.app.places import Place
from reference_engine.app.repo.init_command import said_of
from reference_engine.app.repositories import open_repository
from reference_engine.model.wording import counted
from reference_engine.ports.runtime import Runtime
from reference_engine.repository.header import FORMAT
from reference_engine.repository.parity import ParityPlan


def info(
    repo: Place,
    /,
    *,
    keys: KeyOptions = NO_OPTIONS,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Say what a repository is, and which runs are under way in it.

    Args:
        repo: Directory of the repository, or s3://bucket/prefix.
        keys: How to open an encrypted repository.
        output: Where results go.
    """
    runtime = AsyncioRuntime(seed=None)
    return runtime.run(_info(repo, Keyholder(keys), runtime, output))


async def _info(place: str, holder: Keyholder, runtime: Runtime, output: Output) -> ExitCode:
    repository = await open_repository(place, runtime, holder)
    settings, history = repository.settings, repository.reclaim.history
    entries = await repository.commits()
    machines = sorted({entry.machine for entry in entries})
    open_runs = [str(run) for run in history.open_runs()]
    going = sum(len(entry.objects) for entry in history.condemned.values())
    going += sum(len(names) for names in history.unreleased.values())
    stored = repository.header.stored
    slots = None if repository.keys is None else len(await repository.keys.slots())
    for title, text in (
        ("place", place),
        ("repository", repository.identity),
        ("format", str(FORMAT)),
        ("block size", sized(repository.block_size)),
        ("promises", said_of(settings) or "none"),
        ("encryption", _encryption(slots)),
        ("domains", ", ".join(history.domains.values()) or "none"),
        ("parity", _parity(stored.parity)),
        ("points", f"{len(entries)} of {counted(len(machines), 'machine')}"),
        ("log entries", str(len(history.entries))),
        ("open runs", ", ".join(open_runs) or "none"),
        ("to be deleted", counted(going, "object")),
    ):
        output.say(f"{title:14}{text}")
    output.summary(
        repository=repository.identity,
        format=FORMAT,
        block_size=repository.block_size,
        append_only=settings.append_only,
        immutable_for_s=settings.immutable_for // 1_000_000,
        object_lock=None if settings.object_lock is None else settings.object_lock.value,
        encrypted=slots is not None,
        key_slots=slots or 0,
        domains=list(history.domains.values()),
        parity_percent=0.0 if stored.parity is None else stored.parity.percent,
        pack_parity=0 if stored.parity is None else stored.parity.group,
        points=len(entries),
        machines=machines,
        log_entries=len(history.entries),
        open_runs=open_runs,
        objects_to_delete=going,
        exit_code=int(ExitCode.OK),
    )
    return ExitCode.OK


def _encryption(slots: int | None) -> str:
    if slots is None:
        return "none"
    return f"AES-256-GCM, {slots} {'key' if slots == 1 else 'keys'}"


def _parity(plan: ParityPlan | None) -> str:
    if plan is None:
        return "none"
    share = f"{plan.percent:.3g}% of packs"
    return f"{share}, one pack more for {plan.group}" if plan.group else share
