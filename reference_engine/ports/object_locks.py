"""Locks that a store puts on single objects: until they end, nobody can remove the bytes.

A port of its own beside `BlobStore`, because few stores have locks; `locks_of` asks one.
"""

import enum
from collections.abc import Sequence
from typing import Final, Protocol, runtime_checkable

import msgspec

from reference_engine.model.units import HOUR, Duration, Instant

_DAY: Final = Duration(24 * HOUR)
_STRETCH_MAX: Final = Duration(10 * _DAY)
_LEEWAY: Final = Duration(HOUR)
"""Longer than any put takes to arrive, and than clocks of good hosts differ."""


class LockMode(enum.Enum):
    """Who may lift a lock before its end. Source: S3 Object Lock, retention modes."""

    GOVERNANCE = "governance"
    """Whoever the store's owner gave a right of its own; this program never uses it."""

    COMPLIANCE = "compliance"
    """Nobody, the owner of the account included."""


class LockRule(msgspec.Struct, frozen=True, kw_only=True):
    """Until when objects are locked, so that few locks have to be prolonged.

    Time is cut into stretches of a quarter of the period, but at least one day and at most ten. A
    lock ends one period after the end of a stretch: all objects of a stretch end together, and
    whatever is locked for this stretch is locked for a whole period from any instant of it.
    """

    mode: LockMode
    period: Duration
    """How long an object stays from the last instant at which a point came to use it."""

    @property
    def stretch(self) -> Duration:
        """How long it takes until locks have to be prolonged once more."""
        return Duration(min(max(self.period // 4, _DAY), _STRETCH_MAX))

    def end(self, now: Instant, /) -> Instant:
        """Return until when what is used at `now` has to be locked: at least for the period."""
        return Instant((now // self.stretch + 1) * self.stretch + self.period)

    def end_of_new(self, now: Instant, /) -> Instant:
        """Return until when an object is locked that is put at `now`: never before `end`.

        One that arrives after somebody has prolonged everything there was is locked for the new
        stretch already.
        """
        return self.end(Instant(now + _LEEWAY))


class ObjectLocks(Protocol):
    """The locks of one store."""

    def begin(self, rule: LockRule, /) -> None:
        """From now on let every `create` put its object under a lock, as `rule` says.

        From now on `delete` removes the bytes themselves, and not only what shows them, and raises
        ObjectLockedError where a lock keeps them.
        """

    async def prove(self, rule: LockRule, /) -> None:
        """Return only if the store locks what it is told to, and keeps what is locked.

        Raises:
            RefusedError: it does not.
            TransientError: the store failed.
        """

    def now(self) -> Instant:
        """Return the time by which locks end, as far as this machine knows."""

    async def until(self, name: str, /) -> Instant | None:
        """Return until when the object is locked; None: it is not, or there is none."""

    async def extend(self, names: Sequence[str], /, *, until: Instant) -> None:
        """Let these objects be locked until then at least; absent ones stay absent.

        Raises:
            RefusedError: the store does not let these credentials prolong locks.
            TransientError: the store failed; some may be prolonged.
        """


@runtime_checkable
class Locking(Protocol):
    """A store that may have locks."""

    @property
    def locks(self) -> ObjectLocks | None:
        """Its locks, or those of the store behind it; None where there are none."""


def locks_of(store: object, /) -> ObjectLocks | None:
    """Return the locks of a store, None where it has none."""
    return store.locks if isinstance(store, Locking) else None
