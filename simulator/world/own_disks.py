"""Disks with odd file systems that the simulator brings along, and what was put into them.

Scenario files name them `image = "own:NAME"`. The systems' own programs made them: see
`tests/strategies/own_disk_images.py`, which makes them anew. What is in them was written down while
it was put in, by nobody who reads file systems.
"""

from functools import cache
from pathlib import Path
from typing import Final, cast

import msgspec
from backports import zstd

from reference_engine.formats.image import DiskImage
from reference_engine.model.extents import EMPTY, ExtentSet
from reference_engine.model.units import KIB, ByteCount
from simulator.world.free_space import free_space

_PREFIX: Final = "own:"
_PLACE: Final = Path(__file__).resolve().parent / "disks"
_PIECE: Final = 64 * KIB


class OwnItem(msgspec.Struct, frozen=True, kw_only=True):
    """One item that was put into a volume."""

    path: str
    """In hexadecimal digits: names need not be text."""

    kind: str
    size: int = 0
    digest: str = ""
    target: str = ""
    streams: dict[str, str] = {}
    """The digest of each stream."""

    unsupported: str = ""
    """What the reason has to name why its content cannot be had."""


class OwnVolume(msgspec.Struct, frozen=True, kw_only=True):
    """One volume of a disk: its items, or what the reason has to name why it has none."""

    number: int
    items: tuple[OwnItem, ...] = ()
    unsupported: str = ""


class OwnDisk(msgspec.Struct, frozen=True, kw_only=True):
    """A disk that the simulator brings along."""

    content: bytes
    allocated: ExtentSet
    free: ExtentSet
    """Where the guest may write without harming a file."""

    volumes: tuple[OwnVolume, ...]

    def read(self, offset: int, length: int, /) -> bytes:
        """Return exactly `length` bytes from `offset`."""
        return self.content[offset : offset + length]


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    volumes: tuple[OwnVolume, ...]


def is_own(image: str, /) -> bool:
    """Return whether a disk's image is one that the simulator brings along."""
    return image.startswith(_PREFIX)


def own_disk_names() -> tuple[str, ...]:
    """Return the names of all of them."""
    return tuple(sorted(f"{_PREFIX}{each.stem}" for each in _PLACE.glob("*.json")))


@cache
def own_disk(image: str, /) -> OwnDisk:
    """Return the disk of this name; there has to be one."""
    name = image.removeprefix(_PREFIX)
    content = zstd.decompress((_PLACE / f"{name}.raw.zst").read_bytes())
    told = msgspec.json.decode((_PLACE / f"{name}.json").read_bytes(), type=_Told)
    used = [
        (at, min(at + _PIECE, len(content)))
        for at in range(0, len(content), _PIECE)
        if any(content[at : at + _PIECE])
    ]
    return OwnDisk(
        content=content,
        allocated=ExtentSet.of(used),
        free=free_space(cast("DiskImage", _Image(content))) or EMPTY,
        volumes=told.volumes,
    )


class _Image:
    """A disk's bytes, for whoever looks for free space in them."""

    def __init__(self, content: bytes, /) -> None:
        self._content = content

    @property
    def size(self) -> ByteCount:
        return ByteCount(len(self._content))

    def read(self, offset: ByteCount, length: ByteCount, /) -> bytes:
        return self._content[offset : offset + length]
