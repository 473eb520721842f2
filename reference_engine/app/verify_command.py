"""`twinshot verify`: whether points can be read back to the last block."""

from typing import Annotated

from cyclopts import Parameter

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime
from reference_engine.app.broken_log import open_to_read
from reference_engine.app.credentials import NO_OPTIONS, Keyholder, KeyOptions
from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output, sized
from reference_engine.app.places import Place
from reference_engine.catalogue.points import NoPointError, chosen_point, point_labels
from reference_engine.model.errors import CorruptionError
from reference_engine.model.identity import RecoveryPointId
from reference_engine.ports.runtime import Runtime
from reference_engine.repository.errors import PointRemovedError, PointUnknownError
from reference_engine.repository.repository import Repository
from reference_engine.verification.integrity import Verdict, verify_points


def verify(
    point: str | None = None,
    /,
    *,
    repo: Place,
    keys: KeyOptions = NO_OPTIONS,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Read points to the last block and check every digest.

    Args:
        point: A point's id or its beginning, a machine's name, or `latest`; all points without it.
        repo: Directory of the repository, or s3://bucket/prefix.
        keys: How to open an encrypted repository.
        output: Where results go.
    """
    runtime = AsyncioRuntime(seed=None)
    return runtime.run(_verify(point, repo, keys, runtime, output))


async def _verify(
    wanted: str | None, place: str, keys: KeyOptions, runtime: Runtime, output: Output
) -> ExitCode:
    repository = await open_to_read(place, runtime, Keyholder(keys), output)
    chosen = (
        await point_labels(repository)
        if wanted is None
        else (await chosen_point(repository, wanted),)
    )
    if not chosen:
        raise NoPointError
    names = {label.point: label.name for label in chosen}
    total = sum([await _allocated(repository, point) for point in names])
    with output.progress("verifying", total) as advance:
        verdicts = await verify_points(repository, tuple(names), progress=advance)
    rows: list[tuple[str, ...]] = []
    for verdict in verdicts:
        output.record(
            "verdict",
            id=verdict.point,
            vm=names[verdict.point],
            verdict=verdict.verdict.value,
            cause=verdict.cause,
            bytes_checked=verdict.bytes_checked,
        )
        detail = verdict.cause or f"{sized(verdict.bytes_checked)} checked"
        rows.append((verdict.point, names[verdict.point], verdict.verdict.value, detail))
    output.table(("POINT", "VM", "VERDICT", "DETAIL"), rows)
    found = {verdict.verdict for verdict in verdicts}
    code = ExitCode.OK
    if Verdict.UNREADABLE in found:
        code = ExitCode.UNREACHABLE
    if Verdict.DAMAGED in found:
        code = ExitCode.FINDING
    intact = sum(verdict.verdict is Verdict.INTACT for verdict in verdicts)
    if repository.mended and code is ExitCode.OK:
        code = ExitCode.FINDING
    for name, sectors in sorted(repository.mended.items()):
        output.record("mended", object=name, sectors=sectors)
        output.say(f"{name}: {sectors} damaged sectors, restored from parity")
    output.summary(
        points=len(verdicts), intact=intact, mended=len(repository.mended), exit_code=int(code)
    )
    return code


async def _allocated(repository: Repository, point: RecoveryPointId) -> int:
    """Return how much of a point there is to read; nothing where it is damaged or gone."""
    try:
        reader = await repository.reader(point)
        return sum([(await reader.allocated(disk)).total for disk in reader.disks])
    except (CorruptionError, PointRemovedError, PointUnknownError):
        return 0
