"""A host snapshot, put back to the guest's instant: right outside the mask, zero inside it."""

from hypothesis import given
from hypothesis import strategies as st

from reference_engine.model.extents import EMPTY, ExtentSet
from reference_engine.model.units import ByteCount
from reference_engine.reconcile.overlay import NOTHING, inside_snapshot, lay_over
from tests.strategies.byte_ranges import extent_sets, members
from tests.strategies.disk_histories import Skew, skews


def picked(disk: bytes, extents: ExtentSet) -> bytes:
    """Return the bytes of `extents`, one range after the other."""
    return b"".join(disk[part.offset : part.end] for part in extents)


def masked(disk: bytes, mask: ExtentSet) -> bytes:
    """Return the disk with zeros where the mask is."""
    hidden = members(mask)
    return bytes(0 if at in hidden else byte for at, byte in enumerate(disk))


@given(skews())
def test_the_image_is_the_guests_at_its_instant(skew: Skew) -> None:
    """Whatever was written between Tg and Th, the image is the disk at Tg outside the mask."""
    overlay = lay_over(skew.kept)

    image = overlay.applied(ExtentSet.whole(skew.size), skew.host)

    assert image == masked(skew.at_rest, overlay.mask)
    assert overlay.mask == skew.kept.diff_area


@given(skews())
def test_applying_twice_is_applying_once(skew: Skew) -> None:
    """A window that is read and patched again after a failure comes out the same."""
    overlay, whole = lay_over(skew.kept), ExtentSet.whole(skew.size)
    once = overlay.applied(whole, skew.host)

    twice = overlay.applied(whole, once)

    assert twice == once


@given(skews())
def test_the_skew_set_covers_every_difference_from_the_live_disk(skew: Skew) -> None:
    """R holds every byte in which the image and the live disk at the switch are not the same."""
    overlay = lay_over(skew.kept)
    image = overlay.applied(ExtentSet.whole(skew.size), skew.host)

    differs = {at for at, byte in enumerate(image) if byte != skew.host[at]}

    assert differs <= members(overlay.skew)


@given(st.data(), skews())
def test_only_the_bytes_of_a_window_decide_about_it(data: st.DataObject, skew: Skew) -> None:
    """Any part of a disk is patched as it is when the whole disk is."""
    overlay = lay_over(skew.kept)
    window = data.draw(extent_sets(skew.size))
    whole = overlay.applied(ExtentSet.whole(skew.size), skew.host)

    part = overlay.applied(window, picked(skew.host, window))

    assert part == picked(whole, window)


@given(skews(), st.integers(1, 40))
def test_it_does_not_matter_how_the_disk_is_split_into_windows(skew: Skew, most: int) -> None:
    """Windows of any length, one after the other, give the image of the whole disk."""
    overlay, whole = lay_over(skew.kept), ExtentSet.whole(skew.size)

    parts = [
        overlay.applied(window, picked(skew.host, window))
        for window in whole.windows(ByteCount(most))
    ]

    assert b"".join(parts) == overlay.applied(whole, skew.host)


@given(skews())
def test_masked_bytes_have_no_pre_image(skew: Skew) -> None:
    """The diff area was free space at Tg, so a pre-image of it is left out, content and all."""
    overlay = lay_over(skew.kept)

    assert not overlay.pre_images & overlay.mask
    assert overlay.pre_images == skew.kept.extents - skew.kept.diff_area
    assert overlay.content == picked(skew.at_rest, overlay.pre_images)


@given(extent_sets(), st.binary(min_size=200, max_size=200))
def test_a_checkpoint_is_read_as_it_is(recovered: ExtentSet, disk: bytes) -> None:
    """What writers changed inside a checkpoint belongs to R, and to nothing that is patched."""
    overlay = inside_snapshot(recovered)

    assert overlay.applied(ExtentSet.whole(ByteCount(200)), disk) == disk
    assert overlay.skew == recovered
    assert overlay.mask == EMPTY


def test_without_a_guest_there_is_no_skew() -> None:
    """A crash-consistent image is the host snapshot itself."""
    window = ExtentSet.of([(2, 6)])

    assert NOTHING.applied(window, b"abcd") == b"abcd"
    assert NOTHING.skew == EMPTY
