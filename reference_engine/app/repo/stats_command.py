"""`twinshot repo stats`: how much points hold, and how little of it is stored."""

from collections.abc import Callable
from typing import Annotated

from cyclopts import Parameter

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime
from reference_engine.app.credentials import NO_OPTIONS, Keyholder, KeyOptions
from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output, counting, sized
from reference_engine.app.places import Place
from reference_engine.app.repositories import Opened, naming, open_with_store, sizes_of
from reference_engine.model.units import Instant
from reference_engine.model.wording import counted
from reference_engine.ports.runtime import Runtime
from reference_engine.repository.codec import PointCommittedEntry
from reference_engine.repository.inventory import Holding, Inventory
from reference_engine.repository.repack_rule import RepackRule


def stats(
    repo: Place,
    /,
    *,
    keys: KeyOptions = NO_OPTIONS,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Say how much points hold, how little of it is stored, and what a prune would free.

    Args:
        repo: Directory of the repository, or s3://bucket/prefix.
        keys: How to open an encrypted repository.
        output: Where results go.
    """
    runtime = AsyncioRuntime(seed=None)
    return runtime.run(_stats(repo, Keyholder(keys), runtime, output))


async def _stats(place: str, holder: Keyholder, runtime: Runtime, output: Output) -> ExitCode:
    opened = await open_with_store(place, runtime, holder)
    with naming(place):
        return await _report(opened, output)


async def _report(opened: Opened, output: Output) -> ExitCode:
    entries = await opened.repository.commits()
    machines = sorted({entry.machine for entry in entries})
    with output.steps("reading block maps", (4 if len(machines) > 1 else 3) * len(entries)) as step:
        advance = counting(step)
        counts = {
            str(machine): await _counted(
                opened, tuple(entry for entry in entries if entry.machine == machine), advance
            )
            for machine in machines
        }
        [inventory] = (
            counts.values() if len(counts) == 1 else [await _counted(opened, entries, advance)]
        )
        rows = [(name, count.holding()) for name, count in counts.items()]
        everything = inventory.holding()
        unneeded = await opened.repository.reclaim.unneeded((), progress=advance)
        plan = await opened.repository.repack.plan(
            RepackRule(unused_share=None), at=Instant(0), progress=advance
        )
    sizes = await opened.store.sizes("")
    free = sizes_of(unneeded, sizes)
    stored = sum(sizes.values())
    for name, holding in rows:
        output.record("machine", vm=name, **_fields(holding))
    shown = [*rows, ("all", everything)] if len(rows) != 1 else rows
    if rows:
        titles = ("VM", "POINTS", "SIZE", "LOGICAL", "DISTINCT", "PACKED", "DEDUP", "COMPRESSION")
        output.table(titles, [_row(name, holding) for name, holding in shown])
    output.say(
        f"{sized(stored)} in {counted(len(sizes), 'object')}; {sized(free)} to be freed by a "
        f"prune, and {sized(plan.choice.unused)} unused in packs and maps of which a part is needed"
    )
    output.summary(
        **_fields(everything),
        stored_bytes=stored,
        objects=len(sizes),
        unused_bytes=plan.choice.unused,
        free_bytes=free,
        exit_code=int(ExitCode.OK),
    )
    return ExitCode.OK


async def _counted(
    opened: Opened, entries: tuple[PointCommittedEntry, ...], advance: Callable[[], None]
) -> Inventory:
    inventory = opened.repository.inventory()
    for entry in entries:
        await inventory.add(entry)
        advance()
    return inventory


def _ratio(more: int, less: int) -> float | None:
    return round(more / less, 2) if less else None


def _fields(holding: Holding) -> dict[str, object]:
    return {
        "points": holding.points,
        "size": holding.size,
        "logical_bytes": holding.logical,
        "distinct_bytes": holding.distinct,
        "packed_bytes": holding.stored,
        "dedup_ratio": _ratio(holding.logical, holding.distinct),
        "compression_ratio": _ratio(holding.distinct, holding.stored),
    }


def _row(name: str, holding: Holding) -> tuple[str, ...]:
    ratios = (_ratio(holding.logical, holding.distinct), _ratio(holding.distinct, holding.stored))
    amounts = (holding.size, holding.logical, holding.distinct, holding.stored)
    return (
        name,
        str(holding.points),
        *(sized(amount) for amount in amounts),
        *("-" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
    )
