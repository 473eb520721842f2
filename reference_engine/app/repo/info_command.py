"""`twinshot repo info`: what a repository is, and what is going on in it."""

from typing import Annotated

from cyclopts import Parameter

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime
from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output, sized
from reference_engine.app.repo.init_command import said_of
from reference_engine.app.repositories import open_repository
from reference_engine.ports.runtime import Runtime
from reference_engine.repository.codec import FORMAT


def info(repo: str, /, *, output: Annotated[Output, Parameter(parse=False)]) -> ExitCode:
    """Say what a repository is, and which runs are under way in it.

    Args:
        repo: Directory of the repository, or s3://bucket/prefix.
        output: Where results go.
    """
    runtime = AsyncioRuntime(seed=None)
    return runtime.run(_info(repo, runtime, output))


async def _info(place: str, runtime: Runtime, output: Output) -> ExitCode:
    repository = await open_repository(place, runtime)
    settings, history = repository.settings, repository.reclaim.history
    entries = await repository.commits()
    machines = sorted({entry.machine for entry in entries})
    open_runs = [str(run.tag) for run in history.open_runs()]
    going = sum(len(entry.objects) for entry in history.condemned.values())
    going += sum(len(names) for names in history.unreleased.values())
    for title, text in (
        ("place", place),
        ("repository", repository.identity),
        ("format", str(FORMAT)),
        ("block size", sized(repository.block_size)),
        ("promises", said_of(settings) or "none"),
        ("points", f"{len(entries)} of {len(machines)} machines"),
        ("log entries", str(len(history.entries))),
        ("open runs", ", ".join(open_runs) or "none"),
        ("to be deleted", f"{going} objects"),
    ):
        output.say(f"{title:14}{text}")
    output.summary(
        repository=repository.identity,
        format=FORMAT,
        block_size=repository.block_size,
        append_only=settings.append_only,
        immutable_for_s=settings.immutable_for // 1_000_000,
        points=len(entries),
        machines=machines,
        log_entries=len(history.entries),
        open_runs=open_runs,
        objects_to_delete=going,
        exit_code=int(ExitCode.OK),
    )
    return ExitCode.OK
