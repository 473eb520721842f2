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


Happenings = tuple[Callable[[], None], ...]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one call. `delay` in microseconds is spent before the work is done."""

    kind: AnswerKind = AnswerKind.TRUE
    delay: int = 0
    cause: str = "no reply"
    """What a failure says of itself."""

    before: Happenings = ()
    """What else happens as the call is made, in this order."""

    after: Happenings = ()
    """What else happens as its answer is back, in this order."""

    def joined(self, other: "Answer", /) -> "Answer":
        """Return a call that both disturb; where both say how it is answered, `other` decides."""
        says = other.kind is not AnswerKind.TRUE or other.delay > 0
        chosen = other if says else self
        return Answer(
            kind=chosen.kind,
            delay=chosen.delay,
            cause=chosen.cause,
            before=self.before + other.before,
            after=self.after + other.after,
        )


UNDISTURBED: Final = Answer()


class FaultPlan:
    """The disturbed calls of one run."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str, int], Answer] = {}

    def disturb(self, subject: str, operation: str, occurrence: int, answer: Answer, /) -> None:
        """Plan what becomes of the k-th call (from 1) of an operation on a subject."""
        assert occurrence > 0, occurrence
        call = (subject, operation, occurrence)
        self._answers[call] = self._answers.get(call, UNDISTURBED).joined(answer)

    def consult(self, subject: str, operation: str, occurrence: int, /) -> Answer:
        """Return what becomes of this call."""
        return self._answers.get((subject, operation, occurrence), UNDISTURBED)

    def answered(self, value: object, error: BaseException | None, /) -> None:
        """Hear what the far side came to; a plan that chooses as it goes takes note of it."""
