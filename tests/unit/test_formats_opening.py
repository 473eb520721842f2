"""What opens as a disk image, and in which sentence everything else is refused."""

import os
from pathlib import Path

import pytest

from reference_engine.formats.image import DamagedImageError
from reference_engine.formats.opening import open_disk_image
from reference_engine.model.errors import InputRefusedError, OperationFailedError
from reference_engine.model.extents import EMPTY, ExtentSet
from reference_engine.model.units import KIB, MIB, ByteCount
from tests.strategies.disk_images import content_in, patterned, written_raw


def disk_with(mark: bytes, *, at: int) -> bytes:
    """Return a disk of 256 KiB that is zero but for one signature and its last byte."""
    content = bytearray(256 * KIB)
    content[at : at + len(mark)] = mark
    content[-1] = 1
    return bytes(content)


@pytest.mark.parametrize(
    ("mark", "at"),
    [
        (b"\x55\xaa", 510),
        (b"EFI PART", 512),
        (b"EFI PART", 4096),
        (b"\x53\xef", 1080),
        (b"NTFS    ", 3),
        (b"EXFAT   ", 3),
        (b"XFSB", 0),
        (b"_BHRfS_M", 0x10040),
        (b"LABELONE", 512),
        (b"SWAPSPACE2", 4086),
        (b"LUKS\xba\xbe", 0),
    ],
)
def test_a_file_with_the_mark_of_a_disk_opens_as_raw(tmp_path: Path, mark: bytes, at: int) -> None:
    """A partition table or a file system at its place is enough to be a disk."""
    content = disk_with(mark, at=at)
    path = tmp_path / "disk.img"
    path.write_bytes(content)

    with open_disk_image(path) as image:
        assert image.format_name == "raw"
        assert image.size == len(content)
        assert content_in(image) == content


def test_a_blank_disk_opens_as_raw_and_has_nothing_allocated(tmp_path: Path) -> None:
    """A disk on which nothing was written yet is a disk."""
    path = written_raw(tmp_path / "blank.img", bytes(3 * MIB))

    with open_disk_image(path) as image:
        assert image.allocated() == EMPTY
        assert content_in(image) == bytes(3 * MIB)


def test_holes_of_a_raw_file_are_not_allocated(tmp_path: Path) -> None:
    """Where the file system knows of holes, they need not be read."""
    content = bytearray(8 * MIB)
    content[510:512] = b"\x55\xaa"
    content[5 * MIB : 6 * MIB] = b"x" * MIB
    path = written_raw(tmp_path / "sparse.img", bytes(content))

    with open_disk_image(path) as image:
        allocated = image.allocated()

    data = ExtentSet.of([(0, 512), (5 * MIB, 6 * MIB)])
    assert data <= allocated
    if path.stat().st_blocks * 512 < len(content):
        assert allocated.total < len(content)


def test_a_name_does_not_make_a_format(tmp_path: Path) -> None:
    """A VHDX under another name opens as VHDX; a raw disk named VHDX is an image cut short."""
    path = tmp_path / "disk.vhdx"
    path.write_bytes(patterned(MIB))

    with pytest.raises(DamagedImageError, match="named like a VHDX"):
        open_disk_image(path)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"QFI\xfb\0\0\0\x03", "is a qcow2 image; convert it with qemu-img convert -O vhdx"),
        (b"KDMV\x01\0\0\0", "is a VMDK image"),
        (b"\x1f\x8b\x08\0", "is a gzip file"),
        (b"PK\x03\x04", "is a zip archive"),
        (b"\x7fELF\x02\x01", "is an ELF program"),
        (b"%PDF-1.7", "is a PDF document"),
        (b"Dear all, the disks are in the cupboard.\n", "does not look like a disk"),
    ],
)
def test_a_file_of_another_kind_is_refused_by_name(tmp_path: Path, head: bytes, words: str) -> None:
    """What is known not to be a disk is told by its kind, with a remedy."""
    path = tmp_path / "file"
    path.write_bytes(head.ljust(64 * KIB, b"."))

    with pytest.raises(InputRefusedError) as refusal:
        open_disk_image(path)

    assert words in str(refusal.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A path that leads nowhere is said to."""
    with pytest.raises(InputRefusedError, match="does not exist"):
        open_disk_image(tmp_path / "none.img")


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000])
def test_an_unusable_path_is_refused(path: str) -> None:
    """A path that no file can have is refused like one that leads nowhere."""
    with pytest.raises(InputRefusedError, match="no usable path"):
        open_disk_image(path)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    """A directory is no disk image."""
    with pytest.raises(InputRefusedError, match="is a directory"):
        open_disk_image(tmp_path)


def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    """Whatever is neither file nor block device is refused at once."""
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(InputRefusedError, match="neither a file nor a block device"):
        open_disk_image(tmp_path / "pipe")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    """A disk has at least one sector."""
    (tmp_path / "disk.img").touch()

    with pytest.raises(InputRefusedError, match="is empty"):
        open_disk_image(tmp_path / "disk.img")


def test_a_raw_file_that_ends_inside_a_sector_is_refused(tmp_path: Path) -> None:
    """A raw disk is made of whole sectors."""
    path = tmp_path / "disk.img"
    path.write_bytes(patterned(MIB)[:-1])

    with pytest.raises(InputRefusedError, match="no multiple of a sector"):
        open_disk_image(path)


def test_a_closed_image_fails_with_a_sentence(tmp_path: Path) -> None:
    """Reading after the end of use is a failed operation and never another file's bytes."""
    image = open_disk_image(written_raw(tmp_path / "disk.img", patterned(MIB)))

    image.close()
    image.close()

    with pytest.raises(OperationFailedError, match="reading"):
        image.read(ByteCount(0), ByteCount(512))
