"""Selecting points as people name them: by id or its beginning, by machine, or as the latest."""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from reference_engine.model.errors import RefusedError
from reference_engine.model.identity import MachineId, RecoveryPointId
from reference_engine.model.wording import listed, suggestion
from reference_engine.repository.codec import PointCommittedEntry
from reference_engine.repository.repository import Repository

LATEST: Final = "latest"


class PointLabel(msgspec.Struct, frozen=True, kw_only=True):
    """By which words a point can be selected."""

    point: RecoveryPointId
    machine: MachineId
    name: str
    """The machine's name for people; its identity where the manifest cannot be read."""


class NoPointError(RefusedError):
    """The repository holds no point yet."""

    def __str__(self) -> str:
        return "the repository holds no point yet; back something up first"


class PointNotFoundError(RefusedError):
    """Nothing is called `wanted`; `known` are the names of what there is."""

    def __init__(self, wanted: str, known: Iterable[str], /) -> None:
        self.wanted, self.known = wanted, tuple(known)
        super().__init__(wanted, self.known)

    def __str__(self) -> str:
        return (
            f"no point or machine is called {self.wanted!r}; {suggestion(self.wanted, self.known)}"
        )


class MachineNotFoundError(RefusedError):
    """There are points, but none of a machine called `wanted`; `known` are those there are."""

    def __init__(self, wanted: str, known: Iterable[str], /) -> None:
        self.wanted, self.known = wanted, tuple(sorted(known))
        super().__init__(wanted, self.known)

    def __str__(self) -> str:
        return f"no machine is called {self.wanted!r}; {suggestion(self.wanted, self.known)}"


class PointAmbiguousError(RefusedError):
    """Several points begin with `wanted`."""

    def __init__(self, wanted: str, candidates: tuple[str, ...], /) -> None:
        super().__init__(wanted, candidates)
        self.wanted, self.candidates = wanted, candidates

    def __str__(self) -> str:
        return f"{self.wanted!r} may be any of {listed(self.candidates)}; give more digits"


async def point_labels(repository: Repository, /) -> tuple[PointLabel, ...]:
    """Return the label of every committed point in commit order, damaged ones included."""
    return await _labels(repository, await repository.commits())


async def chosen_point(repository: Repository, wanted: str, /) -> PointLabel:
    """Return the point that `wanted` names, as `select_point` does.

    Raises:
        NoPointError, PointNotFoundError, PointAmbiguousError: as `select_point`.
    """
    if wanted == LATEST:
        # Of the newest one no other one need be read.
        newest = await _labels(repository, (await repository.commits())[-1:])
        if newest:
            return newest[-1]
    return select_point(await point_labels(repository), wanted)


async def _labels(
    repository: Repository, entries: Sequence[PointCommittedEntry]
) -> tuple[PointLabel, ...]:
    labels: list[PointLabel] = []
    async for entry, record, damage in repository.manifests.each(entries):
        if record is None and damage is None:
            continue  # it was removed a moment ago
        name = str(entry.machine) if record is None else record.machine.name
        labels.append(PointLabel(point=entry.point, machine=entry.machine, name=name))
    return tuple(labels)


def select_point(labels: Sequence[PointLabel], wanted: str, /) -> PointLabel:
    """Return the point that `wanted` names; `labels` are in commit order.

    `latest` is the newest of all, a machine's name or identity the newest of that machine, and
    anything else the beginning of a point's id.

    Raises:
        NoPointError: there is none to select from.
        PointNotFoundError: nothing is called like that.
        PointAmbiguousError: several ids begin like that.
    """
    if not labels:
        raise NoPointError
    if wanted == LATEST:
        return labels[-1]
    named = [label for label in labels if wanted in {label.name, label.machine}]
    if named:
        return named[-1]
    begun = [label for label in labels if wanted and label.point.startswith(wanted.lower())]
    exact = [label for label in begun if label.point == wanted.lower()]
    if len(begun) == 1 or exact:
        return (exact or begun)[0]
    if begun:
        raise PointAmbiguousError(wanted, tuple(label.point for label in begun))
    names = dict.fromkeys(label.name for label in labels)
    raise PointNotFoundError(wanted, (LATEST, *names, *(str(label.point) for label in labels)))
