"""Planted bugs of restores onto hosts, of points that are being read, and of shared disks."""

from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import replace

from reference_engine.jobs import backup, eligibility, instant, replicating, restoring
from reference_engine.repository.leases import Leases
from reference_engine.restore.configuration import Arrival, arrival
from reference_engine.restore.instant import InstantDisk
from reference_engine.restore.onto_host import write_disk
from reference_engine.upkeep.copying import plan_copy
from simulator.campaign.planted_bugs import Patch


async def _nothing(*_: object, **__: object) -> None:
    return None


def point_not_leased() -> list[Patch]:
    """Nobody is told that a point is being read."""
    return [(Leases, "take", _nothing)]


def resumed_file_trusted() -> list[Patch]:
    """What an earlier attempt has left is taken for whole, and nothing is read back."""

    async def trusting(*args: Any, file: Any, **where: Any) -> int:
        return int(await write_disk(*args, file=file, **where)) if file.fresh else 0

    return [(restoring, "write_disk", trusting), (restoring, "verify_disk", _nothing)]


def replaced_unasked() -> list[Patch]:
    """A machine that is there has to go although nobody confirmed it."""

    class Ruthless(restoring._Restore):  # noqa: SLF001 - a planted bug
        def __init__(self, ports: Any, host: Any, policy: Any, order: Any, /) -> None:
            super().__init__(ports, host, policy, replace(order, replace=True))

    return [(restoring, "_Restore", Ruthless)]


def addresses_kept() -> list[Patch]:
    """A new machine has the addresses of its original."""

    def twin(captured: Any, order: Any, inventory: Any, /) -> Arrival:
        arrived = arrival(captured, order, inventory)
        told = tuple(each for each in arrived.rewritten if not each.startswith("address"))
        machine = replace(
            arrived.machine,
            adapters=tuple(
                replace(now, address=then.address)
                for now, then in zip(arrived.machine.adapters, captured.adapters, strict=True)
            ),
        )
        return arrived._replace(machine=machine, rewritten=told)

    return [(restoring, "arrival", twin)]


def replica_newest_first() -> list[Patch]:
    """A second repository is brought the newest points first."""

    def backwards(asked: Any, there: Any, /) -> Any:
        plan = plan_copy(asked, there)
        return replace(plan, missing=plan.missing[::-1])

    return [(replicating, "plan_copy", backwards)]


def overlay_map_in_memory() -> list[Patch]:
    """Only the engine's memory knows what a machine that runs from a point has written."""

    async def unmarked(self: Any, start: int, whole: bytes, first: int, last: int) -> None:
        await self._host.write(self._node, self.handle, offset=start, content=whole)
        await self._host.flush(self._node, self.handle)
        self._present[first:last] = bytes([1]) * (last - first)

    return [(InstantDisk, "_put", unmarked)]


def overlay_filled_over() -> list[Patch]:
    """Moving a machine to production writes the point over what the machine wrote."""

    class Forgetful(InstantDisk):
        async def fill(self) -> None:
            self._present[:] = bytes(len(self._present))
            await super().fill()

    return [(instant, "InstantDisk", Forgetful)]


def any_owners_accepted() -> list[Patch]:
    """Shared disks are backed up whoever claims them."""
    choose = eligibility.choose_method

    def unasked(machine: Any, policy: Any, /) -> Any:
        return choose(replace(machine, owners=None), policy)

    return [(backup, "choose_method", unasked)]


def order_files_left() -> list[Patch]:
    """The files of an order that came to nothing stay."""
    return [(restoring, "insist", _nothing)]


PLANTED: Final[tuple[tuple[str, str, Callable[[], list[Patch]]], ...]] = (
    ("point-not-leased", "a point that is being read may expire", point_not_leased),
    (
        "resumed-file-trusted",
        "a restore that goes on takes what is there for whole",
        resumed_file_trusted,
    ),
    (
        "replaced-unasked",
        "a restore has a machine go although nobody confirmed it",
        replaced_unasked,
    ),
    (
        "addresses-kept",
        "a machine that is restored as a new one keeps its original's addresses",
        addresses_kept,
    ),
    (
        "replica-newest-first",
        "a second repository is brought the newest points first",
        replica_newest_first,
    ),
    (
        "overlay-map-in-memory",
        "only memory knows what a machine that runs from a point has written",
        overlay_map_in_memory,
    ),
    (
        "overlay-filled-over",
        "moving a machine to production loses what it wrote",
        overlay_filled_over,
    ),
    (
        "any-owners-accepted",
        "shared disks are backed up although nobody, or everybody, owns them",
        any_owners_accepted,
    ),
    (
        "order-files-left",
        "the files of a restore that came to nothing stay on the host",
        order_files_left,
    ),
)
"""Name, what the engine does wrong then, and the patches, of each."""
