"""VHDX files: what is written reads back, here and in qemu-img, and what is spoilt is refused."""

import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_engine.formats import vhdx_layout as layout
from reference_engine.formats.block_image import BlockImage
from reference_engine.formats.image import DamagedImageError
from reference_engine.formats.opening import open_disk_image
from reference_engine.formats.vhdx_writer import (
    DYNAMIC,
    FIXED,
    METADATA_AT,
    TABLE_AT,
    VhdxForm,
    VhdxWriter,
)
from reference_engine.model.errors import InputRefusedError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.units import GIB, KIB, MIB, ByteCount
from tests.strategies.disk_images import (
    IDENTITY,
    Edit,
    Spoiling,
    content_in,
    content_of,
    content_or_error,
    disk_edits,
    patterned,
    qemu_img,
    written_raw,
    written_vhdx,
)

SMALL = msgspec.structs.replace(DYNAMIC, block=ByteCount(MIB))
WIDE = msgspec.structs.replace(SMALL, logical_sector=ByteCount(4096))
ODD_SIZE = 5 * MIB + 3 * 512
FORMS = {
    "dynamic": DYNAMIC,
    "small blocks": SMALL,
    "large blocks": msgspec.structs.replace(DYNAMIC, block=ByteCount(32 * MIB)),
    "fixed": FIXED,
}


@given(
    written=disk_edits(5 * MIB),
    form=st.sampled_from([SMALL, WIDE, DYNAMIC, FIXED]),
    step=st.sampled_from([MIB, 300_000, 65_537, 5 * MIB]),
)
@settings(derandomize=True, deadline=None, max_examples=40)
def test_what_is_written_reads_back(
    tmp_path_factory: pytest.TempPathFactory, written: list[Edit], form: VhdxForm, step: int
) -> None:
    """Whatever is on a disk and in whatever steps it comes, the image holds just that."""
    content = content_of(5 * MIB, written)
    path = tmp_path_factory.mktemp("vhdx") / "disk"
    with VhdxWriter.create(path, ByteCount(5 * MIB), identity=IDENTITY, form=form) as writer:
        for at in range(0, len(content), step):
            writer.write(ByteCount(at), content[at : at + step])
        writer.finish()

    with open_disk_image(path) as image:
        found, allocated = content_in(image), image.allocated()
    path.unlink()

    assert found == content
    unallocated = allocated.complement(ByteCount(len(content)))
    assert not any(any(content[hole.offset : hole.end]) for hole in unallocated)


@given(written=disk_edits(5 * MIB), form=st.sampled_from([SMALL, FIXED]))
@settings(derandomize=True, deadline=None, max_examples=30)
def test_writes_in_any_order_leave_the_last_one(
    tmp_path_factory: pytest.TempPathFactory, written: list[Edit], form: VhdxForm
) -> None:
    """Writes may jump back and overlap, zeros over data included: the last one counts."""
    path = tmp_path_factory.mktemp("vhdx") / "disk"
    with VhdxWriter.create(path, ByteCount(5 * MIB), identity=IDENTITY, form=form) as writer:
        for edit in written:
            writer.write(ByteCount(edit.offset), bytes([edit.fill]) * edit.length)
        writer.finish()

    found = content_or_error(path)
    path.unlink()

    assert found == content_of(5 * MIB, written)


