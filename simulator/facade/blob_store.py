"""The `BlobStore` port over a simulated repository machine."""

from typing import Any, Final

from reference_engine.model.errors import RepositoryFullError
from reference_engine.model.units import MIB, ByteCount
from reference_engine.ports.blob_store import BlobStore
from simulator.facade.door import Address
from simulator.kernel.bandwidth import SharedLink
from simulator.world.cluster import World

_RATE: Final = ByteCount(1000 * MIB)


class BlobStoreFacade:
    """Objects in memory behind one network link. What `create` confirmed survives everything."""

    def __init__(self, world: World, kept: BlobStore, /, *, rate: ByteCount = _RATE) -> None:
        self._world, self._kept = world, kept
        self._link = SharedLink(world.sim, rate)

    def address(self, operation: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Address:  # noqa: ARG002 - the protocol's form
        """The repository is its own machine; a fault names the kind of object."""
        name = str(args[0]) if args else "temporaries"
        return Address(subject=name.split("/", maxsplit=1)[0], node=None)

    async def create(self, name: str, content: bytes | bytearray, /) -> bool:
        """Store an object unless there is one of this name."""
        await self._link.transfer(ByteCount(len(content) + 1))
        room = self._world.store_room
        # A log entry is small, and a file system keeps a reserve for what is.
        if room is not None and not name.startswith("log/"):
            taken = sum((await self._kept.sizes("")).values())
            if taken + len(content) > room and await self._kept.read(name) is None:
                self._world.store_refused = True
                raise RepositoryFullError("the repository's volume")
        return await self._kept.create(name, content)

    async def make_durable(self, name: str, /) -> None:
        """Do nothing: what is visible was confirmed, or is about to be."""

    async def tidy(self) -> None:
        """Remove what never became an object."""
        await self._kept.tidy()

    async def read(self, name: str, /) -> bytes | None:
        """Return the whole object, or None."""
        content = await self._kept.read(name)
        await self._link.transfer(ByteCount(len(content or b"") + 1))
        return content

    async def read_range(self, name: str, /, *, offset: int, length: int) -> bytes:
        """Return a part of an object."""
        content = await self._kept.read_range(name, offset=offset, length=length)
        await self._link.transfer(ByteCount(length + 1))
        return content

    async def names(self, prefix: str, /) -> tuple[str, ...]:
        """Return the names with this prefix, ascending."""
        return await self._kept.names(prefix)

    async def sizes(self, prefix: str, /) -> dict[str, int]:
        """Return the length in bytes of every object with this prefix."""
        return await self._kept.sizes(prefix)

    async def delete(self, name: str, /) -> None:
        """Remove an object."""
        await self._kept.delete(name)
