"""Blocks of one dedup domain that were lost: found again, stored anew, or left to the next run."""

import numpy as np
from blake3 import blake3

from reference_engine.model.errors import CorruptionError, OperationFailedError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import MachineId
from reference_engine.repository.assembling import Stretch
from reference_engine.repository.block_map import DIGEST_SIZE, NameTable
from reference_engine.repository.codec import INDEX, pack_name
from reference_engine.repository.domain_names import in_domain
from reference_engine.repository.mending import (
    MEND_SESSION,
    MENDS,
    WANTED,
    Lost,
    PlaceName,
    Rescue,
    contains,
    listed,
    outstanding,
    segment,
)
from reference_engine.repository.pack import Level, PackWriter, compressor
from reference_engine.repository.repository import Repository
from reference_engine.repository.write_session import WriteSession
from reference_engine.verification.findings import PointDamage


class BlockMending:
    """What a repair does about the lost blocks of one domain; nothing of it leaves the domain."""

    def __init__(
        self, repository: Repository, lost: dict[bytes, Lost], /, *, domain: str, token: str
    ) -> None:
        """`token` names what this repair writes; what is in `lost` when it ends is lost."""
        self._repository, self._domain, self.lost = repository, domain, lost
        self._store, self._key = repository.store, repository.header.key
        self._names = NameTable()
        self._machine = MachineId(f"{MEND_SESSION}{token}")
        self._list = in_domain(domain, token)
        self._session = in_domain(domain, self._machine)
        self._packs = PackWriter(self._store, self._names, session=self._session)
        self._run: WriteSession | None = None
        """Open from the first pack to the list that names it, so that no reclaim takes the packs,
        and the next one does if this process dies."""

        self._compressor = compressor(Level.DEFAULT)
        self._rows: list[tuple[bytes, PlaceName]] = []

    @property
    def mended(self) -> int:
        """How many blocks stand somewhere again."""
        return len(self._rows)

    async def find_elsewhere(self) -> None:
        """Look for other places where equal blocks stand, by the index."""
        if not self.lost:
            return
        index = await listed(self._store, self._key, INDEX, domain=self._domain)
        bad = {place[:2] for each in self.lost.values() for place in each.places}
        known: dict[bytes, PlaceName] = {}
        asked = np.frombuffer(b"".join(self.lost), np.uint8).reshape(-1, DIGEST_SIZE)
        for row in np.flatnonzero(contains(asked, index.digests)).tolist():
            pack, offset, stored, at = index.places[row].tolist()
            name = index.names.name(pack)
            if (name, offset) not in bad:
                known[index.digests[row].tobytes()] = (name, offset, stored, at)
        rescue = Rescue(self._store, self._key, piece=0)
        for digest, place in known.items():
            found = self.lost[digest]._replace(places=(place,), pieces=())
            if await rescue.block(found) is not None:
                self._rows.append((digest, place))
                del self.lost[digest]

    async def take_from(self, other: Repository, damage: PointDamage, /) -> None:
        """Store lost blocks anew that another repository still has in the same point."""
        if damage.disk is None or not self.lost:
            return
        try:
            reader = await other.reader(damage.point)
        except CorruptionError:
            return
        if damage.disk not in reader.disks or not damage.extents <= ExtentSet.whole(
            reader.size(damage.disk)
        ):
            return
        async for each in reader.surveyed(damage.disk, damage.extents):
            if isinstance(each, Stretch):
                await self._store_lost(each)

    async def _store_lost(self, stretch: Stretch) -> None:
        """Store those blocks of a stretch that were lost."""
        size = self._repository.block_size
        for at in range(0, len(stretch.content), size):
            content = stretch.content[at : at + size]
            digest = blake3(content, key=self._key).digest(length=DIGEST_SIZE)
            if digest in self.lost:
                await self._open_run()
                [(pack, offset, stored)] = self._packs.add([self._compressor.compressed(content)])
                await self._packs.publish_full()
                self._rows.append((digest, (self._names.name(pack), offset, stored, 0)))
                del self.lost[digest]

    async def _open_run(self) -> None:
        if self._run is None:
            name = self._repository.reclaim.history.domains.get(self._domain, "")
            self._run = await self._repository.open_run(
                self._machine, token=self._machine, domain=name
            )

    async def publish(self) -> None:
        """Make what was found durable, and let readers find it.

        Raises:
            OperationFailedError: a reclaim took this repair for dead.
            TransientError, RefusedError: the store failed, or cannot be written to.
        """
        await self._packs.flush()
        if self._rows:
            await self._store.create(f"{MENDS}{self._list}", segment(self._key, self._rows))
        await self._end_run()
        await self._want()

    async def _end_run(self) -> None:
        """Close the run behind the list of its packs, which keeps them from here on."""
        if self._run is None:
            return
        await self._run.abandon()
        own = pack_name(self._session, 0).removesuffix("0")
        for pack in dict.fromkeys(place[0] for _, place in self._rows):
            if pack.startswith(own) and await self._repository.is_swept(pack):
                await self._store.delete(f"{MENDS}{self._list}")
                raise OperationFailedError("repair", "it was taken for dead by a prune")

    async def _want(self) -> None:
        """List what is lost for runs to come, unless it is listed already."""
        if not self.lost:
            return
        _, missing = await outstanding(self._store, self._key, domain=self._domain)
        have = {digest.tobytes() for digest in missing}
        mends = await listed(self._store, self._key, MENDS, domain=self._domain)
        rows = [
            (each.digest, place)
            for each in self.lost.values()
            if each.digest not in have
            for place in each.places
        ]
        for digest, place in zip(mends.digests, mends.places.tolist(), strict=True):
            # What once mended it did not help.
            if digest.tobytes() in self.lost and digest.tobytes() not in have:
                rows.append((digest.tobytes(), (mends.names.name(place[0]), *place[1:])))
        if rows:
            await self._store.create(f"{WANTED}{self._list}", segment(self._key, rows))