@given(offset=st.integers(0, ODD_SIZE), length=st.integers(0, 3 * MIB))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_a_read_gives_just_the_bytes_asked_for(small: Path, offset: int, length: int) -> None:
    """Reads may start and end anywhere, and cross blocks that exist and blocks that do not."""
    length = min(length, ODD_SIZE - offset)

    with open_disk_image(small) as image:
        found = image.read(ByteCount(offset), ByteCount(length))

    assert found == patterned(ODD_SIZE)[offset : offset + length]


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("size", [MIB, ODD_SIZE, 64 * MIB + 512])
def test_qemu_accepts_what_is_written(tmp_path: Path, name: str, size: int) -> None:
    """qemu-img finds no errors in a written VHDX, and the disk that went in."""
    content = patterned(size)
    raw = written_raw(tmp_path / "disk.img", content)
    vhdx = written_vhdx(tmp_path / "disk.vhdx", content, form=FORMS[name])

    assert f"({size} bytes)" in qemu_img("info", vhdx)
    assert "No errors" in qemu_img("check", vhdx)
    assert "identical" in qemu_img("compare", "-f", "raw", "-F", "vhdx", raw, vhdx)


@pytest.mark.parametrize("subformat", ["dynamic", "fixed"])
@pytest.mark.parametrize("block", ["1M", "8M"])
@pytest.mark.parametrize("size", [ODD_SIZE, 16 * MIB])
def test_a_vhdx_made_by_qemu_reads_as_its_source(
    tmp_path: Path, subformat: str, block: str, size: int
) -> None:
    """Both kinds of VHDX give the bytes that were converted, whatever the size."""
    content = patterned(size)
    raw, vhdx = written_raw(tmp_path / "disk.img", content), tmp_path / "disk.vhdx"
    options = f"subformat={subformat},block_size={block}"
    qemu_img("convert", "-f", "raw", "-O", "vhdx", "-o", options, raw, vhdx)

    with open_disk_image(vhdx) as image:
        assert image.format_name.endswith(" VHDX")
        assert image.size == size
        assert content_in(image) == content


def test_only_blocks_with_data_take_space(tmp_path: Path) -> None:
    """A large empty disk is a small file, and only its one block is allocated."""
    path = tmp_path / "disk.vhdx"
    with VhdxWriter.create(path, ByteCount(512 * GIB), identity=IDENTITY) as writer:
        writer.write(ByteCount(300 * GIB), bytes(4 * MIB))
        writer.write(ByteCount(300 * GIB + 4 * MIB), b"x" * 4096)
        writer.finish()

    with open_disk_image(path) as image:
        allocated = image.allocated()

    start = 300 * GIB + 4 * MIB
    assert allocated == ExtentSet.of([(start, start + 2 * MIB)])
    assert path.stat().st_size < 16 * MIB


def test_the_identity_of_a_disk_is_kept(tmp_path: Path) -> None:
    """Identifiers and sector sizes are those that the caller asked for."""
    path = written_vhdx(tmp_path / "disk.vhdx", bytes(4 * MIB), form=WIDE)

    with open_disk_image(path) as image:
        assert isinstance(image, BlockImage)
        assert image.details.disk_id == IDENTITY.disk_id
        assert image.details.data_write_id == IDENTITY.data_write_id
        assert image.details.logical_sector == 4096


@pytest.mark.parametrize("newer", [0, 1])
def test_the_header_with_the_larger_sequence_number_counts(tmp_path: Path, newer: int) -> None:
    """Of two valid headers the older one is history, wherever it stands."""
    path = written_vhdx(tmp_path / "disk.vhdx", patterned(ODD_SIZE), form=SMALL)
    at = layout.HEADERS_AT[newer]
    header = layout.parsed_header(path.read_bytes()[at : at + layout.HEADER_BYTES])
    assert header is not None
    latest = msgspec.structs.replace(header, sequence=3, data_write_id=b"n" * 16)
    put(path, at, latest.packed())

    with open_disk_image(path) as image:
        assert isinstance(image, BlockImage)
        assert image.details.data_write_id == b"n" * 16


def test_a_size_that_no_vhdx_can_have_is_refused(tmp_path: Path) -> None:
    """Half a sector is refused before anything is written."""
    with pytest.raises(InputRefusedError, match="cannot have a size of 1536"):
        VhdxWriter.create(tmp_path / "a", ByteCount(1536), identity=IDENTITY, form=WIDE)

    assert list(tmp_path.iterdir()) == []


