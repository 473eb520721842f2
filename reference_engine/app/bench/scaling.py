"""How cost grows with the disk: this engine on images of growing size, and what a TiB costs."""

from collections.abc import Sequence
from typing import Final

import msgspec

from reference_engine.app.bench.contestants import Job
from reference_engine.app.bench.images import usual_use
from reference_engine.app.bench.own import OWN
from reference_engine.app.bench.samples import Sample
from reference_engine.app.repositories import Requests
from reference_engine.model.units import GIB, MIB, SECOND, ByteCount

SIZES: Final = tuple(ByteCount(count * GIB) for count in (1, 4, 16, 64))
TIB: Final = ByteCount(1024 * GIB)
_NEED: Final = 5
"""How often the data is on the disk at once: two images, staging, a repository, a restore."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One size, once."""

    size: ByteCount
    data: ByteCount
    """What is not zero."""

    samples: tuple[Sample, ...]


class PerTib(msgspec.Struct, frozen=True, kw_only=True):
    """What a TiB of data costs, from the growth between the smallest and the largest step."""

    job: Job
    cpu_s: float
    memory: ByteCount
    """By how much peak memory grows: index and maps, without what every process needs."""

    objects: int
    stored: ByteCount | None
    requests: Requests | None = None
    """What the store is asked for it; None where that was not said."""


def data_for(size: ByteCount, free: ByteCount, /) -> ByteCount:
    """Return how many bytes of files an image of this size gets where so much is free."""
    return ByteCount(min(usual_use(size), free * 8 // 10 // _NEED) // MIB * MIB)


def space_for(data: ByteCount, tools: int, /) -> ByteCount:
    """Return how much a comparison writes: three images, a repository each, one restore."""
    return ByteCount(data * (4 + 2 * tools) + 64 * MIB)


def costs_per_tib(steps: Sequence[Step], /) -> tuple[PerTib, ...]:
    """Return the cost of each job for a TiB of data, or nothing where sizes do not differ."""
    if len(steps) < 2 or steps[-1].data <= steps[0].data:
        return ()
    per_tib = TIB / (steps[-1].data - steps[0].data)
    found: list[PerTib] = []
    for job in Job:
        pair = [_sample(step, job) for step in (steps[0], steps[-1])]
        small, large = pair
        if small is None or large is None:
            continue
        grown = (
            None
            if large.stored is None or small.stored is None
            else ByteCount(max(round((large.stored - small.stored) * per_tib), 0))
        )
        found.append(
            PerTib(
                job=job,
                cpu_s=(large.cost.cpu - small.cost.cpu) / SECOND * per_tib,
                memory=ByteCount(
                    max(round((large.cost.peak_memory - small.cost.peak_memory) * per_tib), 0)
                ),
                objects=round((large.objects - small.objects) * per_tib),
                stored=grown,
                requests=_requests(small.requests, large.requests, per_tib),
            )
        )
    return tuple(found)


def _requests(small: Requests | None, large: Requests | None, per_tib: float) -> Requests | None:
    if small is None or large is None:
        return None
    return Requests(
        put=max(round((large.put - small.put) * per_tib), 0),
        get=max(round((large.get - small.get) * per_tib), 0),
        list=max(round((large.list - small.list) * per_tib), 0),
        delete=max(round((large.delete - small.delete) * per_tib), 0),
    )


def _sample(step: Step, job: Job) -> Sample | None:
    return next((each for each in step.samples if (each.job, each.tool) == (job, OWN)), None)
