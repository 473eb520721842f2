"""Whatever is stored, removed, moved, lost and mended: a domain needs nothing of another one."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio
from typing import Any

from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from simulator.campaign.proving.storage import small_objects
from tests.strategies.domain_vaults import DOMAINS, Vault
from tests.strategies.encrypted_repositories import PARITY, features
from tests.strategies.repositories import block

images = st.lists(st.integers(1, 5), min_size=1, max_size=5).map(
    lambda fills: b"".join(block(fill) for fill in fills)
)
"""Disks of few different blocks: nearly all that one domain has, another one has too."""

steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("backup"),
            st.sampled_from(["one", "two", "three"]),
            st.sampled_from([None, *DOMAINS]),
            images,
        ),
        st.tuples(st.just("expire"), st.integers(0, 7)),
        st.tuples(st.just("reclaim")),
        st.tuples(st.just("repack")),
        st.tuples(st.just("damage"), st.integers(0, 7)),
        st.tuples(st.just("shred"), st.sampled_from(DOMAINS[1:])),
        st.tuples(st.just("reopen")),
    ),
    min_size=3,
    max_size=12,
)


@settings(max_examples=60)
@example(
    history=[
        ("backup", "one", "red", block(1)),
        ("backup", "two", "blue", block(1)),
        ("shred", "red"),
    ],
    parity=True,
)
@example(
    history=[
        ("backup", "one", "red", block(1) + block(2)),
        ("backup", "one", "", block(1) + block(2)),
        ("backup", "two", "red", block(2) + block(3)),
        ("expire", 0),
        ("repack",),
        ("shred", "red"),
        ("reclaim",),
    ],
    parity=False,
)
@given(history=steps, parity=st.booleans())
def test_a_domain_needs_nothing_of_another_one_and_goes_for_good(
    *, history: list[tuple[Any, ...]], parity: bool
) -> None:
    """Points of others are restored bit for bit, and of what was shredded nothing opens."""

    async def scenario() -> None:
        vault = await Vault.made(features(parity=PARITY if parity else None))
        for step, *values in history:
            await getattr(vault, step)(*values)
            event(step)
        await vault.check()

    with small_objects():
        asyncio.run(scenario())
