"""Attribute lists of NTFS that a stranger changed: one item is damaged, and nothing else is."""

import asyncio  # noqa: TID251 - trees are awaited on asyncio
import struct
from collections.abc import Callable
from itertools import chain
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_engine.items.browsing import find
from reference_engine.items.errors import TreeDamagedError
from reference_engine.items.file_systems import ntfs_records
from reference_engine.items.file_systems.ntfs_attributes import (
    DATA,
    FILE_NAME,
    Attribute,
    attributes_of,
)
from reference_engine.items.file_systems.ntfs_lists import joined, listed_in
from reference_engine.items.volumes import volumes_of
from reference_engine.model.identity import DiskId
from simulator.world.own_disks import own_disk
from tests.strategies.item_trees import MemoryBytes, seen_in

RECORD: Final = 1024
CLUSTER: Final = 1024
LIST: Final = 0x20
RIGHTS: Final = 0x50
"""Who may do what: nobody asks here."""

ASKED_MAX: Final = 20_000

Entries = list[bytes]


class Lists:
    """The volume of which little fits into single records, as somebody changes it."""

    def __init__(self) -> None:
        self.content = bytearray(own_disk("own:lists").content)
        self.table = struct.unpack_from("<Q", self.content, 48)[0] * CLUSTER

    def base(self, path: str) -> int:
        """Return where the record of a file is."""

        async def number() -> int:
            [volume] = await volumes_of({DiskId("disk"): MemoryBytes(self.content)})
            assert volume.tree is not None
            return (await find(volume.tree, path)).item.number

        found = asyncio.run(number())
        for at in range(0, len(self.content), RECORD):
            head = struct.unpack_from("<4s18xH20xI", self.content, at) if at else (b"", 0, 0)
            # One of $MFTMirr has no number above 3.
            if head[0] == b"FILE" and head[1] & 1 and head[2] == found:
                return at
        raise AssertionError(path)

    def reference(self, record: int, at: int) -> int:
        """Return a reference that stands in a record."""
        return int.from_bytes(self.content[record + at : record + at + 8], "little")

    def attributes(self, record: int) -> list[int]:
        """Return where the attributes of a record begin."""
        at = record + int(struct.unpack_from("<H", self.content, record + 20)[0])
        found: list[int] = []
        while at < record + RECORD - 8:
            kind, length = struct.unpack_from("<II", self.content, at)
            if kind == 0xFFFFFFFF or not length:
                break
            found.append(at)
            at += length
        return found

    def attribute(self, record: int, kind: int) -> int:
        """Return where the first attribute of a kind begins."""
        return next(each for each in self.attributes(record) if self.content[each] == kind)

    def place(self, record: int) -> int:
        """Return where the list of a record lies, which is in clusters that lie together."""
        own = self.attribute(record, LIST)
        at = own + struct.unpack_from("<H", self.content, own + 32)[0]
        wide, far = self.content[at] & 15, self.content[at] >> 4
        first = self.content[at + 1 + wide : at + 1 + wide + far]
        return int.from_bytes(first, "little") * CLUSTER

    def entries(self, record: int) -> Entries:
        """Return the entries of a list."""
        size = self.reference(self.attribute(record, LIST), 48)
        at, found = self.place(record), []
        end = at + size
        while at < end:
            length = struct.unpack_from("<H", self.content, at + 4)[0]
            found.append(bytes(self.content[at : at + length]))
            at += length
        return found

    def put(self, record: int, entries: Entries) -> None:
        """Have other entries in a list."""
        whole = b"".join(entries)
        place = self.place(record)
        self.content[place : place + len(whole)] = whole
        self.resize(record, len(whole))

    def resize(self, record: int, size: int) -> None:
        """Have a list of another size."""
        own = self.attribute(record, LIST)
        self.content[own + 48 : own + 64] = struct.pack("<QQ", size, size)

    def seen(self) -> dict[str, Any]:
        """Return the volume."""
        disk = MemoryBytes(self.content)
        [volume] = asyncio.run(seen_in(disk))
        assert disk.asked < ASKED_MAX
        return volume

    def damage(self, name: str) -> str:
        """Return what is said of an item, if of any; every other one is exact."""
        found = {each["path"]: each for each in self.seen()["items"]}
        [true] = own_disk("own:lists").volumes
        assert found.keys() == {each.path for each in true.items}
        path = f"/{name}".encode().hex()
        for each in true.items:
            if each.path != path:
                assert found[each.path].get("digest", "") == each.digest, each.path
        return str(found[path].get("damaged", "")) if name else ""


