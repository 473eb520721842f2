"""An ExtentSet is a set of bytes: every operation is the one of Python's own sets."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_engine.model.extents import (
    EMPTY,
    Extent,
    ExtentSet,
    decode_extents,
    encode_extents,
)
from reference_engine.model.units import ByteCount
from tests.strategies.byte_ranges import (
    MOST,
    Ranges,
    disk_sizes,
    extent_sets,
    members,
    piece_sizes,
    ranges,
)


def assert_normal(extents: ExtentSet) -> None:
    """Make sure that the ranges are ascending, disjoint, not touching and not empty."""
    edges = extents.bounds.ravel()
    assert extents.bounds.shape == (len(extents), 2)
    assert np.all(np.diff(edges) > 0)


@given(ranges())
def test_a_set_holds_exactly_the_bytes_of_its_ranges(given_ranges: Ranges) -> None:
    """Order, overlaps and empty ranges make no difference, and the form is always the shortest."""
    extents = ExtentSet.of(given_ranges)

    assert_normal(extents)
    assert members(extents) == {byte for first, end in given_ranges for byte in range(first, end)}
    assert extents.total == len(members(extents))
    assert bool(extents) == bool(members(extents))


@given(st.data(), ranges())
def test_equal_bytes_are_equal_sets(data: st.DataObject, given_ranges: Ranges) -> None:
    """Two sets are equal and hash alike exactly when they hold the same bytes."""
    shuffled = data.draw(st.permutations(given_ranges))
    one, other = ExtentSet.of(given_ranges), ExtentSet.of(shuffled)

    assert one == other
    assert hash(one) == hash(other)
    assert one != ExtentSet.of([*given_ranges, (MOST + 1, MOST + 2)])


@given(extent_sets(), extent_sets())
def test_the_algebra_is_that_of_sets(one: ExtentSet, other: ExtentSet) -> None:
    """Union, intersection, difference and inclusion mean what they mean for Python's sets."""
    left, right = members(one), members(other)

    for result, wanted in (
        (one | other, left | right),
        (one & other, left & right),
        (one - other, left - right),
    ):
        assert_normal(result)
        assert members(result) == wanted
    assert (one <= other) == (left <= right)


@given(extent_sets(), disk_sizes())
def test_clipping_and_complement_divide_a_disk(extents: ExtentSet, size: ByteCount) -> None:
    """What a disk holds of a set and what the set leaves of the disk are the disk, once each."""
    whole = set(range(size))
    clipped = extents.clipped(size)
    rest = clipped.complement(size)

    assert members(clipped) == members(extents) & whole
    assert members(rest) == whole - members(extents)
    assert (clipped | rest) == ExtentSet.whole(size)


@given(st.data(), disk_sizes(), piece_sizes())
def test_alignment_covers_in_whole_pieces(
    data: st.DataObject, size: ByteCount, piece: ByteCount
) -> None:
    """An aligned set is the least one of whole pieces around a set; the disk ends the last one."""
    extents = data.draw(extent_sets(size))
    aligned = extents.aligned(piece, size=size)

    touched = {byte // piece for byte in members(extents)}
    assert_normal(aligned)
    assert members(aligned) == {byte for byte in range(size) if byte // piece in touched}
    assert aligned.aligned(piece, size=size) == aligned


@given(st.data(), disk_sizes(), piece_sizes())
def test_pieces_and_their_numbers_are_the_same_thing(
    data: st.DataObject, size: ByteCount, piece: ByteCount
) -> None:
    """The numbers of the touched pieces, turned back into bytes, are the aligned set."""
    extents = data.draw(extent_sets(size))
    numbers = extents.pieces(piece)

    assert numbers.tolist() == sorted({byte // piece for byte in members(extents)})
    assert ExtentSet.of_pieces(numbers, piece=piece, size=size) == extents.aligned(piece, size=size)


@given(extent_sets(), piece_sizes())
def test_windows_are_the_set_in_order(extents: ExtentSet, most: ByteCount) -> None:
    """Windows are full but for the last one, ascend, never overlap, and leave nothing out."""
    windows = list(extents.windows(most))

    read = [byte for window in windows for part in window for byte in range(part.offset, part.end)]
    assert read == sorted(members(extents))
    assert all(window.total == most for window in windows[:-1])
    assert all(0 < window.total <= most for window in windows)


@given(extent_sets(), st.integers(1, 6), piece_sizes(), disk_sizes())
def test_windows_of_whole_blocks_cut_no_block(
    extents: ExtentSet, blocks: int, block: ByteCount, size: ByteCount
) -> None:
    """A window of so many blocks, over whole blocks, never ends inside one."""
    aligned = extents.clipped(size).aligned(block, size=size)

    numbers = [
        number
        for window in aligned.windows(ByteCount(blocks * block))
        for number in window.pieces(block).tolist()
    ]

    assert numbers == aligned.pieces(block).tolist()


@given(extent_sets())
def test_what_is_encoded_is_decoded(extents: ExtentSet) -> None:
    """A set survives JSON and MessagePack unchanged."""
    for encoding, decoding in (
        (msgspec.json.encode, msgspec.json.decode),
        (msgspec.msgpack.encode, msgspec.msgpack.decode),
    ):
        raw = encoding(extents, enc_hook=encode_extents)

        assert decoding(raw, type=ExtentSet, dec_hook=decode_extents) == extents


@given(st.lists(st.integers(-3, 20), max_size=8))
def test_numbers_that_are_no_ranges_are_refused(numbers: list[int]) -> None:
    """What decodes is ascending, disjoint and paired; everything else is refused."""
    sound = len(numbers) % 2 == 0 and numbers == sorted(set(numbers)) and min([*numbers, 0]) >= 0

    if sound:
        edges = list(zip(numbers[::2], numbers[1::2], strict=True))
        assert decode_extents(ExtentSet, numbers) == ExtentSet.of(edges)
    else:
        with pytest.raises(ValueError, match="ascending and disjoint"):
            decode_extents(ExtentSet, numbers)


@given(extent_sets())
def test_a_set_never_changes(extents: ExtentSet) -> None:
    """Nobody can write into a set, and its text says what it holds."""
    with pytest.raises(ValueError, match="read-only"):
        extents.bounds[...] = 0

    assert repr(extents) == f"ExtentSet.of({[(part.offset, part.end) for part in extents]})"


def test_nothing_is_the_neutral_element() -> None:
    """The empty set adds nothing, keeps nothing, and is part of everything."""
    some = ExtentSet.of([(3, 9)])

    assert (some | EMPTY) == (EMPTY | some) == some
    assert (some & EMPTY) == (EMPTY & some) == (EMPTY - some) == EMPTY
    assert some - EMPTY == some
    assert some >= EMPTY
    assert list(some) == [Extent(offset=ByteCount(3), length=ByteCount(6))]


@pytest.mark.parametrize("other", ["a word", 3, [(0, 1)]])
def test_only_extent_sets_are_encoded_by_the_hooks(other: object) -> None:
    """The hooks leave every other kind to msgspec."""
    assert ExtentSet.of([(0, 1)]) != other
    with pytest.raises(NotImplementedError, match="encode"):
        encode_extents(other)
    with pytest.raises(NotImplementedError, match="decode"):
        decode_extents(type(other), [])
