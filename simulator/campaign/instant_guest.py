"""A machine that runs from a point: it writes, reads, reboots, waits, and knows what it wrote."""

from collections.abc import Awaitable, Callable
from typing import Final

import numpy as np

from reference_engine.model.errors import OverlayFullError, TransientError
from reference_engine.model.units import SECOND, ByteCount, Duration
from reference_engine.ports.runtime import Runtime
from reference_engine.restore.instant import InstantDisk
from simulator.kernel.simulation import Simulation

_PAGE: Final = 4096
_PAUSE: Final = Duration(7 * SECOND)
_WAIT: Final = Duration(2 * SECOND)
"""How long the machine waits for a disk that does not answer, before it tries again."""

_TRIES: Final = 30
_DISK_TIMEOUT: Final = Duration(60 * SECOND)
"""How long the machine waits for one answer. Source: Windows, TimeOutValue of the disk class."""

Content = np.ndarray[tuple[int], np.dtype[np.uint8]]


class InstantGuest:
    """One machine; its memory of its disks outlives the engine's end, as its own does."""

    def __init__(
        self,
        sim: Simulation,
        name: str,
        contents: list[Content],
        /,
        *,
        lasts: Duration,
        more_room: ByteCount,
    ) -> None:
        """`contents`: what the point's disks hold; `more_room`: what is given when it is full."""
        self._sim, self._draw = sim, sim.stream("instant", name)
        self.contents, self._lasts, self._more_room = contents, lasts, more_room
        self._until: int | None = None
        self._runtime: Runtime | None = None
        self._unanswered: tuple[int, int, bytes] | None = None
        self.wrong: list[str] = []
        """What it read other than it had written."""

        self.pauses = 0
        """How often it had to pause because there was no room."""

    async def run(self, disks: tuple[InstantDisk, ...], runtime: Runtime, /) -> None:
        """Write, read and reboot until it is time to be moved."""
        self._runtime = runtime
        if self._until is None:
            self._until = self._sim.now() + self._lasts
        await self._look_at_unanswered(disks)
        await self._boot(disks)
        reboots = 0
        while self._sim.now() < self._until:
            await self._sim.sleep(_PAUSE)
            number = self._draw.below(len(disks))
            if self._draw.chance(600):
                await self._write(disks[number], number)
            else:
                await self._check(disks[number], number, self._place(number))
            if self._draw.chance(30) and reboots < 3:
                reboots += 1
                await self._boot(disks)
        for number, disk in enumerate(disks):
            for start in range(0, disk.size, 64 * _PAGE):
                await self._check(disk, number, (start, min(start + 64 * _PAGE, disk.size)))

    def _place(self, number: int) -> tuple[int, int]:
        size = len(self.contents[number])
        start = self._draw.below(size // 512) * 512
        return start, min(size, start + self._draw.between(1, 24) * 512)

    async def _boot(self, disks: tuple[InstantDisk, ...]) -> None:
        """Read where a machine begins, and where a partition table has its copy."""
        for number, disk in enumerate(disks):
            await self._check(disk, number, (0, 2 * _PAGE))
            await self._check(disk, number, (disk.size - 512, disk.size))

    async def _patiently(self, ask: Callable[[], Awaitable[bytes | None]]) -> bytes | None:
        """Return the answer, if it takes a while: a disk that stalls is no broken one.

        Raises:
            TransientError: it took so long that the machine gave up; its host restarts it.
        """
        for _ in range(_TRIES):
            try:
                return await self._in_time(ask)
            except TransientError:
                await self._sim.sleep(_WAIT)
        return await self._in_time(ask)

    async def _in_time(self, ask: Callable[[], Awaitable[bytes | None]]) -> bytes | None:
        assert self._runtime is not None, "it runs nowhere"
        async with self._runtime.deadline(_DISK_TIMEOUT):
            return await ask()

    async def _check(self, disk: InstantDisk, number: int, place: tuple[int, int]) -> None:
        start, end = place
        content = await self._patiently(lambda: disk.read(ByteCount(start), ByteCount(end - start)))
        if content != self.contents[number][start:end].tobytes():
            self.wrong.append(f"{disk.disk} at {start} is not what the machine wrote")

    async def _write(self, disk: InstantDisk, number: int) -> None:
        start, end = self._place(number)
        content = bytes(self._draw.below(256) for _ in range(16)) * ((end - start) // 16)
        self._unanswered = (number, start, content)

        async def ask() -> None:
            try:
                await disk.write(ByteCount(start), content)
            except OverlayFullError:
                self.pauses += 1
                await self._sim.sleep(_PAUSE)
                disk.give_room(self._more_room)
                await disk.write(ByteCount(start), content)

        await self._patiently(ask)
        self._keep(number, start, content)

    def _keep(self, number: int, start: int, content: bytes) -> None:
        self.contents[number][start : start + len(content)] = np.frombuffer(content, np.uint8)
        self._unanswered = None

    async def _look_at_unanswered(self, disks: tuple[InstantDisk, ...]) -> None:
        """A write under way when the engine ended is done in each of its blocks, or is not."""
        if self._unanswered is None:
            return
        number, start, content = self._unanswered
        for disk in disks:
            disk.give_room(self._more_room)
        await self._patiently(lambda: disks[number].write(ByteCount(start), content))
        self._keep(number, start, content)
