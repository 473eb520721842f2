"""Objects that are kept in several copies, or that can be made anew: is each as it was written?"""

from collections.abc import AsyncIterator, Callable
from typing import Final, NamedTuple

from reference_engine.model.errors import CorruptionError, RefusedError, TransientError
from reference_engine.repository.access import Keys
from reference_engine.repository.block_map import NameTable
from reference_engine.repository.codec import (
    ANCHORS,
    INDEX,
    PointCommittedEntry,
    copy_name,
    decode_manifest,
    decode_record,
    log_name,
    object_digest,
)
from reference_engine.repository.domain_keys import decode_domain_key, key_names
from reference_engine.repository.domain_names import OWN, domain_of
from reference_engine.repository.header import (
    HEADER_COPIES,
    HEADER_NAME,
    decode_header,
    encode_header,
)
from reference_engine.repository.keys.slots import decode_slot, slot_names
from reference_engine.repository.mending import MENDS, WANTED
from reference_engine.repository.pages import decode_segment
from reference_engine.repository.renewal_entries import EntryLostEntry, LogRenewedEntry
from reference_engine.repository.repository import Repository
from reference_engine.verification.findings import ObjectFinding, Problem

_DIFFERS: Final = "it differs from the other copy"


class Copies(NamedTuple):
    """What the copies of one object are, and which bytes all of them should have."""

    sound: bytes | None
    """None: no copy is right."""

    findings: tuple[ObjectFinding, ...]
    """One for each copy that is not."""


async def copies(
    repository: Repository, names: tuple[str, ...], /, *, flaw: Callable[[bytes], str]
) -> Copies:
    """Return what is wrong with each copy; `flaw` says what is wrong with bytes, or nothing."""
    found: dict[str, bytes] = {}
    findings: list[ObjectFinding] = []
    sound: bytes | None = None
    for name in names:
        try:
            content = await repository.store.read(name)
        except TransientError as error:
            findings.append(
                ObjectFinding(object=name, problem=Problem.UNREADABLE, cause=str(error))
            )
            continue
        if content is None:
            findings.append(
                ObjectFinding(object=name, problem=Problem.MISSING, cause="it is missing")
            )
            continue
        cause = flaw(content)
        if cause:
            findings.append(ObjectFinding(object=name, problem=Problem.DAMAGED, cause=cause))
        else:
            found[name] = content
            sound = content if sound is None else sound
    for name, content in found.items():
        if content != sound:
            findings.append(ObjectFinding(object=name, problem=Problem.DAMAGED, cause=_DIFFERS))
    return Copies(sound, tuple(findings))


async def metadata(repository: Repository, /) -> AsyncIterator[tuple[tuple[str, ...], Copies]]:
    """Yield header, log, keys of all kinds and manifests: the names of copies, and their state.

    Pages are looked at one by one, by `BlockSurvey`.
    """
    header = (HEADER_NAME, *HEADER_COPIES)
    right = encode_header(repository.header.stored)
    yield header, await copies(repository, header, flaw=_header_flaw)
    key, entries = repository.header.key, await repository.entries()
    digests, last = [object_digest(key, right)], len(entries)
    for number, entry in enumerate(entries, start=1):
        if isinstance(entry, EntryLostEntry):
            # The number is void: what is stored there means nothing.
            digests.append("")
            continue
        tip = digests[entry.first - 1 if isinstance(entry, LogRenewedEntry) else -1]
        names = (log_name(number), copy_name(log_name(number)))
        state = await copies(repository, names, flaw=_record_flaw(key, number, tip))
        if number == last and [each.object for each in state.findings] == [names[1]]:
            state = _with_late_copy(state)
        yield names, state
        if state.sound is None:
            return
        digests.append(object_digest(key, state.sound))
    if repository.keys is not None:
        async for each in _slots(repository, repository.keys):
            yield each
    for domain in tuple(repository.reclaim.history.domains):
        names = key_names(domain)
        yield names, await copies(repository, names, flaw=_domain_key_flaw(domain))
    for entry in await repository.commits():
        names = (entry.manifest, copy_name(entry.manifest))
        yield names, await copies(repository, names, flaw=_manifest_flaw(repository, entry))


