"""One seed's run, digested; and the rows of a part of it, for whoever wants to see a difference."""

import gc
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Final, Literal

import msgspec

from simulator.campaign.determinism.guard import ForbiddenSourceError, guarded
from simulator.campaign.determinism.planted import PlantedWatcher
from simulator.campaign.exploring.small_world import Scope, small_scenario
from simulator.campaign.night import Watcher
from simulator.campaign.sweep.seeds import swarm_subject
from simulator.campaign.trial import Subject, night_of, subject_of

Collector = Literal["usual", "eager", "off"]
_EAGER: Final = (5, 2, 2)


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Which run is wanted."""

    seed: int
    planted: str = ""
    """A source of difference in it, and then in the smallest world; empty: none."""

    collector: Collector = "usual"
    guard: bool = False
    window: int | None = None
    """Which block of rows is wanted in full."""


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """What it came to."""

    digest: str
    prefixes: tuple[str, ...]
    """Digest after each block of rows, from the first row."""

    rows: tuple[str, ...] = ()
    refused: str = ""
    """What the guard refused."""


def ran(order: Order, /) -> Ran:
    """Run a seed as ordered, here."""
    watcher = PlantedWatcher(order.planted) if order.planted else Watcher()
    night = night_of(_subject(order), watcher, lambda _: None)
    night.digest.window = order.window
    with _collecting(order.collector), guarded() if order.guard else nullcontext():
        try:
            night.run()
        except ForbiddenSourceError as refusal:
            night.sim.close()
            return Ran(digest="", prefixes=(), refused=refusal.source)
    digest = night.digest.hexdigest()
    rows = tuple(row.decode(errors="replace") for row in night.digest.kept)
    return Ran(digest=digest, prefixes=(*night.digest.prefixes, digest[:16]), rows=rows)


def _subject(order: Order) -> Subject:
    if not order.planted:
        return swarm_subject(order.seed)
    scope = Scope(back_end="E1", seed=order.seed, events=1, machines=1, backups=2)
    return subject_of(small_scenario(scope), name="small")


@contextmanager
def _collecting(collector: Collector) -> Iterator[None]:
    before, on = gc.get_threshold(), gc.isenabled()
    if collector == "eager":
        gc.set_threshold(*_EAGER)
    elif collector == "off":
        gc.disable()
    try:
        yield
    finally:
        gc.set_threshold(*before)
        if on:
            gc.enable()


def main() -> None:
    """Run what each line of standard input orders, and answer with a line."""
    for line in sys.stdin:
        order = msgspec.convert(json.loads(line), Order)
        sys.stdout.write(msgspec.json.encode(ran(order)).decode() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
