"""The front door: create, open, list, open a run, read a point."""

from typing import Final

from reference_engine.model.errors import CorruptionError
from reference_engine.model.identity import Epoch, MachineId, RecoveryPointId, RunTag
from reference_engine.model.recovery_point import RecoveryPoint
from reference_engine.model.units import ByteCount
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.local_cache import LocalCache
from reference_engine.ports.runtime import Executor, Inline
from reference_engine.repository.access import Keys
from reference_engine.repository.codec import (
    Entry,
    Manifest,
    PointCommittedEntry,
    RunOpenedEntry,
)
from reference_engine.repository.domain_names import domain_of_session, in_domain
from reference_engine.repository.domains import Domains, base_in, home_of
from reference_engine.repository.errors import (
    PointRemovedError,
    RepositoryExistsError,
    RepositoryForeignError,
)
from reference_engine.repository.followed_maps import Moved, still
from reference_engine.repository.header import (
    HEADER_COPIES,
    HEADER_NAME,
    Header,
    encode_header,
    read_header,
)
from reference_engine.repository.history import History
from reference_engine.repository.inventory import Inventory
from reference_engine.repository.keys.slots import is_slot_object
from reference_engine.repository.known_index import Indexes
from reference_engine.repository.leases import Leases
from reference_engine.repository.log import Log
from reference_engine.repository.manifests import ManifestReader
from reference_engine.repository.object_locking import HeldObjects, begun, proven
from reference_engine.repository.opening import (
    PLAIN,
    Features,
    Unlock,
    entered,
    no_key,
    prepared,
)
from reference_engine.repository.pack import Level
from reference_engine.repository.publish import publish, publish_own
from reference_engine.repository.reader import PointReader
from reference_engine.repository.reclaim import Reclaim
from reference_engine.repository.reliance import Reliance
from reference_engine.repository.repack import Repack
from reference_engine.repository.segmented_store import SegmentedStore
from reference_engine.repository.settings import Settings
from reference_engine.repository.standing import Manifests, Standing
from reference_engine.repository.write_session import WriteSession

INLINE: Final = Inline()
NO_SETTINGS: Final = Settings()


