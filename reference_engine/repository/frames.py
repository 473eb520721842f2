"""Frames of packs, fetched and decompressed, as many as fit kept in memory."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

from reference_engine.model.errors import CorruptionError
from reference_engine.model.units import ByteCount
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Executor
from reference_engine.repository.block_map import NameTable
from reference_engine.repository.fetching import Frame, Unread, Wanted, decoded, runs


def frames_of(wanted: Wanted, /) -> list[Frame]:
    """Return the frames that a block needs: its base's first."""
    return [wanted.base, *(frame for _, frame, _ in wanted.pieces)]


class FrameCache:
    """What frames hold, or why they cannot be read; `packs` numbers their packs."""

    def __init__(
        self, store: BlobStore, packs: NameTable, /, *, executor: Executor, limit: ByteCount
    ) -> None:
        self._store, self._packs = store, packs
        self._executor, self._limit = executor, limit
        self._frames: OrderedDict[Frame, bytes | Unread] = OrderedDict()
        self._held = 0

    @property
    def held(self) -> Mapping[Frame, bytes | Unread]:
        """Every frame in memory."""
        return self._frames

    async def fetch(self, frames: Iterable[Frame], /) -> None:
        """Have each of these frames in memory, or the reason why it cannot be read.

        Raises:
            TransientError: the store failed, which says nothing about the frames.
        """
        needed = set(frames)
        missing = sorted(needed - self._frames.keys())
        for frame in needed & self._frames.keys():
            self._frames.move_to_end(frame)
        stored: dict[Frame, bytes | memoryview | Unread] = {}
        for found in await self._executor.ask_all(
            [lambda run=run: self._stored(run) for run in runs(missing)]  # type: ignore[misc]
        ):
            stored.update(found)
        half = -(-len(missing) // 2)
        unpacked = await self._executor.offload_all(
            [
                lambda part=part: [decoded(stored[frame]) for frame in part]  # type: ignore[misc]
                for part in (missing[:half], missing[half:])
                if part
            ]
        )
        for frame, content in zip(missing, [c for part in unpacked for c in part], strict=True):
            self._frames[frame] = content
            self._held += len(content)

    def trim(self) -> None:
        """Forget what was needed longest ago, until the rest is within the limit."""
        while self._held > self._limit and len(self._frames) > 1:
            self._held -= len(self._frames.popitem(last=False)[1])

    def forget(self, frames: Iterable[Frame], /) -> None:
        """Have these frames read anew when they are needed next."""
        for frame in frames:
            self._held -= len(self._frames.pop(frame, b""))

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