def _with_late_copy(newest: Copies) -> Copies:
    """Return the newest entry's state, of which the copy may not be written yet."""
    [finding] = newest.findings
    if finding.problem is not Problem.MISSING:
        return newest
    late = ObjectFinding(
        object=finding.object,
        problem=Problem.PENDING,
        cause="its entry stands; a run that was cut off left it to the next one",
    )
    return newest._replace(findings=(late,))


async def _slots(
    repository: Repository, keys: Keys
) -> AsyncIterator[tuple[tuple[str, ...], Copies]]:
    listed = [each for kind in slot_names("") for each in await repository.store.names(kind)]
    standing = {view.slot for view in await keys.slots()}
    for slot in sorted({name.rpartition("/")[2] for name in listed}):
        state = await copies(repository, slot_names(slot), flaw=_slot_flaw)
        if slot not in standing and state.sound is not None:
            continue  # It was removed, and opens nothing.
        # A checksum tells damage, not who wrote it: of two that differ, neither replaces the other.
        doubtful = any(each.cause == _DIFFERS for each in state.findings)
        yield slot_names(slot), Copies(None if doubtful else state.sound, state.findings)


def _domain_key_flaw(domain: str) -> Callable[[bytes], str]:
    def flaw(content: bytes) -> str:
        try:
            other = decode_domain_key(content).domain
        except ValueError as error:  # msgspec's errors are ValueErrors
            return str(error)
        return "" if other == domain else f"it is the key of {other}"

    return flaw


def _header_flaw(content: bytes) -> str:
    try:
        decode_header(content)
    except RefusedError as error:
        return str(error)
    return ""


def _slot_flaw(content: bytes) -> str:
    try:
        decode_slot(content)
    except ValueError as error:  # msgspec's errors are ValueErrors
        return str(error)
    return ""


def _record_flaw(key: bytes, number: int, tip: str) -> Callable[[bytes], str]:
    def flaw(content: bytes) -> str:
        try:
            record = decode_record(key, number, content)
        except CorruptionError as error:
            return str(error)
        if (record.number, record.previous) != (number, tip):
            return "it is another entry"
        return ""

    return flaw


def _manifest_flaw(repository: Repository, entry: PointCommittedEntry) -> Callable[[bytes], str]:
    def flaw(content: bytes) -> str:
        try:
            manifest = decode_manifest(
                repository.header.key,
                content,
                point=entry.point,
                seal=entry.digest,
                block_size=repository.block_size,
            )
        except CorruptionError as error:
            return str(error)
        other = manifest.record.id
        return "" if other == entry.point else f"it is {other}'s"

    return flaw


class Lists(NamedTuple):
    """What the lists of blocks are like."""

    findings: tuple[ObjectFinding, ...]
    indexed: tuple[str, ...]
    """The packs that the index speaks of."""


async def segments(repository: Repository, /) -> Lists:
    """Return what is wrong with the lists of blocks: of the index, of what is wanted and mended."""
    found: list[ObjectFinding] = []
    packs = {prefix: NameTable() for prefix in (INDEX, ANCHORS, WANTED, MENDS)}
    await repository.commits()  # reads the log: a domain may have come meanwhile
    standing = {OWN, *repository.reclaim.history.domains}
    for prefix, names in packs.items():
        for name in await repository.store.names(prefix):
            if domain_of(name) not in standing:
                continue  # It was shredded: nobody can read it, or has to.
            try:
                content = await repository.store.read(name)
                decode_segment(repository.header.key, content or b"", names)
            except ValueError as error:
                found.append(ObjectFinding(object=name, problem=Problem.DAMAGED, cause=str(error)))
            except TransientError as error:
                found.append(
                    ObjectFinding(object=name, problem=Problem.UNREADABLE, cause=str(error))
                )
    return Lists(tuple(found), packs[INDEX].names())
