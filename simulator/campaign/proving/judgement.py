"""What must be true of the storage after a power cut, looked at by the engine's own reader."""

from reference_engine.model.errors import TwinshotError
from reference_engine.model.identity import MachineId, RecoveryPointId
from reference_engine.model.units import ByteCount
from reference_engine.repository.errors import RepositoryAbsentError
from reference_engine.repository.repository import Repository
from simulator.campaign.proving.ledger import Contents, Ledger, Violation
from simulator.campaign.proving.processes import Backup, back_up, restored
from simulator.campaign.proving.storage import ROOT, Storage
from simulator.kernel.stepping import SteppedTask


def judge(
    found: Storage, ledger: Ledger, contents: Contents, block_size: ByteCount, /
) -> tuple[Violation, ...]:
    """Return every promise that the storage breaks, which stays as it was found."""
    storage = found.copied(found.chance)
    seen = ledger.copied()
    SteppedTask("judge", _judged(storage, seen)).finish()
    if not seen.violations:
        SteppedTask("next", _goes_on(storage, seen, contents, block_size)).finish()
    return tuple(seen.violations)


async def _judged(storage: Storage, ledger: Ledger) -> None:
    store, _ = storage.process()
    try:
        repository = await Repository.open(store)
        entries = await repository.commits()
    except RepositoryAbsentError:
        if ledger.kept():
            ledger.breach("R1", f"the repository is gone, and {ledger.kept()[0]} with it")
        return
    except TwinshotError as error:
        ledger.breach("R4", f"the repository does not open: {error}")
        return
    listed = [entry.point for entry in entries]
    for point in ledger.kept():
        if point not in listed:
            ledger.breach("R1", f"{point} was acknowledged and is not listed")
    epochs: dict[MachineId, int] = {}
    for entry in entries:
        if entry.epoch <= epochs.get(entry.machine, 0):
            ledger.breach("R4", f"{entry.point} was committed by a superseded run")
        epochs[entry.machine] = entry.epoch
    await _restore_all(repository, listed, ledger)


async def _restore_all(
    repository: Repository, listed: list[RecoveryPointId], ledger: Ledger
) -> None:
    for point in listed:
        rule = "R1" if point in ledger.kept() else "R2"
        try:
            found = await restored(repository, point)
        except TwinshotError as error:
            ledger.breach(rule, f"{point} does not restore: {error}")
            continue
        if point not in ledger.images:
            ledger.breach("R3", f"nobody ever made {point}")
        elif found != ledger.images[point]:
            ledger.breach("R3", f"{point} restores to other bytes")


async def _goes_on(
    storage: Storage, ledger: Ledger, contents: Contents, block_size: ByteCount
) -> None:
    """Lose the index, make another point without anybody's help, and look at all of them again."""
    for path in storage.files.files():
        if path.startswith(f"{ROOT}/index/"):
            storage.files.unlink(path)
    point = RecoveryPointId("afterwards")
    plan = Backup(
        machine=MachineId("vm-0"),
        point=point,
        token="afterwards",  # noqa: S106 - a name and no secret
        image=contents.image((1, 2, 3, 99), cut=0),
        block_size=block_size,
    )
    store, _ = storage.process()
    try:
        await back_up(plan, store=store, storage=storage, ledger=ledger, runs={}, cache=None)
        await _restore_all(await Repository.open(store), [*ledger.kept()], ledger)
    except TwinshotError as error:
        ledger.breach("R4", f"the next backup fails: {error}")
