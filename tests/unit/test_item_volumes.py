"""Where volumes lie, what they are called, and whether they were at rest."""

import asyncio  # noqa: TID251 - trees are awaited on asyncio
import struct
import subprocess
from pathlib import Path

import pytest

from reference_engine.items.browsing import find
from reference_engine.items.tree import content_of
from reference_engine.items.volume import Volume
from reference_engine.items.volumes import volumes_of
from reference_engine.model.identity import DiskId
from simulator.world.own_disks import own_disk
from tests.strategies import item_images
from tests.strategies.disk_images import tool
from tests.strategies.item_images import BASIC, LINUX, gpt, mbr
from tests.strategies.item_trees import MemoryBytes


def volumes(content: bytes) -> tuple[Volume, ...]:
    """Return the volumes of a disk."""
    return asyncio.run(volumes_of({DiskId("disk"): MemoryBytes(content)}))


def fat() -> bytes:
    """Return a small volume that can be read."""
    return own_disk("own:fat").content


def test_a_damaged_gpt_is_read_from_its_copy() -> None:
    """The copy at the disk's end is used, and that is said."""
    disk = bytearray(gpt([(BASIC, fat())]))
    disk[512 + 60] ^= 1

    [volume] = volumes(bytes(disk))

    assert volume.tree is not None
    assert "copy" in volume.remark


def content(disk: bytes, path: str) -> bytes:
    """Return what a file of a disk's only volume holds."""

    async def read() -> bytes:
        [volume] = await volumes_of({DiskId("disk"): MemoryBytes(disk)})
        assert volume.tree is not None
        item = (await find(volume.tree, path)).item
        pieces = volume.tree.pieces(item, "")
        return await content_of(pieces, size=item.size, limit=1 << 20)

    return asyncio.run(read())


def test_what_exfat_never_wrote_is_zeros() -> None:
    """Behind a file's valid length its clusters hold what somebody else left there."""
    disk = bytearray(own_disk("own:exfat").content)
    name = "noise.bin".encode("utf-16-le")
    start = disk.index(b"\xc1\x00" + name) - 64
    count = disk[start + 1]
    disk[start + 40 : start + 48] = struct.pack("<Q", 5_000)
    checksum = 0
    for index, byte in enumerate(disk[start : start + 32 * (count + 1)]):
        if index not in {2, 3}:
            checksum = ((checksum & 1) << 15 | checksum >> 1) + byte & 0xFFFF
    disk[start + 2 : start + 4] = struct.pack("<H", checksum)

    assert content(bytes(disk), "noise.bin") == item_images.noise(20_001, 1)[:5_000] + bytes(15_001)


def test_what_ext4_only_reserved_is_zeros(tmp_path: Path) -> None:
    """An extent that was reserved and never written hides what was there before."""
    image = tmp_path / "ext4.raw"
    item_images.ext4(tmp_path, "-O", "^metadata_csum")
    debugfs = tool("debugfs", package="e2fsprogs")
    for command in ("fallocate /empty 0 3", "sif /empty size 4096"):
        item_images.run(debugfs, "-w", "-R", command, image)
    told = subprocess.check_output([debugfs, "-R", "blocks /empty", image], text=True)
    disk = bytearray(image.read_bytes())
    block = 1024 << struct.unpack_from("<I", disk, 1024 + 24)[0]
    for number in told.split():
        disk[int(number) * block : (int(number) + 1) * block] = b"\xaa" * block
    assert told.split(), "some blocks were reserved"

    assert content(bytes(disk), "empty") == bytes(4096)


def test_a_gpt_of_which_nothing_is_whole_is_damaged() -> None:
    """Entries that were changed in both places are not believed, and no volume is made up."""
    disk = bytearray(gpt([(BASIC, fat())]))
    disk[1024 + 40] ^= 1
    disk[len(disk) - 33 * 512 + 40] ^= 1

    [volume] = volumes(bytes(disk))

    assert volume.tree is None
    assert "GPT" in volume.damaged


