"""Content that is stored already is found at other offsets, and believed only byte for byte."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.identity import MachineId, RecoveryPointId
from reference_engine.model.units import ByteCount, Instant
from reference_engine.repository.anchors import anchors_of
from reference_engine.repository.block_map import PIECES
from reference_engine.repository.codec import ANCHORS
from reference_engine.repository.repository import Repository
from reference_engine.repository.write_session import WriteSession
from reference_engine.verification.check import Check
from tests.strategies.domain_vaults import domains_of
from tests.strategies.encrypted_repositories import chance, features
from tests.strategies.reclaims import condemn_without, give_back
from tests.strategies.repositories import DISK, no_progress, point_of, restored

BLOCK = ByteCount(4096)
PIECE = BLOCK // PIECES
BLOCKS = 400
"""As many as a frame holds, and some more."""

FILE = np.random.default_rng(1).bytes(BLOCKS * BLOCK)


async def new_repository(store: MemoryStore) -> Repository:
    """Return an empty repository of blocks that are large enough for anchors."""
    return await Repository.create(store, identity_token="ab" * 16, block_size=BLOCK)


async def staged(
    repository: Repository, image: bytes, point: str, *, domain: str | None = None
) -> WriteSession:
    """Return a run of a machine of its own that has yet to commit its first point."""
    image = image.ljust(-(-len(image) // BLOCK) * BLOCK, b"\0")
    session = await repository.open_run(
        MachineId(f"vm-{point}"), token=f"session-{point}", domain=domain
    )
    await session.begin_disk(DISK, ByteCount(len(image)), inherit=None)
    for start in range(0, len(image) // BLOCK, 64):
        part = image[start * BLOCK : (start + 64) * BLOCK]
        await session.put_blocks(DISK, np.arange(start, start + len(part) // BLOCK), part)
    await session.stage(point_of(session, {DISK: len(image)}, point))
    return session


async def commit(repository: Repository, image: bytes, point: str) -> WriteSession:
    """Commit a machine's first point."""
    session = await staged(repository, image, point)
    await session.commit()
    return session


def shifted(pieces: int) -> bytes:
    """Return the disk of another machine that holds the file at another offset."""
    return np.random.default_rng(2).bytes(pieces * PIECE) + FILE


@pytest.mark.parametrize("pieces", [1, 7, 15])
def test_a_file_at_another_offset_is_stored_once(pieces: int) -> None:
    """Only where a block spans two frames, or no anchor is near, is it stored again."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await new_repository(store)
        await commit(repository, FILE, "a")
        session = await commit(await Repository.open(store), shifted(pieces), "b")

        assert session.bytes_sent <= 0.05 * len(FILE)
        assert (await restored(repository, "b")).startswith(shifted(pieces))
        assert await no_progress(repository, "b") >= len(FILE)

    asyncio.run(scenario())


def test_an_anchor_alone_is_not_believed() -> None:
    """A file whose every block has one other byte is stored anew, though its anchors are known."""

    async def scenario() -> None:
        repository = await new_repository(MemoryStore())
        await commit(repository, FILE, "a")
        changed = bytearray(shifted(3))
        changed[100::BLOCK] = bytes(byte ^ 1 for byte in changed[100::BLOCK])
        session = await commit(repository, bytes(changed), "b")

        assert session.bytes_sent >= len(FILE)
        assert (await restored(repository, "b")).startswith(bytes(changed))

    asyncio.run(scenario())


def test_what_was_found_elsewhere_is_needed_from_then_on() -> None:
    """When the first machine's point goes, what the second one refers to stays."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await new_repository(store)
        await commit(repository, FILE, "a")
        await commit(repository, shifted(5), "b")
        await repository.reclaim.expire((RecoveryPointId("a"),), at=Instant(1), allow_last=True)
        await repository.reclaim.reclaim(at=Instant(2))

        assert (await restored(repository, "b")).startswith(shifted(5))
        assert f"{ANCHORS}session-a-0" in store.objects

    asyncio.run(scenario())


def test_what_is_swept_before_the_commit_is_copied() -> None:
    """A run that found blocks in packs which go meanwhile brings its own before it commits."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await new_repository(store)
        await commit(repository, FILE, "a")
        session = await staged(await Repository.open(store), shifted(5), "b")
        condemned = await condemn_without(repository, "a", allow_last=True)
        await repository.reclaim.sweep(condemned)
        await session.commit()
        await give_back(repository, condemned)

        assert "packs/session-a-1" not in store.objects
        assert (await restored(repository, "b")).startswith(shifted(5))

    asyncio.run(scenario())


def test_damaged_anchors_cost_space_only() -> None:
    """They are told of; backups go on without them."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await new_repository(store)
        await commit(repository, FILE, "a")
        store.objects[f"{ANCHORS}session-a-0"] = b"nothing of the kind"
        session = await commit(repository, shifted(5), "b")
        check = Check(repository)
        await check.structure(lambda _: None)
        found = await check.result()

        assert session.bytes_sent >= len(FILE)
        assert [each.object for each in found.objects] == [f"{ANCHORS}session-a-0"]
        assert (await restored(repository, "b")).startswith(shifted(5))

    asyncio.run(scenario())


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 200), st.integers(0, 15), st.integers(1, 8))
def test_equal_pieces_are_anchors_wherever_they_lie(start: int, shift: int, blocks: int) -> None:
    """What is chosen depends on a piece's content alone, and its digest too."""
    content = FILE[start * PIECE : start * PIECE + (blocks + 1) * BLOCK]
    here, there = content[: blocks * BLOCK], content[shift * PIECE :][: blocks * BLOCK]

    def chosen(image: bytes) -> dict[int, bytes]:
        every = np.ones(len(image) // BLOCK, np.bool_)
        found = anchors_of(b"k" * 32, memoryview(image), every, block_size=BLOCK)
        at = (found.blocks * PIECES + found.pieces).tolist()
        return dict(zip(at, map(bytes, found.digests), strict=True))

    ours, theirs = chosen(here), chosen(there)
    for at, digest in theirs.items():
        # The other half has one anchor a block at most, perhaps an earlier one.
        assert ours.get(at + shift, digest) == digest


def test_nothing_is_looked_for_in_another_domain() -> None:
    """Not even when the whole file stands there."""

    async def scenario() -> None:
        repository = await Repository.create(
            MemoryStore(), identity_token="ab" * 16, block_size=BLOCK, features=features()
        )
        for seed, name in enumerate(("red", "blue")):
            await domains_of(repository).add(name, chance=chance(seed))
        first = await staged(repository, FILE, "a", domain="red")
        await first.commit()
        for point, name in (("b", "blue"), ("c", "")):
            assert (await staged(repository, shifted(1), point, domain=name)).bytes_sent > len(FILE)
        there = await staged(repository, shifted(1), "d", domain="red")
        assert there.bytes_sent < len(FILE) // 10

    asyncio.run(scenario())
