"""A long history is read several entries at a time, and judged as one that is read in turn."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio

import pytest

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import OperationFailedError
from reference_engine.repository import log, together
from reference_engine.repository.errors import LogDamagedError
from reference_engine.repository.repository import Repository
from tests.strategies.repositories import block, commit, new_repository


class Stumbling(MemoryStore):
    """A store that fails to give one object, once."""

    failing = ""

    async def read(self, name: str, /) -> bytes | None:
        """Return the object, or fail."""
        if name == self.failing:
            self.failing = ""
            raise OperationFailedError(f"reading {name}", "time-out")
        return await super().read(name)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Stumbling:
    """Return a repository of five points, whose log counts as a long one."""
    monkeypatch.setattr(log, "TOGETHER_FROM", 2)
    monkeypatch.setattr(together, "AT_ONCE", 4)
    found = Stumbling()

    async def filled() -> None:
        repository = await new_repository(found)
        for number in range(5):
            await commit(repository, block(number + 1), f"p{number}")

    asyncio.run(filled())
    return found


def points(store: MemoryStore) -> list[str]:
    """Return the points that a process finds that opens the repository."""

    async def found() -> list[str]:
        return [entry.point for entry in await (await Repository.open(store)).commits()]

    return asyncio.run(found())


ALL = [f"p{number}" for number in range(5)]


def test_every_entry_counts(store: Stumbling) -> None:
    """Whether it lies in the middle of what is read together or at its edges."""
    assert points(store) == ALL


@pytest.mark.parametrize("number", [1, 4, 5, 10])
def test_one_sound_copy_of_an_entry_is_enough(store: Stumbling, number: int) -> None:
    """An entry that is damaged, missing or not to be had this time is read from its copy."""
    name = f"log/{number:010}"
    store.failing = name
    assert points(store) == ALL
    store.objects[name] = store.objects[name][:-1]
    assert points(store) == ALL
    del store.objects[name]
    assert points(store) == ALL


@pytest.mark.parametrize("number", [1, 5, 9])
def test_a_gap_is_damage(store: Stumbling, number: int) -> None:
    """An entry that is lost in both copies must not hide the ones behind it."""
    del store.objects[f"log/{number:010}"], store.objects[f"copies/log/{number:010}"]

    with pytest.raises(LogDamagedError, match=str(number)):
        points(store)


def test_a_file_beside_the_entries_is_none(store: Stumbling) -> None:
    """Somebody's file in the directory of the log changes nothing."""
    store.objects["log/0000000000"] = b"not ours"
    store.objects["log/readme"] = b"not ours"

    assert points(store) == ALL