class Repository:
    """The recovery points behind one blob store."""

    def __init__(
        self,
        store: BlobStore,
        header: Header,
        log: Log,
        /,
        *,
        executor: Executor,
        missing: tuple[str, ...],
        known: Indexes,
        keys: Keys | None = None,
        domains: Domains | None = None,
        held: HeldObjects | None = None,
    ) -> None:
        self._store, self._held = store, held
        self.keys = keys
        """The ways into an encrypted repository; None: it is not encrypted."""

        self.domains = domains
        """What of an encrypted repository can be destroyed by itself; None: it is not encrypted."""

        self.executor = executor
        """Does what burns a core."""

        self._missing, self._known, self._header, self._log = missing, known, header, log
        self._manifest_reader = reader = ManifestReader(store, header)
        self.manifests = Manifests(reader, log, executor=executor)
        """Reads what the log's entries speak of."""

        self.reclaim = Reclaim(store, header, log, manifests=reader, keys=keys, domains=domains)
        """Removes points, and gives their space back."""

        self.leases = Leases(log)
        """Keeps points that are being read."""

        self.repack = Repack(store, header, log, manifests=reader, executor=executor)
        """Moves what is used out of packs of which little is used."""

    @classmethod
    async def create(
        cls,
        store: BlobStore,
        /,
        *,
        identity_token: str,
        block_size: ByteCount,
        settings: Settings = NO_SETTINGS,
        executor: Executor = INLINE,
        features: Features = PLAIN,
        cache: LocalCache | None = None,
    ) -> "Repository":
        """Make an empty store a repository of blocks of `block_size` bytes.

        Raises:
            PackageMissingError: what the features need is not installed.
            RepositoryExistsError: it is one already.
            RepositoryForeignError: the store holds other objects.
        """
        present = await store.names("")
        # Equal bytes are an earlier attempt of the same call, whose answer was lost.
        if HEADER_NAME in present and features.encryption is not None:
            raise RepositoryExistsError
        others = [name for name in present if not is_slot_object(name)]
        if HEADER_NAME not in present and others:
            raise RepositoryForeignError(f"it holds {others[0]}")
        await proven(store, settings)
        header, unlock = await prepared(
            store,
            identity_token,
            features,
            block_size=block_size,
            settings=settings,
            executor=executor,
        )
        content = encode_header(header)
        if not await publish(store, HEADER_NAME, content):
            raise RepositoryExistsError
        for name in HEADER_COPIES:
            await publish_own(store, name, content)
        return await cls.open(store, executor=executor, unlock=unlock, cache=cache)

    @classmethod
    async def open(
        cls,
        store: BlobStore,
        /,
        *,
        executor: Executor = INLINE,
        unlock: Unlock = no_key,
        cache: LocalCache | None = None,
    ) -> "Repository":
        """Open the repository and read its whole history.

        `executor` does what burns a core; without one it is done in place. One sound copy of the
        header is enough. `unlock` is asked for a credential if the repository is encrypted. What
        is stored is looked up in `cache` where possible; without one all of the index is in memory.

        Raises:
            RepositoryAbsentError: there is none.
            RepositoryForeignError: what is there is not ours.
            RepositoryNewerError, RepositoryFeatureError: a later program wrote it.
            KeyNeededError, WrongKeyError, KeyRetiredError: the credential is none, or not right.
            PackageMissingError: what its features need is not installed.
            LogDamagedError: its history is not what was written.
        """
        found = await read_header(store)
        header, through, sealing, log, keys, domains = await entered(
            store, found.stored, found.content, executor=executor, unlock=unlock, cache=cache
        )
        return cls(
            through,
            header,
            log,
            executor=executor,
            missing=found.missing,
            known=Indexes(through, header, log, executor=executor, sealing=sealing, cache=cache),
            keys=keys,
            domains=domains,
            held=begun(store, header.settings, log, keys),
        )

    @property
    def identity(self) -> str:
        """The token that the repository was created with."""
        return self._header.repository

    @property
    def settings(self) -> Settings:
        """What the repository was told when it was made."""
        return self._header.settings

    @property
    def header(self) -> Header:
        """What the repository says of itself."""
        return self._header

    @property
    def store(self) -> BlobStore:
        """Where its objects are: for whoever looks after them."""
        return self._store

    async def entries(self, *, behind: int = 0) -> tuple[Entry, ...]:
        """Return the history, perhaps behind its first entries; entry n has number n + 1."""
        await self._log.refresh()
        return tuple(self._log.history.entries[behind:])

    @property
    def mended(self) -> dict[str, int]:
        """How many sectors of which objects were restored from parity, as they were read."""
        return self._store.mended if isinstance(self._store, SegmentedStore) else {}

    async def renew(self, name: str, /) -> bytes | None:
        """Store an object of `mended` as it was; return the damaged bytes, None where it cannot be.

        Raises:
            TransientError, RefusedError: the store failed, or cannot be written to.
        """
        return await self._store.renew(name) if isinstance(self._store, SegmentedStore) else None

    async def unprotected(self, packs: tuple[str, ...], /) -> tuple[str, ...]:
        """Return those of the packs beside which no parity stands although it should."""
        store = self._store
        return await store.unprotected(packs) if isinstance(store, SegmentedStore) else ()

    async def protect(self, name: str, /) -> bool:
        """Let parity stand beside a pack of `unprotected`; return False where it is not sound.

        Raises:
            TransientError, RefusedError: the store failed, or cannot be written to.
        """
        return isinstance(self._store, SegmentedStore) and await self._store.protect(name)

    @property
    def block_size(self) -> ByteCount:
        """How many bytes a block holds."""
        return self._header.block_size

    async def commits(self) -> tuple[PointCommittedEntry, ...]:
        """Return the log's word on every point there is, in commit order; no manifest is read."""
        await self._log.refresh()
        return tuple(self._log.history.live.values())

    async def points(self) -> tuple[RecoveryPoint, ...]:
        """Return every point there is, in commit order.

        Raises:
            ManifestDamagedError: one of them cannot be trusted; `commits` and `point` tell which.
        """
        return tuple([await self.manifests.record(entry) for entry in await self.commits()])

    async def point(self, point: RecoveryPointId, /) -> RecoveryPoint:
        """Return one committed point.

        Raises:
            PointUnknownError: it was never committed, or it has expired.
            ManifestDamagedError: its manifest is not what was written.
        """
        return await self.manifests.record(await self.manifests.entry(point))

    async def latest(self, machine: MachineId, /) -> RecoveryPoint | None:
        """Return the machine's newest point, or None where it has none.

        Raises:
            ManifestDamagedError: its manifest is not what was written.
        """
        await self._log.refresh()
        entries = self._log.history.live_of(machine)
        return await self.manifests.record(entries[-1]) if entries else None

    async def committed(self, run: RunTag, /) -> RecoveryPoint | None:
        """Return the point that this run committed; None: it did not, or it has expired.

        A point that is returned survives a power cut, also if its run died before it knew.

        Raises:
            TransientError, RefusedError: the store failed.
            ManifestDamagedError: it did, and the manifest is not what was written.
        """
        await self._log.refresh()
        entries = [e for e in self._log.history.live_of(run.machine) if e.epoch == run.epoch]
        if not entries:
            return None
        await self._log.settle()
        return await self.manifests.record(entries[-1])

    async def last_run(self, machine: MachineId, /) -> tuple[Epoch, bool]:
        """Return the machine's newest epoch, 0 with none, and whether its run came to no point."""
        await self._log.refresh()
        history, last = self._log.history, self._log.history.last(machine)
        return history.epoch(machine), not (last is None or isinstance(last, PointCommittedEntry))

    async def open_run(
        self,
        machine: MachineId,
        /,
        *,
        token: str,
        level: Level = Level.DEFAULT,
        domain: str | None = None,
    ) -> WriteSession:
        """Open a run: older runs of the machine can no longer commit.

        `token` is this call's own, never used before; it names the run's packs. `domain` names the
        dedup domain of the new point, '' the repository's own; None: that of the newest one. A
        newest point in another domain, or of which the manifest, or after a run that failed a page
        of its maps, is damaged, is no base: the run starts from nothing.

        Raises:
            DomainUnknownError, DomainShreddedError: there is no such domain (any more).
            TransientError: the store failed; opening again takes the next epoch.
        """
        await self._complete_header()

        base: PointCommittedEntry | None = None
        failed, swept_before = False, 0

        def decide(history: History) -> Entry:
            nonlocal base, failed, swept_before
            swept_before = history.swept_last
            home = home_of(history, machine, domain)
            base = base_in(history, machine, home)
            failed = not isinstance(history.last(machine), PointCommittedEntry)
            epoch = Epoch(history.epoch(machine) + 1)
            return RunOpenedEntry(machine=machine, epoch=epoch, session=in_domain(home, token))

        opened = await self._log.append(decide)
        assert isinstance(opened, RunOpenedEntry), opened
        # An older run can commit only below this entry, so this base stays the newest point.
        standing = None if base is None else await self._base(base, check=failed)
        return WriteSession(
            self._store,
            self._header,
            self._log,
            await self._known.of(domain_of_session(opened.session)),
            run=RunTag(machine=machine, epoch=opened.epoch),
            session=opened.session,
            base=None if standing is None else standing.manifest,
            reliance=Reliance(
                None if standing is None else standing.entry,
                swept_before=swept_before,
                held=self._held,
            ),
            executor=self.executor,
            level=level,
        )

    async def _complete_header(self) -> None:
        """Write the copies of the header that a crash left out, or that were lost."""
        for name in self._missing:
            await publish_own(self._store, name, encode_header(self._header.stored))
        self._missing = ()

    async def reader(self, point: RecoveryPointId, /) -> PointReader:
        """Return a reader of one committed point.

        Raises:
            PointUnknownError: it was never committed, or it has expired.
            ManifestDamagedError: its manifest is not what was written.
        """
        standing = await self.manifests.read(await self.manifests.entry(point))

        async def moved() -> Manifest | None:
            nonlocal standing
            found = await self.manifests.moved(standing)
            standing = found or standing
            return None if found is None else found.manifest

        return self._reader(standing.manifest, moved)

    def _reader(self, manifest: Manifest, moved: Moved) -> PointReader:
        return PointReader(self._store, self._header, manifest, executor=self.executor, moved=moved)

    def inventory(self) -> Inventory:
        """Return an empty count of points, to which those of `commits` are added."""
        return Inventory(self._store, self._header, self._manifest_reader)

    async def is_swept(self, name: str, /) -> bool:
        """Return whether no point may use the object any more, so that it may be gone."""
        await self._log.refresh()
        return self._log.history.is_swept(name)

    async def _base(self, entry: PointCommittedEntry, *, check: bool) -> Standing | None:
        try:
            standing = await self.manifests.read(entry)
            if check:
                # The run before came to nothing. Should a damaged page of the base be the reason,
                # then every run would end like it.
                reader = self._reader(standing.manifest, still)
                for disk in reader.disks:
                    await reader.allocated(disk)
        except (CorruptionError, PointRemovedError):
            return None
        return standing
