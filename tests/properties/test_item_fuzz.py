"""Disks that a stranger has changed: sentences and listings, and never anything else."""

import asyncio  # noqa: TID251 - trees are awaited on asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.scenario.own_disks import own_disk, own_disk_names
from tests.strategies.item_images import BASIC, gpt, mbr
from tests.strategies.item_trees import MemoryBytes, seen_in

ASKED_MAX = 20_000
"""Reads of a disk of a few MiB; a loop in it would need more."""

Edit = tuple[int, bytes]


@st.composite
def edited_disks(draw: st.DrawFn) -> tuple[str, bytes]:
    """Draw a disk of the simulator's with some of its bytes in use changed, perhaps cut off."""
    name = draw(st.sampled_from(own_disk_names()))
    disk = own_disk(name)
    content = bytearray(disk.content)
    used = disk.allocated.bounds.tolist()
    for _ in range(draw(st.integers(1, 8))):
        start, end = draw(st.sampled_from(used))
        at = draw(st.integers(start, end - 4))
        # What is zero is mostly nothing's: the next byte in use is more worth a change.
        at = next((each for each in range(at, min(at + 4096, end)) if content[each]), at)
        new = draw(
            st.sampled_from([b"\0", b"\xff" * 4, b"\0" * 512]) | st.binary(min_size=1, max_size=8)
        )
        content[at : at + len(new)] = new
    if draw(st.integers(0, 19)) == 0:
        del content[draw(st.integers(0, len(content))) :]
    return name, bytes(content)


@settings(max_examples=60)
@given(edited_disks())
def test_a_changed_disk_is_listed_or_called_damaged(drawn: tuple[str, bytes]) -> None:
    """Nothing but the engine's own errors comes of it, in a bounded number of reads.

    Where all metadata has checksums, every name is there unless something is called damaged.
    """
    name, content = drawn
    disk = MemoryBytes(content)

    seen = asyncio.run(seen_in(disk))

    assert disk.asked < ASKED_MAX
    assert seen, "there is always something to be said of a disk"
    damaged = any(
        "damaged" in each for volume in seen for each in (volume, *volume.get("items", ()))
    )
    true = {each.number: {item.path for item in each.items} for each in own_disk(name).volumes}
    if name in {"own:ext4", "own:xfs"} and not damaged:
        for volume in seen:
            if "items" in volume:
                assert {each["path"] for each in volume["items"]} == true[volume["number"]]


@settings(max_examples=100)
@given(
    st.one_of(
        st.binary(max_size=2048),
        st.lists(
            st.tuples(st.integers(0, 255), st.integers(0, 300), st.integers(0, 2**32 - 1)),
            max_size=4,
        ).map(lambda entries: mbr(entries) + mbr(entries) * 127),
        st.tuples(st.integers(0, 20_000), st.binary(min_size=1, max_size=16)).map(
            lambda edit: _edited(gpt([(BASIC, bytes(65536))] * 2), *edit)
        ),
    )
)
def test_any_table_is_a_list_of_volumes(content: bytes) -> None:
    """Whatever stands where partition tables do: volumes, each with a state."""
    disk = MemoryBytes(content)

    seen = asyncio.run(seen_in(disk))

    assert seen
    assert disk.asked < ASKED_MAX


def _edited(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]
