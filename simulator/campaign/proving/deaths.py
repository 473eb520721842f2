"""One process killed at one call, and whether everything is still there and goes on."""

import gc
import os
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime
from reference_engine.app.local_cache import DIRECTORY
from reference_engine.app.repo import init_command, new_keys
from reference_engine.model.errors import TwinshotError
from reference_engine.model.units import SECOND, Duration
from reference_engine.repository.header import HEADER_NAME
from reference_engine.repository.keys.derivation import Cost
from simulator.campaign.proving import care_operations, domain_operations, key_operations
from simulator.campaign.proving.children import Ended, in_child
from simulator.campaign.proving.operations import (
    Found,
    Operation,
    copy,
    look,
    orphans,
    targets_of,
    warm_up,
)
from simulator.campaign.proving.os_calls import Death, Failure, Moment, Watch
from simulator.campaign.proving.private_place import private_place
from simulator.campaign.proving.storage import ONE_BLOCK, small_objects

_CHEAP: Final = Cost(memory_kib=8, passes=1, lanes=1)
"""Of a passphrase that is tried thousands of times and guards nothing."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one try, as the judging child reports it."""

    lost: tuple[str, ...] = ()
    """Points that were there before and are not, or do not restore."""

    wrong: tuple[str, ...] = ()
    """Points and images with other bytes."""

    stuck: tuple[str, ...] = ()
    """Why the same command does not do its work afterwards."""

    unkept: tuple[str, ...] = ()
    """Further promises that do not hold, as the operation words them."""

    orphans: tuple[str, ...] = ()
    """What no point needs and the next reclaim has left."""

    made: bool = False
    """Whether the operation's own result was there at once."""

    @property
    def amiss(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """What must not be, under a title each; empty where all is as promised."""
        titled = (
            ("lost", self.lost),
            ("wrong bytes", self.wrong),
            ("stuck", self.stuck),
            ("not kept", self.unkept),
            ("left over", self.orphans),
        )
        return tuple((title, found) for title, found in titled if found)


class Calls(msgspec.Struct, frozen=True, kw_only=True):
    """The calls that an undisturbed process makes."""

    changing: int
    """How many change files."""

    writes: tuple[int, ...]
    """Which of these write bytes, counted from 1."""

    kinds: tuple[str, ...]
    """Of every call, in order."""


class Strike(msgspec.Struct, frozen=True, kw_only=True):
    """What a fault did to a process that came to its end."""

    call: str
    """The kind of call that failed first; empty where none did."""

    slept_s: float
    """How long it would have waited in between; here it does not."""


def _sleepless() -> list[float]:
    """Let this process wait for nothing; return where it notes for how long it would have."""
    slept: list[float] = []

    async def sleep(_: AsyncioRuntime, duration: Duration, /) -> None:
        slept.append(duration / SECOND)

    AsyncioRuntime.sleep = sleep  # type: ignore[method-assign] # of a child, which ends soon
    return slept


class Bench:
    """An operation's prepared directory, and the place where copies of it are tried."""

    def __init__(self, operation: Operation, root: Path, /) -> None:
        self.operation = operation
        self._prepared = root / operation.name
        self.place = root / "try"

    def prepare(self) -> tuple[Found, Calls]:
        """Return the points from the beginning, and which calls the operation makes."""
        ended = in_child(lambda: (0, self._prepare()))
        assert ended.code == 0, ended.complaint
        before: Found = msgspec.json.decode(ended.report, type=Found)
        copy(self._prepared, self.place)
        ended = in_child(self._count)
        assert ended.code == 0, ended.complaint
        return before, msgspec.json.decode(ended.report, type=Calls)

    def _prepare(self) -> bytes:
        os.environ[DIRECTORY] = str(self._prepared / "cache")
        self.operation.prepare(self._prepared)
        found = _look(self._prepared)
        self.operation.injures(self._prepared)
        return msgspec.json.encode(found)

    def _count(self) -> tuple[int, bytes]:
        os.environ[DIRECTORY] = str(self.place / "cache")
        watch = Watch(str(self.place), fault=None)
        watch.install()
        code = self.operation.act(self.place)
        calls = Calls(changing=watch.changing, writes=tuple(watch.writes), kinds=tuple(watch.kinds))
        return code, msgspec.json.encode(calls)

    def strike(self, fault: Death | Failure, /) -> Ended:
        """Return how the operation ended with this fault, on a fresh copy."""
        copy(self._prepared, self.place)

        def work() -> tuple[int, bytes]:
            os.environ[DIRECTORY] = str(self.place / "cache")
            slept = _sleepless()
            watch = Watch(str(self.place), fault=fault)
            watch.install()
            code = self.operation.act(self.place)
            return code, msgspec.json.encode(Strike(call=watch.struck, slept_s=sum(slept)))

        return in_child(work)

    def judge(self, before: Found, /) -> Outcome:
        """Return what is left, and whether the operation can be done after all."""
        ended = in_child(lambda: (0, msgspec.json.encode(self._judge(before))))
        if ended.code != 0:
            return Outcome(stuck=(f"the judge broke down: {ended.complaint[-500:]}",))
        outcome: Outcome = msgspec.json.decode(ended.report, type=Outcome)
        return outcome

    def _judge(self, before: Found) -> Outcome:
        os.environ[DIRECTORY] = str(self.place / "cache")
        operation, place = self.operation, self.place
        try:
            found = look(place)
        except TwinshotError as error:
            if not operation.loses:
                return Outcome(lost=(f"the repository does not open: {error}",))
            found = Found(points=())
        lost, wrong = _compared(operation, before, found)
        lost = [] if operation.loses else lost
        wrong += targets_of(operation, place)
        if lost or wrong:
            return Outcome(lost=tuple(lost), wrong=tuple(wrong))
        unkept = operation.keeps(place, False)  # noqa: FBT003 - it may be in its middle
        made = self._is_done(before, found)
        stuck: list[str] = []
        code = operation.again(place)
        if code != 0:
            stuck.append(f"the same command ends with {code}")
        elif operation.made is not None and not operation.made(place):
            stuck.append("the same command claims success and has none")
        found = look(place)
        lost, wrong = _compared(operation, before, found)
        wrong += targets_of(operation, place)
        if not self._has_new(before, found):
            stuck.append("the same command makes no point")
        left = orphans(place)
        return Outcome(
            lost=tuple(lost),
            wrong=tuple(wrong),
            stuck=tuple(stuck),
            unkept=(*unkept, *operation.keeps(place, True)),  # noqa: FBT003 - it is done
            orphans=tuple(left),
            made=made,
        )

    def _has_new(self, before: Found, found: Found) -> bool:
        """Return whether every new point is there."""
        known = [each[0] for each in before.points]
        new = [content for point, _, content in found.points if point not in known]
        return all(each in new for each in self.operation.adds)

    def _is_done(self, before: Found, found: Found) -> bool:
        """Return whether the operation's result is there."""
        operation = self.operation
        if operation.made is not None:
            return operation.made(self.place)
        if operation.restores:
            return len([*self.place.glob("back.*"), *self.place.glob("back/*")]) > 0
        if operation.name.startswith("init"):
            return (self.place / "repo" / HEADER_NAME).exists()
        if operation.removes:
            return len(found.points) < len(before.points)
        return self._has_new(before, found)


def _look(place: Path) -> Found:
    return look(place) if (place / "repo").exists() else Found(points=())


def _compared(operation: Operation, before: Found, found: Found) -> tuple[list[str], list[str]]:
    """Return what is lost of what was there before, and what restores to other bytes."""
    here = {point: content for point, _, content in found.points}
    newest = {machine: point for point, machine, _ in before.points}
    lost = _half_gone(operation, before, here)
    for point, machine, content in before.points:
        going = machine in operation.removes and point != newest[machine]
        going |= machine in operation.shreds
        if point not in here and not going:
            lost.append(f"{point} is not listed")
        elif point in here and here[point] != content and here[point].startswith("LOST"):
            lost.append(f"{point}: {here[point]}")
    wrong = [f"{point} holds {c}" for point, _, c in found.points if "WRONG" in c]
    wrong += [
        f"{point} holds {here[point]}, not {content}"
        for point, _, content in before.points
        if point in here and here[point] != content and not here[point].startswith("LOST")
    ]
    new = [p for p in found.points if p[0] not in [each[0] for each in before.points]]
    lost += [f"{p[0]}: {p[2]}" for p in new if p[2].startswith("LOST")]
    return lost, wrong


def _half_gone(operation: Operation, before: Found, here: Container[str]) -> list[str]:
    """Return which points are still there of those that go in one step, if others are gone."""
    going = [point for point, machine, _ in before.points if machine in operation.shreds]
    left = [point for point in going if point in here]
    return [] if len(left) in {0, len(going)} else [f"only {', '.join(left)} are left"]


def deaths(calls: Calls, /) -> Iterator[Death]:
    """Yield every moment at which a process that makes these calls can die."""
    for call in range(1, calls.changing + 1):
        yield Death(call=call, moment=Moment.BEFORE)
        if call in calls.writes:
            yield Death(call=call, moment=Moment.TORN)
        yield Death(call=call, moment=Moment.AFTER)


@contextmanager
def workshop() -> Iterator[Path]:
    """Have a private directory and small objects."""
    with private_place() as place, small_objects(ONE_BLOCK), _cheap_passphrases():
        with _cache_in(place / "cache"):
            warm_up(place / "warm")
            care_operations.warm_up(place / "warm-care")
            key_operations.warm_up(place / "warm-keys")
            domain_operations.warm_up(place / "warm-domains")
        # A collection in a child would copy every page that it looks at.
        gc.freeze()
        try:
            yield place
        finally:
            gc.unfreeze()


@contextmanager
def _cache_in(place: Path) -> Iterator[None]:
    """Leave the user's own cache alone."""
    kept = os.environ.get(DIRECTORY)
    os.environ[DIRECTORY] = str(place)
    try:
        yield
    finally:
        del os.environ[DIRECTORY]
        if kept is not None:
            os.environ[DIRECTORY] = kept


@contextmanager
def _cheap_passphrases() -> Iterator[None]:
    name, places = "DEFAULT_COST", (new_keys, init_command)
    kept = [getattr(place, name) for place in places]
    for place in places:
        setattr(place, name, _CHEAP)
    try:
        yield
    finally:
        for place, cost in zip(places, kept, strict=True):
            setattr(place, name, cost)
