"""Going on behind entries of the log that were lost in both copies.

What the other entries say is true without them, and points are found by their manifests. One entry
says what stands: from it on the history goes on, and the numbers from the first lost one up to it
mean nothing any more. Nothing is moved or deleted, and until that entry stands nothing has changed.

Before it, every number that is free among those is taken. An engine that has read up to one of
them, and knows of no loss, could otherwise append there, and take for committed what nobody sees.
"""

import functools
import re
from collections.abc import Callable
from typing import Final, NamedTuple

from reference_engine.model.errors import OperationFailedError
from reference_engine.model.identity import Epoch, MachineId
from reference_engine.model.units import Instant
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Executor
from reference_engine.repository import renewal_keys
from reference_engine.repository.access import removed_slots, rotations
from reference_engine.repository.block_map import NameTable
from reference_engine.repository.codec import (
    ANCHORS,
    INDEX,
    Entry,
    PointCommittedEntry,
    log_name,
    session_of,
)
from reference_engine.repository.domain_keys import stored_domains
from reference_engine.repository.domain_names import bare
from reference_engine.repository.errors import LogDamagedError
from reference_engine.repository.found_points import (
    FoundPoints,
    PointSearch,
    Staged,
    staged_manifests,
)
from reference_engine.repository.header import Header, read_header
from reference_engine.repository.keys.errors import KeyRetiredError, WrongKeyError
from reference_engine.repository.keys.keyring import Keyring
from reference_engine.repository.log import COLLISIONS_MAX, Log
from reference_engine.repository.mending import is_mend
from reference_engine.repository.object_locking import begun
from reference_engine.repository.opening import Opened, Unlock, by_first_slot
from reference_engine.repository.portions import batches, read_portions
from reference_engine.repository.remains import VOID_MAX, Remains, read_beyond
from reference_engine.repository.renewal_entries import (
    KnownRun,
    LivePoint,
    LogRenewedEntry,
    TakenEpoch,
)

_SESSION: Final = re.compile("[0-9a-f]{32,48}(?:-[0-9]{1,9})?")
"""A token, perhaps with the clock's reading behind it; of a repack, with its epoch."""

_OF_SESSIONS: Final = ("packs/", "maps/", "copies/maps/", INDEX, ANCHORS)
_TAKEN_MAX: Final = 1024
"""So many free numbers are taken at most; more than a few are free only in a log that is gone."""


class Renewed(NamedTuple):
    """What was found of a log in which entries were lost."""

    number: int
    """Of the entry from which the history goes on."""

    lost: tuple[int, ...]
    """Numbers of entries that cannot be read, ascending; empty: those behind the last one."""

    points: FoundPoints
    doubtful: tuple[str, ...]
    """Key slots of which nobody can say whether they were removed."""


class _Broken(NamedTuple):
    """A log that was read as far as it can be, and what is behind it."""

    header: Header
    store: BlobStore
    log: Log
    damaged: bool
    taken: dict[int, list[str]]
    beyond: dict[int, Entry]
    removed: tuple[str, ...]
    rotated: tuple[str, ...]
    doubtful: tuple[str, ...]

    @property
    def first(self) -> int:
        """The first number that cannot be read."""
        return len(self.log.history.entries) + 1

    @property
    def last(self) -> int:
        """The last number that is taken."""
        return max(self.taken, default=0)


