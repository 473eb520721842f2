"""Finding items by their paths, and walking trees that may contradict themselves."""

import unicodedata
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

from msgspec.structs import replace

from reference_engine.items.errors import (
    ItemNotFoundError,
    TreeDamagedError,
    TreeUnsupportedError,
)
from reference_engine.items.tree import FileTree, Item, ItemKind

_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories of characters that a terminal obeys, or does not show."""


class Located(NamedTuple):
    """An item, and the names that lead to it."""

    path: tuple[str, ...]
    item: Item


def split_path(tree: FileTree, path: str, /) -> tuple[str, ...]:
    """Return the names of which a path is made, as people type it for this file system."""
    typed = path.replace("\\", "/") if tree.is_windows else path
    return tuple(part for part in typed.split("/") if part not in {"", "."})


def joined(path: tuple[str, ...], /) -> str:
    """Return a path for people: what a terminal would obey is written out."""
    return "/" + "/".join(shown(name) for name in path)


def shown(name: str, /) -> str:
    """Return a name for people: what a terminal would obey is written out."""
    text = name.encode("utf-8", "surrogateescape" if _is_bytes(name) else "surrogatepass")
    readable = text.decode("utf-8", "backslashreplace")
    return "".join(
        each.encode("unicode_escape").decode() if unicodedata.category(each) in _HIDDEN else each
        for each in readable
    )


def _is_bytes(name: str) -> bool:
    """Return whether all surrogates of a name stand for bytes that were no text."""
    return all("\udc80" <= each <= "\udcff" for each in name if "\ud800" <= each <= "\udfff")


async def find(tree: FileTree, path: str, /) -> Located:
    """Return the item that a path names; links on the way are not followed.

    Raises:
        ItemNotFoundError: there is none.
        TreeDamagedError, TreeUnsupportedError: a directory on the way cannot be read.
    """
    found = Located((), await tree.root())
    for name in split_path(tree, path):
        if found.item.kind is not ItemKind.DIRECTORY:
            raise ItemNotFoundError(path)
        inside = await entries(tree, found)
        exact = [each for each in inside if each.item.name == name]
        if not exact and tree.is_windows:
            exact = [each for each in inside if each.item.name.upper() == name.upper()]
        if not exact:
            raise ItemNotFoundError(path)
        found = exact[0]
    return found


async def entries(tree: FileTree, directory: Located, /) -> list[Located]:
    """Return everything in a directory, by name.

    Raises:
        TreeDamagedError, TreeUnsupportedError: it cannot be read as a whole; both say which one.
    """
    where = joined(directory.path)
    item = directory.item
    if item.damaged:
        raise TreeDamagedError(item.damaged, where)
    if item.unsupported:
        raise TreeUnsupportedError(item.unsupported, where)
    try:
        found = await tree.entries(item)
    except TreeDamagedError as error:
        raise TreeDamagedError(error.cause, where) from error
    except TreeUnsupportedError as error:
        raise TreeUnsupportedError(error.what, where) from error
    ordered = sorted(found, key=lambda each: each.name)
    return [Located((*directory.path, each.name), each) for each in ordered]


async def walk(tree: FileTree, start: Located, /) -> AsyncIterator[Located]:
    """Yield an item and everything below it, each directory before what is in it.

    A directory that cannot be read is yielded as what it is, with the reason in it, and one that
    was walked before is damaged: no directory is in two places.

    Raises:
        CorruptionError: blocks of the point cannot be read back as they were written.
    """
    waiting = [start]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop()
        below: list[Located] = []
        if each.item.kind is ItemKind.DIRECTORY and not each.item.damaged:
            try:
                if each.item.number and each.item.number in seen:
                    raise TreeDamagedError("it is in two places")  # noqa: TRY301 - told like any other damage
                seen.add(each.item.number)
                below = await entries(tree, each)
            except TreeDamagedError as error:
                each = Located(each.path, replace(each.item, damaged=error.cause))
            except TreeUnsupportedError as error:
                each = Located(each.path, replace(each.item, unsupported=error.what))
        yield each
        waiting += reversed(below)
