"""Free space of real file systems may be filled with anything: no file of theirs changes."""

import hashlib
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_engine.formats.opening import open_disk_image
from reference_engine.model.extents import EMPTY, ExtentSet
from reference_engine.model.units import GIB, KIB, MIB
from simulator.world.free_space import free_space
from tests.strategies.disk_images import Spoiling, patterned, tool, written_raw

GARBAGE = hashlib.sha256(b"garbage").digest() * (MIB // 32)
PART_AT = 2 * MIB


def run(*command: str | Path) -> bytes:
    """Return what a foreign program prints; it has to succeed."""
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def sparse(path: Path, size: int) -> Path:
    """Return `path`, where there is a file of `size` bytes without data now."""
    with path.open("wb") as file:
        file.truncate(size)
    return path


def files(folder: Path) -> dict[str, bytes]:
    """Make files of many sizes in `folder`, and return the content of each."""
    made = {
        f"file-{number}": hashlib.sha256(bytes([number])).digest() * (1 << number)
        for number in range(0, 17, 2)
    }
    folder.mkdir()
    for name, content in made.items():
        (folder / name).write_bytes(content)
    return made


def declared_free(path: Path) -> ExtentSet | None:
    """Return the free space of the image at `path`."""
    with open_disk_image(path) as image:
        return free_space(image)


def overwritten(path: Path) -> ExtentSet:
    """Fill all free space of the image at `path` with garbage, and return it."""
    free = declared_free(path)
    assert free is not None
    with path.open("r+b") as file:
        for part in free.windows(MIB):
            for extent in part:
                file.seek(extent.offset)
                file.write(GARBAGE[: extent.length])
    return free


EXT_KINDS = {
    "ext2": ("-t", "ext2"),
    "ext3": ("-t", "ext3"),
    "ext4": ("-t", "ext4"),
    "ext4 of 1 KiB": ("-t", "ext4", "-b", "1024"),
    "ext4 64bit, no flex_bg": ("-t", "ext4", "-O", "64bit,^flex_bg,metadata_csum"),
    "ext4 32bit": ("-t", "ext4", "-O", "^64bit,^metadata_csum,uninit_bg"),
    "ext4 small groups": ("-t", "ext4", "-b", "1024", "-g", "1024"),
}


def ext(path: Path, source: Path, *, options: tuple[str, ...], size: int = 48 * MIB) -> Path:
    """Return `path`, where there is an ext file system with the files of `source` now."""
    mkfs = tool("mkfs.ext4", package="e2fsprogs")
    run(mkfs, "-q", "-F", *options, "-d", source, sparse(path, size))
    return path


def assert_ext_is_whole(path: Path, made: dict[str, bytes]) -> None:
    """Assert that neither the file system nor a file in it has changed."""
    run(tool("e2fsck", package="e2fsprogs"), "-fn", path)
    debugfs = tool("debugfs", package="e2fsprogs")
    for name, content in made.items():
        assert run(debugfs, "-R", f"cat /{name}", path) == content, name


@pytest.mark.parametrize("kind", EXT_KINDS)
def test_free_space_of_ext_holds_nothing(tmp_path: Path, kind: str) -> None:
    """Garbage in all that ext2, ext3 or ext4 calls free leaves every file as it was."""
    made = files(tmp_path / "files")
    path = ext(tmp_path / "disk.img", tmp_path / "files", options=EXT_KINDS[kind])

    free = overwritten(path)

    assert free.total > 3 * MIB
    assert_ext_is_whole(path, made)


@pytest.mark.parametrize("groups", ["uninit_bg", "^uninit_bg"])
def test_free_space_of_ext_is_counted_as_by_itself(tmp_path: Path, groups: str) -> None:
    """All blocks that ext4 counts as free are found, but for groups without a bitmap yet."""
    files(tmp_path / "files")
    features = f"{groups},^64bit,^metadata_csum,^resize_inode"
    options = ("-t", "ext4", "-b", "1024", "-O", features)
    path = ext(tmp_path / "disk.img", tmp_path / "files", options=options)
    descriptors = path.read_bytes()[2048 : 2048 + 32 * 6]
    counted = [
        struct.unpack_from("<H", descriptors, at + 12)[0]
        for at in range(0, len(descriptors), 32)
        if not struct.unpack_from("<H", descriptors, at + 18)[0] & 2
    ]

    free = declared_free(path)

    assert len(counted) == 6 if groups == "^uninit_bg" else 0 < len(counted) < 6
    assert free is not None
    assert free.total == sum(counted) * 1024


def test_an_ext_that_was_not_unmounted_has_no_free_space(tmp_path: Path) -> None:
    """What its journal still has to say may take any block."""
    files(tmp_path / "files")
    path = ext(tmp_path / "disk.img", tmp_path / "files", options=("-t", "ext4"))
    recovery = 0x4

    with Spoiling(path, at=1024 + 96, mask=recovery):
        assert declared_free(path) == EMPTY


def ntfs(path: Path, made: dict[str, bytes], folder: Path, *, options: tuple[str, ...]) -> Path:
    """Return `path`, where there is an NTFS volume with the files of `folder` now."""
    mkntfs = tool("mkntfs", package="ntfs-3g")
    run(mkntfs, "-q", "-F", "-Q", *options, sparse(path, 48 * MIB))
    for name in made:
        run(tool("ntfscp", package="ntfs-3g"), "-q", path, folder / name, name)
    return path


def assert_ntfs_is_whole(path: Path, made: dict[str, bytes]) -> None:
    """Assert that no file of an NTFS volume has changed, its bitmap included."""
    ntfscat = tool("ntfscat", package="ntfs-3g")
    for name, content in made.items():
        assert run(ntfscat, path, name) == content, name
    run(tool("ntfsfix", package="ntfs-3g"), "-n", path)


def last_cluster(path: Path) -> int:
    """Return where the last cluster of an NTFS volume begins."""
    boot = path.read_bytes()[:512]
    (per_cluster,) = struct.unpack_from("<B", boot, 13)
    (sectors,) = struct.unpack_from("<Q", boot, 40)
    return (sectors // per_cluster - 1) * per_cluster * 512


@pytest.mark.parametrize("options", [(), ("-c", "512"), ("-c", "65536")])
def test_free_space_of_ntfs_holds_nothing(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Garbage in all that NTFS calls free leaves every file and the boot sector's copy alone."""
    made = files(tmp_path / "files")
    path = ntfs(tmp_path / "disk.img", made, tmp_path / "files", options=options)

    free = overwritten(path)

    assert free.total > 20 * MIB
    assert not free & ExtentSet.of([(last_cluster(path), 48 * MIB)])
    assert_ntfs_is_whole(path, made)


def test_a_dirty_ntfs_has_no_free_space(tmp_path: Path) -> None:
    """The volume's own mark of doubt is believed."""
    path = ntfs(tmp_path / "disk.img", {}, tmp_path, options=())
    content = path.read_bytes()
    (table,) = struct.unpack_from("<Q", content, 48)
    record = table * 4096 + 3 * 1024
    information = content.index(struct.pack("<II", 0x70, 0x28), record)
    (value,) = struct.unpack_from("<H", content, information + 20)

    with Spoiling(path, at=information + value + 10, mask=1):
        assert declared_free(path) == EMPTY
    assert declared_free(path) != EMPTY


def partitioned(path: Path, parts: list[Path], *, scheme: str) -> Path:
    """Return `path`, where there is a disk with `parts` in partitions of their own now."""
    places: list[tuple[int, int]] = []
    at = PART_AT
    with sparse(path, 0).open("r+b") as file:
        for part in parts:
            content = part.read_bytes()
            file.seek(at)
            file.write(content)
            places.append((at // 512, len(content) // 512))
            at += len(content) + MIB
        file.truncate(at)
        for where, sector in tables(places, scheme=scheme).items():
            file.seek(where * 512)
            file.write(sector)
    return path


def tables(places: list[tuple[int, int]], *, scheme: str) -> dict[int, bytes]:
    """Return the sectors of a partition table, by their numbers."""
    if scheme == "GPT":
        header = struct.pack("<8s64xQII", b"EFI PART", 2, len(places), 128)
        entries = b"".join(
            struct.pack("<16s16sQQ", b"t" * 16, b"p" * 16, first, first + count - 1).ljust(
                128, b"\0"
            )
            for first, count in places
        )
        return {0: mbr([(0xEE, 1, 0xFFFF_FFFF)]), 1: header, 2: entries}
    if scheme == "MBR":
        return {0: mbr([(0x83, *place) for place in places])}
    # Each logical partition has a table in the sector 63 before it, counted from its own place.
    found = {0: mbr([(0x0F, places[0][0] - 63, 1 << 20)])}
    base = places[0][0] - 63
    for number, (first, count) in enumerate(places):
        chain = [(0x83, 63, count)]
        if number + 1 < len(places):
            chain.append((0x05, places[number + 1][0] - 63 - base, places[number + 1][1] + 63))
        found[first - 63] = mbr(chain)
    return found


def mbr(entries: list[tuple[int, int, int]]) -> bytes:
    """Return a boot sector with these partitions: kind, first sector, sectors."""
    packed = [struct.pack("<4xB3xII", *entry) for entry in entries]
    return bytes(446) + b"".join(packed).ljust(64, b"\0") + b"\x55\xaa"


def moved(free: ExtentSet | None, *, by: int) -> ExtentSet:
    """Return the free space of a file system that begins at `by`."""
    assert free
    return ExtentSet.of((part.offset + by, part.end + by) for part in free)


@pytest.mark.parametrize("scheme", ["MBR", "MBR with logical partitions", "GPT"])
def test_each_partition_has_its_free_space(tmp_path: Path, scheme: str) -> None:
    """Free space of a partition is found where the partition lies, whatever the table."""
    made = files(tmp_path / "files")
    first = ext(tmp_path / "ext", tmp_path / "files", options=("-t", "ext4"), size=16 * MIB)
    second = ntfs(tmp_path / "ntfs", made, tmp_path / "files", options=())
    path = partitioned(tmp_path / "disk.img", [first, second], scheme=scheme)

    second_at = PART_AT + 17 * MIB
    expected = moved(declared_free(first), by=PART_AT) | moved(declared_free(second), by=second_at)

    free = overwritten(path)

    assert free == expected
    content = path.read_bytes()
    first.write_bytes(content[PART_AT : PART_AT + 16 * MIB])
    second.write_bytes(content[second_at : second_at + 48 * MIB])
    assert_ext_is_whole(first, made)
    assert_ntfs_is_whole(second, made)


def test_of_two_file_systems_in_one_place_neither_is_believed(tmp_path: Path) -> None:
    """A superblock left over in front of a partition table frees nothing."""
    (tmp_path / "files").mkdir()
    inner = ext(tmp_path / "in", tmp_path / "files", options=("-t", "ext4"), size=16 * MIB)
    outer = ext(tmp_path / "out", tmp_path / "files", options=("-t", "ext4"), size=16 * MIB)
    path = partitioned(tmp_path / "disk.img", [inner], scheme="MBR")
    with path.open("r+b") as file:
        file.seek(1024)
        file.write(outer.read_bytes()[1024:PART_AT])

    assert declared_free(path) == EMPTY


def test_a_disk_without_a_known_file_system_says_nothing(tmp_path: Path) -> None:
    """Not to know what is in use differs from knowing that nothing is free."""
    path = written_raw(tmp_path / "disk.img", patterned(4 * MIB))

    assert declared_free(path) is None


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small disk of each kind."""
    folder = tmp_path_factory.mktemp("free")
    made = files(folder / "files")
    return {
        "ext": ext(folder / "ext", folder / "files", options=("-t", "ext4")),
        "ntfs": ntfs(folder / "ntfs", made, folder / "files", options=()),
    }


@given(
    kind=st.sampled_from(["ext", "ntfs"]),
    at=st.integers(0, 90)
    | st.integers(1024, 1400)
    | st.integers(4096, 4200)
    | st.integers(16 * KIB, 24 * KIB),
    mask=st.integers(1, 255),
)
@settings(derandomize=True, deadline=None, max_examples=200)
def test_a_damaged_file_system_never_frees_what_is_not_there(
    disks: dict[str, Path], kind: str, at: int, mask: int
) -> None:
    """Whatever a file system says of itself, no other failure and no byte off the disk results."""
    path = disks[kind]

    with path.open("r+b") as file:
        file.seek(510)
        signature = file.read(2)
        file.seek(510)
        file.write(b"\x55\xaa")
    with Spoiling(path, at=at, mask=mask):
        free = declared_free(path)
    with path.open("r+b") as file:
        file.seek(510)
        file.write(signature)

    assert free is None or free.clipped(48 * MIB) == free


def test_a_large_empty_disk_is_looked_at_quickly(tmp_path: Path) -> None:
    """The bitmaps of a large file system are read, and nothing else."""
    (tmp_path / "files").mkdir()
    path = ext(tmp_path / "disk.img", tmp_path / "files", options=("-t", "ext4"), size=16 * GIB)

    free = declared_free(path)

    assert free is not None
    assert free.total <= 16 * GIB
