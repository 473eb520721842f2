"""Planted bugs of doubt and of clearing: of what a lie casts doubt on, and of what stays behind."""

from collections.abc import Callable
from typing import Any, Final

from reference_engine.jobs import auditing, backup, clearing, copying, discovery, schedule
from reference_engine.jobs.saving import resume_wherever
from reference_engine.model.recovery_point import TransferKind
from simulator.campaign.planted_bugs import Patch


def doubt_ends_at_a_comparison() -> list[Patch]:
    """A lie casts no doubt on points before one that was copied by comparison."""

    async def named(ports: Any, machine: Any, disk: Any, /) -> Any:
        found = []
        for entry in reversed(await ports.repository.commits()):
            if entry.machine != machine:
                continue
            record = (await ports.repository.point(entry.point)).disk(disk)
            if record is None or record.transfer.kind is not TransferKind.INCREMENTAL:
                break
            found.append(entry.point)
        return tuple(found)

    return [(copying, "resting_on", named)]


def lost_points_asked_for() -> list[Patch]:
    """Whoever names the points that rest on a lie has to read each of them."""
    original = auditing.resting_on

    async def named(ports: Any, machine: Any, disk: Any, /) -> Any:
        for entry in await ports.repository.commits():
            if entry.machine == machine:
                await ports.repository.point(entry.point)
        return await original(ports, machine, disk)

    return [(copying, "resting_on", named)]


def expired_points_asked_for() -> list[Patch]:
    """Whoever names the points that rest on a lie asks for all that the log ever knew."""
    original = auditing.resting_on

    async def named(ports: Any, machine: Any, disk: Any, /) -> Any:
        for entry in await ports.repository.entries():
            point = getattr(entry, "point", None)
            if point is not None and getattr(entry, "machine", None) == machine:
                await ports.repository.point(point)
        return await original(ports, machine, disk)

    return [(copying, "resting_on", named)]


def saved_machine_keeps_its_snapshots() -> list[Patch]:
    """A machine that no node resumes keeps what else its run left from being cleared."""
    original = clearing.clear_leftovers

    async def resumed_first(ports: Any, machine: Any, /, *, upto: Any) -> None:
        left = await ports.host.leftovers(machine)
        if left.saved_by is not None and left.saved_by.epoch <= upto:
            await resume_wherever(ports, machine, left.saved_by)
        await original(ports, machine, upto=upto)

    return [(module, "clear_leftovers", resumed_first) for module in (clearing, backup)]


def lost_manifest_ends_the_clearing() -> list[Patch]:
    """Where the newest point's manifest is lost, nobody clears what its machine's runs left."""

    async def needed(ports: Any, machine: Any, left: Any, /) -> Any:
        del left
        latest = await ports.repository.latest(machine)
        return latest, None if latest is None else latest.tracker

    return [(clearing, "_needed", needed)]


def gone_machine_not_cleared() -> list[Patch]:
    """What runs left on a machine that was deleted while no engine ran stays for good."""
    original = discovery.discover

    async def deaf(*args: Any, **kwargs: Any) -> None:
        await original(*args, **{**kwargs, "clear": lambda _: None})

    return [(schedule, "discover", deaf)]


PLANTED: Final[tuple[tuple[str, Callable[[], list[Patch]]], ...]] = (
    ("doubt-ends-at-a-comparison", doubt_ends_at_a_comparison),
    ("lost-points-asked-for", lost_points_asked_for),
    ("expired-points-asked-for", expired_points_asked_for),
    ("saved-machine-keeps-its-snapshots", saved_machine_keeps_its_snapshots),
    ("lost-manifest-ends-the-clearing", lost_manifest_ends_the_clearing),
    ("gone-machine-not-cleared", gone_machine_not_cleared),
)
"""The name and the patches of each; what the engine does wrong then is said where it is planted."""
