"""Pages that lie one behind the other are one request, and each is read as it is."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import CorruptionError
from reference_engine.model.units import MIB
from reference_engine.repository.envelope import HEAD_SIZE, SEGMENT, TAG, content_length
from reference_engine.repository.read_ahead import ReadAhead


class Counting(MemoryStore):
    """A store that notes what was asked for, and that has damage where a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[int, int]] = []
        self.damaged_at = -1

    async def read_range(self, name: str, /, *, offset: int, length: int) -> bytes:
        """Return the range, unless it touches the damage."""
        self.asked.append((offset, length))
        if offset <= self.damaged_at < offset + length:
            raise CorruptionError(f"object {name} is damaged")
        return await super().read_range(name, offset=offset, length=length)


def test_neighbours_are_read_together_up_to_a_megabyte() -> None:
    """What nobody will ask for is not read, nor more than fits."""

    async def scenario() -> None:
        store = Counting()
        content = bytes(range(256)) * (3 * MIB // 256)
        await store.create("maps/a-1", content)
        ahead = ReadAhead(store)
        size = 300_000
        for offset in (*range(0, 8 * size, size), 9 * size):
            ahead.expect("maps/a-1", offset=offset, length=size)
        for offset in (*range(0, 8 * size, size), 9 * size):
            found = await ahead.read_range("maps/a-1", offset=offset, length=size)
            assert found == content[offset : offset + size]
        assert store.asked == [
            (0, 3 * size),
            (3 * size, 3 * size),
            (6 * size, 2 * size),
            (9 * size, size),
        ]

    asyncio.run(scenario())


def test_damage_is_told_of_the_range_that_it_is_in() -> None:
    """The neighbours of a damaged page are as sound as before."""

    async def scenario() -> None:
        store = Counting()
        await store.create("maps/a-1", bytes(1000))
        store.damaged_at = 550
        ahead = ReadAhead(store)
        for offset in range(0, 1000, 100):
            ahead.expect("maps/a-1", offset=offset, length=100)
        for offset in range(0, 1000, 100):
            if offset == 500:
                with pytest.raises(CorruptionError):
                    await ahead.read_range("maps/a-1", offset=offset, length=100)
            else:
                assert await ahead.read_range("maps/a-1", offset=offset, length=100) == bytes(100)

    asyncio.run(scenario())


@given(st.integers(0, 5 * SEGMENT))
def test_the_length_of_content_follows_from_what_is_stored(length: int) -> None:
    """A listing of a sealed repository says how long objects are as they were written."""
    assert content_length(HEAD_SIZE + length + TAG * -(-length // SEGMENT)) == length
