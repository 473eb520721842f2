"""The store of a simulated repository lists what is there, whoever put or took it."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio

from hypothesis import given
from hypothesis import strategies as st

from simulator.campaign.kept import KeptStore

NAMES = st.sampled_from(
    [
        f"{folder}{name}"
        for folder in ("", "log/", "copies/", "copies/log/", "packs/")
        for name in ("a", "b", "lo")
    ]
)


@given(
    st.lists(st.tuples(st.sampled_from(["create", "delete", "lose", "put"]), NAMES), max_size=30)
)
def test_a_listing_is_what_a_search_finds(steps: list[tuple[str, str]]) -> None:
    """Through the port or past it: names come ascending, each once, none that is gone."""

    async def scenario() -> None:
        store = KeptStore(lambda: None)
        for what, name in steps:
            if what == "create":
                await store.create(name, b"1")
            elif what == "delete":
                await store.delete(name)
            elif what == "put":
                store.objects[name] = b"2"
            elif name in store.objects:
                del store.objects[name]

        for prefix in ("", "log/", "log/a", "copies/", "copies/lo", "copies/log/", "p", "none/"):
            found = sorted(name for name in store.objects if name.startswith(prefix))
            assert list(await store.names(prefix)) == found

    asyncio.run(scenario())


def test_only_new_entries_of_the_log_are_told_of() -> None:
    """A point becomes visible with its entry, not with a copy or with a second attempt."""

    async def scenario() -> None:
        told: list[None] = []
        store = KeptStore(lambda: told.append(None))

        for name in ("log/1", "log/1", "copies/log/1", "packs/1"):
            await store.create(name, b"x")

        assert len(told) == 1

    asyncio.run(scenario())