def put(path: Path, at: int, value: bytes) -> None:
    """Overwrite bytes of a file."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(value)


def item_at(path: Path, kind: bytes) -> int:
    """Return where in a written VHDX the value of a metadata item lies."""
    table = path.read_bytes()[METADATA_AT : METADATA_AT + layout.METADATA_TABLE_BYTES]
    items = layout.parsed_metadata(table)
    assert items is not None
    return METADATA_AT + next(item.at for item in items if item.kind == kind)


def test_a_differencing_vhdx_is_refused(tmp_path: Path) -> None:
    """Changes without what they change are no disk."""
    path = written_vhdx(tmp_path / "disk.avhdx", patterned(ODD_SIZE), form=SMALL)
    flags_at = item_at(path, layout.FILE_PARAMETERS) + 4
    put(path, flags_at, struct.pack("<I", layout.HAS_PARENT))

    with pytest.raises(InputRefusedError, match="differencing VHDX") as refusal:
        open_disk_image(path)

    assert "merge it into its parent" in str(refusal.value)


def no_size(path: Path) -> None:
    """Make the disk 2^63 bytes large."""
    put(path, item_at(path, layout.VIRTUAL_SIZE), struct.pack("<Q", 1 << 63))


def larger_size(path: Path) -> None:
    """Make the disk larger than its block table."""
    put(path, item_at(path, layout.VIRTUAL_SIZE), struct.pack("<Q", 64 << 40))


def odd_blocks(path: Path) -> None:
    """Make the blocks 3 MiB large."""
    put(path, item_at(path, layout.FILE_PARAMETERS), struct.pack("<I", 3 * MIB))


def odd_sectors(path: Path) -> None:
    """Make the sectors 513 bytes large."""
    put(path, item_at(path, layout.LOGICAL_SECTOR), struct.pack("<I", 513))


def block_behind_the_file(path: Path) -> None:
    """Move a block far behind the end of the file."""
    put(path, TABLE_AT, struct.pack("<Q", (1 << 63) | 6))


def block_in_the_log(path: Path) -> None:
    """Move a block over the log."""
    put(path, TABLE_AT, struct.pack("<Q", MIB | 6))


def block_twice(path: Path) -> None:
    """Give two blocks one place."""
    put(path, TABLE_AT, struct.pack("<QQ", 5 * MIB | 6, 5 * MIB | 6))


def partial_block(path: Path) -> None:
    """Give a disk without a parent a block that is partly its parent's."""
    put(path, TABLE_AT, struct.pack("<Q", 4 * MIB | 7))


def no_headers(path: Path) -> None:
    """Spoil both headers."""
    for at in layout.HEADERS_AT:
        put(path, at + 100, b"x")


def no_regions(path: Path) -> None:
    """Spoil both region tables."""
    for at in layout.REGION_TABLES_AT:
        put(path, at + 100, b"x")


def no_metadata(path: Path) -> None:
    """Wipe the metadata."""
    put(path, METADATA_AT, bytes(4096))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (no_size, "cannot have a size of"),
        (larger_size, "block table is too short"),
        (odd_blocks, "cannot have blocks of"),
        (odd_sectors, "cannot have sectors of"),
        (block_behind_the_file, "outside the"),
        (block_in_the_log, "overlap at byte"),
        (block_twice, "overlap at byte"),
        (partial_block, "entry 0 of its block table"),
        (no_headers, "neither of its headers"),
        (no_regions, "neither of its region tables"),
        (no_metadata, "metadata table is not valid"),
    ],
)
def test_a_contradiction_is_told(tmp_path: Path, spoil: Callable[[Path], None], words: str) -> None:
    """Each contradiction in a file ends in a sentence that names it."""
    path = written_vhdx(tmp_path / "disk.vhdx", patterned(ODD_SIZE), form=SMALL)
    spoil(path)

    with pytest.raises(DamagedImageError) as damage:
        open_disk_image(path)

    assert words in str(damage.value)


