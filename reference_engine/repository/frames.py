"""Frames of packs, fetched and decompressed a few at a time; some of them stay in memory."""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, TypeVar

from reference_engine.model.errors import CorruptionError
from reference_engine.model.units import MIB, ByteCount
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Executor
from reference_engine.repository.block_map import NameTable
from reference_engine.repository.fetching import Frame, Unread, decoded, runs

CACHE_MAX: Final = ByteCount(8 * MIB)
"""Decompressed frames that stay in memory: neighbours often share one."""

BATCH_FRAMES: Final = 8
"""How many frames are fetched and decompressed at once."""

Found = TypeVar("Found")

Then = Callable[[Frame, bytes | Unread], Found]
"""What is done with a frame at once, as long as it is in a core's cache."""


def _nothing(frame: Frame, content: bytes | Unread) -> None:
    del frame, content


class Frames:
    """What frames of packs hold; `packs` has the names of the packs."""

    def __init__(
        self,
        store: BlobStore,
        packs: NameTable,
        /,
        *,
        executor: Executor,
        limit: ByteCount = CACHE_MAX,
    ) -> None:
        """`limit`: how many bytes of them `trim` leaves in memory."""
        self._store, self._packs, self._executor = store, packs, executor
        self._limit = limit
        self._held: OrderedDict[Frame, bytes | Unread] = OrderedDict()
        self._size = 0

    @property
    def held(self) -> Mapping[Frame, bytes | Unread]:
        """The frames in memory: what each holds, or why it cannot be read."""
        return self._held

    async def have(self, needed: Collection[Frame], /) -> None:
        """Have these frames in memory, until `trim`."""
        await self.have_and(needed, _nothing)

    async def have_and(self, needed: Collection[Frame], then: Then[Found], /) -> list[Found]:
        """Have these frames in memory; return what `then` made of those that were not before.

        `then` is called beside other work, and changes nothing.

        Raises:
            TransientError: the store failed.
        """
        missing = sorted(frame for frame in needed if frame not in self._held)
        for frame in sorted(needed):
            if frame in self._held:
                self._held.move_to_end(frame)
        stored: dict[Frame, bytes | memoryview | Unread] = {}
        for found in await self._executor.ask_all(
            [lambda run=run: self._stored(run) for run in runs(missing)]  # type: ignore[misc]
        ):
            stored.update(found)
        half = -(-len(missing) // 2)

        def unpacked(part: Sequence[Frame]) -> list[tuple[bytes | Unread, Found]]:
            done: list[tuple[bytes | Unread, Found]] = []
            for frame in part:
                content = decoded(stored[frame])
                done.append((content, then(frame, content)))
            return done

        parts = await self._executor.offload_all(
            [
                lambda part=part: unpacked(part)  # type: ignore[misc]
                for part in (missing[:half], missing[half:])
                if part
            ]
        )
        made: list[Found] = []
        for frame, (content, result) in zip(missing, (c for p in parts for c in p), strict=True):
            self._held[frame] = content
            self._size += len(content)
            made.append(result)
        return made

    def trim(self) -> None:
        """Keep no more than fits, of those that were used last."""
        while self._size > self._limit and len(self._held) > 1:
            self._size -= len(self._held.popitem(last=False)[1])

    def forget(self, frames: Iterable[Frame], /) -> None:
        """Have these frames read anew when they are needed next."""
        for frame in frames:
            self._size -= len(self._held.pop(frame, b""))

    async def _stored(self, run: Sequence[Frame]) -> dict[Frame, bytes | memoryview | Unread]:
        pack, start, _ = run[0]
        length = run[-1][1] + run[-1][2] - start
        name = self._packs.name(pack)
        try:
            view = memoryview(await self._store.read_range(name, offset=start, length=length))
        except CorruptionError as error:
            if len(run) == 1:
                return {run[0]: str(error)}
            # Which frame is lost shows when they are read one by one.
            found: dict[Frame, bytes | memoryview | Unread] = {}
            for frame in run:
                found.update(await self._stored([frame]))
            return found
        return {frame: view[frame[1] - start : frame[1] - start + frame[2]] for frame in run}
