"""`twinshot repo init`: a new repository, with promises that hold for all of its life."""

from typing import Annotated

from cyclopts import Parameter

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime
from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output
from reference_engine.app.repo.durations import parse_duration, write_duration
from reference_engine.app.repositories import create_repository, naming, open_store
from reference_engine.model.units import Duration
from reference_engine.ports.runtime import Runtime
from reference_engine.repository.settings import Settings


def init(
    repo: str,
    /,
    *,
    append_only: Annotated[bool, Parameter(negative=())] = False,
    immutable_for: str | None = None,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Make a new repository.

    Args:
        repo: Directory, or s3://bucket/prefix; nothing may be there yet.
        append_only: Never remove anything from it.
        immutable_for: How old a point has to be before it may be removed, like 30d. Programs like
            this one keep to it; against others, lock the objects in the store itself.
        output: Where results go.
    """
    age = Duration(0) if immutable_for is None else parse_duration(immutable_for, "--immutable-for")
    settings = Settings(append_only=append_only, immutable_for=age)
    runtime = AsyncioRuntime(seed=None)
    return runtime.run(_init(repo, settings, runtime, output))


async def _init(place: str, settings: Settings, runtime: Runtime, output: Output) -> ExitCode:
    store = open_store(place)
    with naming(place):
        repository = await create_repository(store, settings, runtime=runtime)
    promises = said_of(settings)
    output.say(f"created a repository in {place}" + (f": {promises}" if promises else ""))
    output.summary(
        repository=repository.identity,
        block_size=repository.block_size,
        append_only=settings.append_only,
        immutable_for_s=settings.immutable_for // 1_000_000,
        exit_code=int(ExitCode.OK),
    )
    return ExitCode.OK


def said_of(settings: Settings, /) -> str:
    """Return a repository's promises as people read them; nothing where it makes none."""
    parts = ["append-only"] if settings.append_only else []
    if settings.immutable_for:
        parts.append(f"points immutable for {write_duration(settings.immutable_for)}")
    return ", ".join(parts)
