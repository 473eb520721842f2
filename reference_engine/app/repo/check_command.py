"""`twinshot repo check`: whether a repository is what was written."""

import re
from typing import Annotated

from cyclopts import Parameter

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime
from reference_engine.app.credentials import NO_OPTIONS, Keyholder, KeyOptions
from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output
from reference_engine.app.places import Place
from reference_engine.app.repo.findings import report
from reference_engine.app.repositories import open_repository, open_store
from reference_engine.model.errors import InputRefusedError
from reference_engine.model.wording import counted
from reference_engine.ports.runtime import Runtime
from reference_engine.verification.check import Check, CheckResult
from reference_engine.verification.findings import EVERYTHING, Part, Problem


def check(
    repo: Place,
    /,
    *,
    read_data: Annotated[bool | str, Parameter(negative=(), show_default=False)] = False,
    keys: KeyOptions = NO_OPTIONS,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Check every copy of all metadata, every pack's length, and on request every block.

    Nothing is changed. What is damaged is listed to the end, with the points that it touches.

    Args:
        repo: Directory of the repository, or s3://bucket/prefix.
        read_data: Read all blocks too, or of seven parts the second: --read-data=2/7.
        keys: How to open an encrypted repository.
        output: Where results go.
    """
    part = _part(read_data)
    runtime = AsyncioRuntime(seed=None)
    return runtime.run(_check(repo, part, Keyholder(keys), runtime, output))


def _part(wanted: bool | str) -> Part | None:  # noqa: FBT001 - how the command line says it
    if isinstance(wanted, bool):
        return EVERYTHING if wanted else None
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", wanted)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise InputRefusedError(
            f"--read-data={wanted} is no part", "write --read-data, or --read-data=2/7"
        )
    return Part(number=int(match[1]), count=int(match[2]))


async def _check(
    place: str, part: Part | None, holder: Keyholder, runtime: Runtime, output: Output
) -> ExitCode:
    repository = await open_repository(place, runtime, holder)
    check = Check(repository)
    with output.steps("looking at points", len(await repository.commits())) as step:
        await check.structure(lambda done: step(done, ""))
    if part is not None:
        total = check.survey.unique_bytes // part.count
        with output.progress("reading blocks", total) as advance:
            await check.read(part, progress=advance)
    result = await check.result()
    stranger = await open_store(place).stranger()
    if stranger is not None:
        result = result.with_object(stranger, Problem.FOREIGN, "it is no object's name")
    code = _code(result)
    report(result, output)
    if result.is_sound:
        read = "" if part is None else f", {part.number}/{part.count} of the data read"
        points, packs = counted(result.points, "point"), len(check.survey.packs.names)
        output.say(f"{points}, {counted(packs, 'pack')}: all sound{read}")
    output.summary(
        points=result.points,
        damaged_points=len({each.point for each in result.damage}),
        packs=len(check.survey.packs.names),
        wanted=result.wanted,
        exit_code=int(code),
    )
    return code


def _code(result: CheckResult) -> ExitCode:
    if result.is_sound:
        return ExitCode.OK
    return ExitCode.UNREACHABLE if result.is_only_unread else ExitCode.FINDING
