"""What the repository's machine keeps: objects, listed by folder, and a word when the log grows."""

from bisect import bisect_left, insort
from collections.abc import Callable

from reference_engine.adapters.memory_store import MemoryStore


def _folder(name: str) -> str:
    """Return a name without its last part, ended by a slash; nothing where it has one part only."""
    return name[: name.rfind("/") + 1]


class _Objects(dict[str, bytes]):
    """Objects by name, and beside them the names of each folder, ascending.

    One folder is listed at every run, and must not cost more because there are others; nor must
    what is stored cost more because there are a million copies of log entries already.
    """

    def __init__(self) -> None:
        super().__init__()
        self._folders: dict[str, list[str]] = {}

    def __setitem__(self, name: str, content: bytes, /) -> None:
        if name not in self:
            insort(self._folders.setdefault(_folder(name), []), name)
        super().__setitem__(name, content)

    def __delitem__(self, name: str, /) -> None:
        super().__delitem__(name)
        names = self._folders[_folder(name)]
        del names[bisect_left(names, name)]

    def pop(self, name: str, default: bytes | None = None, /) -> bytes:  # type: ignore[override]
        """Remove an object and return it, or `default` where there is none."""
        content = self.get(name, default)
        if name in self:
            del self[name]
        assert content is not None or default is None, name
        return content  # type: ignore[return-value]

    def named(self, prefix: str, /) -> tuple[str, ...]:
        """Return the names that start with `prefix`, ascending."""
        inside = [folder for folder in self._folders if folder.startswith(prefix)]
        if inside == [prefix]:
            return tuple(self._folders[prefix])
        found = [name for folder in inside for name in self._folders[folder]]
        if prefix not in self._folders:
            # The prefix ends within the names of its own folder.
            names = self._folders.get(_folder(prefix), [])
            found += [name for name in names if name.startswith(prefix)]
        return tuple(sorted(found))


class KeptStore(MemoryStore):
    """A store in memory; `log_grew` is told of new log entries: then a point becomes visible."""

    def __init__(self, log_grew: Callable[[], None], /) -> None:
        super().__init__()
        self._sorted = _Objects()
        self.objects = self._sorted
        self._rotten: dict[str, bytes] = {}
        """What was damaged, as it was before."""

        self._log_grew = log_grew

    async def create(self, name: str, content: bytes | bytearray, /) -> bool:
        """Store an object."""
        created = await super().create(name, content)
        if created and name.startswith("log/"):
            self._log_grew()
        return created

    async def names(self, prefix: str, /) -> tuple[str, ...]:
        """Return the names that start with `prefix`, ascending."""
        return self._sorted.named(prefix)

    def damage(self, objects: str, damage: str, /, *, listed: tuple[str, ...]) -> bool:
        """Flip a byte of the newest object of a kind, or lose it; return whether there was one.

        `listed`: the manifests of points that there are. One that nobody lists yet is no point's.
        """
        names = [name for name in self.objects if name.startswith(f"{objects}/")]
        names = [*(listed if objects == "manifests" else names)][-1:]
        copies = [f"copies/{name}" for name in names if objects in {"maps", "manifests"}]
        for name in names + copies:
            content = self.objects.pop(name, None)
            if content is None:
                continue  # a power cut has taken it before
            self._rotten.setdefault(name, content)
            if damage == "flipped":
                middle = len(content) // 2
                flipped = bytes([content[middle] ^ 1])
                self.objects[name] = content[:middle] + flipped + content[middle + 1 :]
        return bool(names)

    def healed(self) -> MemoryStore:
        """Return a store with everything that is here now, and what was damaged as it was."""
        store = MemoryStore()
        store.objects = {**self.objects, **self._rotten}
        return store

    def lose(self, count: int, /, *, torn: bool) -> None:
        """Lose the newest objects; of the oldest one of them a half may stay."""
        names = list(self.objects)[-count:]
        half = self.objects[names[0]]
        for name in names:
            del self.objects[name]
        if torn and not names[0].startswith("log/"):
            self.objects[names[0]] = half[: len(half) // 2]
