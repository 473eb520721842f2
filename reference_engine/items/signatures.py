"""What a volume holds, by its first bytes: a file system that is read here, or a name for it.

Sources: libblkid's table of superblocks; [MS-FSCC]; the BitLocker format by J. Metz.
"""

import enum
from typing import Final, NamedTuple


class Known(enum.Enum):
    """File systems that are read here, and what holds volumes of its own."""

    EXT = "ext"
    NTFS = "NTFS"
    FAT = "FAT"
    EXFAT = "exFAT"
    XFS = "XFS"
    LVM = "LVM"


class Unsupported(NamedTuple):
    """Something that is recognised and cannot be read here."""

    name: str
    why: str


HEAD: Final = 0x11000
"""So many bytes tell what a volume holds: btrfs has its superblock at 64 KiB."""

_TO_GO: Final = bytes.fromhex("3bd66749292ed84a8399f6a339e3d001")
_LOCKED: Final = "encrypted, and no key of it is known here"
_NOT_READ: Final = "not read here"
_STACKED: Final = "its volumes are not put together here"

_SIGNATURES: Final[tuple[tuple[int, bytes, Known | Unsupported], ...]] = (
    (3, b"-FVE-FS-", Unsupported("BitLocker", _LOCKED)),
    (0x1A8, _TO_GO, Unsupported("BitLocker", _LOCKED)),
    (3, b"ReFS\0", Unsupported("ReFS", _NOT_READ)),
    (0, b"LUKS\xba\xbe", Unsupported("LUKS", _LOCKED)),
    *((sector * 512, b"LABELONE", Known.LVM) for sector in range(4)),
    (0, b"\xfc\x4e\x2b\xa9", Unsupported("Linux RAID", _STACKED)),
    (4096, b"\xfc\x4e\x2b\xa9", Unsupported("Linux RAID", _STACKED)),
    (0xC00, b"PRIVHEAD", Unsupported("LDM", _STACKED)),
    (0, b"SPACEDB ", Unsupported("Storage Spaces", _STACKED)),
    (0x1000, b"SPACEDB ", Unsupported("Storage Spaces", _STACKED)),
    (3, b"NTFS    ", Known.NTFS),
    (3, b"EXFAT   ", Known.EXFAT),
    (0, b"XFSB", Known.XFS),
    (1080, b"\x53\xef", Known.EXT),
    (0x10040, b"_BHRfS_M", Unsupported("btrfs", _NOT_READ)),
    (32, b"NXSB", Unsupported("APFS", _NOT_READ)),
    (1024, b"H+\0\x04", Unsupported("HFS+", _NOT_READ)),
    (1024, b"HX\0\x05", Unsupported("HFS+", _NOT_READ)),
    (1024, b"\x10\x20\xf5\xf2", Unsupported("F2FS", _NOT_READ)),
    (0, b"hsqs", Unsupported("squashfs", _NOT_READ)),
    (1024, b"\xe2\xe1\xf5\xe0", Unsupported("EROFS", _NOT_READ)),
    (0x10034, b"ReIsEr", Unsupported("ReiserFS", _NOT_READ)),
    (0x8000, b"JFS1", Unsupported("JFS", _NOT_READ)),
    (0x8001, b"CD001", Unsupported("ISO 9660", _NOT_READ)),
    (0x8001, b"BEA01", Unsupported("UDF", _NOT_READ)),
    (4096 - 10, b"SWAPSPACE2", Unsupported("swap", "holds no files")),
    (4096 - 10, b"SWAP-SPACE", Unsupported("swap", "holds no files")),
    (65536 - 10, b"SWAPSPACE2", Unsupported("swap", "holds no files")),
    (0x10, b"ZFS", Unsupported("ZFS", _NOT_READ)),
)


def recognised(head: bytes, /) -> Known | Unsupported | None:
    """Return what a volume is that begins with `head`; None where nothing is known of it."""
    for at, magic, what in _SIGNATURES:
        if head[at : at + len(magic)] == magic:
            return what
    return Known.FAT if _is_fat(head) else None


def _is_fat(head: bytes) -> bool:
    """Return whether this is a FAT boot sector; its field `FAT` is there for people only."""
    if len(head) < 512 or head[510:512] != b"\x55\xaa" or head[0] not in {0xEB, 0xE9}:
        return False
    sector = int.from_bytes(head[11:13], "little")
    each, tables, media = head[13], head[16], head[21]
    return (
        sector in {512, 1024, 2048, 4096}
        and each > 0
        and each & (each - 1) == 0
        and tables in {1, 2}
        and (media == 0xF0 or media >= 0xF8)
    )
