"""Rules of what builds on others' objects, of parity and of the local index, taken away."""

from typing import Any

from reference_engine.repository.codec import LogRecord, copy_name, encode_record, log_name
from reference_engine.repository.envelope import TAG
from reference_engine.repository.group_parity import PackGroups
from reference_engine.repository.index_cache import _Run
from reference_engine.repository.log import Log
from reference_engine.repository.reliance import Reliance
from reference_engine.repository.repack_run import RepackRun
from reference_engine.upkeep import repair, replacing
from simulator.campaign.planted_bugs import Patch
from simulator.campaign.proving.removed_reclaim_rules import open_runs_not_awaited


async def _nothing(*_: object, **__: object) -> None:
    """Leave a rule out."""


def moves_undone_after_commit() -> list[Patch]:
    """A repack deletes what it stored although its commit may have been carried out."""
    abandon = RepackRun.abandon

    async def careless(self: Any) -> None:
        self._committing = False
        await abandon(self)

    return [(RepackRun, "abandon", careless)]


def found_blocks_not_checked() -> list[Patch]:
    """A run does not look whether packs in which it found blocks were swept, and nobody waits."""
    return [(Reliance, "borrow", lambda *_: None), *open_runs_not_awaited()]


def copy_before_entry() -> list[Patch]:
    """The copy of an entry is written first, though the number may become another's."""
    append_after = Log.append_after

    async def eager(self: Any, number: int, entry: Any, /) -> bool:
        if number == len(self.history.entries):
            record = LogRecord(number=number + 1, previous=self._tip, entry=entry)
            content = encode_record(self._key, record)
            await self._store.create(copy_name(log_name(number + 1)), content)
        return await append_after(self, number, entry)

    return [(Log, "append_after", eager)]


def runs_unsealed() -> list[Patch]:
    """The local index is believed, damaged or not."""

    def opened(self: Any, bucket: int, sealed: Any) -> bytearray | None:
        plain = bytearray(max(len(sealed) - TAG, 0))
        self.cipher.open(1 + bucket, memoryview(sealed), memoryview(plain))
        return plain

    return [(_Run, "opened", opened)]


def groups_closed_when_full() -> list[Patch]:
    """A point is committed while packs of its are in no closed group."""
    return [(PackGroups, "close", _nothing)]


def damage_kept_late() -> list[Patch]:
    """What a repair replaces is deleted first, and put into quarantine then."""

    async def set_aside(store: Any, name: str, /) -> None:
        found = await store.read(name)
        if found is not None:
            await store.delete(name)
            await replacing.keep_aside(store, name, found)

    return [(replacing, "set_aside", set_aside), (repair, "set_aside", set_aside)]
