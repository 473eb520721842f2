"""Selecting points as people name them: by id or its beginning, by machine, or as the latest."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from reference_engine.model.errors import RefusedError
from reference_engine.model.identity import MachineId, RecoveryPointId
from reference_engine.repository.codec import PointCommittedEntry
from reference_engine.repository.repository import Repository

LATEST: Final = "latest"
_LISTED_MAX: Final = 4
"""How many candidates an error names."""


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
    """Nothing is called `wanted`; `similar` things are."""

    def __init__(self, wanted: str, similar: tuple[str, ...], /) -> None:
        super().__init__(wanted, similar)
        self.wanted, self.similar = wanted, similar

    def __str__(self) -> str:
        similar = f"did you mean {' or '.join(self.similar)}?"
        hint = similar if self.similar else "`twinshot points` lists them"
        return f"no point or machine is called {self.wanted!r}; {hint}"


class MachineNotFoundError(RefusedError):
    """There are points, but none of a machine called `wanted`; `names` are those there are."""

    def __init__(self, wanted: str, names: Iterable[str], /) -> None:
        self.wanted, self.names = wanted, tuple(sorted(names))
        super().__init__(wanted, self.names)

    def __str__(self) -> str:
        similar = difflib.get_close_matches(self.wanted, self.names, n=_LISTED_MAX, cutoff=0.6)
        named = ", ".join(self.names[:_LISTED_MAX])
        more = len(self.names) - _LISTED_MAX
        known = f"choose from {named}{f' and {more} more' if more > 0 else ''}"
        hint = f"did you mean {' or '.join(similar)}?" if similar else known
        return f"no machine is called {self.wanted!r}; {hint}"


class PointAmbiguousError(RefusedError):
    """Several points begin with `wanted`."""

    def __init__(self, wanted: str, candidates: tuple[str, ...], /) -> None:
        super().__init__(wanted, candidates)
        self.wanted, self.candidates = wanted, candidates

    def __str__(self) -> str:
        named = ", ".join(self.candidates[:_LISTED_MAX])
        more = len(self.candidates) - _LISTED_MAX
        return (
            f"{self.wanted!r} may be any of {named}{f' and {more} more' if more > 0 else ''}; "
            "give more digits"
        )


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
    words = dict.fromkeys(word for label in labels for word in (label.name, str(label.point)))
    similar = difflib.get_close_matches(wanted, [*words, LATEST], n=_LISTED_MAX, cutoff=0.6)
    raise PointNotFoundError(wanted, tuple(similar))
