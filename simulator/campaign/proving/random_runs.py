"""One seed: processes whose steps are drawn, faults that are drawn, and power cuts."""

import errno
from collections.abc import Callable, Coroutine
from hashlib import blake2b
from typing import Any, Final

import msgspec

from reference_engine.adapters.directory_store import DirectoryStore
from reference_engine.model.errors import CorruptionError, TwinshotError
from reference_engine.model.identity import MachineId, RecoveryPointId, RunTag
from reference_engine.model.units import ByteCount
from reference_engine.repository.codec import copy_name
from simulator.campaign.proving.judgement import judge
from simulator.campaign.proving.ledger import PATCHED, Contents, Ledger, Violation
from simulator.campaign.proving.processes import (
    Backup,
    back_up,
    expire,
    read_points,
    reclaim,
    repack,
    settle_dead_run,
)
from simulator.campaign.proving.storage import ROOT, Storage
from simulator.facade.file_system import FileSystemFacade
from simulator.facade.local_cache import LocalCacheFacade
from simulator.faults.storage import SHORT
from simulator.kernel.stepping import SteppedTask
from simulator.kernel.streams import Stream
from simulator.world.file_system import Durability

_STICKY: Final = (
    "",
    "link",
    "link",
    "flush",
    "flush-directory",
    "create",
    "make-directory",
    "read",
)
"""Kinds of calls after which a process is paused in a quarter of all cases; one for each seed."""

_FAILING: Final = (
    "flush-directory",
    "flush-directory",
    "flush",
    "link",
    "unlink",
    "read",
    "entries",
)
"""Kinds of calls that fail for a while, however often they are tried."""

_PAUSES_S: Final = (600, 4_000, 100_000, 200_000)
_TEN_YEARS_S: Final = 10 * 365 * 86_400
_ACTIVE_MOST: Final = 3
_FILLS: Final = 12
_PATCHES: Final = 6


class RunResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one seed."""

    seed: int
    durability: str
    forced: bool
    """Whether the mode was asked for, and not drawn."""

    cuts: int
    steps: int
    acknowledged: int
    digest: str
    """Over every call that was made, in order: equal exactly when two runs did the same."""

    violations: tuple[Violation, ...]


class _Process:
    """A task, the view through which it works, and until when it is paused."""

    def __init__(self, task: SteppedTask, view: FileSystemFacade, plan: Backup | None, /) -> None:
        self.task, self.view, self.plan = task, view, plan
        self.paused_until = 0


Starter = Callable[[], _Process]


def _end(process: _Process) -> None:
    """End a process as `kill -9` or a power cut does."""
    process.view.die()
    process.task.kill()


class RandomRun:
    """One seed's processes, from an empty storage to what is found after the last power cut."""

    def __init__(
        self,
        seed: int,
        durability: Durability | None,
        /,
        *,
        trace: Callable[[str], None] = lambda _: None,
        cached: bool = False,
    ) -> None:
        chance = self._chance = Stream("prove", seed)
        drawn = tuple(Durability)[chance.below(len(Durability))]
        self._seed, self._durability = seed, durability or drawn
        self._forced, self._trace = durability is not None, trace
        self._block_size = ByteCount((16, 32, 64)[chance.below(3)])
        self._contents = Contents(self._block_size)
        self._ledger = Ledger()
        self._storage = Storage.empty(self._durability, Stream("storage", seed))
        # It is on another machine: no power cut of the storage takes it back.
        self._cache = LocalCacheFacade(Stream("cache", seed)) if cached else None
        self._runs: dict[RunTag, Backup] = {}
        self._begun = 0
        self._reclaims = 0
        self._steps = 0
        self._digest = blake2b(digest_size=16)
        self._sticky = _STICKY[chance.below(len(_STICKY))]
        self._cuts = 2 if chance.chance(300) else 1
        twins = chance.chance(250)
        self._repacking = Stream("repack", seed)
        self._repacks_most = self._repacking.between(1, 4) if self._repacking.chance(500) else 0
        self._repacks = 0
        self._twin = self._fills() if twins else None

    def result(self) -> RunResult:
        """Run the seed to its end."""
        self._prepare()
        cuts = 0
        while cuts < self._cuts and not self._ledger.violations:
            self._plan_faults()
            self._until_power_cut()
            self._storage = self._storage.after_power_cut()
            cuts += 1
            self._trace(f"{self._steps} the power is cut")
            found = judge(self._storage, self._ledger, self._contents, self._block_size)
            self._ledger.violations += found
        return RunResult(
            seed=self._seed,
            durability=self._durability.value,
            forced=self._forced,
            cuts=cuts,
            steps=self._steps,
            acknowledged=len(self._ledger.acknowledged),
            digest=self._digest.hexdigest(),
            violations=tuple(self._ledger.violations),
        )

    def _prepare(self) -> None:
        """Have some points from the beginning, made before anything goes wrong, in most seeds."""
        for _ in range(self._chance.below(4)):
            self._do(self._backup())
        if self._repacks_most:
            for starter in (*[self._backup] * 4, self._expiry, self._reclaim):
                self._do(starter())

    def _do(self, process: _Process) -> None:
        """Let a process come to its end while nobody else works and nothing goes wrong."""
        try:
            process.task.finish()
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no reason for it
            self._ledger.breach("R4", f"{process.task.name} fails: {type(error).__name__} {error}")
        process.view.die()

    def _plan_faults(self) -> None:
        chance, faults = self._chance, self._storage.faults
        if chance.chance(300):
            faults.plan("flush", chance.between(1, 40), errno.EIO)
        if chance.chance(300):
            faults.plan("write", chance.between(1, 60), (errno.ENOSPC, SHORT)[chance.below(2)])
        if chance.chance(200):
            first = chance.between(1, 60)
            # A publication tries three times, and a commit nine times.
            for occurrence in range(first, first + (1, 3, 4, 9, 10, 12)[chance.below(6)]):
                faults.plan("flush-directory", occurrence, errno.EIO)
        if chance.chance(100):
            kind = ("link", "unlink", "entries", "close", "make-directory")[chance.below(5)]
            faults.plan(kind, chance.between(1, 30), errno.EIO)

    def _jobs(self) -> list[Starter]:
        """Return what the processes of this round do, in the order in which they begin."""
        chance = self._chance
        jobs: list[Starter] = [self._backup] * chance.between(3, 7)
        for others, most in ((self._reading, 2), (self._expiry, 3), (self._reclaim, 4)):
            for _ in range(chance.between(0, most)):
                jobs.insert(chance.below(len(jobs) + 1), others)
        for _ in range(self._repacks_most):
            # An expiry before it leaves packs of which something is used.
            at = self._repacking.below(len(jobs) // 2 + 1)
            jobs[at:at] = [self._expiry, self._repack] if at % 2 else [self._repack]
        return jobs

    def _until_power_cut(self) -> None:
        chance, clock = self._chance, self._storage.clock
        jobs = self._jobs()
        active: list[_Process] = []
        end = self._steps + chance.between(50, 1_400) * (2 if self._repacks_most else 1)
        while (jobs or active) and self._steps < end:
            clock.now += (1, 5, 60)[chance.below(3)]
            self._disturb()
            if jobs and len(active) < _ACTIVE_MOST and (not active or chance.chance(150)):
                active.append(jobs.pop(0)())
            ready = [each for each in active if each.paused_until <= clock.now]
            if not ready:
                clock.now += 3_600
                continue
            process = ready[chance.below(len(ready))]
            kind = process.task.next_kind
            process.task.advance()
            self._steps += 1
            self._digest.update(f"{process.task.name} {kind}\n".encode())
            if kind:
                self._trace(f"{self._steps} {process.task.name} {process.view.last}")
            if process.task.done:
                active.remove(process)
                self._hear(process.task)
            elif chance.chance(250 if kind and kind == self._sticky else 20):
                process.paused_until = clock.now + _PAUSES_S[chance.below(len(_PAUSES_S))]
            elif chance.chance(2):
                active.remove(process)
                _end(process)
                self._ask_about(process, jobs)
        for process in active:
            _end(process)

    def _disturb(self) -> None:
        chance, storage = self._chance, self._storage
        drawn = chance.below(1000)
        if drawn < 4:
            manifests = [path for path in storage.files.files() if "/points/" in path]
            # What repacks cannot read they do not move.
            if manifests and not (self._repacks_most and self._repacking.chance(850)):
                # Both copies: of one alone nobody would take any notice.
                name = manifests[chance.below(len(manifests))].removeprefix(f"{ROOT}/")
                own = name.removeprefix("copies/")
                for hidden in (own, copy_name(own)):
                    storage.faults.hide(f"{ROOT}/{hidden}", 200_000)
        elif drawn < 6:
            storage.clock.offset = chance.between(-_TEN_YEARS_S, _TEN_YEARS_S)
        elif drawn < 7:
            storage.faults.fill(chance.between(60, 2_000))
        elif drawn < 8:
            storage.faults.fail(_FAILING[chance.below(len(_FAILING))], chance.between(60, 2_000))

    def _hear(self, task: SteppedTask) -> None:
        """Look at how a process ended: the engine's own errors are answers, others are not."""
        error = task.error
        if isinstance(error, CorruptionError):
            self._ledger.breach("R2", f"{task.name} met damage: {error}")
        elif error is not None and not isinstance(error, TwinshotError):
            self._ledger.breach("R4", f"{task.name} broke down: {type(error).__name__} {error}")

    def _ask_about(self, process: _Process, jobs: list[Starter]) -> None:
        """Let somebody come next who wants to know whether the dead process committed."""
        for run, plan in self._runs.items():
            if plan is process.plan:
                jobs.insert(0, lambda: self._settling(run, plan))  # noqa: B023 - the last one
                return

    def _process(
        self,
        name: str,
        work: Callable[[DirectoryStore], Coroutine[Any, Any, None]],
        plan: Backup | None = None,
    ) -> _Process:
        store, view = self._storage.process()
        return _Process(SteppedTask(name, work(store)), view, plan)

    def _backup(self) -> _Process:
        self._begun += 1
        chance, name = self._chance, f"{self._seed}-{self._begun}"
        fills = self._twin if self._twin and chance.chance(500) else self._fills()
        plan = Backup(
            machine=MachineId(f"vm-{chance.below(3)}"),
            point=RecoveryPointId(f"point-{name}"),
            token=f"session-{name}",
            image=self._contents.image(fills, cut=chance.below(2) * chance.below(self._block_size)),
            block_size=self._block_size,
        )
        return self._process(
            plan.token,
            lambda store: back_up(
                plan,
                store=store,
                storage=self._storage,
                ledger=self._ledger,
                runs=self._runs,
                cache=self._cache,
            ),
            plan,
        )

    def _expiry(self) -> _Process:
        kept = self._ledger.kept()
        points = tuple(point for point in kept if self._chance.chance(500)) or kept[:1]
        return self._process(
            "expiry",
            lambda store: expire(points, store=store, storage=self._storage, ledger=self._ledger),
        )

    def _reclaim(self) -> _Process:
        self._reclaims += 1
        return self._process(
            f"reclaim-{self._reclaims}", lambda store: reclaim(store=store, storage=self._storage)
        )

    def _repack(self) -> _Process:
        self._repacks += 1
        name = f"repack-{self._seed}-{self._repacks}"
        return self._process(name, lambda store: repack(name, store=store, storage=self._storage))

    def _reading(self) -> _Process:
        return self._process("reader", lambda store: read_points(store=store, ledger=self._ledger))

    def _settling(self, run: RunTag, plan: Backup) -> _Process:
        return self._process(
            f"after-{plan.token}",
            lambda store: settle_dead_run(run, plan, store=store, ledger=self._ledger),
        )

    def _fills(self) -> tuple[int, ...]:
        fills = tuple(self._chance.below(_FILLS) for _ in range(self._chance.between(1, 8)))
        if not self._repacks_most:
            return fills
        patches = self._repacking
        fills += tuple(patches.below(_FILLS) for _ in range(patches.below(8)))
        return tuple(
            fill + PATCHED * patches.between(1, _PATCHES) * patches.chance(250) for fill in fills
        )
