"""A VHDX whose log is in use reads as it will be once the log is replayed, and stays as it is."""

import shutil
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_engine.formats.block_image import BlockImage
from reference_engine.formats.image import DamagedImageError
from reference_engine.formats.image_file import ImageFile
from reference_engine.formats.opening import open_disk_image
from reference_engine.formats.vhdx_layout import sealed
from reference_engine.formats.vhdx_log import Patch, PatchedFile
from reference_engine.formats.vhdx_writer import DYNAMIC, TABLE_AT
from reference_engine.model.units import KIB, MIB, ByteCount
from tests.strategies.disk_images import (
    LogWrite,
    Spoiling,
    add_log,
    content_in,
    content_or_error,
    log_entry,
    patterned,
    put_in_ring,
    qemu_img,
    written_raw,
    written_vhdx,
)

SIZE = 6 * MIB
BLOCK = MIB
PAYLOAD_AT = TABLE_AT + MIB
PAGE = 4 * KIB
LATE_PAGE = bytes(range(256)) * 16


def torn_image(path: Path) -> tuple[bytes, list[LogWrite]]:
    """Write a VHDX whose block table and part of block 0 are in log entries only.

    Returns the content that a replay restores, and the log entries it takes.
    """
    content = bytearray(patterned(SIZE))
    form = msgspec.structs.replace(DYNAMIC, block=ByteCount(BLOCK))
    written_vhdx(path, bytes(content), form=form)
    with path.open("r+b") as file:
        file.seek(TABLE_AT)
        table = file.read(PAGE)
        file.seek(TABLE_AT)
        file.write(bytes(PAGE))
    content[2 * PAGE : 4 * PAGE] = LATE_PAGE + bytes(PAGE)
    early = ((PAYLOAD_AT + 2 * PAGE, b"e" * PAGE), (PAYLOAD_AT + 3 * PAGE, b"e" * PAGE))
    return bytes(content), [
        LogWrite(pages=early),
        LogWrite(pages=((TABLE_AT, table),), zeros=((PAYLOAD_AT + 2 * PAGE, 2 * PAGE),)),
        LogWrite(pages=((PAYLOAD_AT + 2 * PAGE, LATE_PAGE),)),
    ]


@pytest.mark.parametrize("start", [0, 8192, MIB - 3 * PAGE, MIB - PAGE])
def test_a_log_in_use_is_replayed_without_touching_the_file(tmp_path: Path, start: int) -> None:
    """Pages and zeros of the log count, in their order, also around the end of the ring."""
    path = tmp_path / "disk.vhdx"
    content, writes = torn_image(path)
    add_log(path, writes, start=start)
    before = path.read_bytes()

    with open_disk_image(path) as image:
        assert isinstance(image, BlockImage)
        assert image.details.log_was_replayed
        assert content_in(image) == content

    assert path.read_bytes() == before


def test_qemu_repairs_to_what_is_read_here(tmp_path: Path) -> None:
    """The replay in memory gives the disk that qemu-img makes by replaying into the file."""
    path = tmp_path / "disk.vhdx"
    content, writes = torn_image(path)
    add_log(path, writes)
    repaired = shutil.copy(path, tmp_path / "repaired.vhdx")
    raw = written_raw(tmp_path / "disk.img", content)

    qemu_img("check", "-r", "all", repaired)

    assert "identical" in qemu_img("compare", "-f", "raw", "-F", "vhdx", raw, repaired)
    assert content_or_error(path) == content_or_error(repaired) == content


def test_an_entry_that_was_torn_ends_the_replay_before_it(tmp_path: Path) -> None:
    """What the crash left half written never happened."""
    path = tmp_path / "disk.vhdx"
    content, writes = torn_image(path)
    at, sequence = add_log(path, writes)
    late = LogWrite(pages=((PAYLOAD_AT, b"x" * PAGE),))
    entry = log_entry(late, sequence=sequence, tail=8192, length=path.stat().st_size)
    with path.open("r+b") as file:
        put_in_ring(file.fileno(), entry[:-1] + b"\xff", at=at)

    assert content_or_error(path) == content


@pytest.mark.parametrize("other", ["another log", "an older run"])
def test_leftovers_in_the_ring_are_not_replayed(tmp_path: Path, other: str) -> None:
    """Entries of an earlier log, and runs older than the newest, are over."""
    path = tmp_path / "disk.vhdx"
    content, writes = torn_image(path)
    at, sequence = add_log(path, writes, first=100)
    stale = LogWrite(pages=((PAYLOAD_AT, b"x" * PAGE),))
    length = path.stat().st_size
    if other == "another log":
        entry = log_entry(stale, sequence=sequence, tail=8192, length=length, log_id=b"o" * 16)
    else:
        entry = log_entry(stale, sequence=50, tail=at, length=length)
    with path.open("r+b") as file:
        put_in_ring(file.fileno(), entry, at=at)

    assert content_or_error(path) == content


