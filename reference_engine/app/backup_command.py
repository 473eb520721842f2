"""`twinshot backup`: disk files as one machine, fully once and then what differs."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from cyclopts import Parameter

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime
from reference_engine.adapters.files.change_tracking import GivenTracking, NoTracking
from reference_engine.adapters.files.disk_files import DiskFiles
from reference_engine.app.credentials import NO_OPTIONS, Keyholder, KeyOptions
from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.file_backup import back_up_files
from reference_engine.app.local_cache import NoCache, local_cache
from reference_engine.app.output import Output, sized
from reference_engine.app.places import Place
from reference_engine.app.repositories import (
    CountingStore,
    Requests,
    domains_of,
    naming,
    open_in,
    open_or_create_repository,
    open_store,
)
from reference_engine.model.errors import InputRefusedError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import MachineId
from reference_engine.model.recovery_point import RecoveryPoint
from reference_engine.model.units import MILLISECOND, ByteCount, Duration
from reference_engine.ports.change_tracking import ChangeTracking
from reference_engine.ports.local_cache import LocalCache
from reference_engine.ports.runtime import Runtime
from reference_engine.repository.pack import Level
from reference_engine.repository.repository import Repository

_RATE: Final = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*([kKMGT]i?B|B)(?:/s|ps)?")
_UNITS: Final = {
    "b": 1,
    **{f"{unit}b": 1000**power for power, unit in enumerate("kmgt", start=1)},
    **{f"{unit}ib": 1024**power for power, unit in enumerate("kmgt", start=1)},
}
_LATENCY_MAX_MS: Final = 60_000
_RATE_MIN: Final = 1000
_RATE_MAX: Final = 10**15

_Natural = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]


def backup(
    *files: Path,
    repo: Place,
    name: str | None = None,
    changed: Path | None = None,
    domain: str | None = None,
    level: Literal["fast", "default", "best"] = "default",
    limit: str | None = None,
    latency_budget: int | None = None,
    no_cache: NoCache = False,
    keys: KeyOptions = NO_OPTIONS,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Back up disk files as one machine; the first time in full, later what differs.

    Args:
        files: Disk images that nobody writes meanwhile: raw, VHD or VHDX.
        repo: Directory of the repository, or s3://bucket/prefix; made when it does not exist.
        name: The machine's name; without it, the files' names.
        changed: JSON list of [offset, length]: all that changed in the one file since its newest
            point. Nothing else is read; what the list leaves out is missed.
        domain: The domain that the point belongs to, of `repo domain list`, '' the repository's
            own; without it, that of the machine's newest point.
        level: How hard to compress.
        limit: How fast to read at most, such as 50MB/s or 20MiB/s.
        latency_budget: Milliseconds that a read of the files may take; where it takes longer they
            are read in smaller portions, and left alone in between.
        no_cache: Keep nothing on this machine: what is stored is looked up in memory.
        keys: How to open an encrypted repository; `repo init --encrypt` makes one.
        output: Where results go.
    """
    if not files:
        raise InputRefusedError("no file was named", "give the paths of disk images")
    runtime = AsyncioRuntime(seed=None)
    tracking = NoTracking() if changed is None else GivenTracking(_read_changes(changed, files))
    request = _Request(
        files=files,
        repository=repo,
        name=name,
        domain=domain,
        level=Level[level.upper()],
        rate=None if limit is None else read_rate(limit),
        latency_budget=None if latency_budget is None else read_latency(latency_budget),
        cache=local_cache(is_wanted=not no_cache),
        keys=keys,
    )
    return runtime.run(_backup(request, tracking, runtime, output))


@dataclass(frozen=True, kw_only=True)
class _Request:
    """What is to be backed up, where to, and how."""

    files: tuple[Path, ...]
    repository: str
    name: str | None
    domain: str | None
    level: Level
    keys: KeyOptions
    rate: ByteCount | None
    """Bytes a second that may be read."""

    latency_budget: Duration | None
    cache: LocalCache | None


