"""What a later program wrote stops this one; what it does not know, it does not guess."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio
import json
from typing import Any

import pytest

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import RefusedError
from reference_engine.model.units import Duration
from reference_engine.repository.codec import log_name, object_digest
from reference_engine.repository.errors import RepositoryFeatureError
from reference_engine.repository.repository import Repository
from reference_engine.repository.settings import Settings
from tests.strategies.reclaims import two_points
from tests.strategies.repositories import BLOCK, new_repository


def header_of(store: MemoryStore) -> dict[str, Any]:
    """Return the fields of the header."""
    header: dict[str, Any] = json.loads(store.objects["repository.json"].partition(b"}")[0] + b"}")
    return header


def test_an_entry_of_a_later_program_stops_this_one() -> None:
    """What it does not know may be what keeps a point alive."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await two_points(store)
        key = bytes.fromhex(
            json.loads(store.objects["repository.json"].partition(b"}")[0] + b"}")["digest_key"]
        )
        number = len(repository.reclaim.history.entries)
        previous = object_digest(key, store.objects[log_name(number)])
        body = json.dumps(
            {"number": number + 1, "previous": previous, "entry": {"kind": "points-merged"}}
        ).encode()
        body += b"\n"
        store.objects[log_name(number + 1)] = body + object_digest(key, body).encode()
        with pytest.raises(RepositoryFeatureError, match="points-merged"):
            await Repository.open(store)

    asyncio.run(scenario())


@pytest.mark.parametrize("field", ["colour", "settings"])
def test_a_header_with_an_unknown_field_stops_this_program(field: str) -> None:
    """Whether it is the header's own or one of its settings."""

    async def scenario() -> None:
        store = MemoryStore()
        await two_points(store)
        header = header_of(store)
        body = json.dumps(header | {field: {"colour": "red"}}, indent=2).encode() + b"\n"
        sealed = body + object_digest(bytes.fromhex(header["digest_key"]), body).encode() + b"\n"
        for name in ("repository.json", "copies/repository-1.json", "copies/repository-2.json"):
            store.objects[name] = sealed
        with pytest.raises(RefusedError):
            await Repository.open(store)

    asyncio.run(scenario())


def test_promises_are_kept_in_the_header() -> None:
    """And a repository that makes none has the bytes that it always had."""

    async def scenario() -> None:
        promises = Settings(append_only=True, immutable_for=Duration(5))
        store = MemoryStore()
        await Repository.create(
            store, identity_token="ab" * 16, block_size=BLOCK, settings=promises
        )
        assert (await Repository.open(store)).settings == promises
        plain = MemoryStore()
        await new_repository(plain)
        assert b"settings" not in plain.objects["repository.json"]
        assert (await Repository.open(plain)).settings == Settings()

    asyncio.run(scenario())
