"""A verdict: what was checked, what was found."""

from collections.abc import Callable
from typing import Final

import msgspec

from simulator.oracle.evidence import Evidence

_MOST_SHOWN: Final = 5


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """One place where an invariant does not hold."""

    subject: str
    sentence: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What one invariant came to. `holds` is None where there was nothing to check."""

    invariant: str
    title: str
    holds: bool | None
    checked: int
    violations: tuple[Violation, ...]

    @property
    def detail(self) -> str:
        """The first violations as one text; empty where there are none."""
        shown = [f"{each.subject}: {each.sentence}" for each in self.violations[:_MOST_SHOWN]]
        more = len(self.violations) - len(shown)
        return "; ".join(shown) + (f"; and {more} more" if more > 0 else "")


class Finding:
    """Collects what an invariant checks."""

    def __init__(self) -> None:
        self.checked = 0
        self.violations: list[Violation] = []

    def check(self, subject: object, sentence: str, /, *, holds: bool) -> None:
        """Count one more check; note the violation where it does not hold."""
        self.checked += 1
        if not holds:
            self.violations.append(Violation(subject=str(subject), sentence=sentence))


class Invariant(msgspec.Struct, frozen=True, kw_only=True):
    """Something that must always hold."""

    id: str
    title: str
    judge: Callable[[Evidence, Finding], None]

    def verdict(self, evidence: Evidence, /) -> Verdict:
        """Return whether it held in this run."""
        finding = Finding()
        self.judge(evidence, finding)
        return Verdict(
            invariant=self.id,
            title=self.title,
            holds=None if finding.checked == 0 else not finding.violations,
            checked=finding.checked,
            violations=tuple(finding.violations),
        )
