"""What every reader of a file system promises: all that was put in, exact, and nothing else."""

import asyncio  # noqa: TID251 - trees are awaited on asyncio
from pathlib import Path
from typing import Any, Final

import pytest

from simulator.world.own_disks import own_disk, own_disk_names
from tests.strategies import item_images, ntfs_images
from tests.strategies.item_trees import MemoryBytes, seen_in

OWN: Final = own_disk_names()
MADE: Final = {
    "ext2": lambda place: item_images.ext4(place, kind="ext2"),
    "ext3": lambda place: item_images.ext4(place, kind="ext3"),
    "ext4 with small blocks": lambda place: item_images.ext4(
        place, "-b", "1024", "-O", "meta_bg,^resize_inode,^metadata_csum", "-I", "128"
    ),
    "ext4 with content in inodes": lambda place: item_images.ext4(
        place, "-O", "inline_data", "-I", "512"
    ),
    "NTFS": ntfs_images.ntfs,
    "NTFS in pieces": ntfs_images.ntfs_lists,
    "XFS": item_images.xfs,
}


def by_path(items: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return items by their paths, each of which is there once."""
    found = {each["path"]: each for each in items}
    assert len(found) == len(items), "every path is there once"
    return found


def assert_exact(seen: list[dict[str, Any]], true: list[dict[str, Any]]) -> None:
    """Every item is there with the content that was put in, or refused by the name it should be."""
    found, wanted = by_path(seen), by_path(true)
    assert found.keys() == wanted.keys()
    for path, item in wanted.items():
        refused = item.get("unsupported", "")
        said = found[path].get("unsupported", "") + found[path].get("damaged", "")
        assert refused in said, path
        if not refused:
            assert found[path] == item, bytes.fromhex(path)


@pytest.mark.parametrize("name", OWN)
def test_what_was_put_into_a_disk_is_read_again(name: str) -> None:
    """Volumes in tables of all kinds, each with its items, or with the name of what it is."""
    disk = own_disk(name)

    seen = asyncio.run(seen_in(MemoryBytes(disk.content)))

    assert [each["number"] for each in seen] == [each.number for each in disk.volumes]
    for volume, true in zip(seen, disk.volumes, strict=True):
        if true.unsupported:
            assert true.unsupported in volume["unsupported"]
            continue
        assert volume["unrest"] == ""
        items = [
            {"path": each.path, "kind": each.kind}
            | ({"unsupported": each.unsupported} if each.unsupported else {})
            | ({"target": each.target} if each.target else {})
            | ({"size": each.size, "digest": each.digest} if each.digest else {})
            | ({"streams": each.streams} if each.streams else {})
            for each in true.items
        ]
        assert_exact(volume["items"], items)


@pytest.mark.parametrize("name", MADE)
def test_what_other_programs_make_is_read(name: str, tmp_path: Path) -> None:
    """A volume that was made just now, by whatever version of its programs is installed."""
    content, truth = MADE[name](tmp_path)

    [volume] = asyncio.run(seen_in(MemoryBytes(content)))

    assert_exact(volume["items"], truth)
