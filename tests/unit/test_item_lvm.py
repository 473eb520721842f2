"""Volume groups: put together from whatever disks hold their pieces, or refused by name."""

import asyncio  # noqa: TID251 - trees are awaited on asyncio
import re
import struct
from typing import Any, Final

import pytest

from reference_engine.items.errors import TreeDamagedError
from reference_engine.items.lvm.text import parsed
from reference_engine.items.volume import Volume
from reference_engine.items.volumes import volumes_of
from reference_engine.model.identity import DiskId
from tests.strategies.item_trees import MemoryBytes, seen_in
from tests.strategies.volume_groups import AREA, A, B, both, retell, text_of

STRIPES: Final = "stripe_size = 16\n"
ONE: Final = "stripe_count = 1\n"
NOWHERE: Final = "a part of it lies on a physical volume that is on none of the point's disks"


def volumes(disks: dict[DiskId, bytearray], only: DiskId | None = None) -> tuple[Volume, ...]:
    """Return the volumes of disks."""
    views = {disk: MemoryBytes(content) for disk, content in disks.items()}
    return asyncio.run(volumes_of(views, only=only))


def told(found: tuple[Volume, ...]) -> list[tuple[str, int, str, str]]:
    """Return of each volume where it is listed, what it is, and what is said of it."""
    return [
        (each.disk, each.number, each.kind, each.damaged or each.unsupported or each.file_system)
        for each in found
    ]


def retold(old: str, new: str) -> tuple[Volume, ...]:
    """Return the volumes of the two disks after both texts were changed."""
    disks = both()
    for disk in disks.values():
        assert old in text_of(disk)
        retell(disk, lambda text: text.replace(old, new))
    return volumes(disks)


def test_a_group_is_put_together_from_several_disks() -> None:
    """Logical volumes follow the disk on which they begin."""
    found = volumes(both())

    assert told(found) == [
        (A, 1, "whole disk", "LVM: physical volume of store"),
        (A, 2, "LVM store/root", "ext4"),
        (A, 3, "LVM store/data", "ext2"),
        (A, 4, "LVM store/swap", "swap: holds no files"),
        (B, 1, "whole disk", "LVM: physical volume of store"),
    ]
    assert [each.start for each in found] == [0, 65536, 1376256, 3473408, 0]


def test_the_disk_that_was_asked_for_is_listed_and_the_others_are_read() -> None:
    """One disk's volumes are complete though their pieces lie on another."""
    found = volumes(both(), A)

    assert [each.disk for each in found] == [A] * 4
    assert [each.tree is not None for each in found] == [False, True, True, False]
    assert told(volumes(both(), B)) == [(B, 1, "whole disk", "LVM: physical volume of store")]


def test_what_lies_on_a_missing_disk_is_named() -> None:
    """Volumes with all their pieces on the other disks can be read."""
    disks = both()
    del disks[B]

    assert [each[3] for each in told(volumes(disks))] == [
        "LVM: physical volume of store",
        NOWHERE,
        NOWHERE,
        "swap: holds no files",
    ]


def test_of_two_physical_volumes_of_one_identity_none_is_believed() -> None:
    """A copy of a disk beside its original: nobody knows which one the group means."""
    disks = both()
    disks[DiskId("copy")] = bytearray(disks[B])

    said = {each[2]: each[3] for each in told(volumes(disks))}

    assert said["LVM store/root"] == "a physical volume of this identity is there twice"
    assert said["LVM store/swap"] == "swap: holds no files"
    assert told(volumes(disks))[-1][3] == "LVM: a physical volume of this identity is there twice"


def test_a_damaged_text_is_read_from_another_disk() -> None:
    """Each physical volume describes the whole group; that one is damaged is said."""
    disks = both()
    disks[A][AREA + struct.unpack_from("<Q", disks[A], AREA + 40)[0] + 9] ^= 1

    found = volumes(disks)

    assert found[1].tree is not None
    assert found[0].remark == (
        f"LVM: the text of the metadata area at {AREA} is not whole; another copy was used"
    )


def test_a_group_without_a_whole_text_is_damaged() -> None:
    """Neither disk says what is on it."""
    disks = both()
    for disk in disks.values():
        disk[AREA + 100] ^= 1

    cause = f"the metadata area at {AREA} is not whole"

    assert told(volumes(disks)) == [(A, 1, "whole disk", cause), (B, 1, "whole disk", cause)]


def test_the_newest_text_holds() -> None:
    """A disk that was away while the group changed does not bring back what was."""
    disks = both()
    now = re.search(r"seqno = \d+", text_of(disks[A]))
    assert now is not None
    for disk in disks:
        old = {each: bytearray(content) for each, content in disks.items()}
        retell(
            old[disk], lambda text: text.replace("swap {", "gone {").replace(now[0], "seqno = 1")
        )

        assert "LVM store/gone" not in {each.kind for each in volumes(old)}