def test_only_entries_from_the_tail_on_are_replayed(tmp_path: Path) -> None:
    """What lies before the newest entry's tail has reached the file long ago."""
    path = tmp_path / "disk.vhdx"
    content, writes = torn_image(path)
    flushed = LogWrite(pages=((PAYLOAD_AT, b"x" * PAGE),))
    entry = log_entry(flushed, sequence=6, tail=0, length=path.stat().st_size)
    with path.open("r+b") as file:
        put_in_ring(file.fileno(), entry, at=0)
    add_log(path, writes, start=8192, first=7)

    assert content_or_error(path) == content


def test_a_log_in_use_without_a_whole_sequence_is_damage(tmp_path: Path) -> None:
    """Without its log such a file would read as older than it is."""
    path = tmp_path / "disk.vhdx"
    torn_image(path)
    add_log(path, [])

    with pytest.raises(DamagedImageError, match="holds no whole sequence"):
        open_disk_image(path)


def test_a_file_shorter_than_its_log_says_is_damage(tmp_path: Path) -> None:
    """The log knows how long the file was when it was written."""
    path = tmp_path / "disk.vhdx"
    _, writes = torn_image(path)
    add_log(path, writes)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)

    with pytest.raises(DamagedImageError, match="bytes its log speaks of"):
        open_disk_image(path)


def test_a_log_of_countless_changes_is_refused(tmp_path: Path) -> None:
    """An entry cannot make a reader look for more changes than it holds."""
    path = tmp_path / "disk.vhdx"
    torn_image(path)
    whole = log_entry(LogWrite(), sequence=7, tail=8192, length=path.stat().st_size)
    add_log(path, [])
    wrong = whole[:24] + (1 << 20).to_bytes(4, "little") + whole[28:]
    with path.open("r+b") as file:
        put_in_ring(file.fileno(), sealed(wrong), at=8192)

    with pytest.raises(DamagedImageError, match="cannot name 1048576 changes"):
        open_disk_image(path)


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A VHDX with a log in use, and what it holds."""
    path = tmp_path_factory.mktemp("log") / "disk.vhdx"
    content, writes = torn_image(path)
    add_log(path, writes)
    return path, content


@given(at=st.integers(8192, 8192 + 9 * PAGE - 1), mask=st.integers(1, 255))
@settings(derandomize=True, deadline=None, max_examples=100)
def test_a_changed_byte_in_the_log_is_never_replayed(
    dirty: tuple[Path, bytes], at: int, mask: int
) -> None:
    """Each entry bears a checksum: a run that is broken ends before the break, or not at all."""
    path, content = dirty

    with Spoiling(path, at=MIB + at, mask=mask):
        found = content_or_error(path)

    assert found in (None, content, *shorter_replays(content))


def shorter_replays(content: bytes) -> list[bytes]:
    """Return the disk after none, the first, or the first two of the log's entries."""
    second = bytearray(content)
    second[2 * PAGE : 4 * PAGE] = bytes(2 * PAGE)
    return [bytes(SIZE), bytes(second)]


patches = st.lists(
    st.builds(
        lambda start, length, fill: Patch(
            start=start * 16,
            end=(start + length) * 16,
            data=bytes([fill]) * (length * 16) if fill else None,
        ),
        start=st.integers(0, 40),
        length=st.integers(0, 24),
        fill=st.integers(0, 255),
    ),
    max_size=12,
)


@given(laid=patches, offset=st.integers(0, 1023), length=st.integers(0, 1024))
@settings(derandomize=True, deadline=None, max_examples=300)
def test_later_patches_lie_over_earlier_ones(
    ones: Path, laid: list[Patch], offset: int, length: int
) -> None:
    """However patches overlap, a read sees what writing them one by one would have left."""
    model = bytearray(b"\x01" * 900 + bytes(124))
    for patch in laid:
        model[patch.start : patch.end] = patch.part(patch.start, patch.end)
    model = model[:1024].ljust(1024, b"\0")
    end = min(offset + length, 1024)

    file = PatchedFile(ImageFile(ones), laid, length=1024)
    found = file.read(offset, end - offset)
    file.close()

    assert found == bytes(model[offset:end])


@pytest.fixture(scope="module")
def ones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 900 bytes, all of them one."""
    path = tmp_path_factory.mktemp("patched") / "file"
    path.write_bytes(b"\x01" * 900)
    return path
