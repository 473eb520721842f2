"""Repositories that an earlier program stored, byte for byte, and what they hold."""

from pathlib import Path
from typing import Final

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.extents import ExtentSet
from reference_engine.repository.repository import Repository
from tests.strategies.repositories import block, commit, commit_changes

GOLDEN: Final = Path(__file__).parents[1] / "golden"
FIRST: Final = block(1) + block(2) + block(0) + block(1) + block(3)[:20]
SECOND: Final = FIRST[:70] + b"edit" + FIRST[74:]
IMAGES: Final = {"a": FIRST, "b": SECOND}


async def write_both(repository: Repository) -> None:
    """Commit a full point and an overlaid one."""
    await commit(repository, FIRST, "a")
    await commit_changes(repository, SECOND, "b", changed=ExtentSet.of([(70, 74)]))


def golden(name: str = "format-2") -> MemoryStore:
    """Return a stored repository: the plain one, or that of this name."""
    root = GOLDEN / name
    store = MemoryStore()
    for path in sorted(root.rglob("*")):
        if path.is_file():
            store.objects[path.relative_to(root).as_posix()] = path.read_bytes()
    return store


def write_golden(name: str, objects: dict[str, bytes]) -> None:
    """Store a repository anew, for a format that was changed on purpose."""
    for each, content in objects.items():
        path = GOLDEN / name / each
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
