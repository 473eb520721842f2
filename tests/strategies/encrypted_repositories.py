"""Small encrypted repositories that are opened quickly, and are the same each time."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime
from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.ports.runtime import RandomStream
from reference_engine.repository.keys.derivation import Cost
from reference_engine.repository.keys.material import Credential, Passphrase, Secret, SlotKind
from reference_engine.repository.keys.slots import Access, Slot, new_slot
from reference_engine.repository.opening import Features, NewKeys
from reference_engine.repository.parity import ParityPlan
from reference_engine.repository.repository import NO_SETTINGS, Repository
from reference_engine.repository.settings import Settings
from tests.strategies.golden_repositories import IMAGES, write_both
from tests.strategies.repositories import BLOCK, no_progress, restored

CHEAP: Final = Cost(memory_kib=8, passes=1, lanes=1)
WORDS: Final = Passphrase("correct horse battery staple")
KEY: Final = Secret(bytes(range(32)))
MASTER: Final = Secret(bytes([7] * 32))
PARITY: Final = ParityPlan(data=8, parity=2)


def chance(seed: int = 1) -> RandomStream:
    """Return a stream of chance that repeats."""
    return AsyncioRuntime(seed=seed).random("keys")


def by_words(text: str = "another", label: str = "") -> Access:
    """Return a passphrase that is quickly tried."""
    return Access(credential=Passphrase(text), kind=SlotKind.PASSPHRASE, label=label, cost=CHEAP)


def slot_of(access: Access, *, name: str = "0123456789abcdef") -> Slot:
    """Return a slot of a repository called `here`."""
    return new_slot(access, (MASTER,), repository="here", slot=name, salt=bytes(16))


def features(*, parity: ParityPlan | None = None, seed: int = 1) -> Features:
    """Return an encryption with two slots: a passphrase and a key file."""
    words = Access(credential=WORDS, kind=SlotKind.PASSPHRASE, label="Ada", cost=CHEAP)
    file = Access(credential=KEY, kind=SlotKind.FILE, label="server", cost=CHEAP)
    keys = NewKeys(accesses=(file, words), chance=chance(seed))
    return Features(encryption=keys, parity=parity)


async def created(
    store: MemoryStore,
    wanted: Features | None = None,
    *,
    token: str = "cd" * 16,
    settings: Settings = NO_SETTINGS,
) -> Repository:
    """Return an empty encrypted repository of small blocks."""
    return await Repository.create(
        store,
        identity_token=token,
        block_size=BLOCK,
        settings=settings,
        features=features() if wanted is None else wanted,
    )


async def opened(store: MemoryStore, credential: Credential = KEY) -> Repository:
    """Open the repository with one credential."""
    return await Repository.open(store, unlock=lambda: credential)


async def filled(*, parity: ParityPlan | None = None) -> MemoryStore:
    """Return an encrypted repository with two points."""
    store = MemoryStore()
    await write_both(await created(store, features(parity=parity)))
    return store


async def check(store: MemoryStore, credential: Credential = KEY) -> Repository:
    """Make sure that every point is there and right."""
    repository = await opened(store, credential)
    assert [str(point.id) for point in await repository.points()] == list(IMAGES)
    for point, image in IMAGES.items():
        assert await restored(repository, point) == image
        await no_progress(repository, point)
    return repository


def run(work: Callable[[], Awaitable[None]]) -> None:
    """Run a scenario to its end."""

    async def scenario() -> None:
        await work()

    asyncio.run(scenario())