def test_a_text_goes_round_the_end_of_its_area() -> None:
    """Texts are written one behind the other, and behind the last place comes the first."""
    disks = both()
    size = struct.unpack_from("<Q", disks[A], AREA + 32)[0]
    retell(disks[A], str, at=size - 700)
    disks[B][AREA + 100] ^= 1

    assert [each.tree is not None for each in volumes(disks)] == [False, True, True, False, False]


def test_a_label_that_is_not_whole_is_none() -> None:
    """What begins like a physical volume and has a wrong checksum is no part of a group."""
    disks = both()
    disks[B][512 + 40] ^= 1

    assert told(volumes(disks))[-1] == (B, 1, "whole disk", "LVM: no label of it is whole")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('type = "striped"', 'type = "thin"', "thin: not put together here"),
        ('type = "striped"', 'type = "raid1"', "raid1: not put together here"),
        ('type = "striped"', 'type = "\x1b[31m"', r"'\x1b[31m': not put together here"),
        (ONE, "stripe_count = 3\n" + STRIPES, "its stripes contradict each other"),
        (ONE, "stripe_count = 0\n" + STRIPES, "its stripes contradict each other"),
        (ONE, "stripe_count = 3\n", "the text of a volume group has no sound stripe_size"),
        ('"pv0", 0', '"pv7", 0', "it lies on pv7, no physical volume"),
        ("start_extent = 10\n", "start_extent = 9\n", "its segments do not follow each other"),
        ("extent_count = 10\n", "extent_count = 0\n", "its segments do not follow each other"),
        ("extent_count = 10\n", "", "the text of a volume group has no sound extent_count"),
    ],
)
def test_what_is_not_understood_of_a_volume_is_named(old: str, new: str, said: str) -> None:
    """One volume is refused; its group is listed."""
    found = {each[2]: each[3] for each in told(retold(old, new))}

    assert found["LVM store/root"] == said
    assert "LVM store/swap" in found


@pytest.mark.parametrize("sectors", [0, 2, 24, 1000])
def test_stripes_that_do_not_fill_their_pieces_are_refused(sectors: int) -> None:
    """The commands make no stripes shorter than 4 KiB, and none that end in the middle."""
    found = {each[2]: each[3] for each in told(retold(STRIPES, f"stripe_size = {sectors}\n"))}

    assert found["LVM store/data"] == "its stripes contradict each other"
    assert found["LVM store/root"] == "ext4"


def test_pieces_behind_the_end_of_a_disk_are_damage() -> None:
    """A description that leads out of its physical volume leads to no bytes of another."""
    found = {each[2]: each[3] for each in told(retold('"pv0", 0', '"pv0", 41'))}

    assert "behind its end" in found["LVM store/root"]


def test_a_snapshot_is_told_from_what_it_shows() -> None:
    """The place where a snapshot keeps old blocks is no file system; its origin is one."""
    snapshot = """snapshot0 {
id = "x"
status = ["READ", "WRITE"]
segment_count = 1
segment1 {
start_extent = 0
extent_count = 1
type = "snapshot"
chunk_size = 8
origin = "root"
cow_store = "swap"
}
}
"""
    said = {each[2]: each[3] for each in told(retold("root {", snapshot + "root {"))}

    assert said["LVM store/swap"] == "a snapshot of root: not read here"
    assert said["LVM store/root"] == "ext4"
    assert "LVM store/snapshot0" not in said

    merging = snapshot.replace("cow_store", "merging_store")
    said = {each[2]: each[3] for each in told(retold("root {", merging + "root {"))}

    assert said["LVM store/root"] == "a snapshot is being merged into it: not read here"


@pytest.mark.parametrize(
    ("text", "section"),
    [
        ("", {}),
        ("# nothing\n", {}),
        ('a = 1\nb = "x\\"y\\\\" # why\nc = ["u", 2,]', {"a": 1, "b": 'x"y\\', "c": ["u", 2]}),
        ("s { t-0.1 { a = [] } }", {"s": {"t-0.1": {"a": []}}}),
    ],
)
def test_a_text_is_read(text: str, section: dict[str, Any]) -> None:
    """Sections, numbers, strings and lists, as LVM2 writes them."""
    assert parsed(text) == section


@pytest.mark.parametrize(
    "text",
    [
        "a", "a =", "a = [", "a = [1", "a {", "}", "a = }", "{", "= 1", 'a = "', "a = 1.5", "a = b",
        "a {" * 9 + "}" * 9, "a = " + "9" * 21, "a = [[1]]", "a = \0",
    ],
)  # fmt: skip
def test_a_text_without_grammar_is_damage(text: str) -> None:
    """Whatever it is, it ends in one error that says so."""
    with pytest.raises(TreeDamagedError, match="the text of a volume group"):
        parsed(text)


def test_a_text_that_ends_anywhere_is_damage_or_less() -> None:
    """However much of a text is left, all ends in volumes, each with what is wrong with it."""
    whole = both()
    text = text_of(whole[A])
    whole[B][AREA + 100] ^= 1

    for length in range(1, len(text), 97):
        retell(whole[A], lambda _, length=length: text[:length])
        assert all(each["number"] for each in asyncio.run(seen_in(MemoryBytes(whole[A]))))