def test_a_huge_declared_disk_takes_little_memory(tmp_path: Path) -> None:
    """A table of 128 MiB that names no blocks is looked at in pieces."""
    path = tmp_path / "disk.vhdx"
    form = msgspec.structs.replace(DYNAMIC, block=ByteCount(4 * MIB))
    with VhdxWriter.create(path, ByteCount(64 << 40), identity=IDENTITY, form=form) as writer:
        writer.finish()

    tracemalloc.start()
    with open_disk_image(path) as image:
        size, allocated = image.size, image.allocated()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert size == 64 << 40
    assert not allocated
    assert peak < 16 * MIB


def test_a_table_of_more_blocks_than_fit_is_refused_at_its_start(tmp_path: Path) -> None:
    """A table full of blocks cannot make a reader keep them all."""
    path = tmp_path / "disk.vhdx"
    with VhdxWriter.create(path, ByteCount(8 << 40), identity=IDENTITY, form=SMALL) as writer:
        writer.finish()
    put(path, TABLE_AT, struct.pack("<Q", 4 * MIB | 6) * MIB)

    tracemalloc.start()
    with pytest.raises(DamagedImageError, match="more than the"):
        open_disk_image(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 16 * MIB


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VHDX with blocks that exist and blocks that do not."""
    path = tmp_path_factory.mktemp("vhdx") / "disk.vhdx"
    return written_vhdx(path, patterned(ODD_SIZE), form=SMALL)


@given(
    table=st.sampled_from([*layout.HEADERS_AT, *layout.REGION_TABLES_AT]),
    place=st.integers(0, 100) | st.integers(0, 4 * KIB - 1),
    mask=st.integers(1, 255),
)
@settings(derandomize=True, deadline=None, max_examples=100)
def test_one_changed_byte_in_a_header_or_region_table_does_no_harm(
    small: Path, table: int, place: int, mask: int
) -> None:
    """Headers and region tables exist twice and bear checksums: one of each is enough."""
    with Spoiling(small, at=table + place, mask=mask):
        found = content_or_error(small)

    assert found == patterned(ODD_SIZE)


@given(
    at=st.integers(METADATA_AT, METADATA_AT + 250)
    | st.integers(METADATA_AT + 64 * KIB, METADATA_AT + 64 * KIB + 40)
    | st.integers(TABLE_AT, TABLE_AT + 60)
    | st.integers(0, 7)
    | st.integers(0, 10 * MIB),
    mask=st.integers(1, 255),
)
@settings(derandomize=True, deadline=None, max_examples=300)
def test_a_changed_byte_anywhere_ends_in_a_sentence_or_a_disk(
    small: Path, at: int, mask: int
) -> None:
    """Where no checksums are, a flipped bit gives another disk at worst, and no other failure."""
    with Spoiling(small, at=at % small.stat().st_size, mask=mask):
        read_both_ends(small)


def read_both_ends(path: Path) -> None:
    """Read the start and the end of an image that may have become very large, or be refused."""
    sentence = str(path)
    try:
        with open_disk_image(path) as image:
            image.allocated()
            some = ByteCount(min(image.size, MIB))
            assert len(image.read(ByteCount(0), some)) == some
            assert len(image.read(ByteCount(image.size - some), some)) == some
    except (InputRefusedError, DamagedImageError) as error:
        sentence = str(error)
    assert sentence.startswith(str(path)), sentence


@given(length=st.integers(0, 10 * MIB))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_a_vhdx_cut_short_is_refused_or_whole(small: Path, length: int) -> None:
    """A VHDX that lost its end is not taken for a shorter disk."""
    whole = small.read_bytes()
    small.write_bytes(whole[:length])

    found = content_or_error(small)
    small.write_bytes(whole)

    assert found in (None, patterned(ODD_SIZE))
