"""What every guest promises: a snapshot of one instant or a refusal, and that it goes on."""

from pathlib import Path

import numpy as np
import pytest

from reference_engine.model.errors import (
    GuestSnapshotLostError,
    NotOwnerError,
    OperationFailedError,
    SnapshotLostError,
)
from reference_engine.model.extents import ExtentSet
from reference_engine.model.units import SECOND, Duration
from reference_engine.ports.consistency import GuestSnapshot
from reference_engine.reconcile.overlay import lay_over
from reference_engine.trace.cluster import GuestThawed
from tests.strategies.protected_machines import EVERY_KIND, ProtectedMachine, simulated
from tests.strategies.simulated_clusters import A, B, SimulatedCluster, X, run_number, scenario_text

RUN, LATER = run_number(1), run_number(2)


def without_integration(_: Path) -> ProtectedMachine:
    """Return a simulated machine whose guest has no integration service."""
    return simulated("E1", guest="none")


def with_fsfreeze(_: Path) -> ProtectedMachine:
    """Return a simulated machine with a Linux guest."""
    return simulated("E3", guest="fsfreeze")


@pytest.fixture(
    params=(*EVERY_KIND, without_integration, with_fsfreeze), ids=lambda make: make.__name__
)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> ProtectedMachine:
    """Return a machine of each kind in turn."""
    made: ProtectedMachine = request.param(tmp_path)
    return made


async def freeze_if_it_can(machine: ProtectedMachine) -> GuestSnapshot | None:
    """Return the guest's snapshot, or None where nobody can be brought to rest."""
    try:
        return await machine.consistency.freeze(machine.owner, run=RUN)
    except OperationFailedError:
        return None


def test_a_freeze_is_a_snapshot_or_a_refusal(machine: ProtectedMachine) -> None:
    """A guest's snapshot carries the run's tag; no guest at all is an operation that failed."""

    async def story() -> None:
        taken = await freeze_if_it_can(machine)
        left = await machine.host.leftovers(X)
        if taken is None:
            assert left.guest_snapshots == ()
        else:
            assert taken.run == RUN
            assert left.guest_snapshots == ((taken.id, RUN),)

    machine.run(story)


def test_a_thaw_is_true_in_every_state(machine: ProtectedMachine) -> None:
    """Before a freeze, after it, and twice: the guest is not frozen afterwards."""

    async def story() -> None:
        await machine.consistency.thaw(machine.owner, run=RUN)
        await freeze_if_it_can(machine)
        for _ in range(2):
            await machine.consistency.thaw(machine.owner, run=RUN)
            assert not (await machine.host.leftovers(X)).frozen_guest

    machine.run(story)


def test_a_guest_snapshot_is_deleted_as_often_as_one_likes(machine: ProtectedMachine) -> None:
    """Also where there never was one."""

    async def story() -> None:
        await machine.consistency.delete_snapshot(X, run=RUN)
        await freeze_if_it_can(machine)
        await machine.consistency.thaw(machine.owner, run=RUN)
        for _ in range(2):
            await machine.consistency.delete_snapshot(X, run=RUN)
            assert (await machine.host.leftovers(X)).guest_snapshots == ()

    machine.run(story)


def cluster_of(back_end: str, guest: str) -> SimulatedCluster:
    """Return a simulated cluster whose machine has this guest."""
    return SimulatedCluster(scenario_text(back_end=back_end, guest=guest))


@pytest.mark.parametrize(("back_end", "guest"), [("E1", "vss"), ("E3", "vss"), ("E3", "fsfreeze")])
def test_another_node_cannot_freeze_the_guest(back_end: str, guest: str) -> None:
    """The caller learns that it has to look for the machine again."""
    cluster = cluster_of(back_end, guest)

    async def story() -> None:
        with pytest.raises(NotOwnerError):
            await cluster.consistency.freeze(B, run=RUN)
        with pytest.raises(NotOwnerError):
            await cluster.consistency.thaw(B, run=RUN)
        assert not (await cluster.host.leftovers(X)).frozen_guest

    cluster.run(story)


def test_a_snapshot_is_deleted_by_its_own_run_only() -> None:
    """A run that cleans up behind itself does not take another one's snapshot away."""
    cluster = cluster_of("E1", "vss")

    async def story() -> None:
        taken = await cluster.consistency.freeze(A, run=RUN)
        await cluster.consistency.delete_snapshot(X, run=LATER)
        assert (await cluster.host.leftovers(X)).guest_snapshots == ((taken.id, RUN),)

    cluster.run(story)


