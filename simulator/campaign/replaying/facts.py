"""Facts as lines for people, and as bytes that are equal only where everything is."""

import enum
from typing import Any, Final

import msgspec

from reference_engine.model.extents import ExtentSet, encode_extents
from reference_engine.model.recovery_point import RecoveryPoint
from reference_engine.reporting.figures import precise_clock, size
from reference_engine.trace import Event as Fact
from simulator.campaign.night import Watcher
from simulator.campaign.trial import Subject, night_of

_ENCODER: Final = msgspec.json.Encoder(enc_hook=encode_extents)


def encoded(fact: Fact, /) -> bytes:
    """Return everything that the fact says."""
    return _ENCODER.encode(fact)


def fact_line(fact: Fact, /) -> str:
    """Return the fact on one line: when, what, and its values."""
    said = [
        f"{name}={_said(value)}"
        for name, value in msgspec.structs.asdict(fact).items()
        if name != "at"
    ]
    return f"{precise_clock(fact.at)} {type(fact).__name__} {' '.join(said)}".rstrip()


def _said(value: Any) -> str:  # noqa: PLR0911 - one form a kind
    match value:
        case ExtentSet():
            return size(value.total)
        case RecoveryPoint():
            return str(value.id)
        case tuple():
            return ",".join(map(_said, value)) or "-"
        case msgspec.Struct() if type(value).__str__ is object.__str__:
            return "/".join(map(_said, msgspec.structs.astuple(value)))
        case enum.Enum():
            return str(value.value)
        case None:
            return "-"
        case _:
            return str(value) or "-"


def facts_of(subject: Subject, /) -> tuple[tuple[Fact, ...], str]:
    """Return every fact of a subject's run, and its trace digest."""
    night = night_of(subject, Watcher(), lambda _: None)
    night.run()
    return tuple(night.facts), night.digest.hexdigest()
