"""One safety rule taken away at a time: patches of the real store and the real repository."""

import contextlib
from typing import Any

import numpy as np

from reference_engine.adapters.directory_store import DirectoryStore
from reference_engine.model.errors import TransientError
from reference_engine.repository import log, publish
from reference_engine.repository.codec import LogRecord, encode_record, log_name
from reference_engine.repository.index_writer import IndexWriter
from reference_engine.repository.log import Log
from reference_engine.repository.map_writer import MapWriter
from reference_engine.repository.pack import PackWriter
from reference_engine.repository.storing import BlockStorer
from reference_engine.repository.write_session import WriteSession
from simulator.campaign.planted_bugs import Patch


async def _nothing(*_: object, **__: object) -> None:
    """Leave a rule out."""


async def _written(store: Any, path: str, content: Any) -> int:
    """Return the descriptor of a new file with this content, not flushed."""
    descriptor: int = await store._files.create(path)  # noqa: SLF001 - a planted bug
    rest = memoryview(content)
    while rest:
        rest = rest[await store._files.write(descriptor, rest) :]  # noqa: SLF001
    return descriptor


def no_file_flush() -> list[Patch]:
    """An object gets its name without its content being flushed."""

    async def write_whole(self: Any, path: str, content: Any) -> None:
        await self._files.close(await _written(self, path, content))

    return [(DirectoryStore, "_write_whole", write_whole)]


def no_name_flush() -> list[Patch]:
    """An object is acknowledged before its directory is flushed."""
    return [(DirectoryStore, "_flush_name", _nothing)]


def no_parent_flush() -> list[Patch]:
    """A new directory is not flushed in its parent."""

    async def make_directory(self: Any, directory: str, made: list[str]) -> None:
        if not await self._files.exists(directory):
            await make_directory(self, directory.rpartition("/")[0], made)
            with contextlib.suppress(FileExistsError):
                await self._files.make_directory(directory)

    return [
        (DirectoryStore, "_make_directory", make_directory),
        (DirectoryStore, "_let_last", _nothing),
    ]


def visible_directory_trusted() -> list[Patch]:
    """A directory that another process made is taken for durable."""
    return [(DirectoryStore, "_let_last", _nothing)]


def named_before_flush() -> list[Patch]:
    """An object gets its name first and is flushed then."""

    async def link_whole(self: Any, path: str, content: Any) -> bool:
        temporary = f"{path}~{self._files.token()}"
        descriptor = await _written(self, temporary, content)
        try:
            await self._files.link(temporary, path)
            await self._files.flush(descriptor)
        except FileExistsError:
            return False
        finally:
            with contextlib.suppress(OSError):
                await self._files.close(descriptor)
                await self._files.unlink(temporary)
        return True

    return [(DirectoryStore, "_link_whole", link_whole)]


def written_in_place() -> list[Patch]:
    """An object is written under its own name."""

    async def link_whole(self: Any, path: str, content: Any) -> bool:
        try:
            await self._write_whole(path, content)
        except FileExistsError:
            return False
        return True

    return [(DirectoryStore, "_link_whole", link_whole)]


def flush_repeated() -> list[Patch]:
    """A flush that failed is tried again on the same file."""

    async def write_whole(self: Any, path: str, content: Any) -> None:
        descriptor = await _written(self, path, content)
        try:
            await self._files.flush(descriptor)
        except OSError:
            await self._files.flush(descriptor)
        await self._files.close(descriptor)

    return [(DirectoryStore, "_write_whole", write_whole)]


def short_write_accepted() -> list[Patch]:
    """What a write left out is not written by another one."""

    async def write_whole(self: Any, path: str, content: Any) -> None:
        descriptor = await self._files.create(path)
        await self._files.write(descriptor, memoryview(content))
        await self._files.flush(descriptor)
        await self._files.close(descriptor)

    return [(DirectoryStore, "_write_whole", write_whole)]


def name_taken_over() -> list[Patch]:
    """An object replaces the one that has its name."""

    async def link_whole(self: Any, path: str, content: Any) -> bool:
        temporary = f"{path}~{self._files.token()}"
        await self._write_whole(temporary, content)
        with contextlib.suppress(FileNotFoundError):
            await self._files.unlink(path)
        await self._files.link(temporary, path)
        await self._files.unlink(temporary)
        return True

    return [(DirectoryStore, "_link_whole", link_whole)]


def visible_object_trusted() -> list[Patch]:
    """An object that is there already is taken for durable."""
    create = DirectoryStore._create  # noqa: SLF001 - a planted bug

    async def trusting(self: Any, path: str, content: Any) -> bool:
        if await self._files.exists(path):
            return False
        return await create(self, path, content)

    return [(DirectoryStore, "_create", trusting)]


