"""Bytes as volumes, and trees of items as something that can be compared."""

import hashlib
from typing import Any

from reference_engine.items.browsing import Located, walk
from reference_engine.items.disk_view import Bytes, within
from reference_engine.items.tree import FileTree, Item, ItemKind
from reference_engine.items.volume import Volume
from reference_engine.items.volumes import volumes_of
from reference_engine.model.errors import CorruptionError, RefusedError
from reference_engine.model.identity import DiskId


class MemoryBytes(Bytes):
    """Bytes in memory, and how often they were asked for."""

    def __init__(self, content: bytes | bytearray, /) -> None:
        self._content = content
        self.asked = 0

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self._content)

    async def read(self, offset: int, length: int, /) -> bytes:
        """Return exactly these bytes."""
        within(offset, length, self.size)
        self.asked += 1
        return bytes(self._content[offset : offset + length])


async def seen_in(disk: Bytes) -> list[dict[str, Any]]:
    """Return everything that can be seen on a disk: volumes, items, digests of all content."""
    return [await _volume(each) for each in await volumes_of({DiskId("disk"): disk})]


async def _volume(volume: Volume) -> dict[str, Any]:
    seen: dict[str, Any] = {"number": volume.number}
    if volume.tree is None:
        return seen | {
            "damaged" if volume.damaged else "unsupported": volume.damaged or volume.unsupported
        }
    root = Located((), await volume.tree.root())
    items = [
        await item_seen(volume.tree, each) async for each in walk(volume.tree, root) if each.path
    ]
    return seen | {"items": items, "unrest": volume.tree.unrest}


async def item_seen(tree: FileTree, each: Located) -> dict[str, Any]:
    """Return an item as the truth has it."""
    item = each.item
    name = "".join(f"/{part}" for part in each.path).encode(
        "utf-8", "surrogateescape" if not tree.is_windows else "surrogatepass"
    )
    seen: dict[str, Any] = {"path": name.hex(), "kind": item.kind.value}
    if item.damaged:
        return seen | {"damaged": item.damaged}
    if item.unsupported:
        return seen | {"unsupported": item.unsupported}
    if item.kind is ItemKind.LINK:
        seen["target"] = item.target
    if item.kind is ItemKind.FILE:
        try:
            seen |= {"size": item.size, "digest": await digest_of(tree, item, "", item.size)}
            if item.streams:
                seen["streams"] = {
                    each.name: await digest_of(tree, item, each.name, each.size)
                    for each in item.streams
                }
        except (CorruptionError, RefusedError) as error:
            return seen | {"damaged": str(error)}
    return seen


async def digest_of(tree: FileTree, item: Item, stream: str, size: int) -> str:
    """Return the digest of what an item holds, holes as zeros."""
    digest, at = hashlib.sha256(), 0
    async for piece in tree.pieces(item, stream):
        assert piece.offset >= at, "pieces ascend"
        digest.update(bytes(piece.offset - at))
        digest.update(piece.content)
        at = piece.offset + len(piece.content)
    assert at <= size, "pieces lie inside"
    if size - at < 1 << 30:
        digest.update(bytes(size - at))
    return digest.hexdigest()