def test_logical_partitions_that_go_in_circles_are_damaged() -> None:
    """A chain of tables that comes back to itself ends with a sentence."""
    front = mbr([(0x05, 1, 10)])
    first = mbr([(0x83, 1, 1), (0x05, 1, 10)])
    second = mbr([(0x83, 1, 1), (0x05, 1, 10)])

    [volume] = volumes(front + first + second + bytes(20 * 512))

    assert "circles" in volume.damaged


def test_a_dynamic_disk_is_named() -> None:
    """What LDM has in a partition may look like a file system, and is a part of one."""
    [volume] = volumes(mbr([(0x42, 128, 256)]).ljust(65536, b"\0") + fat())

    assert volume.unsupported == "part of a dynamic disk (LDM)"


def test_a_partition_behind_the_end_is_damaged() -> None:
    """A disk that was cut off does not lose its partitions without a word."""
    [volume] = volumes(gpt([(BASIC, fat())])[: 2 * 65536] + bytes(512))

    assert volume.tree is None
    assert volume.damaged


def test_tables_of_4096_byte_sectors_are_read() -> None:
    """The table of a 4Kn disk lies in its own sectors."""
    disk = gpt([(LINUX, bytes(65536))])
    wide = bytearray(disk[:512].ljust(4096, b"\0") + disk[512:1024].ljust(4096, b"\0"))
    wide += disk[1024 : 1024 + 128 * 128]
    whole = item_images.rebuilt(wide, sector=4096, first=16, last=31, total=4096 * 64)

    [volume] = volumes(whole)

    assert (volume.start, volume.length, volume.unsupported[:5]) == (65536, 65536, "empty")


def test_a_whole_disk_may_be_one_volume() -> None:
    """A file system that begins where tables do is one, whatever its code looks like there."""
    [volume] = volumes(fat())

    assert volume.kind == "whole disk"
    assert volume.file_system == "FAT16"


@pytest.mark.parametrize("content", [bytes(512), bytes(1 << 20)])
def test_nothing_is_a_volume_too(content: bytes) -> None:
    """A disk of which nothing is known has one volume, of which that is said."""
    [volume] = volumes(content)

    assert volume.tree is None
    assert "empty" in volume.unsupported


@pytest.mark.parametrize(
    ("name", "at", "new", "unrest"),
    [
        ("own:fat", None, None, ""),
        ("own:exfat", 106, b"\x02", "it was in use"),
    ],
)
def test_a_volume_says_whether_it_was_at_rest(
    name: str, at: int | None, new: bytes | None, unrest: str
) -> None:
    """Flags that a system sets while it uses a volume are seen."""
    content = bytearray(own_disk(name).content)
    if at is not None and new is not None:
        content[at : at + len(new)] = new

    [volume] = volumes(bytes(content))

    assert volume.tree is not None
    assert volume.tree.unrest == unrest


def test_an_ext4_with_an_open_journal_was_not_at_rest(tmp_path: Path) -> None:
    """The flag that a mounted file system has, and a frozen one has not, is seen."""
    content = bytearray(item_images.ext4(tmp_path, "-O", "^metadata_csum")[0])
    content[1024 + 96] |= 4

    [volume] = volumes(bytes(content))

    assert volume.tree is not None
    assert volume.tree.unrest == "its journal was not replayed"


def test_an_ntfs_that_is_marked_dirty_was_not_at_rest() -> None:
    """The flag of $Volume is seen."""
    disk = bytearray(own_disk("own:ntfs").content)
    at = disk.index(b"\x03\x01", disk.index("odd".encode("utf-16-le")) + 6)
    disk[at + 2] |= 1

    volume = volumes(bytes(disk))[1]

    assert volume.tree is not None
    assert volume.tree.unrest == "it is marked dirty"


def test_an_unknown_feature_is_named(tmp_path: Path) -> None:
    """An ext4 that is newer than this program is refused by the feature, not read wrongly."""
    content = bytearray(item_images.ext4(tmp_path, "-O", "^metadata_csum")[0])
    content[1024 + 96 + 3] |= 0x10

    [volume] = volumes(bytes(content))

    assert "unknown feature 0x10000000" in volume.unsupported
