"""`twinshot points`: which recovery points there are."""

import datetime as dt
from typing import Annotated

from cyclopts import Parameter

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime
from reference_engine.app.broken_log import open_to_read
from reference_engine.app.credentials import NO_OPTIONS, Keyholder, KeyOptions
from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output, sized
from reference_engine.app.places import Place
from reference_engine.catalogue.points import MachineNotFoundError
from reference_engine.model.identity import MachineId
from reference_engine.model.recovery_point import RecoveryPoint
from reference_engine.model.units import SECOND, Instant
from reference_engine.ports.runtime import Runtime
from reference_engine.repository.domain_names import domain_of


def points(
    *,
    repo: Place,
    machine: str | None = None,
    keys: KeyOptions = NO_OPTIONS,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """List the recovery points in the order in which they were committed.

    Args:
        repo: Directory of the repository, or s3://bucket/prefix.
        machine: Only points of this machine.
        keys: How to open an encrypted repository.
        output: Where results go.
    """
    runtime = AsyncioRuntime(seed=None)
    return runtime.run(_list(repo, machine, keys, runtime, output))


async def _list(
    place: str, machine: str | None, keys: KeyOptions, runtime: Runtime, output: Output
) -> ExitCode:
    repository = await open_to_read(place, runtime, Keyholder(keys), output)
    rows: list[tuple[str, ...]] = []
    damaged = 0
    others: dict[MachineId, str] = {}
    entries = await repository.commits()
    domains = repository.reclaim.history.domains
    async for entry, point, damage in repository.manifests.each(entries):
        if point is None and damage is None:
            continue  # it was removed a moment ago
        if machine not in {None, entry.machine, None if point is None else point.machine.name}:
            if point is not None:
                others[entry.machine] = point.machine.name
            # A damaged point may be of any machine whose name was not read yet.
            if entry.machine in others:
                continue
        if point is None:
            damaged += 1
            cause = str(damage)
            output.record("damaged-point", id=entry.point, vm=entry.machine, message=cause)
            rows.append((entry.point, entry.machine, "damaged", cause, "", "", "", ""))
            continue
        domain = domains.get(domain_of(entry.manifest), "")
        record = _described(point) | {"domain": domain}
        output.record("point", **record)
        rows.append(
            (
                point.id,
                point.machine.name,
                str(record["at"]),
                point.consistency.value,
                str(record["transfer"]),
                sized(int(str(record["size"]))),
                point.base or "-",
                domain,
            )
        )
    if rows:
        titles = ("POINT", "VM", "AT", "CONSISTENCY", "TRANSFER", "SIZE", "BASE", "DOMAIN")
        shown = titles if domains else titles[:-1]
        output.table(shown, [row[: len(shown)] for row in rows])
    elif machine is not None and others:
        raise MachineNotFoundError(machine, set(others.values()))
    else:
        output.say("no points yet")
    code = ExitCode.FINDING if damaged else ExitCode.OK
    output.summary(points=len(rows) - damaged, damaged=damaged, exit_code=int(code))
    return code


def _described(point: RecoveryPoint) -> dict[str, object]:
    kinds = sorted({record.transfer.kind.value for record in point.disks})
    return {
        "id": point.id,
        "vm": point.machine.name,
        "disks": [
            {
                "id": record.disk,
                "size": record.size,
                "transfer": record.transfer.kind.value,
                "reason": record.transfer.reason.value,
                "bytes_read": record.bytes_read,
                "bytes_sent": record.bytes_sent,
                "digest": record.digest,
            }
            for record in point.disks
        ],
        "at": shown(point.instant),
        "consistency": point.consistency.value,
        "base": point.base,
        "transfer": "+".join(kinds),
        "size": sum(record.size for record in point.disks),
    }


def shown(instant: Instant, /) -> str:
    """Return an instant of a host's wall clock as people read it, in UTC."""
    start = dt.datetime.fromtimestamp(instant // SECOND, dt.UTC)
    return start.strftime("%Y-%m-%dT%H:%M:%SZ")
