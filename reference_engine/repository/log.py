"""The history: numbered entries without gaps, each naming the digest of the one before.

Numbers are taken by create-if-absent of the next one. Whoever appends has read every entry below
its own, so what an entry claims was decided with full knowledge of its past.

Where entries were lost, an entry of a later number may say what stands, and the history goes on
behind that one: the numbers in between are void for ever, whether they can be read or not.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from reference_engine.model.errors import OperationFailedError, RefusedError, TransientError
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Executor
from reference_engine.repository.codec import (
    Entry,
    LogRecord,
    copy_name,
    decode_record,
    encode_record,
    log_name,
    object_digest,
)
from reference_engine.repository.errors import LogDamagedError
from reference_engine.repository.header import Header
from reference_engine.repository.history import History
from reference_engine.repository.publish import publish
from reference_engine.repository.renewal_entries import EntryLostEntry, LogRenewedEntry
from reference_engine.repository.together import read_together

_ENTRY: Final = re.compile("(?:copies/)?log/([0-9]{10})")
TOGETHER_FROM: Final = 256
"""A history as long as this is not read one request after the other."""

COLLISIONS_MAX: Final = 1000
"""Every collision is another writer's progress; more in a row than this is a broken store."""


class Log:
    """The entries read so far, and the way to the next number."""

    def __init__(
        self, store: BlobStore, header: Header, header_content: bytes, /, *, executor: Executor
    ) -> None:
        self._store, self._executor = store, executor
        self._key = header.key
        self._digests = [object_digest(header.key, header_content)]
        """Of the header and of every entry; of a void number none."""

        self._newest = b""
        self._copied = 0
        self._durable = 0
        self._by_copy = False
        """Whether the newest entry that was read in turn is there as a copy only."""

        self.history = History()
        """What has been read."""

    @property
    def _tip(self) -> str:
        return self._digests[-1]

    async def numbers(self, *prefixes: str) -> dict[int, list[str]]:
        """Return the numbers that are taken, ascending, with the objects of each.

        `prefixes` are of what is listed: entries, copies; without any, both.
        """
        found: dict[int, list[str]] = {}
        for prefix in prefixes or ("log/", copy_name("log/")):
            for name in await self._store.names(prefix):
                # Somebody's file beside the entries is none of them.
                match = _ENTRY.fullmatch(name)
                if match is not None and int(match[1]):
                    found.setdefault(int(match[1]), []).append(name)
        return dict(sorted(found.items()))

    async def check_complete(self) -> None:
        """Read the whole history and make sure that no entry is missing before a listed one.

        Raises:
            LogDamagedError: there is a gap, or an entry is not what was written; what was read
                before it is in `history`.
        """
        taken = await self.numbers("log/")
        last, together = max(taken, default=0), True
        while True:
            ahead = [log_name(number) for number in taken if number > len(self.history.entries)]
            if together and len(ahead) >= TOGETHER_FROM:
                await self._read_together(ahead)
            read = len(self.history.entries)
            if not await self._read_next():
                if last <= read and self._by_copy:
                    # The newest entries are there as copies only, perhaps not all of them. What
                    # has landed before this listing is read once more.
                    self._by_copy = False
                    taken = await self.numbers()
                    last = max(taken, default=0)
                    continue
                if last <= read:
                    return
                if not await self._renewed_behind(read + 1):
                    cause = f"it is missing although {taken[last][0]} exists"
                    raise LogDamagedError(read + 1, cause)
            # Behind numbers that are void there may be many again.
            together = len(self.history.entries) > read + 1

    async def _read_together(self, names: list[str]) -> None:
        """Read entries that are listed, several at a time, up to the first that is not sound."""
        try:
            async for name, content in read_together(self._store, names, executor=self._executor):
                number = len(self.history.entries) + 1
                if name != log_name(number) or content is None:
                    return
                self._accept(number, content)
        except (LogDamagedError, TransientError):
            # Its copy is asked for by whoever reads one after the other.
            return

    async def refresh(self) -> None:
        """Read every entry that was appended since.

        Raises:
            LogDamagedError: an entry is not what was written.
        """
        while await self._read_next():
            pass

    async def _read_next(self) -> bool:
        """Return whether there is a next entry, which is read now."""
        number = len(self.history.entries) + 1
        damage: LogDamagedError | None = None
        failure: TransientError | None = None
        for name in (log_name(number), copy_name(log_name(number))):
            # The copy is asked for an absent entry too: a number that was taken stays taken.
            try:
                content = await self._store.read(name)
                # Another task of this process may have read the same entry meanwhile.
                if content is not None and number > len(self.history.entries):
                    self._accept(number, content)
            except LogDamagedError as error:
                damage = damage or error
            except TransientError as error:
                failure = failure or error
            if number <= len(self.history.entries):
                self._by_copy = name != log_name(number)
                return True
        if failure is not None:
            # As long as one copy may be sound, nothing is known to be lost.
            raise failure
        if damage is not None and not await self._renewed_behind(number):
            raise damage
        return damage is not None

    async def _renewed_behind(self, lost: int) -> bool:
        """Return whether the history goes on behind numbers that are void, of which `lost` is one.

        The newest entry that says so counts: whoever wrote it could not read an earlier one.
        """
        taken = await self.numbers()
        numbered = {name: n for n in sorted(taken, reverse=True) if n > lost for name in taken[n]}
        async for name, content in read_together(self._store, [*numbered], executor=self._executor):
            number = numbered[name]
            try:
                record = decode_record(self._key, number, content or b"")
                if isinstance(record.entry, LogRenewedEntry) and record.entry.first <= lost:
                    assert content is not None, number
                    self._accept(number, content)
                    return True
            except LogDamagedError:
                continue
        return False

    async def settle(self) -> None:
        """Read every entry that was appended since, and make sure that all of them will stay.

        Somebody else's entry may be visible before it is durable. Whoever builds on it, by a
        commit or by a deletion, would be left with a fact that a power cut undid.

        Raises:
            LogDamagedError: an entry is not what was written.
        """
        await self.refresh()
        while (number := len(self.history.entries)) > self._durable:
            # The ones before are durable: whoever appended this one had settled them.
            await self._store.make_durable(log_name(number))
            self._durable = max(self._durable, number)

    def _accept(self, number: int, content: bytes) -> None:
        record = decode_record(self._key, number, content)
        if record.number != number:
            raise LogDamagedError(number, f"it says that it is entry {record.number}")
        if isinstance(record.entry, EntryLostEntry):
            raise LogDamagedError(number, "it was lost")
        if isinstance(record.entry, LogRenewedEntry):
            self._pass_over(record, record.entry.first)
        elif record.previous != self._tip:
            raise LogDamagedError(number, "it does not continue the entry before")
        self.history.accept(record.entry)
        self._digests.append(object_digest(self._key, content))
        self._newest = content

    def _pass_over(self, record: LogRecord, first: int) -> None:
        """Let the numbers from `first` to before this entry be void, whatever was read there."""
        read, number = len(self.history.entries), record.number
        known = 1 <= first <= min(read + 1, number) and self._digests[first - 1] == record.previous
        if not known or not record.previous:
            raise LogDamagedError(number, "it does not continue the entry before")
        if first <= read:
            entries = self.history.entries[: first - 1]
            self.history = History()
            for entry in entries:
                self.history.accept(entry)
            del self._digests[first:]
            self._durable = min(self._durable, first - 1)
        for _ in range(first, number):
            self.history.accept(EntryLostEntry())
            self._digests.append("")

    async def take(self, number: int, /) -> bool:
        """Return whether a number that was lost is taken: nobody can append there any more.

        False: somebody has taken it before.
        """
        record = LogRecord(number=number, previous="", entry=EntryLostEntry())
        return await publish(self._store, log_name(number), encode_record(self._key, record))

    async def renew(self, number: int, entry: LogRenewedEntry, /) -> bool:
        """Return whether the history, which ends before `entry.first`, goes on with `entry`.

        False: somebody else has taken `number`, so that the log is to be looked at again.

        Raises:
            TransientError: the store failed; whether the entry exists shows when the log is read.
        """
        before = len(self.history.entries)
        assert before + 1 == entry.first <= number, (before, entry.first, number)
        if before:
            await self._store.make_durable(log_name(before))
        record = LogRecord(number=number, previous=self._tip, entry=entry)
        content = encode_record(self._key, record)
        if not await publish(self._store, log_name(number), content):
            return False
        self._accept(number, content)
        await self._copy_newest()
        self._durable = number
        return True

    async def append_after(self, number: int, entry: Entry, /) -> bool:
        """Return whether `entry` is in the log now, right behind entry `number`.

        False: another entry is there, and what was decided without knowing it must be decided
        again. The caller has settled the log up to `number`.

        Raises:
            TransientError: the store failed; whether the entry exists shows when the log is read.
            LogDamagedError: the store has lost entry `number`; open the repository again.
        """
        if number != len(self.history.entries):
            return False
        await self._confirm_newest()
        # Whoever wrote the newest entry may have died before its copy.
        await self._copy_newest()
        record = LogRecord(number=number + 1, previous=self._tip, entry=entry)
        content = encode_record(self._key, record)
        if not await publish(self._store, log_name(number + 1), content):
            return False
        if number == len(self.history.entries):
            self._accept(number + 1, content)
            await self._copy_newest()
        self._durable = max(self._durable, number + 1)
        return True

    async def append(self, decide: Callable[[History], Entry | None], /) -> Entry | None:
        """Append what `decide` makes of the whole history; None from it appends nothing.

        `decide` is called again after every collision, with what the others appended.

        Raises:
            TransientError: the store failed; whether the entry exists shows when the log is read.
            LogDamagedError: the store has lost what was read of it; open the repository again.
        """
        for _ in range(COLLISIONS_MAX):
            await self.settle()
            number = len(self.history.entries)
            entry = decide(self.history)
            if entry is None or await self.append_after(number, entry):
                return entry
        raise OperationFailedError("appending to the log", "other writers were always faster")

    async def _confirm_newest(self) -> None:
        """Make sure that the newest entry is still there, whatever the store has been through.

        A store may lose what it called durable. Whoever remembers it would leave a gap behind him,
        and nobody could read on; without him, the history ends earlier, and goes on from there.
        """
        number = len(self.history.entries)
        if not number:
            return
        for name in (log_name(number), copy_name(log_name(number))):
            if await self._store.read(name) is not None:
                return
        raise LogDamagedError(number, "the store has lost it since it was read")

    async def _copy_newest(self) -> None:
        """Write the copy of the newest entry; the entry stands without it, so it may fail."""
        number, content = len(self.history.entries), self._newest
        if self._copied < number:
            with suppress(TransientError, RefusedError):
                await self._store.create(copy_name(log_name(number)), content)
                self._copied = number
