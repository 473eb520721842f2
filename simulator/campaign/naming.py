"""Things that are chosen by their names on the command line."""

from collections.abc import Iterable
from typing import Protocol, TypeVar

from reference_engine.model.errors import InputRefusedError
from reference_engine.model.wording import suggestion


class Named(Protocol):
    """What has a name of its own among its kind."""

    @property
    def name(self) -> str:
        """What it is called."""


_Thing = TypeVar("_Thing", bound=Named)


def named(name: str, things: Iterable[_Thing], /, *, kind: str) -> _Thing:
    """Return the one of these that has this name.

    Raises:
        InputRefusedError: there is none.
    """
    known = {thing.name: thing for thing in things}
    if name not in known:
        raise InputRefusedError(f"there is no {kind} {name!r}", suggestion(name, known))
    return known[name]
