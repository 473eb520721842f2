"""What an incremental copy reads covers every byte in which the new image differs from its base."""

from hypothesis import given
from hypothesis import strategies as st

from reference_engine.model.extents import EMPTY, ExtentSet
from reference_engine.model.units import ByteCount
from reference_engine.reconcile.overlay import Overlay, lay_over
from reference_engine.tracking.change_map import delta, union
from tests.strategies.byte_ranges import disk_sizes, extent_sets, members, piece_sizes
from tests.strategies.disk_histories import NODES, History, histories, instants


def put_back(
    data: st.DataObject, history: History, *, at_rest: int, cut: int
) -> tuple[Overlay, bytes]:
    """Return the overlay and the image of a backup with these two instants."""
    kept = history.kept(
        at_rest=at_rest,
        cut=cut,
        piece=data.draw(piece_sizes()),
        diff_area=data.draw(extent_sets(history.size)),
    )
    overlay = lay_over(kept)
    return overlay, overlay.applied(ExtentSet.whole(history.size), history.after(cut))


@given(st.data(), histories(), piece_sizes())
def test_the_delta_covers_every_difference_from_the_base(
    data: st.DataObject, history: History, granule: ByteCount
) -> None:
    """Whoever wrote what and when, with trackers of any granularity: nothing is missed."""
    rest_before, cut_before, rest_now, cut_now = data.draw(instants(history, 4))
    base, image_before = put_back(data, history, at_rest=rest_before, cut=cut_before)
    new, image_now = put_back(data, history, at_rest=rest_now, cut=cut_now)
    maps = [
        history.written(cut_before, cut_now, node).aligned(granule, size=history.size)
        for node in NODES
    ]

    read = delta(tracked=union(maps), carried=base.skew, skew=new.skew, size=history.size)

    differs = {at for at, byte in enumerate(image_now) if byte != image_before[at]}
    assert differs <= members(read)


@given(st.data(), histories(), piece_sizes())
def test_an_incremental_copy_makes_the_base_the_new_image(
    data: st.DataObject, history: History, granule: ByteCount
) -> None:
    """The base with the delta's bytes replaced is what a full copy would have been."""
    rest_before, cut_before, rest_now, cut_now = data.draw(instants(history, 4))
    base, image_before = put_back(data, history, at_rest=rest_before, cut=cut_before)
    new, image_now = put_back(data, history, at_rest=rest_now, cut=cut_now)
    tracked = history.written(cut_before, cut_now).aligned(granule, size=history.size)

    read = delta(tracked=tracked, carried=base.skew, skew=new.skew, size=history.size)
    copied = bytearray(image_before)
    for part in read:
        copied[part.offset : part.end] = image_now[part.offset : part.end]

    assert bytes(copied) == image_now


@given(st.lists(extent_sets(), max_size=5))
def test_a_union_holds_what_any_tracker_saw(maps: list[ExtentSet]) -> None:
    """No tracker can take back what another one saw, and no tracker at all saw nothing."""
    assert members(union(maps)) == set().union(*map(members, maps))
    assert union([]) == EMPTY


@given(extent_sets(), extent_sets(), extent_sets(), disk_sizes())
def test_a_delta_ends_with_the_disk(
    tracked: ExtentSet, carried: ExtentSet, skew: ExtentSet, size: ByteCount
) -> None:
    """All three parts are read, but nothing behind the end of the disk."""
    read = delta(tracked=tracked, carried=carried, skew=skew, size=size)

    assert members(read) == members(tracked | carried | skew) & set(range(size))
