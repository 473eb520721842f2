"""More planted bugs: of what is asked beforehand, of identity, of room, and of the repository."""

from typing import Any

import numpy as np
from msgspec.structs import replace

from reference_engine.catalogue.retention import RetentionPolicy
from reference_engine.jobs import auditing, backup, copying, owner, saving
from reference_engine.jobs.discovery import Census
from reference_engine.jobs.eligibility import Method, MethodKind
from reference_engine.jobs.saving import Resumed, Saving
from reference_engine.jobs.space import RoomWatch
from reference_engine.jobs.upkeep import BelievedClock, Upkeep
from reference_engine.model.machine import GuestKind
from reference_engine.model.recovery_point import TransferReason
from reference_engine.repository.overlaid_blocks import OverlaidBlocks
from reference_engine.tracking import trust
from simulator.campaign.planted_bugs import Patch


async def _nothing(*_: object, **__: object) -> None:
    return None


def obstacles_ignored() -> list[Patch]:
    """A guest is asked to freeze although its host has said that it cannot."""

    def online(machine: Any, policy: Any, /) -> Method:
        del policy
        silent = machine.guest is GuestKind.NONE
        return Method(kind=MethodKind.AS_IT_RUNS if silent else MethodKind.ONLINE, cause="none")

    return [(backup, "choose_method", online)]


def saved_machine_forgotten() -> list[Patch]:
    """A machine that was saved for its snapshot is not resumed."""

    async def forget(self: Any) -> str:
        self.held = True
        return ""

    async def nowhere(*_: object, **__: object) -> Resumed:
        return Resumed(stood=True, failure=None)

    return [(Saving, "resume", forget), (saving, "resume_somewhere", nowhere)]


def only_first_node_resumes() -> list[Patch]:
    """A saved machine is resumed on its own node or not at all."""

    async def first(ports: Any, node: Any, /, *, run: Any) -> Resumed:
        return await saving._resume_on(ports, (node,), run=run)  # noqa: SLF001 - a planted bug

    return [(saving, "resume_somewhere", first)]


def exposure_not_checked() -> list[Patch]:
    """What a host exposes is mounted without a look."""
    return [(backup, "confirm_exposed", _nothing)]


def room_not_watched() -> list[Patch]:
    """A snapshot is kept although its volume fills."""
    return [(RoomWatch, "look", _nothing)]


def resize_not_noticed() -> list[Patch]:
    """A disk of another size is believed to be the same."""
    original = trust._another_disk  # noqa: SLF001 - a planted bug

    def same(*args: Any, **kwargs: Any) -> Any:
        doubt = original(*args, **kwargs)
        return None if doubt is TransferReason.DISK_RESIZED else doubt

    return [(trust, "_another_disk", same)]


def first_claimant_believed() -> list[Patch]:
    """Whoever the cluster names is the machine, whoever else claims to be."""

    async def first(ports: Any, placement: Any, /, *, base: Any) -> Any:
        del ports, base
        return placement.owner

    return [(owner, "choose_claimant", first)]


def names_taken_for_identities() -> list[Patch]:
    """A machine that is seen again is protected once more."""

    def everybody(self: Any, machines: Any, /) -> Any:
        self._there = dict.fromkeys(machines)
        return machines

    return [(Census, "take", everybody)]


def lies_overlooked() -> list[Patch]:
    """A sample that differs from the base is passed over."""
    original = auditing.audit

    async def clean(*args: Any, **kwargs: Any) -> Any:
        return replace(await original(*args, **kwargs), wrong=0)

    return [(copying, "audit", clean)]


def overlays_trusted_by_comparison() -> list[Patch]:
    """A comparison takes what was laid together on a tracker's word for what its digest says."""

    async def nothing(self: Any, blocks: Any, numbers: Any, /) -> Any:
        del self, blocks
        return np.zeros(len(numbers), np.bool_)

    return [(OverlaidBlocks, "wrong", nothing)]


def doubt_unsaid() -> list[Patch]:
    """The points that rest on a lie are not named."""

    async def nobody(*_: object) -> tuple[()]:
        return ()

    return [(copying, "resting_on", nobody)]


def tracker_ahead_believed() -> list[Patch]:
    """A map that began with a later run is taken for the base's."""
    return [(trust, "_begins_after", lambda *_: False)]


def wall_clock_believed() -> list[Patch]:
    """The engine's wall clock alone says how old points are."""

    def wall(self: Any, newest: Any, /) -> Any:
        del newest
        return self._wall()

    return [(BelievedClock, "now", wall)]


def retention_shortened_for_room() -> list[Patch]:
    """Where the repository is full, all points but the newest go."""
    original = Upkeep.work

    async def hard(self: Any, given_up: Any = None, /) -> Any:
        if given_up is not None:
            self._plan = replace(self._plan, retention=RetentionPolicy(last=1))
        return await original(self, given_up)

    return [(Upkeep, "work", hard)]


def full_repository_given_up() -> list[Patch]:
    """A run that finds no room in the repository is not tried again."""

    async def never(*_: object) -> bool:
        return False

    return [(Upkeep, "make_room", never)]
