"""`twinshot determinism`: the same seeds under conditions that must not matter."""

from typing import Annotated

import msgspec
from cyclopts import Parameter

from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output
from reference_engine.model.errors import InputRefusedError
from simulator.campaign.determinism.battery import (
    CONDITIONS,
    Condition,
    Divergence,
    divergence,
    other_pythons,
    under,
)
from simulator.campaign.determinism.planted import SOURCES, check_source
from simulator.campaign.determinism.runs import Order, ran


def determinism(
    *,
    seeds: int = 3,
    first: int = 1,
    planted: str | None = None,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Run random scenarios again under other conditions, and show the first row that differs.

    Twice in one process, in other processes with other hash seeds and allocators, with an eager and
    without a garbage collector, under a guard that refuses clocks, chance and threads, and on every
    other Python that is installed.

    Args:
        seeds: How many random scenarios.
        first: The first of them.
        planted: A source of difference to plant, or `all`: each has to be caught by something.
        output: Where results go.
    """
    if seeds < 1 or first < 0:
        raise InputRefusedError(f"{seeds} seeds from {first} show nothing", "give at least one")
    others, left_out = other_pythons()
    conditions = (*CONDITIONS, *others)
    for sentence in left_out:
        output.remark(sentence)
    chosen = list(SOURCES) if planted == "all" else [planted] if planted else []
    for name in chosen:
        check_source(name)
    if chosen:
        return _catch(chosen, conditions, first, output)
    orders = [Order(seed=seed) for seed in range(first, first + seeds)]
    rows: list[tuple[str, ...]] = []
    found: list[Divergence] = []
    with output.steps("determinism", len(conditions) + 1) as advance:
        ours = [ran(order) for order in orders]
        for number, condition in enumerate(conditions, start=1):
            advance(number, condition.name)
            theirs = under(condition, orders)
            parted = [
                each
                for order, one, other in zip(orders, ours, theirs, strict=True)
                if (each := divergence(condition, order, one, other)) is not None
            ]
            rows.append((condition.name, str(len(orders) - len(parted)), str(len(parted))))
            found += parted
    output.table(("CONDITION", "SAME", "DIFFERENT"), rows)
    for each in found:
        _tell(each, output)
    code = ExitCode.FINDING if found else ExitCode.OK
    output.summary(
        seeds=len(orders),
        conditions=[condition.name for condition in conditions],
        different=len(found),
        left_out=left_out,
        exit_code=int(code),
    )
    return code


def _catch(
    sources: list[str], conditions: tuple[Condition, ...], seed: int, output: Output
) -> ExitCode:
    """Show what catches each planted source."""
    rows: list[tuple[str, ...]] = []
    missed: list[str] = []
    orders = [Order(seed=seed, planted=source) for source in sources]
    with output.steps("determinism", len(conditions) + 1) as advance:
        ours = [ran(order) for order in orders]
        caught: dict[str, list[str]] = {source: [] for source in sources}
        for number, condition in enumerate(conditions, start=1):
            advance(number, condition.name)
            for source, one, other in zip(sources, ours, under(condition, orders), strict=True):
                if other.refused or one.digest != other.digest:
                    caught[source].append(condition.name)
    for source, names in caught.items():
        rows.append((source, ", ".join(names) or "NOTHING"))
        output.record("planted", source=source, caught_by=names)
        if not names:
            missed.append(source)
    output.table(("PLANTED", "CAUGHT BY"), rows)
    if len(sources) == 1 and not missed:
        [order], [mine] = orders, ours
        for condition in conditions:
            found = divergence(condition, order, mine, under(condition, [order])[0])
            if found is not None and not found.refused:
                _tell(found, output)
                break
    output.say(f"{len(sources) - len(missed)} of {len(sources)} sources caught")
    code = ExitCode.FINDING if missed else ExitCode.OK
    output.summary(sources=len(sources), missed=missed, exit_code=int(code))
    return code


def _tell(found: Divergence, output: Output) -> None:
    output.record("divergence", **msgspec.structs.asdict(found))
    if found.refused:
        output.say(f"FAIL seed {found.seed}, {found.condition}: {found.refused} was called")
        return
    output.say(f"FAIL seed {found.seed}, {found.condition}: row {found.row} is the first to differ")
    for row in found.ours:
        output.say(f"- {row[:300]}")
    for row in found.theirs:
        output.say(f"+ {row[:300]}")
