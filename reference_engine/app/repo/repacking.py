"""What `repo prune` says and does about packs of which only a part is used."""

import re
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter

from reference_engine.app.output import Output, counting, sized
from reference_engine.model.errors import InputRefusedError
from reference_engine.model.units import GIB, KIB, MIB, ByteCount, Instant
from reference_engine.ports.runtime import Runtime
from reference_engine.repository.repack import NOTHING, Repack, Repacked, RepackPlan
from reference_engine.repository.repack_rule import RepackRule

_UNITS: Final = {"": 1, "K": KIB, "M": MIB, "G": GIB, "T": 1024 * GIB}
_SIZE: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?([KMGT]?)(?:iB|B)?", re.IGNORECASE)
_SHARE: Final = re.compile(r"([0-9]{1,2}(?:\.[0-9]{1,3})?) ?%")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RepackOptions:
    """How much may stay unused, and how much may be copied."""

    max_unused: str = "5%"
    """How much of the packs and maps that are left may be bytes that no point needs; beyond it,
    what is needed is copied out of those of which least is, and they are freed: 5%, 20GiB, 0 for
    as small as possible, unlimited for no copying."""

    max_repack_size: Annotated[str | None, Parameter(show_default=False)] = None
    """How much may be copied at most: 10GiB."""


NO_OPTIONS: Final = RepackOptions()


def rule_of(options: RepackOptions, /) -> RepackRule:
    """Return the rule that the options state.

    Raises:
        InputRefusedError: one of them cannot be understood.
    """
    max_unused, max_repack_size = options.max_unused, options.max_repack_size
    size_max = None
    if max_repack_size is not None:
        size_max = _size(max_repack_size, "--max-repack-size", "10GiB")
    if max_unused == "unlimited":
        return RepackRule(unused_share=None, size_max=size_max)
    share = _SHARE.fullmatch(max_unused)
    if share is not None:
        return RepackRule(unused_share=float(share[1]) / 100, size_max=size_max)
    unused = _size(max_unused, "--max-unused", "5%, 20GiB, 0 or unlimited")
    return RepackRule(unused_share=None, unused_bytes=unused, size_max=size_max)


def _size(text: str, option: str, example: str) -> ByteCount:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise InputRefusedError(f"{option} is {text!r}", f"write it like {example}")
    return ByteCount(int(float(match[1]) * _UNITS[match[2].upper()]))


class Moving(msgspec.Struct, frozen=True, kw_only=True):
    """What was, or would be, moved."""

    objects: int
    moved_bytes: ByteCount
    freed_bytes: ByteCount
    """Before what was moved is stored anew in better company: at least so much."""

    unused_bytes: ByteCount
    """What no point needs of all packs and pages that stay, when it is done."""

    damaged: tuple[str, ...]
    overtaken: bool


def foreseen(plan: RepackPlan, /) -> Moving:
    """Return what the plan comes to."""
    return _moving(plan, NOTHING)


def _moving(plan: RepackPlan, done: Repacked) -> Moving:
    choice = plan.choice
    return Moving(
        objects=len(choice.objects),
        moved_bytes=ByteCount(choice.moved),
        freed_bytes=ByteCount(choice.freed),
        unused_bytes=ByteCount(choice.unused - choice.freed),
        damaged=done.damaged,
        overtaken=done.overtaken,
    )


async def moved(
    repack: Repack,
    rule: RepackRule,
    /,
    *,
    now: Instant,
    points: int,
    runtime: Runtime,
    output: Output,
) -> tuple[Moving, tuple[str, ...]]:
    """Move what the rule asks for; return what came of it, and the sessions that it wrote under.

    Raises:
        ReclaimRefusedError: what a point needs cannot be told.
        TransientError, RefusedError: the store failed; the next prune goes on.
    """
    with output.steps("measuring packs", points) as step:
        plan = await repack.plan(rule, at=now, progress=counting(step))
    if not plan.choice.objects:
        return foreseen(plan), ()
    sessions: list[str] = []
    chance = runtime.random("repack")

    def token() -> str:
        sessions.append(chance.token())
        return sessions[-1]

    with output.steps("repacking", plan.choice.moved) as step:
        done = await repack.run(
            plan, token=token, at=now, progress=lambda stored: step(stored, sized(stored))
        )
    return _moving(plan, done), tuple(sessions)


def say(moving: Moving, output: Output, /, *, dry: bool) -> None:
    """Tell a person what was moved, and what had to stay."""
    would = "would be " if dry else ""
    if moving.objects:
        output.say(
            f"{moving.objects} packs and maps {would}repacked: {sized(moving.moved_bytes)} {would}"
            f"copied to free {sized(moving.freed_bytes)}; {sized(moving.unused_bytes)} stay unused"
        )
    if moving.damaged:
        output.say(
            f"{len(moving.damaged)} packs stay as they are, because blocks in them cannot be read "
            "back; run `repo check --read-data`"
        )
    if moving.overtaken:
        output.say("another prune has begun to repack, and does the rest")
