"""A place in a bucket behind a proxy that spoils requests, and whoever kills its server."""

import threading  # noqa: TID251 - the server comes back while the engine waits for it
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime
from reference_engine.adapters.files.disk_files import DiskFiles
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import MachineId, RecoveryPointId
from reference_engine.model.units import SECOND, ByteCount, Duration
from reference_engine.ports.runtime import Runtime
from reference_engine.repository.repository import NO_SETTINGS, Repository
from reference_engine.repository.settings import Settings
from reference_engine.verification.integrity import Verdict, verify_points
from tests.servers.fault_proxy import Exchange, Fault, FaultProxy
from tests.servers.object_server import BUCKET, ObjectServer, variables
from tests.strategies.file_backups import back_up_all

if TYPE_CHECKING:
    from reference_engine.adapters.object_store import ObjectStore
    from reference_engine.adapters.patience import Patience

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