async def renew_log(
    store: BlobStore,
    /,
    *,
    executor: Executor,
    unlock: Unlock,
    at: Instant,
    progress: Callable[[int, int], None],
) -> Renewed | None:
    """Return what was found of the log, which is whole again; None: it is, and nothing changed.

    Nobody else uses the repository meanwhile. `progress` is told how many points of how many were
    looked at. Killed at any moment and called again, it comes to the same.

    Raises:
        RepositoryAbsentError, RepositoryForeignError: there is no repository here.
        RepositoryNewerError, RepositoryFeatureError: a later program wrote it, or some of it.
        KeyNeededError, WrongKeyError, KeyRetiredError: the credential is none, or not right.
        LogDamagedError: it cannot be told where the log ends; the sentence says what to do.
        TransientError, RefusedError: the store failed, or cannot be written to.
    """
    unlock = functools.cache(unlock)
    for _ in range(COLLISIONS_MAX):
        broken = await _read(store, executor=executor, unlock=unlock)
        search = await _looked(broken, executor=executor)
        if search is None:
            return None
        renewed, entry = await _decided(broken, search, at=at, executor=executor, progress=progress)
        if await _written(broken, renewed.number, entry):
            return renewed
    raise OperationFailedError("renewing the log", "other writers were always faster")


async def _read(raw: BlobStore, *, executor: Executor, unlock: Unlock) -> _Broken:
    found = await read_header(raw)

    async def look(through: Opened) -> _Broken:
        header, store, keyring, _ = through
        log = Log(store, header, found.content, executor=executor)
        # Where the store locks objects, the entry that is written is locked like all others.
        begun(raw, header.settings, log, None)
        return await _read_log(raw, header, store, log, keyring, executor=executor)

    passing = (WrongKeyError, KeyRetiredError)
    return await by_first_slot(
        raw, found.stored, look, passing=passing, executor=executor, unlock=unlock
    )


async def _read_log(
    raw: BlobStore,
    header: Header,
    store: BlobStore,
    log: Log,
    keyring: Keyring | None,
    *,
    executor: Executor,
) -> _Broken:
    damaged = False
    try:
        await log.check_complete()
    except LogDamagedError:
        damaged = True
    taken, entries = await log.numbers(), log.history.entries
    first = len(entries) + 1
    if max(taken, default=0) - first > VOID_MAX:
        far = log_name(max(taken))
        cause = f"{far} is too far behind it to be an entry: move it elsewhere"
        raise LogDamagedError(first, cause)
    beyond = await read_beyond(store, header.key, taken, first, executor=executor)
    removed: tuple[str, ...] = ()
    rotated: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()
    if keyring is not None:
        said = [*entries, *beyond.values()]
        gone = removed_slots(said)
        behind = [(number in beyond, taken[number]) for number in taken if number >= first]
        rotated = await renewal_keys.settle(
            raw,
            keyring,
            removed=gone,
            rotated=rotations(said),
            lost=[name for sound, names in behind if not sound for name in names],
            beyond=[name for sound, names in behind if sound for name in names],
        )
        removed = tuple(slot for slot in gone if slot not in removed_slots(entries))
        rotated = rotated[len(rotations(entries)) :]
        doubtful = await renewal_keys.doubtful_slots(raw, keyring, removed=gone)
    return _Broken(header, store, log, damaged, taken, beyond, removed, rotated, doubtful)


class _Search(NamedTuple):
    """What is known and stored, before points are looked for."""

    remains: Remains
    staged: tuple[Staged, ...]
    present: dict[str, None]
    lost: tuple[int, ...]
    points: PointSearch


async def _looked(broken: _Broken, /, *, executor: Executor) -> _Search | None:
    """Return what is known and stored; None: nothing is lost."""
    store, header = broken.store, broken.header
    numbered = [*enumerate(broken.log.history.entries, start=1), *broken.beyond.items()]
    behind = range(broken.first, broken.last + 1)
    lost = tuple(number for number in behind if number not in broken.beyond)
    staged = await staged_manifests(store, header, executor=executor)
    present: dict[str, None] = {}
    for prefix in _OF_SESSIONS:
        present.update(dict.fromkeys(await store.names(prefix)))
    remains = Remains(numbered, lost=lost)
    points = PointSearch(store, header, remains, staged, present)
    at_end = points.lost_at_end()
    if at_end:
        end = broken.last + 1
        remains = Remains(numbered, lost=(*lost, *range(end, end + at_end)))
        points = PointSearch(store, header, remains, staged, present)
    elif not broken.damaged:
        return None
    return _Search(remains, staged, present, lost, points)


