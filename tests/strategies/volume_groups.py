"""A volume group on two disks, and what its metadata areas can be made to say."""

import struct
import zlib
from collections.abc import Callable
from typing import Final

from reference_engine.model.identity import DiskId
from simulator.world.own_disks import own_disk

A, B = DiskId("a"), DiskId("b")
AREA: Final = 4096
"""Where the only metadata area of each physical volume begins."""


def both() -> dict[DiskId, bytearray]:
    """Return the two physical volumes of the group, each as a disk of its own."""
    disk = own_disk("own:lvm").content
    return {
        A: bytearray(disk[65536 : 65536 + 5308416]),
        B: bytearray(disk[5373952 : 5373952 + 4259840]),
    }


def checksum(content: bytes) -> int:
    """Return LVM2's checksum."""
    return zlib.crc32(content, 0x0A685930) ^ 0xFFFFFFFF


def text_of(disk: bytearray) -> str:
    """Return the newest text of a physical volume."""
    offset, length = struct.unpack_from("<QQ", disk, AREA + 40)
    return disk[AREA + offset : AREA + offset + length].decode()


def retell(disk: bytearray, change: Callable[[str], str], *, at: int = 512) -> None:
    """Change a physical volume's text, and write it into the area at `at`, round its end."""
    content = change(text_of(disk)).encode()
    size = struct.unpack_from("<Q", disk, AREA + 32)[0]
    first = min(len(content), size - at)
    disk[AREA + at : AREA + at + first] = content[:first]
    disk[AREA + 512 : AREA + 512 + len(content) - first] = content[first:]
    struct.pack_into("<QQII", disk, AREA + 40, at, len(content), checksum(content), 0)
    struct.pack_into("<I", disk, AREA, checksum(disk[AREA + 4 : AREA + 512]))
