"""A repository in a bucket survives everything between it and the engine, or says what is wrong."""

import contextlib
import random  # noqa: TID251 - a storm repeats from its seed
import subprocess
import sys

import msgspec
import pytest

from reference_engine.app.exit_codes import exit_code_of
from reference_engine.model.errors import ObjectLockedError, TransientError
from reference_engine.model.identity import RecoveryPointId
from reference_engine.model.units import HOUR, SECOND, Duration, Instant
from reference_engine.ports.object_locks import LockMode, LockRule, locks_of
from reference_engine.ports.runtime import Runtime
from reference_engine.repository.settings import Settings
from tests.servers.fault_proxy import Fault
from tests.servers.fault_site import (
    LOST,
    MIB,
    PASSING,
    Site,
    killing_at_a_pack,
    nth,
    on_asyncio,
    quick,
)
from tests.servers.object_server import LOCKED_BUCKET

TWINSHOT = (sys.executable, "-m", "reference_engine.app.command_line")

pytestmark = pytest.mark.s3


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
