"""What was lost is restored from parity: sectors, runs of them, whole files."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import CorruptionError
from reference_engine.repository.envelope import Tagging
from reference_engine.repository.parity import (
    MIRRORED_MAX,
    SECTOR_MAX,
    ParityPlan,
    mended,
    parity_of,
)
from reference_engine.repository.repository import INLINE, Repository
from reference_engine.repository.segmented_store import SegmentedStore
from tests.strategies.encrypted_repositories import created, features, opened
from tests.strategies.faulty_stores import Fault, FaultyStore, PowerCutError
from tests.strategies.repositories import block, commit, no_progress, restored

PLAN = ParityPlan(data=8, parity=2)
GROUPED = ParityPlan(data=8, parity=2, group=3)


def content_of(length: int, seed: int = 0) -> bytes:
    """Return bytes that do not repeat."""
    return np.random.default_rng(seed).bytes(length)


def store_over(memory: MemoryStore, plan: ParityPlan = GROUPED) -> SegmentedStore:
    """Return a store with parity over memory, as a newly opened repository has it."""
    return SegmentedStore(memory, Tagging(bytes(32)), parity=plan, executor=INLINE)


@settings(max_examples=60)
@given(
    st.sampled_from([1, 500, MIRRORED_MAX, MIRRORED_MAX + 1, 200_000, 1_000_003]),
    st.integers(1, 9),
    st.integers(1, 3),
    st.data(),
)
def test_a_lost_run_as_long_as_the_parity_is_restored(
    length: int, data: int, parity: int, chance: st.DataObject
) -> None:
    """Wherever it begins, and also where the parity itself is hit."""
    plan = ParityPlan(data=data, parity=parity)
    content = content_of(length)
    beside = parity_of(plan, content)
    shard = -(-length // (data if length > MIRRORED_MAX else 1))
    lost = max(1, shard * (parity if length > MIRRORED_MAX else 1) - 2 * SECTOR_MAX)
    at = chance.draw(st.integers(0, length - 1))
    damaged = bytearray(content)
    damaged[at : at + lost] = bytes(b ^ 0xFF for b in damaged[at : at + lost])

    found = mended(bytes(damaged), beside)
    assert found is not None
    assert found[0] == content
    assert found[1] > 0
    assert mended(content, beside) == (content, 0)


def test_scattered_losses_at_every_position_are_restored() -> None:
    """As many shards as there is parity may be gone at each position, others at the next."""
    content = content_of(4 << 20)
    beside = parity_of(PLAN, content)
    damaged = bytearray(content)
    shard = len(content) // 8
    for position in range(shard // SECTOR_MAX):
        for loss in range(2):
            at = (position + 3 * loss) % 8 * shard + position * SECTOR_MAX
            damaged[at] ^= 1

    found = mended(bytes(damaged), beside)
    assert found == (content, 2 * shard // SECTOR_MAX)
    damaged[6 * shard] ^= 1
    assert mended(bytes(damaged), beside) is None


def test_a_cut_off_tail_is_restored_and_too_long_a_one_is_not() -> None:
    """A torn file is one lost run at its end."""
    content = content_of(1 << 20)
    beside = parity_of(PLAN, content)

    assert mended(content[: 6 << 17], beside) == (content, 16)
    assert mended(content[: 5 << 17], beside) is None
    assert mended(content + b"more", beside) == (content, 0)


@pytest.mark.parametrize("length", [100, 200_000])
def test_damaged_parity_never_makes_anything_worse(length: int) -> None:
    """Any one byte of it altered, or any part of it missing: right content, or none."""
    content = content_of(length)
    beside = parity_of(PLAN, content)
    damaged = bytes([content[0] ^ 1]) + content[1:]
    for at in [*range(min(len(beside), 700)), len(beside) - 1]:
        for altered in (beside[:at] + bytes([beside[at] ^ 4]) + beside[at + 1 :], beside[:at]):
            found = mended(damaged, altered)
            assert found is None or found[0] == content


def test_shares_become_plans() -> None:
    """A plan costs about the share that was asked for."""
    for percent in (1, 6, 12.5, 50, 75, 100):
        plan = ParityPlan.of_percent(percent)
        assert plan.is_usable
        assert plan.parity / plan.data == pytest.approx(percent / 100, rel=0.1)


def test_any_one_pack_of_a_group_may_vanish() -> None:
    """Full groups and the last, shorter one: each lost pack comes back byte for byte."""

    async def scenario() -> None:
        memory = MemoryStore()
        store = store_over(memory)
        packs = {f"packs/s-{n}": content_of(100_000 + 977 * n, n) for n in range(1, 6)}
        for name, content in packs.items():
            await store.create(name, content)
        await store.create("points/a", b"manifest")
        groups = [name for name in memory.objects if name.startswith("parity/groups/")]
        assert groups == ["parity/groups/s-1", "parity/groups/s-4"]
        assert await store.names("") == (*sorted(packs), "points/a")
        for name, content in packs.items():
            held = memory.objects.pop(name)
            fresh = store_over(memory)
            assert await fresh.read_range(name, offset=5, length=90_000) == content[5:90_005]
            assert await fresh.read(name) == content
            assert fresh.mended == {name: 7}
            # Also while another one of the group has lost sectors, which its own parity knows.
            first = name < "packs/s-4"
            other = next(n for n in packs if n != name and (n < "packs/s-4") == first)
            whole = memory.objects[other]
            memory.objects[other] = whole[:5000] + bytes(9) + whole[5009:]
            assert await store_over(memory).read(name) == content
            del memory.objects[other]
            with pytest.raises(CorruptionError):
                await store_over(memory).read_range(name, offset=0, length=1)
            memory.objects.update({name: held, other: whole})

    asyncio.run(scenario())


@pytest.mark.parametrize("told", ["index/s-1", "mends/s"])
def test_what_others_build_on_is_in_a_group(told: str) -> None:
    """A run that is killed before its manifest, and a repair, leave packs that points use."""

    async def scenario() -> None:
        memory = MemoryStore()
        store = store_over(memory)
        await store.create("packs/s-1", content_of(1000))
        await store.create(told, b"where the blocks of packs/s-1 are")

        del memory.objects["packs/s-1"], memory.objects["parity/packs/s-1"]
        assert await store_over(memory).read("packs/s-1") == content_of(1000)

    asyncio.run(scenario())


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER])
def test_a_pack_that_is_stored_anew_can_be_read_all_the_time(fault: Fault) -> None:
    """Wherever the power fails, also between the damaged pack's end and the sound one's name."""

    async def scenario() -> None:
        whole = MemoryStore()
        content = content_of(300_000)
        await store_over(whole, PLAN).create("packs/s-1", content)
        for at in range(100):
            store = FaultyStore(dict(whole.objects), at=at, fault=fault)
            stored = store.objects["packs/s-1"]
            store.objects["packs/s-1"] = stored[:5000] + bytes(9) + stored[5009:]
            store.objects["parity/packs/s-1"] += b"?"
            over = store_over(store, PLAN)
            assert await over.read("packs/s-1") == content
            with suppress(PowerCutError):
                assert await over.renew("packs/s-1") is not None
                break
            after = MemoryStore()
            after.objects = store.objects
            again = store_over(after, PLAN)
            assert await again.read_range("packs/s-1", offset=0, length=300_000) == content
            if again.mended:
                assert await again.renew("packs/s-1") is not None
            await again.tidy()
            assert after.objects == whole.objects
        assert at == 3
        assert store.objects == whole.objects

    asyncio.run(scenario())


def test_what_damaged_group_parity_yields_is_not_called_mended() -> None:
    """A pack that does not come out as it was stored is still lost, and said to be."""

    async def scenario() -> None:
        memory = MemoryStore()
        store = store_over(memory)
        for n in (1, 2, 3):
            await store.create(f"packs/s-{n}", content_of(1000, n))
        del memory.objects["packs/s-2"], memory.objects["parity/packs/s-2"]
        group = memory.objects["parity/groups/s-1"]
        for altered in (group[:-500] + b"?" + group[-499:], group[:50] + b"?" + group[51:], b""):
            memory.objects["parity/groups/s-1"] = altered
            fresh = store_over(memory)
            with pytest.raises(CorruptionError):
                await fresh.read_range("packs/s-2", offset=0, length=1)
            assert fresh.mended == {}

    asyncio.run(scenario())


def test_a_group_goes_with_its_last_pack() -> None:
    """Parity of nothing is no use, and parity of what is left is kept."""

    async def scenario() -> None:
        memory = MemoryStore()
        store = store_over(memory)
        for n in (1, 2, 3):
            await store.create(f"packs/s-{n}", content_of(1000, n))
        await store.create("packs/s-4", b"never part of a point")
        await store.create("packs/s-5", b"kept")
        await store.delete("packs/s-4")
        await store.create("points/a", b"manifest")
        assert "parity/groups/s-4" not in memory.objects
        assert memory.objects.pop("packs/s-5")
        assert await store_over(memory).read("packs/s-5") == b"kept"
        await store_over(memory).delete("packs/s-5")
        for n in (2, 1):
            await store_over(memory).delete(f"packs/s-{n}")
            assert "parity/groups/s-1" in memory.objects
        await store_over(memory).delete("packs/s-3")
        assert list(memory.objects) == ["points/a"]

    asyncio.run(scenario())


def test_a_failing_store_costs_no_parity() -> None:
    """Whichever write fails or loses its answer, every pack is in a group in the end."""

    async def scenario() -> None:
        for fault in (Fault.FAILED, Fault.ANSWER_LOST):
            for at in range(100):
                store = FaultyStore({}, at=at, fault=fault)
                repository = await created(store, features(parity=GROUPED))
                image = b"".join(block(n) for n in range(1, 30))
                await commit(repository, image, "a")
                clean = MemoryStore()
                clean.objects = store.objects
                await _every_pack_may_vanish(clean, image)
                if not store.hit:
                    break

    asyncio.run(scenario())


async def _every_pack_may_vanish(store: MemoryStore, image: bytes) -> None:
    for name in await store.names("packs/"):
        held = dict(store.objects)
        del store.objects[name], store.objects[f"parity/{name}"]
        repository: Repository = await opened(store)
        assert await restored(repository, "a") == image
        await no_progress(repository, "a")
        store.objects = held
