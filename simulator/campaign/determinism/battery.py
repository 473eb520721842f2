"""The conditions that must not matter, and what a seed comes to under each."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

import msgspec

from reference_engine.model.errors import InputRefusedError
from simulator.campaign.determinism.runs import Collector, Order, Ran, ran
from simulator.kernel.digest import BLOCK

_NEAR: Final = 3
_OTHER_VERSIONS: Final = ("3.11", "3.12", "3.13", "3.14")


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """Something about a process that a run must not notice."""

    name: str
    environment: dict[str, str] | None = None
    """Of a process of its own; None: this process."""

    collector: Collector = "usual"
    guard: bool = False
    python: str = sys.executable


CONDITIONS: Final = (
    Condition(name="the same process again"),
    Condition(name="garbage collected eagerly", collector="eager"),
    Condition(name="garbage never collected", collector="off"),
    Condition(name="guarded", guard=True),
    Condition(name="hash seed 1", environment={"PYTHONHASHSEED": "1"}),
    Condition(name="hash seed 2", environment={"PYTHONHASHSEED": "2"}),
    Condition(
        name="another allocator", environment={"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "1"}
    ),
)


class Divergence(msgspec.Struct, frozen=True, kw_only=True):
    """The first row in which two runs of a seed differ."""

    condition: str
    seed: int
    row: int
    """Counted from 0."""

    ours: tuple[str, ...]
    """The row and some around it, as this process has them without any condition."""

    theirs: tuple[str, ...]
    refused: str
    """What the guard refused; then there is no row."""


def other_pythons() -> tuple[list[Condition], list[str]]:
    """Return a condition for each other Python that can run us, and why others cannot."""
    found: list[Condition] = []
    left_out: list[str] = []
    for version in _OTHER_VERSIONS:
        python = shutil.which(f"python{version}")
        if version == f"{sys.version_info.major}.{sys.version_info.minor}":
            continue
        if python is None:
            left_out.append(f"Python {version} is not installed")
            continue
        asked = subprocess.run(  # noqa: S603 - a Python of this machine
            [python, "-c", "import simulator.campaign.determinism.runs"],
            capture_output=True,
            check=False,
        )
        if asked.returncode == 0:
            found.append(Condition(name=f"Python {version}", environment={}, python=python))
        else:
            left_out.append(f"Python {version} lacks what we need")
    return found, left_out


def under(condition: Condition, orders: Sequence[Order], /) -> list[Ran]:
    """Return what the orders come to under a condition.

    Raises:
        InputRefusedError: its process cannot be run.
    """
    changed = [
        msgspec.structs.replace(order, collector=condition.collector, guard=condition.guard)
        for order in orders
    ]
    if condition.environment is None:
        return [ran(order) for order in changed]
    lines = "".join(json.dumps(msgspec.to_builtins(order)) + "\n" for order in changed)
    process = subprocess.run(  # noqa: S603 - this very program
        [condition.python, "-m", "simulator.campaign.determinism.runs"],
        input=lines,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **condition.environment},
    )
    answers = [msgspec.json.decode(line, type=Ran) for line in process.stdout.splitlines()]
    if len(answers) != len(orders):
        said = (process.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise InputRefusedError(
            f"the process for {condition.name!r} ended early: {said}",
            "run the seed with `twinshot replay` to see what is wrong",
        )
    return answers


def divergence(condition: Condition, order: Order, ours: Ran, theirs: Ran, /) -> Divergence | None:
    """Return where two runs part, or None where they are one."""
    if theirs.refused:
        return Divergence(
            condition=condition.name,
            seed=order.seed,
            row=-1,
            ours=(),
            theirs=(),
            refused=theirs.refused,
        )
    if ours.digest == theirs.digest:
        return None
    block = first_difference(ours.prefixes, theirs.prefixes)
    wanted = msgspec.structs.replace(order, window=block)
    mine = ran(wanted).rows
    other = under(condition, [wanted])[0].rows
    at = first_difference(mine, other)
    part = slice(max(0, at - _NEAR), at + _NEAR + 1)
    return Divergence(
        condition=condition.name,
        seed=order.seed,
        row=block * BLOCK + at,
        ours=mine[part],
        theirs=other[part],
        refused="",
    )


def first_difference(ours: Sequence[str], theirs: Sequence[str], /) -> int:
    """Return the first place in which two sequences differ; their length where one goes on."""
    for index, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        if one != other:
            return index
    return min(len(ours), len(theirs))
