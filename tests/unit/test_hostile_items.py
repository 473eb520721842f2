"""Images that a stranger made: nothing outside of the target, no end without a sentence."""

import asyncio  # noqa: TID251 - trees are awaited on asyncio
import struct
from pathlib import Path
from typing import Final

import pytest

from reference_engine.adapters.targets.item_directory import ItemDirectory
from reference_engine.formats.output_file import Existing
from reference_engine.items.browsing import Located, find, shown, walk
from reference_engine.items.errors import TreeDamagedError
from reference_engine.items.extracting import Extraction, Streams
from reference_engine.items.file_systems.lznt1 import decompressed
from reference_engine.items.tree import FileTree
from reference_engine.items.volumes import volumes_of
from reference_engine.model.identity import DiskId
from tests.strategies import item_images
from tests.strategies.disk_images import tool
from tests.strategies.item_images import run
from tests.strategies.item_trees import MemoryBytes

ROOT: Final = 2


def debug(image: Path, command: str) -> None:
    """Change a file system behind its back."""
    run(tool("debugfs", package="e2fsprogs"), "-w", "-R", command, image)


def ext4_with(place: Path, *commands: str) -> bytearray:
    """Return an ext4 without checksums, changed by commands of debugfs."""
    image = place / "ext4.raw"
    item_images.ext4(place, "-O", "^metadata_csum")
    for command in commands:
        debug(image, command)
    return bytearray(image.read_bytes())


async def tree_of(content: bytes | bytearray) -> FileTree:
    """Return the one tree of a disk."""
    [volume] = await volumes_of({DiskId("disk"): MemoryBytes(content)})
    assert volume.tree is not None, volume
    return volume.tree


async def walked(content: bytes | bytearray) -> list[Located]:
    """Return everything on a disk."""
    tree = await tree_of(content)
    return [each async for each in walk(tree, Located((), await tree.root()))]


async def extracted(content: bytes | bytearray, out: Path) -> Extraction:
    """Take everything that is on a disk."""
    tree = await tree_of(content)
    target = ItemDirectory(out, existing=Existing.REFUSE)
    work = Extraction(tree, target, streams=Streams.LEFT_OUT, progress=lambda _: None)
    await work.take(Located((), await tree.root()))
    return work


def test_a_directory_in_itself_is_damaged(tmp_path: Path) -> None:
    """A tree that goes in circles ends, and says where."""
    content = ext4_with(tmp_path, f"link <{ROOT}> /one/two/up")

    found = asyncio.run(walked(content))

    [circle] = [each for each in found if each.path == ("one", "two", "up")]
    assert "two places" in circle.item.damaged
    assert len(found) < 200


def test_a_file_behind_a_link_of_its_name_goes_nowhere(tmp_path: Path) -> None:
    """A directory with the name of a link before it is not written through the link."""
    content = ext4_with(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    # The same name twice: a link to elsewhere, and a directory with a file.
    debug(tmp_path / "ext4.raw", f"symlink /three2 {elsewhere}")
    debug(tmp_path / "ext4.raw", "mkdir /three1")
    debug(tmp_path / "ext4.raw", f"write {__file__} /three1/evil")
    content = bytearray((tmp_path / "ext4.raw").read_bytes())
    content[content.index(b"three1") + 5] = ord("2")

    work = asyncio.run(extracted(content, tmp_path / "out"))

    assert [*elsewhere.iterdir()] == []
    assert any("three2" in each.path for each in work.missed)


@pytest.mark.parametrize("name", [b"../evilxx", b"/etc/evil", b"a\0b\0c\0d\0e", b".."])
def test_a_name_that_is_a_path_makes_its_directory_damaged(tmp_path: Path, name: bytes) -> None:
    """Names that no system writes are not shown as if they were names."""
    content = ext4_with(tmp_path)
    at = content.index(b"hello.txt")
    content[at : at + len(name)] = name
    content[at - 2] = len(name)

    [volume] = asyncio.run(volumes_of({DiskId("disk"): MemoryBytes(content)}))

    assert volume.tree is None
    assert "names of a directory make no sense" in volume.damaged


def test_an_absurd_size_is_one_missing_file(tmp_path: Path) -> None:
    """A file that claims an exabyte is named; all others come out."""
    content = ext4_with(tmp_path, "sif /noise.bin size 2000000000000000000")

    work = asyncio.run(extracted(content, tmp_path / "out"))

    assert [each.path for each in work.missed if "pipe" not in each.path] == ["/noise.bin"]
    assert (tmp_path / "out" / "hello.txt").read_bytes() == b"hello\n"
    assert [each for each in (tmp_path / "out").iterdir() if "partial" in each.name] == []


def test_content_outside_of_the_volume_is_damage(tmp_path: Path) -> None:
    """A file whose extents lead behind the end is missing, and nothing of it is there."""
    content = ext4_with(tmp_path)
    tree = asyncio.run(tree_of(content))
    number = asyncio.run(find(tree, "/noise.bin")).item.number
    debug(tmp_path / "ext4.raw", f"sif <{number}> block[5] 0x7fffffff")

    work = asyncio.run(extracted((tmp_path / "ext4.raw").read_bytes(), tmp_path / "out"))

    [missed] = [each for each in work.missed if "noise" in each.path]
    assert missed.is_damage
    assert not (tmp_path / "out" / "noise.bin").exists()
    assert [each for each in (tmp_path / "out").iterdir() if "partial" in each.name] == []


@pytest.mark.parametrize(
    "packed",
    [
        b"\xff\xbf",
        b"\x02\xb0\xff\xff\xff",
        struct.pack("<H", 0xB000 | 5) + b"\x01\xff\xff\0\0\0\0\0",
        struct.pack("<H", 0x0005) + bytes(8),
    ],
)
def test_compressed_content_that_makes_no_sense_is_damage(packed: bytes) -> None:
    """Chunks that end too early, or point before their own start, are no content."""
    with pytest.raises(TreeDamagedError):
        decompressed(packed, size=65536)


def test_a_chunk_that_stands_for_many_bytes_is_unpacked() -> None:
    """A run of one byte, as Windows packs it: one literal, then one long copy."""
    packed = struct.pack("<H", 0xB003) + b"\x02a\xfc\x0f"

    assert decompressed(packed, size=8192) == b"a" * 4096 + bytes(4096)


@pytest.mark.parametrize(
    ("name", "readable"),
    [
        ("plain", "plain"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\u202eb", r"a\u202eb"),
        ("\udcff", r"\xff"),
        ("\ud800", r"\xed\xa0\x80"),
        ("日本", "日本"),
    ],
)
def test_names_are_shown_and_never_obeyed(name: str, readable: str) -> None:
    """What a terminal would do something about is written out."""
    assert shown(name) == readable
