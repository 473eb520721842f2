"""A repack in a bucket survives everything between it and the engine, and loses no point."""

import asyncio  # noqa: TID251 - a process is waited for beside the event loop
import contextlib
import os
import random  # noqa: TID251 - a storm repeats from its seed
import signal
import subprocess
import sys
import threading  # noqa: TID251 - the server comes back while the engine waits for it
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import pytest

from reference_engine.app.exit_codes import exit_code_of
from reference_engine.model.errors import TransientError
from reference_engine.model.identity import RecoveryPointId
from reference_engine.model.units import SECOND, Duration, Instant
from reference_engine.ports.runtime import Runtime
from reference_engine.repository.repack_rule import RepackRule
from reference_engine.repository.repository import Repository
from tests.servers.fault_proxy import Exchange, Fault
from tests.servers.fault_site import (
    PASSING,
    Site,
    killing_at_a_pack,
    on_asyncio,
    quick,
)

if TYPE_CHECKING:
    from reference_engine.adapters.object_store import ObjectStore

TWINSHOT = (sys.executable, "-m", "reference_engine.app.command_line")

pytestmark = pytest.mark.s3


class Scattered:
    """A repository whose oldest point is to go, and of whose packs then little is used."""

    def __init__(self, site: Site) -> None:
        self.site, self.address = site, site.address
        self.objects: dict[str, bytes] = {}
        self.images: list[bytes] = []

    async def make(self, runtime: Runtime) -> None:
        """Write it: the second point keeps an eighth of the first, the third one of the second."""
        self.site.address = f"{self.address}/origin"
        await self.site.create()
        content = b""
        for seed in range(3):
            content = content[: len(content) // 8] + self.site.write(seed)[len(content) // 8 :]
            self.site.source.write_bytes(content)
            await self.site.back_up(self.site.store(self.site.server.port), runtime)
            self.images.append(content)
        store = self.site.store(self.site.server.port)
        for name in await store.names(""):
            self.objects[name] = await store.read(name) or b""

    async def renew(self, number: int) -> None:
        """Have a copy of it, in which nothing is pruned, at another place of the bucket."""
        self.site.proxy.plan = lambda _: Fault.NONE
        self.site.address = f"{self.address}/{number}"
        store = self.site.store(self.site.server.port)
        for name, content in self.objects.items():
            await store.create(name, content)
        self.site.proxy.seen.clear()
        self.site.proxy.spoiled.clear()

    async def check_kept(self) -> None:
        """Make sure that the two points that stay restore, and that no byte is left unused."""
        direct = self.site.store(self.site.server.port)
        found = await self.site.images(direct)
        assert list(found.values())[-2:] == self.images[1:]
        await prune(direct)
        repository = await Repository.open(direct)
        assert list((await self.site.images(direct)).values()) == self.images[1:]
        assert await repository.reclaim.unneeded(()) == ()
        plan = await repository.repack.plan(NOTHING_UNUSED, at=Instant(0))
        assert plan.choice.objects == ()


NOTHING_UNUSED = RepackRule(unused_share=0.0)


async def prune(store: "ObjectStore") -> None:
    """Have the oldest of three points go, and repack until nothing is unused, as a prune does."""
    repository = await Repository.open(store)
    oldest = [entry.point for entry in await repository.commits()][:-2]
    if oldest:
        await repository.reclaim.expire(tuple(oldest), at=Instant(0), allow_last=False)
    await repository.repack.end_open()
    await repository.reclaim.reclaim(at=Instant(0))
    plan = await repository.repack.plan(NOTHING_UNUSED, at=Instant(0))
    await repository.repack.run(plan, token=lambda: os.urandom(8).hex(), at=Instant(0))
    await repository.reclaim.reclaim(at=Instant(0))


def nth_of(method: str, number: int, fault: Fault) -> Callable[[Exchange], Fault]:
    """Return the plan that spoils one exchange of this method."""
    left = iter([Fault.NONE] * number + [fault])
    return lambda each: next(left, Fault.NONE) if each.method == method else Fault.NONE


@pytest.mark.parametrize(
    ("method", "fault", "stride"),
    [
        ("PUT", Fault.REFUSE_503, 1),
        ("PUT", Fault.RESET_AFTER, 1),
        ("DELETE", Fault.RESET_BEFORE, 2),
        ("DELETE", Fault.LOSE_500, 3),
        ("GET", Fault.CUT, 5),
    ],
)
def test_one_fault_at_any_request_of_a_repack_changes_nothing(
    site: Site, method: str, fault: Fault, stride: int
) -> None:
    """Whichever put of a prune is spoilt, second deletion or fifth reading: it ends well."""
    scattered = Scattered(site)

    async def scenario(runtime: Runtime) -> None:
        await scattered.make(runtime)
        for number in range(0, 500, stride):
            await scattered.renew(number)
            site.proxy.plan = nth_of(method, number, fault)
            await prune(site.store(site.proxy.port))
            site.proxy.plan = lambda _: Fault.NONE
            if not site.proxy.spoiled:
                break
            await scattered.check_kept()
        assert 10 < number < 500, "every one had its turn"

    on_asyncio(scenario)


@pytest.mark.parametrize("seed", range(2))
def test_no_storm_during_a_repack_loses_a_point(site: Site, seed: int) -> None:
    """Four of ten requests fail somehow: a prune ends or says that it did not, and none is lost."""
    chance = random.Random(seed)  # noqa: S311 - no cryptography
    scattered = Scattered(site)

    async def scenario(runtime: Runtime) -> None:
        await scattered.make(runtime)
        await scattered.renew(0)
        faults = [fault for fault in PASSING if fault not in {Fault.HANG, Fault.SLOW}]
        site.proxy.plan = lambda _: chance.choice(faults) if chance.random() < 0.4 else Fault.NONE
        with contextlib.suppress(TransientError):
            await prune(site.store(site.proxy.port))
        assert len(site.proxy.spoiled) > 5
        await scattered.check_kept()

    on_asyncio(scenario)


@pytest.mark.parametrize("restart", [True, False])
def test_a_server_that_dies_under_a_repack_takes_nothing_with_it(
    site: Site, *, restart: bool
) -> None:
    """It is waited for where it comes back; else the prune ends, and the next one goes on."""
    scattered = Scattered(site)
    patience = msgspec.structs.replace(
        quick(), outage=Duration((120 if restart else 2) * SECOND), stranger=Duration(2 * SECOND)
    )

    async def scenario(runtime: Runtime) -> None:
        await scattered.make(runtime)
        await scattered.renew(0)
        returning = killing_at_a_pack(site, restart=restart)
        store = site.store(site.proxy.port, patience)
        if restart:
            await prune(store)
            returning.join()
        else:
            with pytest.raises(TransientError) as caught:
                await prune(store)
            assert exit_code_of(caught.value) == 4
            site.server.start()
        site.proxy.plan = lambda _: Fault.NONE
        await scattered.check_kept()

    try:
        on_asyncio(scenario)
    finally:
        if not restart:
            site.server.kill()
            site.server.start()


def test_a_prune_that_is_killed_is_finished_by_the_next_one(site: Site) -> None:
    """A real process dies at every twentieth request of a repack; both points restore."""
    scattered = Scattered(site)

    async def scenario(runtime: Runtime) -> None:
        await scattered.make(runtime)
        killed = 0
        for number in range(5, 500, 20):
            await scattered.renew(number)
            repository = await Repository.open(site.store(site.server.port))
            [first, *_] = [entry.point for entry in await repository.commits()]
            site.store(site.proxy.port)
            process = pruning(site, first, at=number)
            code = await asyncio.to_thread(process.wait, 120)
            site.proxy.plan = lambda _: Fault.NONE
            killed += code == -signal.SIGKILL
            await scattered.check_kept()
            if code == 0:
                break
        assert killed >= 5
        assert code == 0, "the last one came to its end"

    on_asyncio(scenario)


def pruning(site: Site, point: RecoveryPointId, *, at: int) -> "subprocess.Popen[bytes]":
    """Return a process that prunes and repacks, and is killed as it asks for the `at`-th time."""
    ready = threading.Event()

    def plan(exchange: Exchange) -> Fault:
        if exchange.number >= at:
            ready.wait(60)
            process.kill()
            return Fault.RESET_BEFORE
        return Fault.NONE

    site.proxy.plan = plan
    rule = ("--max-unused", "0", "--remove", point)
    process = subprocess.Popen(
        [*TWINSHOT, "repo", "prune", site.address, *rule],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    ready.set()
    return process
