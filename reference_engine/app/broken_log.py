"""Repositories of which the log lost entries: read as they are, and made whole on request."""

from typing import Final

from reference_engine.adapters.asyncio_runtime import wall_clock
from reference_engine.app.credentials import Keyholder
from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.local_cache import local_cache
from reference_engine.app.output import Output
from reference_engine.app.repositories import naming, open_in, open_store
from reference_engine.model.wording import counted
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Runtime
from reference_engine.repository.codec import PointCommittedEntry
from reference_engine.repository.errors import LogDamagedError
from reference_engine.repository.header import ENCRYPTION, read_header
from reference_engine.repository.keys.errors import NotEncryptedError
from reference_engine.repository.keys.material import Credential
from reference_engine.repository.renewal import Renewed, renew_log
from reference_engine.repository.repository import Repository
from reference_engine.upkeep.dry_store import DryStore

_LISTED_MAX: Final = 20
"""Points and numbers that people are shown; programs get all of them."""


async def open_to_read(
    place: str,
    runtime: Runtime,
    holder: Keyholder,
    output: Output,
    /,
    *,
    store: BlobStore | None = None,
) -> Repository:
    """Open a repository for reading, also where entries of its log are lost in both copies.

    Then points are found as `repair --renew-log` finds them, and nothing is written: what the
    command writes by the way, such as a lease, is in memory only. `store` is the one of the place,
    where the caller has it already.

    Raises:
        RefusedError: there is none, it is not usable, or the key is not right.
        LogDamagedError: it cannot be told where the log ends.
    """
    store = store or open_store(place)
    asked: list[Credential] = []
    with naming(place):
        try:
            cache = local_cache(is_wanted=True)
            return await open_in(store, runtime, _Asked(holder, asked), cache=cache)
        except LogDamagedError as damage:
            dry = DryStore(store)
            keys = _Asked(holder, asked)
            found = await _renewed(dry, keys, runtime, output)
            repository = await open_in(dry, runtime, keys)
            if found is not None:
                said = f"{damage}; points are found without it, and nothing is changed"
                output.record("damaged-log", lost=list(found.lost), message=said)
                output.remark(said)
                _say_doubts(found, output)
            return repository


class _Asked(Keyholder):
    """A keyholder that asks a person once."""

    def __init__(self, holder: Keyholder, known: list[Credential], /) -> None:
        self._holder, self._known = holder, known

    @property
    def named(self) -> bool:
        """Whether an option or a variable says where the key is."""
        return self._holder.named

    def credential(self) -> Credential:
        """Return the credential."""
        if not self._known:
            self._known.append(self._holder.credential())
        return self._known[0]


async def _renewed(
    store: BlobStore, holder: Keyholder, runtime: Runtime, output: Output
) -> Renewed | None:
    with output.steps("looking for points", 100) as step:
        return await renew_log(
            store,
            executor=runtime,
            unlock=holder.credential,
            at=wall_clock(),
            progress=lambda done, total: step(100 * done // total, f"{done} of {total}"),
        )


async def renew(
    place: str, holder: Keyholder, runtime: Runtime, output: Output, /, *, dry: bool
) -> ExitCode:
    """Let the log of a repository go on behind lost entries, and say what was found.

    Raises:
        RefusedError, LogDamagedError: as `open_to_read`; or the store cannot be written to.
    """
    store = open_store(place)
    known = _Asked(holder, [])
    with naming(place):
        if holder.named and ENCRYPTION not in (await read_header(store)).stored.features:
            raise NotEncryptedError
        found = await _renewed(DryStore(store) if dry else store, known, runtime, output)
    if found is None:
        output.say("the log is whole: there was nothing to renew")
        output.summary(renewed=False, lost=[], points=0, exit_code=int(ExitCode.OK))
        return ExitCode.OK
    _report(found, output, "would be " if dry else "")
    code = ExitCode.FINDING if found.points.damaged or found.points.left_out else ExitCode.OK
    output.summary(
        renewed=not dry,
        entry=found.number,
        lost=list(found.lost),
        points=len(found.points.live),
        by_manifest=len(found.points.by_manifest),
        damaged=len(found.points.damaged),
        left_out=len(found.points.left_out),
        doubtful_keys=list(found.doubtful),
        exit_code=int(code),
    )
    return code


def _report(found: Renewed, output: Output, mood: str) -> None:
    lost = ", ".join(map(str, found.lost[:_LISTED_MAX]))
    more = len(found.lost) - _LISTED_MAX
    if not found.lost:
        output.say("entries behind the last one of the log are lost")
    else:
        output.say(f"lost entries of the log: {lost}" + (f" and {more} more" if more > 0 else ""))
    output.say(f"{counted(len(found.points.live), 'point')} found")
    _say_doubts(found, output)
    output.say(f"entry {found.number} {mood}written: the log goes on there")
    output.say("the next backup of each machine reads it whole; then run: repo check")


def _say_doubts(found: Renewed, output: Output) -> None:
    points = found.points
    for kind, entries, saying in (
        (
            "by-manifest",
            points.by_manifest,
            "found by its manifest only: if it was removed, remove it again by: repo prune",
        ),
        (
            "damaged",
            points.damaged,
            "kept, though something of it is missing: repo check says what",
        ),
        (
            "left-out",
            points.left_out,
            "left out: no entry speaks of it, and something of it is missing",
        ),
    ):
        _list(kind, entries, saying, output)
    for slot in found.doubtful:
        output.record("doubtful-key", slot=slot)
        output.remark(
            f"key {slot}: whether it was removed cannot be told; if it was, remove it again by: "
            "repo key remove"
        )


def _list(kind: str, entries: tuple[PointCommittedEntry, ...], saying: str, output: Output) -> None:
    for count, each in enumerate(entries):
        output.record("found-point", how=kind, id=each.point, vm=each.machine)
        if count < _LISTED_MAX:
            output.remark(f"point {each.point} of {each.machine}: {saying}")
    if len(entries) > _LISTED_MAX:
        output.remark(f"and {len(entries) - _LISTED_MAX} points more (--json lists all)")
