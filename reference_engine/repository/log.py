"""The history: numbered entries without gaps, each naming the digest of the one before.

Numbers are taken by create-if-absent of the next one. Whoever appends has read every entry below
its own, so what an entry claims was decided with full knowledge of its past.
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

_ENTRY: Final = re.compile("log/[0-9]{10}")
TOGETHER_FROM: Final = 256
"""A history as long as this is not read one request after the other."""

_TOGETHER: Final = 64
COLLISIONS_MAX: Final = 1000
"""Every collision is another writer's progress; more in a row than this is a broken store."""


class Log:
    """The entries read so far, and the way to the next number."""

    def __init__(
        self, store: BlobStore, header: Header, header_content: bytes, /, *, executor: Executor
    ) -> None:
        self._store, self._executor = store, executor
        self._key = header.key
        self._tip = object_digest(header.key, header_content)
        self._newest = b""
        self._copied = 0
        self._durable = 0
        self.history = History()
        """What has been read."""

    async def check_complete(self) -> None:
        """Read the whole history and make sure that no entry is missing before a listed one.

        Raises:
            LogDamagedError: there is a gap, or an entry is not what was written.
        """
        # Somebody's file beside the entries is none of them.
        names = [n for n in await self._store.names("log/") if _ENTRY.fullmatch(n)]
        listed = max([*names, ""])
        if len(names) >= TOGETHER_FROM:
            await self._read_together(sorted(names))
        await self.refresh()
        read = len(self.history.entries)
        if listed > (log_name(read) if read else "log/"):
            raise LogDamagedError(read + 1, f"it is missing although {listed} exists")

    async def _read_together(self, names: list[str]) -> None:
        """Read entries that are listed, several at a time, up to the first that is not sound."""
        for start in range(0, len(names), _TOGETHER):
            part = names[start : start + _TOGETHER]
            try:
                contents = await self._executor.ask_all(
                    [lambda name=name: self._store.read(name) for name in part]  # type: ignore[misc]
                )
                for name, content in zip(part, contents, strict=True):
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
        while True:
            number = len(self.history.entries) + 1
            failure: LogDamagedError | TransientError | None = None
            for name in (log_name(number), copy_name(log_name(number))):
                # The copy is asked for an absent entry too: a number that was taken stays taken.
                try:
                    content = await self._store.read(name)
                    # Another task of this process may have read the same entry meanwhile.
                    if content is not None and number > len(self.history.entries):
                        self._accept(number, content)
                except (LogDamagedError, TransientError) as error:
                    failure = failure or error
                if number <= len(self.history.entries):
                    break
            else:
                if failure is not None:
                    raise failure
                return

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
        if record.previous != self._tip:
            raise LogDamagedError(number, "it does not continue the entry before")
        self.history.accept(record.entry)
        self._tip, self._newest = object_digest(self._key, content), content

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
        for name in (log_name(number), copy_name(log_name(number))) if number else ():
            if await self._store.read(name) is not None:
                return
        if number:
            raise LogDamagedError(number, "the store has lost it since it was read")

    async def _copy_newest(self) -> None:
        """Write the copy of the newest entry; the entry stands without it, so it may fail."""
        number, content = len(self.history.entries), self._newest
        if self._copied < number:
            with suppress(TransientError, RefusedError):
                await self._store.create(copy_name(log_name(number)), content)
                self._copied = number
