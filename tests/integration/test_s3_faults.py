"""A repository in a bucket survives everything between it and the engine, or says what is wrong."""

import asyncio  # noqa: TID251 - a process is waited for beside the event loop
import contextlib
import os
import random  # noqa: TID251 - a storm repeats from its seed
import signal
import subprocess
import sys
import threading  # noqa: TID251 - the server comes back while the engine waits for it
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime
from reference_engine.adapters.files.disk_files import DiskFiles
from reference_engine.app.exit_codes import exit_code_of
from reference_engine.model.errors import ObjectLockedError, TransientError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import MachineId, RecoveryPointId
from reference_engine.model.units import HOUR, SECOND, ByteCount, Duration, Instant
from reference_engine.ports.object_locks import LockMode, LockRule, locks_of
from reference_engine.ports.runtime import Runtime
from reference_engine.repository.repack_rule import RepackRule
from reference_engine.repository.repository import NO_SETTINGS, Repository
from reference_engine.repository.settings import Settings
from reference_engine.verification.integrity import Verdict, verify_points
from tests.servers.fault_proxy import Exchange, Fault, FaultProxy
from tests.servers.object_server import BUCKET, LOCKED_BUCKET, ObjectServer, variables
from tests.strategies.file_backups import back_up_all

if TYPE_CHECKING:
    from reference_engine.adapters.object_store import ObjectStore
    from reference_engine.adapters.patience import Patience

TWINSHOT = (sys.executable, "-m", "reference_engine.app.command_line")

pytestmark = pytest.mark.s3

MIB = 1 << 20
LOST = (Fault.RESET_AFTER, Fault.LOSE_500, Fault.CUT, Fault.HANG)
PASSING = (
    Fault.SLOW,
    Fault.REFUSE_409,
    Fault.REFUSE_500,
    Fault.REFUSE_503,
    Fault.RESET_BEFORE,
    *LOST,
)


