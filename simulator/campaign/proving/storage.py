"""The one storage that all processes of a run share, and small objects to fill it with."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from reference_engine.adapters.directory_store import DirectoryStore
from reference_engine.model.units import SECOND, ByteCount, Instant
from reference_engine.repository import (
    known_index,
    map_writer,
    pack,
    page_mover,
    repack_rule,
    storing,
)
from simulator.facade.file_system import FileSystemFacade
from simulator.faults.storage import StorageClock, StorageFaults
from simulator.kernel.streams import Stream
from simulator.world.file_system import CrashableFiles, Durability

ROOT: Final = "/backups/store"
_EPOCH: Final = 1_700_000_000


class Storage:
    """A machine that keeps files: its disk, its clock, what fails on it, and who works on it."""

    def __init__(self, files: CrashableFiles, chance: Stream, /, *, now: int = _EPOCH) -> None:
        self.files, self.chance = files, chance
        self.clock = StorageClock(now)
        self.faults = StorageFaults(self.clock)
        self._views: list[FileSystemFacade] = []

    @classmethod
    def empty(cls, durability: Durability, chance: Stream, /) -> "Storage":
        """Return a storage with the directory in which repositories are made."""
        files = CrashableFiles(durability)
        files.make_directory("/backups")
        files.flush_directory("/")
        return cls(files, chance)

    def process(self) -> tuple[DirectoryStore, FileSystemFacade]:
        """Return the store as a new process sees it, and what that process works through."""
        view = FileSystemFacade(self.files, self.faults, self.chance)
        self._views.append(view)
        return DirectoryStore(Path(ROOT), files=view), view

    def now(self) -> Instant:
        """Return what the storage's clock shows, in microseconds."""
        return Instant(self.clock.shown * SECOND)

    def after_power_cut(self) -> "Storage":
        """Return the storage with the power back and nothing running; nothing fails any more."""
        for view in self._views:
            view.die()
        return self.cut()

    def cut(self) -> "Storage":
        """Return the storage as a power cut at this moment would leave it; here all goes on."""
        return Storage(
            self.files.after_power_cut(self.chance), self.chance, now=self.clock.now + 60
        )

    def copied(self, chance: Stream, /) -> "Storage":
        """Return an independent storage with the same files."""
        return Storage(self.files.copied(), chance, now=self.clock.now)


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """How large objects get, in bytes."""

    pack: ByteCount
    frame: ByteCount
    maps: ByteCount
    repacked: ByteCount
    """How much one round of a repack takes up."""


TINY: Final = Sizes(
    pack=ByteCount(160), frame=ByteCount(64), maps=ByteCount(400), repacked=ByteCount(1_200)
)
"""A few blocks of 16 to 64 bytes fill several objects."""

ONE_BLOCK: Final = Sizes(
    pack=ByteCount(8_192), frame=ByteCount(65_536), maps=ByteCount(400), repacked=ByteCount(65_536)
)
"""Each block of 64 KiB, of which an eighth does not compress away, fills one."""


@contextmanager
def small_objects(sizes: Sizes = TINY, /) -> Iterator[None]:
    """Let packs, frames and objects of pages be so small that a few blocks fill several."""
    planted = (
        (pack, "PACK_MAX", sizes.pack),
        (pack, "FRAME_SIZE", sizes.frame),
        (storing, "FRAME_SIZE", sizes.frame),
        (page_mover, "FRAME_SIZE", sizes.frame),
        (map_writer, "MAPS_MAX", sizes.maps),
        (repack_rule, "ROUND_MAX", sizes.repacked),
        (known_index, "KEPT_ROWS", 1),
    )
    kept = [(owner, name, getattr(owner, name)) for owner, name, _ in planted]
    for owner, name, size in planted:
        setattr(owner, name, size)
    try:
        yield
    finally:
        for owner, name, size in kept:
            setattr(owner, name, size)