def test_a_windows_guest_of_an_old_host_goes_on_at_once() -> None:
    """Its snapshot lives on while it writes."""
    cluster = cluster_of("E1", "vss")

    async def story() -> None:
        await cluster.consistency.freeze(A, run=RUN)
        assert not (await cluster.host.leftovers(X)).frozen_guest

    cluster.run(story)


def test_a_linux_guest_stays_frozen_until_it_is_thawed() -> None:
    """Nobody but the engine ends it, and a second freeze in between is refused."""
    cluster = cluster_of("E3", "fsfreeze")

    async def story() -> None:
        await cluster.consistency.freeze(A, run=RUN)
        await cluster.runtime.sleep(Duration(30 * SECOND))
        assert (await cluster.host.leftovers(X)).frozen_guest
        with pytest.raises(OperationFailedError, match="frozen already"):
            await cluster.consistency.freeze(A, run=LATER)
        await cluster.consistency.thaw(A, run=RUN)
        assert not (await cluster.host.leftovers(X)).frozen_guest

    cluster.run(story)


def test_a_windows_guest_lets_go_by_itself() -> None:
    """A hold of VSS has a limit that no engine can forget."""
    cluster = cluster_of("E3", "vss")

    async def story() -> None:
        await cluster.consistency.freeze(A, run=RUN)
        assert (await cluster.host.leftovers(X)).frozen_guest
        await cluster.runtime.sleep(Duration(11 * SECOND))
        assert not (await cluster.host.leftovers(X)).frozen_guest

    cluster.run(story)
    assert [fact.why for fact in cluster.facts if isinstance(fact, GuestThawed)] == ["limit"]


def test_pre_images_put_the_host_snapshot_back_to_the_guests_instant() -> None:
    """Laid over the snapshot they are the guest's disks at Tg, bit for bit outside the mask."""
    cluster = cluster_of("E1", "vss")
    found = cluster.world.machines[X]
    disks = tuple(disk.id for disk in found.disks)

    async def story() -> None:
        guest = await cluster.consistency.freeze(A, run=RUN)
        cut = await cluster.host.take_snapshot(A, run=RUN, disks=disks)
        for disk in found.disks:
            kept = await cluster.consistency.pre_images(X, disk.id, run=RUN)
            assert len(kept.content) == kept.extents.total
            assert kept.extents.aligned(kept.piece, size=disk.size) == kept.extents
            whole, overlay = ExtentSet.whole(disk.size), lay_over(kept)
            raw = await cluster.disk_io.read(cut.id, disk.id, whole, through=A)
            wanted = bytearray(
                disk.content.read(cluster.truth.guest_cuts[guest.id].images[disk.id], 0, disk.size)
            )
            for part in overlay.mask:
                wanted[part.offset : part.end] = bytes(part.length)
            assert kept.extents
            assert overlay.applied(whole, raw) == bytes(wanted)
            assert raw != bytes(wanted)

    cluster.run(story)


def test_without_a_snapshot_there_are_no_pre_images() -> None:
    """Neither before the host has cut the disks nor after its snapshot was released."""
    cluster = cluster_of("E1", "vss")
    disks = tuple(disk.id for disk in cluster.world.machines[X].disks)

    async def story() -> None:
        await cluster.consistency.freeze(A, run=RUN)
        with pytest.raises(SnapshotLostError):
            await cluster.consistency.pre_images(X, disks[0], run=RUN)
        cut = await cluster.host.take_snapshot(A, run=RUN, disks=disks)
        await cluster.host.release(cut.id)
        with pytest.raises(SnapshotLostError):
            await cluster.consistency.pre_images(X, disks[0], run=RUN)

    cluster.run(story)


def test_a_full_diff_area_is_a_lost_snapshot() -> None:
    """A guest that ran out of room for pre-images does not pretend to have them all."""
    cluster = cluster_of("E1", "vss")
    found = cluster.world.machines[X]
    disk = found.disks[0]

    async def story() -> None:
        await cluster.consistency.freeze(A, run=RUN)
        found._write(disk, np.arange(len(disk.diff_area)), trim=False)
        found._write(disk, np.arange(len(disk.diff_area), disk.cells), trim=False)
        await cluster.host.take_snapshot(A, run=RUN, disks=(disk.id,))
        with pytest.raises(GuestSnapshotLostError):
            await cluster.consistency.pre_images(X, disk.id, run=RUN)

    cluster.run(story)
