"""Repositories that are checked and repaired, and what came of their points."""

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.model.errors import CorruptionError, RefusedError
from reference_engine.repository.repository import Repository
from reference_engine.upkeep.repair import Repair, Repaired
from reference_engine.verification.check import Check, CheckResult
from reference_engine.verification.findings import EVERYTHING, Part
from tests.strategies.repositories import block, commit, new_repository, restored


async def checked(store: MemoryStore, *, part: Part | None = EVERYTHING) -> CheckResult:
    """Return what a check of everything finds."""
    check = Check(await Repository.open(store))
    await check.structure(lambda _: None)
    if part is not None:
        await check.read(part, progress=lambda _: None)
    return await check.result()


async def repaired(store: MemoryStore, token: str, *others: Repository) -> Repaired:
    """Return what a repair did."""
    repair = Repair(await Repository.open(store), token=token)
    return await repair.run(others, step=lambda _: None, progress=lambda _: lambda _: None)


async def outcome(store: MemoryStore, images: dict[str, bytes]) -> dict[str, str]:
    """Return for each point whether it restores right, wrong, or not."""
    found: dict[str, str] = {}
    for point, image in images.items():
        try:
            right = await restored(await Repository.open(store), point) == image
            found[point] = "right" if right else "wrong"
        except (CorruptionError, RefusedError):
            found[point] = "refused"
    return found


async def three_points(store: MemoryStore) -> dict[str, bytes]:
    """Fill the store with three points of ten blocks; each changes one of the one before."""
    repository = await new_repository(store)
    fills, images = list(range(1, 11)), {}
    for number, point in enumerate("abc"):
        fills[number] = 100 + number
        images[point] = b"".join(block(fill) for fill in fills)
        await commit(repository, images[point], point)
    return images
