"""Disks that a stranger has changed: sentences and listings, and never anything else."""

import asyncio  # noqa: TID251 - trees are awaited on asyncio
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.world.own_disks import own_disk, own_disk_names
from tests.strategies.item_images import BASIC, LINUX, gpt, mbr
from tests.strategies.item_trees import MemoryBytes, seen_in
from tests.strategies.volume_groups import AREA, A, B, both, retell

ASKED_MAX = 20_000
"""Reads of a disk of a few MiB; a loop in it would need more."""
TABLES = {"own:ext4": 3 * 65536, "own:xfs": 0}
"""Where behind the tables the volume begins."""


class Changed(NamedTuple):
    """A disk of the simulator's, changed by a stranger."""

    name: str
    edits: list[tuple[int, bytes]]
    cut: int | None
    """Where it ends now; None: where it did."""

    def content(self) -> bytes:
        """Return what is left of it."""
        content = bytearray(own_disk(self.name).content)
        for at, new in self.edits:
            content[at : at + len(new)] = new
        return bytes(content[: self.cut])


@st.composite
def changed_disks(draw: st.DrawFn) -> Changed:
    """Draw a disk with some of its bytes in use changed, perhaps cut off."""
    name = draw(st.sampled_from(own_disk_names()))
    disk = own_disk(name)
    used = disk.allocated.bounds.tolist()
    edits: list[tuple[int, bytes]] = []
    for _ in range(draw(st.integers(1, 8))):
        start, end = draw(st.sampled_from(used))
        at = draw(st.integers(start, end - 4))
        # What is zero is mostly nothing's: the next byte in use is more worth a change.
        near = range(at, min(at + 4096, end - 512))
        at = next((each for each in near if disk.content[each]), at)
        sector = b"\0" * 512 if at + 512 <= end else b"\0"
        fixed = st.sampled_from([b"\0", b"\xff" * 4, sector])
        edits.append((at, draw(fixed | st.binary(min_size=1, max_size=4))))
    whole = draw(st.integers(0, 19)) > 0
    cut = None if whole else draw(st.integers(512, len(disk.content)))
    return Changed(name, edits, cut)


@settings(max_examples=60)
@given(changed_disks())
def test_a_changed_disk_is_listed_or_called_damaged(changed: Changed) -> None:
    """Nothing but the engine's own errors comes of it, in a bounded number of reads.

    Where all metadata has checksums, every name is there unless something is called damaged.
    """
    name = changed.name
    disk = MemoryBytes(changed.content())

    seen = asyncio.run(seen_in(disk))

    assert disk.asked < ASKED_MAX
    assert seen, "there is always something to be said of a disk"
    damaged = any(
        "damaged" in each for volume in seen for each in (volume, *volume.get("items", ()))
    )
    true = {each.number: {item.path for item in each.items} for each in own_disk(name).volumes}
    # Nothing vouches for a partition table of MBR: without an entry of it, others are counted.
    inside = all(at >= TABLES.get(name, 0) for at, _ in changed.edits)
    if name in {"own:ext4", "own:xfs"} and inside and not damaged:
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


WORDS = ("0", "1", "4294967296", '"pv1"', '"pv0", 0', "{", "}", "[", "]", '""', "stripes", "=")


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 1), st.integers(0, 12), st.sampled_from(WORDS) | st.text(max_size=5)
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_text_of_a_volume_group_is_a_list_of_volumes(
    edits: list[tuple[float, int, str]],
) -> None:
    """However a group is described, and vouched for: its volumes, each with a state."""
    disks = both()
    disks[B][AREA + 100] ^= 1  # there is no other text

    def changed(text: str) -> str:
        for where, length, new in edits:
            at = int(where * len(text))
            text = text[:at] + new.encode("utf-8", "replace").decode() + text[at + length :]
        return text

    retell(disks[A], changed)
    disk = MemoryBytes(gpt([(LINUX, bytes(disks[A])), (LINUX, bytes(disks[B]))]))

    seen = asyncio.run(seen_in(disk))

    assert len(seen) >= 2
    assert disk.asked < ASKED_MAX


def _edited(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]