async def _decided(
    broken: _Broken,
    search: _Search,
    /,
    *,
    at: Instant,
    executor: Executor,
    progress: Callable[[int, int], None],
) -> tuple[Renewed, LogRenewedEntry]:
    """Return what was found, and the entry that says so."""
    remains, history = search.remains, broken.log.history
    found = await search.points.found(progress)
    named, sealed = await _spoken_of(broken, executor=executor)
    sessions = _unknown(search, {**sealed, **found.used})
    # Each lost entry may have opened one run, of which nothing else is left.
    spare = max(len(search.lost), 1 + len(sessions))
    gone = [name for name in named if name not in search.present]
    gone += [name for name in remains.swept if name not in found.used]
    entry = LogRenewedEntry(
        first=broken.first,
        points=tuple(map(_live, found.live)),
        epochs=_epochs(search, spare),
        floor=Epoch(remains.floor + spare),
        runs=tuple(run for name, run in remains.sessions.items() if history.opened(name) is None)
        + tuple(KnownRun(machine=MachineId(""), epoch=Epoch(0), session=s) for s in sessions),
        gone=tuple(name for name in sorted({*gone}) if not history.is_swept(name)),
        removed=broken.removed,
        rotated=broken.rotated,
        domains=tuple(
            each
            for each in await stored_domains(broken.store)
            if each.domain not in history.domains and each.domain not in remains.shredded
        ),
        shredded=tuple(each for each in remains.shredded if each not in history.shredded),
        at=at,
    )
    number = max(broken.last + 1, broken.first)
    return Renewed(number, search.lost, found, broken.doubtful), entry


def _live(entry: PointCommittedEntry) -> LivePoint:
    return LivePoint(
        machine=entry.machine,
        epoch=entry.epoch,
        point=entry.point,
        manifest=entry.manifest,
        digest=entry.digest,
    )


def _epochs(search: _Search, spare: int) -> tuple[TakenEpoch, ...]:
    """Return for each machine the highest epoch that a run of it may have taken."""
    highest = dict(search.remains.epochs)
    for run in (each.record.run for each in search.staged):
        highest[run.machine] = max(highest.get(run.machine, run.epoch), run.epoch)
    return tuple(
        TakenEpoch(machine=machine, epoch=Epoch(highest[machine] + spare))
        for machine in sorted(highest)
    )


async def _spoken_of(
    broken: _Broken, /, *, executor: Executor
) -> tuple[tuple[str, ...], dict[str, None]]:
    """Return the packs that lists of blocks speak of, and the names of the sound lists."""
    packs, sound = NameTable(), dict[str, None]()
    for prefix in (INDEX, ANCHORS):
        for names in batches(await broken.store.names(prefix)):
            for portion in await read_portions(
                broken.store, broken.header.key, names, packs, executor=executor
            ):
                sound[portion.name] = None
    return packs.names(), sound


def _unknown(search: _Search, ours: dict[str, None]) -> tuple[str, ...]:
    """Return the sessions of stored objects that no entry speaks of.

    Its name alone makes nobody's file an object of a run: a sealed object must speak of it, or it
    is named as only a run names what it writes.
    """
    own = {session_of(name.removeprefix("copies/")) for name in ours}
    found = {session_of(name.removeprefix("copies/")) for name in search.present}
    return tuple(
        sorted(
            session
            for session in found
            if session not in search.remains.sessions
            and not is_mend(session)
            and (session in own or _SESSION.fullmatch(bare(session)))
        )
    )


async def _written(broken: _Broken, number: int, entry: LogRenewedEntry) -> bool:
    """Return whether the history goes on with the entry; False: look again, it has changed."""
    free = [n for n in range(broken.first, number) if n not in broken.taken]
    for each in free[:_TAKEN_MAX]:
        if not await broken.log.take(each):
            return False
    return await broken.log.renew(number, entry)