def read_latency(milliseconds: int, /) -> Duration:
    """Return how long a read may take.

    Raises:
        InputRefusedError: no read is that quick, or none takes that long.
    """
    if not 1 <= milliseconds <= _LATENCY_MAX_MS:
        raise InputRefusedError(
            f"{milliseconds} ms is no latency to stay below", "give 1 to 60000 milliseconds"
        )
    return Duration(milliseconds * MILLISECOND)


def read_rate(text: str, /) -> ByteCount:
    """Return how many bytes a second `50MB/s`, `20MiB/s` or the like are.

    Raises:
        InputRefusedError: it is no rate, or none that gets anywhere.
    """
    found = _RATE.fullmatch(text.strip())
    rate = int(float(found[1]) * _UNITS[found[2].lower()]) if found else 0
    if not _RATE_MIN <= rate <= _RATE_MAX:
        raise InputRefusedError(
            f"{text!r:.60} is no rate to read at", "write 50MB/s or 20MiB/s, from 1kB/s on"
        )
    return ByteCount(rate)


def _read_changes(place: Path, files: tuple[Path, ...]) -> ExtentSet:
    """Return the byte ranges that a change map lists."""
    if len(files) != 1:
        raise InputRefusedError("a change map speaks of one file", "back the files up one by one")
    try:
        listed = msgspec.json.decode(place.read_bytes(), type=list[tuple[_Natural, _Natural]])
    except OSError as error:
        raise InputRefusedError(f"{place} cannot be read", "name a file that can") from error
    except msgspec.MsgspecError as error:
        raise InputRefusedError(
            f"{place} is no change map", "write a JSON list of [offset, length]"
        ) from error
    return ExtentSet.of([(offset, offset + length) for offset, length in listed])


async def _backup(
    request: _Request, tracking: ChangeTracking, runtime: Runtime, output: Output
) -> ExitCode:
    files, place = request.files, request.repository
    source = DiskFiles(MachineId(request.name or "+".join(path.stem for path in files)), files)
    # Sources come first: a mistyped path should not leave an empty repository behind.
    machine = await source.describe()
    store = CountingStore(open_store(place))
    repository = await _repository(request, store, runtime, output)
    with output.progress("backing up", sum(disk.size for disk in machine.disks)) as advance:
        point = await back_up_files(
            repository,
            source,
            tracking=tracking,
            level=request.level,
            domain=request.domain,
            runtime=runtime,
            progress=advance,
            rate=request.rate,
            latency_budget=request.latency_budget,
        )
    _report(point, store.created, store.requests, output)
    return ExitCode.OK


async def _repository(
    request: _Request, store: CountingStore, runtime: Runtime, output: Output
) -> Repository:
    """Return the repository of the new point; one with a domain is there already."""
    place, holder, cache = request.repository, Keyholder(request.keys), request.cache
    if request.domain:
        with naming(place):
            found = await open_in(store, runtime, holder, cache=cache)
        domains_of(found, place)
        return found
    return await open_or_create_repository(
        place, store, holder, runtime=runtime, output=output, cache=cache
    )


def _report(point: RecoveryPoint, stored: ByteCount, requests: Requests, output: Output) -> None:
    read = sum(record.bytes_read for record in point.disks)
    sent = sum(record.bytes_sent for record in point.disks)
    for record in point.disks:
        output.record(
            "disk",
            id=record.disk,
            size=record.size,
            transfer=record.transfer.kind.value,
            reason=record.transfer.reason.value,
            bytes_read=record.bytes_read,
            bytes_sent=record.bytes_sent,
            digest=record.digest,
        )
        output.say(
            f"{record.disk}: {record.transfer.kind.value} ({record.transfer.reason.value}), "
            f"{sized(record.bytes_read)} read, {sized(record.bytes_sent)} new"
        )
    output.say(f"{sized(read)} read, {sized(sent)} new, {sized(stored)} stored")
    output.say(f"point {point.id}")
    output.summary(
        point=point.id,
        vm=point.machine.name,
        base=point.base,
        bytes_read=read,
        bytes_sent=sent,
        bytes_stored=stored,
        requests=msgspec.to_builtins(requests),
        exit_code=int(ExitCode.OK),
    )
