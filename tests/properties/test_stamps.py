"""Disks of stamps are dictionaries, and their bytes say which write they come from."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_engine.model.units import ByteCount
from simulator.world.content import DiskContent
from simulator.world.stamps import NEVER_WRITTEN, TRIMMED, StampDisk, StampImage
from tests.strategies.stamp_disks import SIZES, StampWrite, histories, stamp_writes, stamps

CELL_SIZES = (512, 520, 1024, 4096)


def as_dictionary(image: StampImage) -> dict[int, int]:
    """Return the stamp of every cell that was ever written."""
    read = image.read(np.arange(image.cells)).tolist()
    return {cell: stamp for cell, stamp in enumerate(read) if stamp != NEVER_WRITTEN}


@given(st.data(), st.sampled_from(SIZES))
def test_a_snapshot_is_the_disk_of_its_instant(data: st.DataObject, cells: int) -> None:
    """Whatever is written later, every snapshot keeps what the disk held when it was taken."""
    disk, model = StampDisk(cells), dict[int, int]()
    taken: list[tuple[StampImage, dict[int, int]]] = []

    for write in data.draw(histories(cells)):
        taken.append((disk.snapshot(), dict(model)))
        disk.write(write.cells, write.stamps)
        model |= write.as_pairs()

    assert as_dictionary(disk) == model
    for snapshot, kept in taken:
        assert as_dictionary(snapshot) == kept
        assert snapshot.written().tolist() == sorted(kept)


@given(st.data(), st.sampled_from(SIZES))
def test_two_images_differ_where_their_cells_do(data: st.DataObject, cells: int) -> None:
    """The difference has exactly the cells with different stamps, ascending, whoever asks."""
    disk = StampDisk(cells)
    images: list[StampImage] = [disk.snapshot()]
    for write in data.draw(histories(cells)):
        disk.write(write.cells, write.stamps)
        images.append(disk.snapshot())
    one, other = data.draw(st.sampled_from(images)), data.draw(st.sampled_from(images))

    mine, theirs = as_dictionary(one), as_dictionary(other)
    wanted = [at for at in sorted(mine | theirs) if mine.get(at, 0) != theirs.get(at, 0)]

    assert one.differs(other).tolist() == wanted
    assert other.differs(one).tolist() == wanted


@given(st.data())
def test_images_of_different_sizes_are_compared_too(data: st.DataObject) -> None:
    """A disk that grew differs from what it was in the new cells that were written."""
    small, large = StampDisk(300), StampDisk(SIZES[-1])
    for write in data.draw(histories(300)):
        small.write(write.cells, write.stamps)
        large.write(write.cells, write.stamps)
    last = np.array([large.cells - 1])
    large.write(last, np.array([5], np.uint64))

    assert [c for c in large.differs(small.snapshot()).tolist() if c >= 300] == last.tolist()
    assert [c for c in large.differs(small.snapshot()).tolist() if c < 300] == []


@given(st.data(), st.sampled_from(SIZES))
def test_an_overlaid_image_leaves_the_first_as_it_is(data: st.DataObject, cells: int) -> None:
    """Laying stamps over an image makes another one."""
    disk = StampDisk(cells)
    before, over = data.draw(stamp_writes(cells)), data.draw(stamp_writes(cells))
    disk.write(before.cells, before.stamps)
    image = disk.snapshot()

    laid = image.overlaid(over.cells, over.stamps)

    assert as_dictionary(image) == before.as_pairs()
    assert as_dictionary(laid) == before.as_pairs() | over.as_pairs()


@pytest.mark.parametrize("cells", SIZES)
def test_a_write_behind_the_end_is_a_mistake(cells: int) -> None:
    """There is no cell behind the last one, in a disk of one page or of many."""
    with pytest.raises((AssertionError, IndexError), match=r"behind the end|out of bounds"):
        StampDisk(cells).write(np.array([cells]), np.array([1], np.uint64))


@given(st.integers(0, 1 << 63), st.sampled_from(CELL_SIZES), stamp_writes(300))
def test_trims_read_as_zeros(key: int, cell: int, write: StampWrite) -> None:
    """Cells have their size, and those that were trimmed hold nothing."""
    content = DiskContent(key, cell=ByteCount(cell), size=ByteCount(300 * cell), underlay=None)

    raw = content.expand(write.cells, write.stamps)

    trimmed = (write.stamps & np.uint64(TRIMMED)) != 0
    assert raw.shape == (len(write.cells), cell)
    assert not raw[trimmed].any()


@given(st.integers(1, 1 << 40), st.integers(1, 1 << 40), st.integers(0, 299))
def test_no_two_writes_leave_the_same_bytes(one: int, two: int, cell: int) -> None:
    """Bytes tell one write from another, one cell from the next and one disk from the other."""
    content = DiskContent(7, cell=ByteCount(512), size=ByteCount(300 * 512), underlay=None)
    other = DiskContent(8, cell=ByteCount(512), size=ByteCount(300 * 512), underlay=None)
    here, there = np.array([cell]), np.array([(cell + 1) % 300])
    stamps = np.array([one], np.uint64)

    raw = content.expand(here, stamps).tobytes()

    assert (content.expand(here, np.array([two], np.uint64)).tobytes() == raw) == (one == two)
    assert content.expand(there, stamps).tobytes() != raw
    assert other.expand(here, stamps).tobytes() != raw


@given(stamps(), stamps(), st.integers(0, 299))
def test_different_writes_leave_different_bytes(one: int, other: int, cell: int) -> None:
    """No two writes of one cell look alike, so that a comparison of bytes compares writes."""
    content = DiskContent(7, cell=ByteCount(512), size=ByteCount(300 * 512), underlay=None)
    here = np.array([cell, cell])

    raw = content.expand(here, np.array([one, other], np.uint64))

    same = one == other or (one & other & TRIMMED) != 0
    assert bool(np.array_equal(raw[0], raw[1])) == same


class Pattern:
    """A real image that lies under the simulated writes; no zero byte in it."""

    def __init__(self, size: int) -> None:
        self.raw: npt.NDArray[np.uint8] = (np.arange(size) % 251 + 1).astype(np.uint8)

    def read(self, offset: int, length: int, /) -> bytes:
        """Return exactly `length` bytes from `offset`."""
        assert offset + length <= len(self.raw)
        return self.raw[offset : offset + length].tobytes()


@st.composite
def odd_disks(draw: st.DrawFn) -> tuple[ByteCount, list[StampWrite], tuple[int, int]]:
    """Disks that end anywhere in their last cell, their writes, and a range to read."""
    size = draw(st.integers(1, 6 * 512))
    writes = draw(histories(-(-size // 512)))
    start = draw(st.integers(0, size - 1))
    return ByteCount(size), writes, (start, draw(st.integers(start + 1, size)))


@given(odd_disks(), st.booleans())
def test_any_range_is_a_part_of_the_whole(
    disk: tuple[ByteCount, list[StampWrite], tuple[int, int]],
    real: bool,  # noqa: FBT001 - Hypothesis passes it by name
) -> None:
    """A disk ends inside its last cell; unwritten cells show what lies under them, or zeros."""
    size, writes, (start, end) = disk
    under = Pattern(size) if real else None
    content = DiskContent(7, cell=ByteCount(512), size=size, underlay=under)
    written = StampDisk(content.cells)
    for write in writes:
        written.write(write.cells, write.stamps)
    image = written.snapshot()

    whole = content.read(image, 0, size)

    assert len(whole) == size
    assert content.read(image, start, end) == whole[start:end]
    bare = under.raw.tobytes() if under is not None else bytes(size)
    touched = set(image.written().tolist())
    for cell in range(content.cells):
        shown = whole[cell * 512 : (cell + 1) * 512]
        if cell not in touched:
            assert shown == bare[cell * 512 : (cell + 1) * 512]
