"""Telling by its first bytes whether a file without an image format is a disk at all.

A raw disk has no mark of its own. Taking any file for one would let a backup of a document, an
archive or another program's image succeed and its restore fail, so a raw file has to show a
partition table or a file system where a disk has them. A disk that begins with zeros is a blank
one: nothing has been put on it yet, or its head was wiped.
"""

from typing import Final

HEAD_BYTES: Final = 128 << 10
"""Reaches behind the superblock of btrfs at 64 KiB, the farthest of those known here."""

_CONTAINERS: Final = (
    (0, b"QFI\xfb", "a qcow2 image"),
    (0, b"KDMV", "a VMDK image"),
    (0, b"COWD", "a VMDK image"),
    (0, b"# Disk DescriptorFile", "the description of a VMDK image"),
    (64, b"\x7f\x10\xda\xbe", "a VDI image"),
    (0, b"QED\0", "a QED image"),
    (0, b"WithoutFreeSpace", "a Parallels image"),
    (0, b"WithouFreSpacExt", "a Parallels image"),
    (0, b"EVF\x09\x0d\x0a\xff\x00", "an EWF (E01) image"),
    (0, b"MSWIM\0\0\0", "a Windows image (WIM)"),
)
_OTHERS: Final = (
    (0, b"\x1f\x8b", "a gzip file"),
    (0, b"\xfd7zXZ\0", "an xz file"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd file"),
    (0, b"BZh", "a bzip2 file"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"\x7fELF", "an ELF program"),
    (0, b"%PDF-", "a PDF document"),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"SQLite format 3\0", "an SQLite database"),
)
_PARTITIONED: Final = (
    (510, b"\x55\xaa"),
    (512, b"EFI PART"),
    (4096, b"EFI PART"),
)
_FILE_SYSTEMS: Final = (
    (1080, b"\x53\xef"),  # ext2, ext3, ext4
    (3, b"NTFS    "),
    (3, b"EXFAT   "),
    (3, b"-FVE-FS-"),  # BitLocker
    (3, b"ReFS"),
    (54, b"FAT1"),
    (82, b"FAT32   "),
    (0, b"XFSB"),
    (0x10040, b"_BHRfS_M"),
    (0x10034, b"ReIsEr"),
    (0x8000, b"JFS1"),
    (32, b"NXSB"),  # APFS
    (1024, b"H+"),  # HFS+
    (1024, b"HX"),
    (1024, b"\x10\x20\xf5\xf2"),  # F2FS
    (1024, b"\xe2\xe1\xf5\xe0"),  # EROFS
    (0, b"hsqs"),  # squashfs
    (0, b"LUKS\xba\xbe"),
    (0, b"\xfc\x4e\x2b\xa9"),  # Linux RAID 1.1
    (4096, b"\xfc\x4e\x2b\xa9"),  # Linux RAID 1.2
    (0x8001, b"CD001"),
    *((sector * 512, b"LABELONE") for sector in range(4)),  # LVM2
    *((page - 10, mark) for page in (4096, 8192, 16384, 65536) for mark in (b"SWAPSPACE2",)),
    *((page - 10, mark) for page in (4096, 8192, 16384, 65536) for mark in (b"SWAP-SPACE",)),
)


def is_partitioned(head: bytes, /) -> bool:
    """Return whether `head` bears the signature of an MBR, a GPT or a boot sector."""
    return any(head.startswith(mark, at) for at, mark in _PARTITIONED)


def is_disk_head(head: bytes, /) -> bool:
    """Return whether a disk may begin with `head`: partitions, a file system, or nothing yet."""
    marked = any(head.startswith(mark, at) for at, mark in _FILE_SYSTEMS)
    return marked or is_partitioned(head) or not any(head)


def known_container(head: bytes, /) -> str | None:
    """Return what image format of another program `head` begins, if any."""
    return next((name for at, mark, name in _CONTAINERS if head.startswith(mark, at)), None)


def known_other(head: bytes, /) -> str | None:
    """Return what kind of file that holds no disk `head` begins, if any."""
    return next((name for at, mark, name in _OTHERS if head.startswith(mark, at)), None)
