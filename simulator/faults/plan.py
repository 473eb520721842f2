"""Which call is disturbed, addressed by meaning: subject, operation, k-th occurrence.

An address stays true when unrelated events are taken out of a scenario, so a failure can be
shrunk; a global counter of calls would point somewhere else after the first cut.
"""

import enum
from collections.abc import Callable
from typing import Final

import msgspec


class AnswerKind(enum.Enum):
    """What the caller is told."""

    TRUE = "true"
    FAIL = "fail"
    """An error; nothing was done."""

    LOSE = "lose"
    """An error; everything was done."""

    HANG = "hang"
    """Nothing, for ever."""


class Moment(enum.Enum):
    """When something else happens, seen from the far side's work."""

    NEVER = "never"
    BEFORE = "before"
    AFTER = "after"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one call. `delay` in microseconds is spent before the work is done."""

    kind: AnswerKind = AnswerKind.TRUE
    delay: int = 0
    moment: Moment = Moment.NEVER
    cause: str = "no reply"
    """What a failure says of itself."""

    happenings: tuple[Callable[[], None], ...] = ()


UNDISTURBED: Final = Answer()


class FaultPlan:
    """The disturbed calls of one run."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str, int], Answer] = {}

    def disturb(self, subject: str, operation: str, occurrence: int, answer: Answer, /) -> None:
        """Plan what becomes of the k-th call (from 1) of an operation on a subject."""
        assert occurrence > 0, occurrence
        self._answers[subject, operation, occurrence] = answer

    def consult(self, subject: str, operation: str, occurrence: int, /) -> Answer:
        """Return what becomes of this call."""
        return self._answers.get((subject, operation, occurrence), UNDISTURBED)
