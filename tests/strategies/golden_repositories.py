"""Repositories that an earlier program stored, byte for byte, and what they hold."""

from pathlib import Path
from typing import Final

import numpy as np

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.extents import ExtentSet
from reference_engine.model.units import ByteCount
from reference_engine.repository.repository import Repository
from tests.strategies.repositories import BLOCK, DISK, VM, block, commit, point_of

GOLDEN: Final = Path(__file__).parents[1] / "golden"
FIRST: Final = block(1) + block(2) + block(0) + block(1) + block(3)[:20]
SECOND: Final = FIRST[:70] + b"edit" + FIRST[74:]
IMAGES: Final = {"a": FIRST, "b": SECOND}


async def write_both(repository: Repository) -> None:
    """Commit a full point and an overlaid one."""
    await commit(repository, FIRST, "a")
    session = await repository.open_run(VM, token="session-b")  # noqa: S106 - no secret
    await session.begin_disk(DISK, ByteCount(len(SECOND)), inherit=DISK)
    changed = ExtentSet.of([(70, 74)])
    await session.put_blocks(DISK, np.array([1]), SECOND[BLOCK : 2 * BLOCK], changed=changed)
    await session.stage(point_of(session, {DISK: len(SECOND)}, "b"))
    await session.commit()


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
