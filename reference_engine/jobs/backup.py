"""One run: the steps S0 to S16 of one machine's backup, and their undoing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from msgspec.structs import replace

from reference_engine.jobs.clearing import (
    clear_leftovers,
    drop_reference_points,
    let_run_on,
    release_snapshots,
)
from reference_engine.jobs.copying import (
    Plan,
    confirm_exposed,
    copy_all,
    doubts,
    enumerate_delta,
    reconcile,
)
from reference_engine.jobs.describing import describe_point
from reference_engine.jobs.eligibility import Method, MethodKind, choose_method
from reference_engine.jobs.outcomes import failure_outcome, point_outcome
from reference_engine.jobs.owner import await_merge, confirm_identity, resolve_owner
from reference_engine.jobs.saving import Saving
from reference_engine.jobs.snapshotting import (
    Snapshots,
    Switched,
    cut_disks,
    freeze_guest,
    goes_on_by_itself,
    switch_trackers,
)
from reference_engine.jobs.space import RoomWatch
from reference_engine.jobs.surroundings import Concession, Policy, Ports, VolumeLedger
from reference_engine.jobs.volume_use import VolumeUse
from reference_engine.model.errors import (
    GuestSnapshotLostError,
    LeftoversRemainError,
    MachineChangedError,
    TransientError,
    TwinshotError,
)
from reference_engine.model.identity import (
    DiskId,
    MachineId,
    RecoveryPointId,
    ReferencePointId,
    RunTag,
)
from reference_engine.model.machine import BackEnd, Machine, Placement
from reference_engine.model.outcome import Outcome, Step
from reference_engine.model.recovery_point import RecoveryPoint
from reference_engine.model.units import SECOND, Duration
from reference_engine.ports.runtime import TaskGroup
from reference_engine.reconcile.freeze import FreezeDriver
from reference_engine.reconcile.labels import choose_label
from reference_engine.reconcile.overlay import Overlay
from reference_engine.repository.write_session import WriteSession
from reference_engine.trace.engine import (
    OwnerResolved,
    PointCommitted,
    RunEnded,
    RunOpened,
    StepEntered,
    StepLeft,
)

_COMMIT_TRIES: Final = 4
_CLEAR_TRIES: Final = 4


class BackupRun:
    """One attempt to make one recovery point. Used once."""

    def __init__(
        self,
        ports: Ports,
        policy: Policy,
        ledger: VolumeLedger,
        machine: MachineId,
        /,
        *,
        concession: Concession,
    ) -> None:
        self._ports, self._policy = ports, policy
        self._machine_id, self._concession = machine, concession
        self._run: RunTag | None = None
        self._volumes = VolumeUse(ports, policy, ledger)
        self._freeze: FreezeDriver | None = None
        self._saving: Saving | None = None
        self._committed = False

    @property
    def tag(self) -> RunTag | None:
        """The run's machine and epoch; None while the log has not given it one."""
        return self._run

    async def back_up(self) -> RecoveryPoint:
        """Return the new point, committed and with nothing left behind.

        Raises:
            TransientError, ConsistencyLostError: no point was made; another attempt may do.
            RefusedError: no point was made, and another attempt would not help.
        """
        ports = self._ports
        session: WriteSession | None = None
        try:
            async with ports.runtime.deadline(self._policy.step_limit):
                session = await self._open()
            ports.tracer(StepLeft(at=ports.runtime.now(), run=session.run, step=Step.PLAN))
            point = await self._make(session)
        except BaseException as error:
            await self._undo(session)
            if self._run is not None and isinstance(error, TwinshotError):
                self._end(failure_outcome(error), cause=str(error), point=None)
            raise
        outcome = point_outcome(point, attempt=1)
        self._end(outcome, cause=point.downgrade or doubts(point.disks), point=point)
        return point

    async def _open(self) -> WriteSession:
        ports = self._ports
        token = ports.runtime.random(f"run/{self._machine_id}").token()
        session = await ports.repository.open_run(
            self._machine_id,
            token=f"{token}{ports.runtime.now():x}",
            level=self._policy.level,
            domain=self._policy.domain,
        )
        self._run = session.run
        # Only the log's answer gives the run a name, so its first step can be told of only now.
        ports.tracer(StepEntered(at=ports.runtime.now(), run=session.run, step=Step.PLAN))
        ports.tracer(
            RunOpened(
                at=ports.runtime.now(),
                run=session.run,
                base=None if session.base is None else session.base.id,
            )
        )
        # Older runs can no longer commit, so what they left can be judged for good.
        with suppress(LeftoversRemainError):  # what only takes room must not keep a run from it
            await clear_leftovers(ports, self._machine_id, upto=session.run.epoch)
        return session

    async def _make(self, session: WriteSession) -> RecoveryPoint:
        ports, policy, run = self._ports, self._policy, session.run
        async with self._step(Step.RESOLVE, limit=2 * policy.settle_limit + policy.step_limit):
            placement = await resolve_owner(ports, policy, self._machine_id, base=session.base)
            machine = await ports.host.describe(placement.owner, self._machine_id)
            await confirm_identity(ports, placement, machine, base=session.base)
            method = choose_method(machine, policy)
            if machine.back_end in {BackEnd.CHECKPOINT, BackEnd.REFERENCE_POINT}:
                await await_merge(ports, policy, machine.id)
            ports.tracer(OwnerResolved(at=ports.runtime.now(), run=run, node=placement.owner))
        async with self._step(Step.COORDINATE, limit=policy.copy_limit):
            await self._volumes.take(machine, placement, run=run)
        async with ports.runtime.task_group() as beside:
            snapshots, switched = await self._snapshot(machine, placement, method, beside)
            point = await self._store(session, machine, placement, snapshots, switched=switched)
        if self._freeze is not None and self._freeze.silent:
            # A guest that froze late has a snapshot that was not there to be cleared before.
            await self._clear_up()
        return point

    async def _store(
        self,
        session: WriteSession,
        machine: Machine,
        placement: Placement,
        snapshots: Snapshots,
        *,
        switched: dict[DiskId, Switched],
    ) -> RecoveryPoint:
        ports, policy, run = self._ports, self._policy, session.run
        tracker: ReferencePointId | None = None
        async with self._step(Step.EXPOSE):
            await confirm_exposed(ports, machine, snapshots)
            if machine.back_end is BackEnd.REFERENCE_POINT:
                checkpoint = snapshots.sources[machine.disks[0].id].snapshot
                tracker = await ports.host.convert_to_reference_point(
                    placement.owner, checkpoint=checkpoint, run=run
                )
        async with self._step(Step.RECONCILE):
            snapshots, overlays = await self._reconcile(machine, snapshots)
            label = choose_label(
                machine.id,
                at_rest=snapshots.guest is not None,
                cause=snapshots.cause,
                cuts=snapshots.cuts,
                saved=snapshots.saved,
                application_required=policy.application_required,
            )
        plans: dict[DiskId, Plan] = {}
        async with self._step(Step.ENUMERATE):
            for disk in machine.disks:
                plans[disk.id] = await enumerate_delta(
                    ports,
                    machine,
                    disk,
                    run=run,
                    base=session.base,
                    snapshots=snapshots,
                    overlay=overlays[disk.id],
                    switched=switched[disk.id],
                    block_size=session.block_size,
                    sample=policy.sample_blocks,
                )
        async with self._step(Step.SYNC, limit=policy.copy_limit):
            records = await copy_all(
                ports,
                session,
                machine,
                snapshots=snapshots,
                overlays=overlays,
                plans=plans,
                watch=RoomWatch(ports, policy, self._volumes.limited),
            )
        async with self._step(Step.STAGE):
            if machine.back_end is BackEnd.DISK_FILE:
                await ports.host.confirms(placement.owner, machine.id)
            point = describe_point(
                RecoveryPointId(ports.runtime.random(f"point/{run}").token()[:16]),
                machine,
                snapshots,
                run=run,
                base=session.base,
                label=label,
                records=records,
                tracker=tracker,
                engine_instant=ports.wall_clock(),
                downtime=None if self._saving is None else self._saving.downtime,
            )
            await session.stage(point)
        async with self._step(Step.COMMIT):
            await self._commit(session)
        self._committed = True
        ports.tracer(PointCommitted(at=ports.runtime.now(), run=run, point=point))
        await self._finish(machine, point)
        return point

    async def _reconcile(
        self, machine: Machine, snapshots: Snapshots
    ) -> tuple[Snapshots, dict[DiskId, Overlay]]:
        """Return the overlays; where the guest gave its snapshot up, perhaps without its instant.

        Raises:
            GuestSnapshotLostError: another attempt may do better.
        """
        assert self._run is not None, machine.id
        try:
            overlays = await reconcile(self._ports, machine, snapshots, run=self._run)
        except GuestSnapshotLostError as lost:
            if self._concession is Concession.NONE:
                raise
            snapshots = replace(snapshots, guest=None, cause=str(lost))
            overlays = await reconcile(self._ports, machine, snapshots, run=self._run)
        return snapshots, overlays

    async def _snapshot(
        self, machine: Machine, placement: Placement, method: Method, beside: TaskGroup
    ) -> tuple[Snapshots, dict[DiskId, Switched]]:
        ports, run = self._ports, self._run
        assert run is not None, machine.id
        self._freeze = FreezeDriver(
            ports.runtime,
            ports.consistency,
            run=run,
            node=placement.owner,
            limits=self._policy.freeze,
        )
        async with self._step(Step.FREEZE_TRACKER):
            switched = await switch_trackers(ports, machine, placement, run=run)
        async with self._step(Step.GUEST_SNAPSHOT):
            guest, cause = await freeze_guest(ports, self._freeze, method, run=run)
            if method.kind is MethodKind.SAVED_STATE:
                self._saving = Saving(ports, placement.owner, run=run)
                await self._saving.save()
            elif guest is None:
                await self._freeze.thaw()
                # A late freeze must not wait for the rest of the run to be undone.
                beside.spawn(self._freeze.outlast_late_answer(), name="late-answer")
        # A guest that stands still until it is thawed must not wait for a slow host.
        stands = guest is not None and not goes_on_by_itself(machine)
        limit = self._policy.hold_limit if stands else self._policy.step_limit
        async with self._step(Step.HOST_SNAPSHOT, limit=limit):
            snapshots = await cut_disks(
                ports,
                machine,
                placement,
                run=run,
                guest=guest,
                cause=cause,
                holds=self._volumes.holds,
                redirect=self._volumes.redirect,
            )
        async with self._step(Step.THAW):
            if self._saving is not None:
                cause = "; ".join(filter(None, (cause, await self._saving.resume())))
                if not self._saving.held:
                    raise MachineChangedError(machine.id, "it went on before it was told to")
                snapshots = replace(snapshots, saved=True, cause=cause)
            await self._freeze.thaw()
            if stands and machine.back_end is BackEnd.HOST_SNAPSHOT and not self._freeze.held:
                raise MachineChangedError(machine.id, "its guest went on before it was told to")
            await self._volumes.let_direct()
        return snapshots, switched

    async def _commit(self, session: WriteSession) -> None:
        """Commit; where an answer is lost, ask again until the log says what became of it."""
        for attempt in range(_COMMIT_TRIES):
            try:
                await session.commit()
            except TransientError:
                if attempt == _COMMIT_TRIES - 1:
                    raise
                await self._ports.runtime.sleep(Duration(SECOND << attempt))
            else:
                return

    async def _finish(self, machine: Machine, point: RecoveryPoint) -> None:
        """After the commit nothing can void the point: what fails here is cleared next time."""
        ports = self._ports
        try:
            async with self._step(Step.ADVANCE_TRACKER):
                left = await ports.host.leftovers(machine.id)
                for node, disk, run in left.frozen_maps:
                    if run == point.run:
                        await ports.tracking.drop(node, disk, run=run)
            async with self._step(Step.RELEASE):
                upto = point.run.epoch
                await release_snapshots(ports, machine.id, left, upto=upto)
                await drop_reference_points(ports, machine.id, left, keep=point.tracker, upto=upto)
            async with self._step(Step.SETTLE, limit=self._policy.merge_limit):
                await self._volumes.go_home()
                while not await ports.host.merged(machine.id):
                    await ports.runtime.sleep(self._policy.poll)
            async with self._step(Step.MAINTAIN):
                await clear_leftovers(ports, machine.id, upto=point.run.epoch)
        except TwinshotError:
            await self._clear_up()

    async def _undo(self, session: WriteSession | None) -> None:
        """Leave the machine as it was; what cannot be undone now is cleared by the next run."""
        ports, limit = self._ports, self._policy.step_limit
        if self._run is not None:
            await let_run_on(ports, self._run, self._saving, self._freeze, limit=limit)
        if self._freeze is not None:
            await self._freeze.outlast_late_answer()
        await self._clear_up()
        try:
            async with ports.runtime.deadline(limit):
                if session is not None and not self._committed:
                    await session.abandon()
        except TwinshotError:
            pass  # packs that no manifest names

    async def _clear_up(self) -> None:
        """Leave nothing behind; what does not answer is asked again, and by the next run."""
        runtime = self._ports.runtime
        for attempt in range(_CLEAR_TRIES):
            try:
                async with runtime.deadline(self._policy.step_limit):
                    await self._volumes.release()
                    if self._run is not None:
                        await clear_leftovers(self._ports, self._machine_id, upto=self._run.epoch)
            except TwinshotError:
                await runtime.sleep(Duration(5 * SECOND << attempt))
            else:
                return

    def _end(self, outcome: Outcome, *, cause: str, point: RecoveryPoint | None) -> None:
        assert self._run is not None, self._machine_id
        self._ports.tracer(
            RunEnded(
                at=self._ports.runtime.now(),
                run=self._run,
                outcome=outcome,
                cause=cause,
                point=None if point is None else point.id,
                consistency=None if point is None else point.consistency,
            )
        )

    @asynccontextmanager
    async def _step(self, step: Step, *, limit: int | None = None) -> AsyncIterator[None]:
        """Say that a step begins and ends, and bound it."""
        ports = self._ports
        assert self._run is not None, step
        ports.tracer(StepEntered(at=ports.runtime.now(), run=self._run, step=step))
        async with ports.runtime.deadline(Duration(limit or self._policy.step_limit)):
            yield
        ports.tracer(StepLeft(at=ports.runtime.now(), run=self._run, step=step))
