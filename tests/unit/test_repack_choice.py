"""A repack begins with what gives most back for what has to be copied."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio

import pytest

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.units import ByteCount
from reference_engine.repository.manifests import ManifestReader
from reference_engine.repository.repack_rule import RepackRule, choose
from reference_engine.repository.repository import INLINE
from reference_engine.repository.usage import ObjectUse, Usage
from tests.strategies.repacks import scattered


def test_use_is_counted_to_the_piece() -> None:
    """A pack's use is what points need of its frames; a block that two points have counts once."""

    async def scenario() -> None:
        store = MemoryStore()
        repository = await scattered(store)
        manifests = ManifestReader(store, repository.header)
        usage = Usage(store, repository.header, manifests=manifests, executor=INLINE)
        for entry in await repository.commits():
            await usage.add(entry)
        uses = {use.name: use for use in await usage.measured()}

        of_a = uses["packs/session-a-1"]
        assert of_a.stored == len(store.objects["packs/session-a-1"])
        assert of_a.used == pytest.approx(of_a.stored / 4, abs=1)
        assert uses["packs/session-b-1"].unused == 0
        assert uses["maps/session-b-1"].unused == 0

    asyncio.run(scenario())


USES = (
    ObjectUse("packs/a", 100, 10),
    ObjectUse("packs/b", 100, 50),
    ObjectUse("packs/c", 100, 90),
    ObjectUse("packs/d", 100, 99),
)


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        (RepackRule(unused_share=0.0), "abc"),
        (RepackRule(unused_share=0.05), "ab"),
        (RepackRule(unused_share=0.2), "a"),
        (RepackRule(unused_share=0.5), ""),
        (RepackRule(unused_share=None), ""),
        (RepackRule(unused_share=None, unused_bytes=ByteCount(0)), "abc"),
        (RepackRule(unused_share=None, unused_bytes=ByteCount(61)), "a"),
        (RepackRule(unused_share=0.0, size_max=ByteCount(60)), "ab"),
        (RepackRule(unused_share=0.0, size_max=ByteCount(9)), ""),
    ],
)
def test_what_gives_most_for_its_copy_is_chosen_first(rule: RepackRule, names: str) -> None:
    """Until the rule holds, or as much is copied as may be; what is nearly full stays."""
    chosen = choose(USES, rule, left_alone=())

    assert [each.name for each in chosen.objects] == [f"packs/{name}" for name in names]