def failed_read_is_absence() -> list[Patch]:
    """An object that cannot be read this time is taken for absent."""

    async def read(self: Any, path: str) -> bytes | None:
        try:
            found: bytes = await self._files.read(path, offset=0, length=None)
        except OSError:
            return None
        return found

    return [(DirectoryStore, "_read", read)]


def _late(owner: Any) -> list[Patch]:
    """Have something become durable only after the commit."""
    flush, commit = owner.flush, WriteSession.commit

    async def commit_then_flush(self: Any) -> None:
        await commit(self)
        await flush(self._packs if owner is PackWriter else self._maps)

    return [(owner, "flush", _nothing), (WriteSession, "commit", commit_then_flush)]


def commit_before_packs() -> list[Patch]:
    """The log entry is written before the last packs."""
    return _late(PackWriter)


def commit_before_maps() -> list[Patch]:
    """The log entry is written before the last pages of the block map."""
    return _late(MapWriter)


def commit_before_manifest() -> list[Patch]:
    """The log entry is written before the manifest and its copy."""
    stage, commit = WriteSession.stage, WriteSession.commit

    async def stage_nothing(self: Any, point: Any, /) -> None:
        store = self._store
        self._store = _Forgetful()
        try:
            await stage(self, point)
        finally:
            self._store = store
        self._late_point = point

    async def commit_then_stage(self: Any) -> None:
        await commit(self)
        progress = self._progress
        self._progress = type(progress).STAGED
        await stage(self, self._late_point)
        self._progress = progress

    return [(WriteSession, "stage", stage_nothing), (WriteSession, "commit", commit_then_stage)]


class _Forgetful:
    """A store that says that it has stored what it is given."""

    async def create(self, *_: object) -> bool:
        """Say so."""
        return True


def index_before_packs() -> list[Patch]:
    """Other runs find blocks in packs that are not durable, and may never be."""
    publish_portion, put = IndexWriter._publish, WriteSession.put_blocks  # noqa: SLF001 - a planted bug

    async def publish_all(self: Any, _: Any, **number: Any) -> None:
        packs = [places[:, 0] for _, places in self._added]
        if packs:
            await publish_portion(self, np.concatenate(packs), **number)

    async def publish_at_once(self: Any, *blocks: Any, **changed: Any) -> Any:
        fresh = await put(self, *blocks, **changed)
        await self._storer._index._publish(())  # noqa: SLF001
        return fresh

    return [(IndexWriter, "_publish", publish_all), (WriteSession, "put_blocks", publish_at_once)]


def listed_packs_discarded() -> list[Patch]:
    """A run that is abandoned deletes packs that others may have found in its index."""

    async def discard(self: Any) -> None:
        await self.packs.discard(keep=set())

    return [(BlockStorer, "discard", discard)]


def visible_entry_trusted() -> list[Patch]:
    """Entries of the log that others wrote are taken for durable."""
    return [(DirectoryStore, "make_durable", _nothing)]


def number_taken_unseen() -> list[Patch]:
    """After a collision the entry is written at the next number without being decided again."""

    async def append(self: Any, decide: Any, /) -> Any:
        await self.settle()
        entry = decide(self.history)
        while entry is not None:
            number = len(self.history.entries) + 1
            record = LogRecord(number=number, previous=self._tip, entry=entry)
            content = encode_record(self._key, record)
            if await publish.publish(self._store, log_name(number), content):
                if number == len(self.history.entries) + 1:
                    self._accept(number, content)
                break
            await self.settle()
        return entry

    return [(Log, "append", append)]


def lost_answer_is_success() -> list[Patch]:
    """A create that reported a failure is taken for done."""
    original = publish.publish

    async def trusting(store: Any, name: str, content: Any, /) -> bool:
        try:
            return await original(store, name, content)
        except TransientError:
            return True

    return [(publish, "publish", trusting), (log, "publish", trusting)]


def superseded_run_commits() -> list[Patch]:
    """A run commits although a newer run of its machine was opened."""

    def decide(self: Any, history: Any) -> Any:
        return None if history.has_committed(self._entry) else self._entry

    return [(WriteSession, "_decide", decide)]


def abandoned_after_commit() -> list[Patch]:
    """A run deletes what it stored although its commit may have been carried out."""
    abandon = WriteSession.abandon

    async def careless(self: Any) -> None:
        self._progress = type(self._progress).STAGED
        await abandon(self)

    return [(WriteSession, "abandon", careless)]