class Site:
    """One prefix of the bucket, reached directly or through the proxy, and a disk to back up."""

    def __init__(
        self, root: Path, server: ObjectServer, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.root, self.server, self.proxy = root, server, proxy
        self.address = f"s3://{BUCKET}/{root.name}"
        self.source = root / "web.raw"
        self._monkeypatch = monkeypatch

    def write(self, seed: int, size: int = MIB) -> bytes:
        """Have the disk hold other bytes, and return them."""
        content = bytearray(np.random.default_rng(seed).bytes(size))
        content[446:512] = bytes(64) + b"\x55\xaa"
        self.source.write_bytes(content)
        return bytes(content)

    def store(self, port: int, patience: "Patience | None" = None) -> "ObjectStore":
        """Return the store as one engine has it, behind a port of this machine."""
        from reference_engine.adapters import bucket, object_store  # noqa: PLC0415 - needs an extra

        for name, value in variables(port).items():
            self._monkeypatch.setenv(name, value)
        return object_store.ObjectStore(
            bucket.BucketPlace.parse(self.address), patience=patience or quick()
        )

    async def create(self, settings: Settings = NO_SETTINGS) -> None:
        """Make an empty repository, undisturbed."""
        await Repository.create(
            self.store(self.server.port),
            identity_token="ab" * 16,
            block_size=ByteCount(16384),
            settings=settings,
        )

    async def back_up(self, store: "ObjectStore", runtime: Runtime) -> RecoveryPointId:
        """Back the disk up as one machine, and return the point."""
        files = DiskFiles(MachineId("web"), (self.source,))
        repository = await Repository.open(store, executor=runtime)
        return (await back_up_all(repository, files, runtime)).id

    async def images(self, store: "ObjectStore") -> dict[RecoveryPointId, bytes]:
        """Return what every point restores to, in order of commit; each is verified besides."""
        repository = await Repository.open(store)
        found: dict[RecoveryPointId, bytes] = {}
        for entry in await repository.commits():
            reader = await repository.reader(entry.point)
            disk = reader.disks[0]
            found[entry.point] = await reader.read(disk, ExtentSet.whole(reader.size(disk)))
        verdicts = await verify_points(repository, tuple(found), progress=lambda _: None)
        assert {each.verdict for each in verdicts} <= {Verdict.INTACT}
        return found


def quick() -> "Patience":
    """Return the patience of a test: hours become seconds."""
    from reference_engine.adapters.patience import Patience  # noqa: PLC0415 - needs an extra

    return Patience(
        answer=Duration(2 * SECOND),
        outage=Duration(20 * SECOND),
        stranger=Duration(1 * SECOND),
        farewell=Duration(1 * SECOND),
    )


@pytest.fixture
def proxy(object_server: ObjectServer) -> Iterator[FaultProxy]:
    """Return a proxy before the server that spoils nothing yet."""
    with FaultProxy(object_server.port).running() as proxy:
        yield proxy


@pytest.fixture
def site(
    tmp_path: Path,
    object_server: ObjectServer,
    proxy: FaultProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> Site:
    """Return an empty place in the bucket."""
    return Site(tmp_path, object_server, proxy, monkeypatch)


class HastyRuntime(AsyncioRuntime):
    """Real time, in which the engine's own pauses are short: the store has pauses of its own."""

    async def sleep(self, duration: Duration, /) -> None:
        """Return after a fiftieth of `duration`."""
        await super().sleep(Duration(duration // 50))


def on_asyncio(scenario: Callable[[Runtime], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario in real time."""
    runtime = HastyRuntime(seed=None)
    runtime.run(scenario(runtime))


def nth(number: int, fault: Fault) -> Callable[[Exchange], Fault]:
    """Return the plan that spoils one exchange."""
    return lambda exchange: fault if exchange.number == number else Fault.NONE


@pytest.mark.parametrize("fault", [f for f in PASSING if f not in {Fault.SLOW, Fault.HANG}])
def test_one_fault_at_any_request_changes_nothing(site: Site, fault: Fault) -> None:
    """Whichever request of a backup is spoilt, there is one point more, with the disk's bytes."""

    async def scenario(runtime: Runtime) -> None:
        address, number = site.address, 0
        while number in range(100):
            site.address = f"{address}/{number}"
            await site.create()
            first = site.write(1, 256 << 10)
            await site.back_up(site.store(site.server.port), runtime)
            second = site.write(2, 256 << 10)
            site.proxy.seen.clear()
            site.proxy.spoiled.clear()
            site.proxy.plan = nth(number, fault)
            await site.back_up(site.store(site.proxy.port), runtime)

            found = await site.images(site.store(site.server.port))
            assert list(found.values()) == [first, second]
            if not site.proxy.spoiled:
                break
            number += 1
        assert 8 < number < 100, "every request had its turn"

    on_asyncio(scenario)


@pytest.mark.parametrize("fault", [Fault.REFUSE_503, Fault.RESET_AFTER, Fault.CUT])
def test_what_is_locked_is_put_once_whatever_fails(site: Site, fault: Fault) -> None:
    """A fifth of the requests is spoilt: each object is there in one version, and locked."""
    chance = random.Random(1)  # noqa: S311 - no cryptography
    site.server.make_locked_bucket()
    site.address = f"s3://{LOCKED_BUCKET}/{site.root.name}"
    lock = Settings(immutable_for=Duration(HOUR), object_lock=LockMode.GOVERNANCE)

    async def scenario(runtime: Runtime) -> None:
        await site.create(lock)
        site.proxy.plan = lambda _: fault if chance.random() < 0.2 else Fault.NONE
        images = [site.write(1, 128 << 10)]
        await site.back_up(site.store(site.proxy.port), runtime)
        store = site.store(site.proxy.port)
        locks = locks_of(store)
        assert locks is not None
        locks.begin(LockRule(mode=lock.object_lock or LockMode.COMPLIANCE, period=Duration(HOUR)))
        names = await store.names("")
        later = Instant(locks.now() // SECOND * SECOND + 100 * HOUR)
        await locks.extend(names, until=later)
        with pytest.raises(ObjectLockedError):
            await store.delete("repository.json")

        assert site.proxy.spoiled
        direct = site.store(site.server.port)
        assert list((await site.images(direct)).values()) == images
        found = site.server.client().list_object_versions(
            Bucket=LOCKED_BUCKET, Prefix=f"{site.root.name}/"
        )
        keys = [each["Key"] for each in found["Versions"] if "/~" not in each["Key"]]
        assert sorted(keys) == [f"{site.root.name}/{name}" for name in names]
        assert "DeleteMarkers" not in found
        again = locks_of(direct)
        assert again is not None
        assert [await again.until(name) for name in names] == [later] * len(names)

    on_asyncio(scenario)


@pytest.mark.parametrize("fault", PASSING)
def test_a_restore_through_faults_is_right(site: Site, fault: Fault) -> None:
    """Every fourth request is spoilt while points are listed, verified and restored."""
    content = site.write(1)

    async def scenario(runtime: Runtime) -> None:
        await site.create()
        await site.back_up(site.store(site.server.port), runtime)
        site.proxy.plan = lambda exchange: fault if exchange.number % 4 == 1 else Fault.NONE
        assert list((await site.images(site.store(site.proxy.port))).values()) == [content]
        assert site.proxy.spoiled

    on_asyncio(scenario)


@pytest.mark.parametrize("seed", range(6))
def test_no_storm_loses_a_point(site: Site, seed: int) -> None:
    """Four of ten requests fail somehow: a backup succeeds or says that it did not."""
    chance = random.Random(seed)  # noqa: S311 - no cryptography

    async def scenario(runtime: Runtime) -> None:
        await site.create()
        images: list[bytes] = []
        promised: list[RecoveryPointId] = []
        faults = [fault for fault in PASSING if fault is not Fault.HANG]
        site.proxy.plan = lambda _: chance.choice(faults) if chance.random() < 0.4 else Fault.NONE
        for turn in range(3):
            images.append(site.write(10 * seed + turn))
            with contextlib.suppress(TransientError):
                promised.append(await site.back_up(site.store(site.proxy.port), runtime))

        found = await site.images(site.store(site.server.port))
        assert set(promised) <= set(found)
        assert [image for image in images if image in found.values()] == list(found.values())
        assert len(site.proxy.spoiled) > 5

    on_asyncio(scenario)


def test_of_sixteen_engines_behind_lost_answers_one_wins(site: Site) -> None:
    """Equal bytes do not help a loser: exactly one engine is told that it created the object."""
    # None of them has had an answer before, and one may well meet several faults in a row.
    patience = msgspec.structs.replace(quick(), stranger=quick().outage)
    faults = [fault for fault in LOST if fault is not Fault.HANG]

    async def scenario(runtime: Runtime) -> None:
        site.proxy.plan = lambda exchange: (
            Fault.NONE if exchange.number % 3 else faults[exchange.number // 3 % len(faults)]
        )
        won: list[int] = []

        async def create(number: int) -> None:
            store = site.store(site.proxy.port, patience)
            if await store.create("log/0000000001", b"the same"):
                won.append(number)

        async with runtime.task_group() as group:
            for number in range(16):
                group.spawn(create(number), name=f"engine {number}")
        assert len(won) == 1
        assert len(site.proxy.spoiled) >= 16

    on_asyncio(scenario)


def test_a_server_that_comes_back_is_waited_for(site: Site) -> None:
    """The server is killed while packs arrive and starts again: the backup goes on."""
    first = site.write(1)
    # How long the server takes to start is the machine's business.
    patience = msgspec.structs.replace(quick(), outage=Duration(120 * SECOND))

    async def scenario(runtime: Runtime) -> None:
        await site.create()
        await site.back_up(site.store(site.server.port), runtime)
        second = site.write(2, 4 * MIB)
        restart = killing_at_a_pack(site, restart=True)
        await site.back_up(site.store(site.proxy.port, patience), runtime)
        restart.join()

        found = await site.images(site.store(site.server.port))
        assert list(found.values()) == [first, second]

    on_asyncio(scenario)


def test_a_server_that_stays_away_ends_the_backup(site: Site) -> None:
    """The backup ends as unreachable; what was there before is there when the server is back."""
    from reference_engine.adapters.patience import Patience  # noqa: PLC0415 - needs an extra

    first = site.write(1)
    brief = Patience(answer=Duration(2 * SECOND), outage=Duration(2 * SECOND))

    async def scenario(runtime: Runtime) -> None:
        await site.create()
        await site.back_up(site.store(site.server.port), runtime)
        second = site.write(2, 4 * MIB)
        killing_at_a_pack(site, restart=False)
        began = runtime.now()
        with pytest.raises(TransientError) as caught:
            await site.back_up(site.store(site.proxy.port, brief), runtime)
        assert exit_code_of(caught.value) == 4
        assert runtime.now() - began < 30 * SECOND

        site.server.start()
        assert list((await site.images(site.store(site.server.port))).values()) == [first]
        await site.back_up(site.store(site.server.port), runtime)
        found = await site.images(site.store(site.server.port))
        assert list(found.values()) == [first, second]

    try:
        on_asyncio(scenario)
    finally:
        site.server.kill()
        site.server.start()


def killing_at_a_pack(site: Site, *, restart: bool) -> threading.Thread:
    """Kill the server when the next pack arrives; the thread ends when it is back."""
    killed = threading.Event()

    def plan(exchange: Exchange) -> Fault:
        if exchange.method == "PUT" and "/packs/" in exchange.target and not killed.is_set():
            site.server.kill()
            killed.set()
        return Fault.NONE

    def come_back() -> None:
        if killed.wait(60):
            site.server.start()

    site.proxy.plan = plan
    thread = threading.Thread(target=come_back, daemon=True)
    if restart:
        thread.start()
    return thread


def test_two_engines_share_a_bucket(site: Site) -> None:
    """Two processes back up different machines at once, and make the repository while at it."""
    names = ("left", "right")
    disks = {name: site.root / f"{name}.raw" for name in names}
    for seed, disk in enumerate(disks.values()):
        disk.write_bytes(site.write(seed, 2 * MIB))
    site.store(site.server.port)

    running = [
        subprocess.Popen(
            [*TWINSHOT, "backup", str(disk), "--repo", site.address, "--name", name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name, disk in disks.items()
    ]
    ends = [(process.communicate(timeout=120)[0], process.returncode) for process in running]

    assert [code for _, code in ends] == [0, 0], ends

    async def scenario(_: Runtime) -> None:
        found = await site.images(site.store(site.server.port))
        assert sorted(found.values()) == sorted(disk.read_bytes() for disk in disks.values())

    on_asyncio(scenario)


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