def kind_of(entry: bytes) -> int:
    """Return what an entry names."""
    return int.from_bytes(entry[:4], "little")


def with_field(entry: bytes, at: int, layout: str, value: int) -> bytes:
    """Return an entry with another value somewhere."""
    return entry[:at] + struct.pack(layout, value) + entry[at + struct.calcsize(layout) :]


def with_last(at: int, layout: str, change: Callable[[int], int]) -> Callable[[Entries], Entries]:
    """Return what changes a field of a file's last part."""

    def changed(entries: Entries) -> Entries:
        value = struct.unpack_from(layout, entries[-1], at)[0]
        return [*entries[:-1], with_field(entries[-1], at, layout, change(value))]

    return changed


SPOILT: Final[dict[str, tuple[Callable[[Entries], Entries], str]]] = {
    "without its end": (lambda entries: entries[:-1], "fewer clusters than bytes"),
    "with a part twice": (lambda entries: [*entries, entries[-1]], "make no sense"),
    "in another order": (lambda entries: [*entries[:-2], *entries[:-3:-1]], "lacks a part"),
    "without a start": (lambda entries: [*entries[:-2], entries[-1]], "lacks a part"),
    "without times": (lambda entries: entries[1:], "lacks its own attributes"),
    "with zeros behind it": (lambda entries: [*entries, bytes(26)], "make no sense"),
    "with a byte behind it": (lambda entries: [*entries, b"\xff"], "make no sense"),
    "that goes nowhere": (with_last(4, "<H", lambda _: 0), "make no sense"),
    "that goes too far": (with_last(4, "<H", lambda length: length + 8), "make no sense"),
    "with too long a name": (with_last(6, "<B", lambda _: 255), "make no sense"),
    "with another name": (with_last(6, "<B", lambda _: 1), "lacks an attribute"),
    "with another place": (with_last(8, "<Q", lambda first: first + 1), "lacks an attribute"),
    "of a file before": (with_last(16, "<Q", lambda holder: holder + (1 << 48)), "another file's"),
    "of the root": (with_last(16, "<Q", lambda _: 5 | 5 << 48), "is not a part"),
    "of no record": (with_last(16, "<Q", lambda _: (1 << 48) - 1), "there is no record"),
    "of no attribute": (with_last(24, "<H", lambda number: number + 7), "lacks an attribute"),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_list_that_does_not_agree_is_one_damaged_item(how: str) -> None:
    """Whatever a list says that is not so, no bytes of that file are made up."""
    change, said = SPOILT[how]
    disk = Lists()
    record = disk.base("sparse")
    assert [kind_of(each) for each in disk.entries(record)][-2:] == [DATA, DATA]

    disk.put(record, change(disk.entries(record)))

    assert said in disk.damage("sparse")


@pytest.mark.parametrize(
    ("size", "said"),
    [(1 << 40, "are the most"), ((1 << 64) - 1, "makes no sense"), (256 * 1024, "fewer clusters")],
)
def test_a_list_of_an_absurd_size_is_damage(size: int, said: str) -> None:
    """A list that says that it is huge takes neither memory nor time."""
    disk = Lists()
    disk.resize(disk.base("sparse"), size)

    assert said in disk.damage("sparse")


def test_a_list_that_is_compressed_is_damage() -> None:
    """No system compresses what it needs to find content."""
    disk = Lists()
    disk.content[disk.attribute(disk.base("sparse"), LIST) + 12] |= 1

    assert "metadata" in disk.damage("sparse")


def test_what_was_never_written_of_a_list_is_zeros() -> None:
    """Behind its valid length a list has what somebody else left there, which is no entry."""
    disk = Lists()
    at = disk.attribute(disk.base("sparse"), LIST)
    valid = disk.reference(at, 56)

    disk.content[at + 56 : at + 64] = struct.pack("<Q", valid - 32)

    assert "make no sense" in disk.damage("sparse")


def test_a_list_that_names_itself_is_read_once() -> None:
    """The list is an attribute of its record, and no reason to read another one."""
    disk = Lists()
    record = disk.base("sparse")
    own = with_field(disk.entries(record)[0], 0, "<I", LIST)
    number = struct.unpack_from("<H", disk.content, disk.attribute(record, LIST) + 14)[0]
    own = with_field(own, 24, "<H", number)

    disk.put(record, [own, *disk.entries(record)])

    assert disk.damage("sparse") == ""


def test_a_list_may_lie_in_its_record() -> None:
    """A short list is read from where Windows has it at first, beside the other attributes."""
    disk = Lists()
    record = disk.base("sparse")
    at, rights = disk.attribute(record, LIST), disk.attribute(record, RIGHTS)
    room = struct.unpack_from("<I", disk.content, rights + 4)[0] + rights - at
    content = b"".join(each for each in disk.entries(record) if kind_of(each) != RIGHTS)

    head = struct.pack("<IIBBHHHIHH", LIST, room, 0, 0, 24, 0, 1, len(content), 24, 0)
    disk.content[at : at + room] = (head + content).ljust(room, b"\0")

    assert disk.damage("sparse") == ""


def test_a_record_of_another_file_is_not_taken_for_a_part() -> None:
    """A part that says itself whose it is belongs to nobody else."""
    disk = Lists()
    record, other = disk.base("sparse"), disk.base("packed/text")
    entries = disk.entries(record)

    disk.put(record, [*entries[:-1], disk.entries(other)[-1]])

    assert "is not a part" in disk.damage("sparse")


def test_the_rest_of_an_attribute_is_no_attribute() -> None:
    """What is left of a file's content is not shown as if it were its start."""
    disk = Lists()
    at = disk.attribute(disk.base("last"), DATA)
    first, last = struct.unpack_from("<QQ", disk.content, at + 16)

    disk.content[at + 16 : at + 32] = struct.pack("<QQ", first + 8, last + 8)

    assert "lacks a part" in disk.damage("last")


def with_third_part(disk: Lists) -> Entries:
    """Have a third part of the table, told by a record in the second; return the table's list."""
    entries = disk.entries(disk.table)
    [second] = [
        disk.table + RECORD * int.from_bytes(each[16:22], "little")
        for each in entries
        if kind_of(each) == DATA and any(each[8:16])
    ]
    at = disk.attribute(second, DATA)
    [own] = attributes_of(bytes(disk.content[second : second + RECORD]), 15)
    kept, rest = own.clusters[:1], own.clusters[1:]
    middle = own.first + kept[0][0]
    disk.content[at + 24 : at + 32] = struct.pack("<Q", middle - 1)
    disk.content[at + 64 : at + 64 + len(packed(kept))] = packed(kept)
    # A cluster is as large as a record: the first one that the second part has.
    assert kept[0][1] is not None
    place = kept[0][1] * CLUSTER
    sequence = struct.unpack_from("<H", disk.content, place + 16)[0]
    last = middle + sum(length for length, _ in rest) - 1
    pairs = packed(rest)
    size = 64 + len(pairs) + -len(pairs) % 8
    third = struct.pack(
        "<IIBBHHHQQHH4xQQQ", DATA, size, 1, 0, 64, 0, 0, middle, last, 64, 0, 0, 0, 0
    )
    third = third + pairs.ljust(size - 64, b"\0") + b"\xff" * 4 + bytes(4)
    head = struct.pack(
        "<4sHHQHHHHIIQHHI", b"FILE", 48, 3, 0, sequence, 0, 56, 1, 56 + len(third), RECORD,
        1 << 48, 1, 0, own.first,
    )  # fmt: skip
    whole = bytearray((head + bytes(8) + third).ljust(RECORD, b"\0"))
    for index in (1, 2):
        end = index * 512
        whole[48 + 2 * index : 50 + 2 * index] = whole[end - 2 : end]
        whole[end - 2 : end] = whole[48:50]
    disk.content[place : place + RECORD] = whole
    told = struct.pack("<IHBBQQH6x", DATA, 32, 0, 26, middle, sequence << 48 | own.first, 0)
    parts = [at for at, each in enumerate(entries) if kind_of(each) == DATA]
    return [*entries[: parts[-1] + 1], told, *entries[parts[-1] + 1 :]]


def packed(clusters: tuple[tuple[int, int | None], ...]) -> bytes:
    """Return runs as NTFS has them: each length, and how far it is from the one before."""
    found, before = b"", 0
    for length, place in clusters:
        assert place is not None
        found += b"\x44" + struct.pack("<Ii", length, place - before)
        before = place
    return found + b"\0"


def test_a_part_of_the_table_may_tell_the_next_one() -> None:
    """A record that tells where more records are may itself be one of those that were told."""
    disk = Lists()

    disk.put(disk.table, with_third_part(disk))

    assert disk.damage("") == ""


def test_a_part_of_the_table_that_nobody_told_yet_is_damage() -> None:
    """A record that only the records in it could tell of is not looked for anywhere."""
    disk = Lists()
    entries = with_third_part(disk)
    parts = [at for at, each in enumerate(entries) if kind_of(each) == DATA]

    entries[parts[-1]], entries[parts[-2]] = entries[parts[-2]], entries[parts[-1]]
    disk.put(disk.table, entries)

    assert "there is no record" in disk.seen()["damaged"]


TABLES: Final[dict[str, Callable[[Entries], Entries]]] = {
    "without the table": lambda entries: [each for each in entries if kind_of(each) != DATA],
    "without its end": lambda entries: [
        each for each in entries if kind_of(each) != DATA or not any(each[8:16])
    ],
    "with a part twice": lambda entries: [*entries, entries[-1]],
    "of a record that it should tell": lambda entries: [
        with_field(each, 16, "<Q", (1 << 48) + 2900) for each in entries
    ],
    "of another file": lambda entries: [
        with_field(each, 16, "<Q", (3 << 48) + 3) for each in entries
    ],
    "of other places": lambda entries: [with_field(each, 8, "<Q", 1 << 40) for each in entries],
    "of zeros": lambda _: [bytes(26)],
    "of nothing": lambda _: [],
}


@pytest.mark.parametrize("how", TABLES)
def test_a_table_whose_own_list_does_not_agree_is_a_damaged_volume(how: str) -> None:
    """Where records lie is known or it is not; a volume with half of its table is not shown."""
    disk = Lists()
    assert [kind_of(each) for each in disk.entries(disk.table)].count(DATA) > 1

    disk.put(disk.table, TABLES[how](disk.entries(disk.table)))

    assert disk.seen()["damaged"]


def test_compressed_content_behind_a_hole_is_damage() -> None:
    """What is stored of a part that is compressed stands at its start, or is something else."""
    disk = Lists()
    record = disk.base("packed/text")
    data = disk.attribute(record, DATA)
    at = data + struct.unpack_from("<H", disk.content, data + 32)[0]
    stored = 1 + (disk.content[at] & 15) + (disk.content[at] >> 4)
    hole = 1 + (disk.content[at + stored] & 15)
    assert disk.content[at + stored] >> 4 == 0
    runs = bytes(disk.content[at : at + stored + hole])

    disk.content[at : at + len(runs)] = runs[stored:] + runs[:stored]

    assert "hole" in disk.damage("packed/text")


def test_what_lies_in_too_many_pieces_is_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a list leads to has a bound, whatever records it names; here that of the table."""
    disk = Lists()
    monkeypatch.setattr(ntfs_records, "_PIECES_MAX", 3)

    assert "too many pieces" in disk.seen()["damaged"]


def part(first: int, *clusters: tuple[int, int | None]) -> Attribute:
    """Return a part of a file's content."""
    return Attribute(
        kind=DATA, name="", flags=0, number=0, content=None, first=first, clusters=clusters
    )


@given(
    st.lists(st.lists(st.tuples(st.integers(1, 9), st.none() | st.integers(0, 99)), max_size=4)),
    st.randoms(use_true_random=False),
)
def test_parts_become_the_whole_in_their_order_only(
    runs: list[list[tuple[int, int | None]]], chance: Any
) -> None:
    """However an attribute is split, it is whole again; in another order it is damaged."""
    at, parts = 0, []
    for own in runs:
        parts.append(part(at, *own))
        at += sum(length for length, _ in own)
    mixed = chance.sample(parts, len(parts))

    whole = joined(parts, 7)

    assert [each.clusters for each in whole] == ([tuple(chain(*runs))] if runs else [])
    if [each.first for each in mixed] != [each.first for each in parts]:
        with pytest.raises(TreeDamagedError):
            joined(mixed, 7)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_list_or_damaged(content: bytes) -> None:
    """Whatever stands in a list: entries that fill it, or a sentence."""
    try:
        found = [*listed_in(content, 7)]
    except TreeDamagedError:
        return
    assert len(found) * 26 <= len(content)


def test_an_attribute_that_is_there_twice_is_damage() -> None:
    """Of two contents of one file nobody can say which one it is."""
    twice = Attribute(kind=DATA, name="", flags=0, number=0, content=b"a")
    names = [Attribute(kind=FILE_NAME, name="", flags=0, number=n, content=b"n") for n in (1, 2)]

    assert joined(names, 7) == tuple(names)
    with pytest.raises(TreeDamagedError):
        joined([twice, twice], 7)
    with pytest.raises(TreeDamagedError):
        joined([part(0), twice], 7)
