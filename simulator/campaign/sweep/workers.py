"""Seeds over worker processes: joblib's own on this machine, or a Dask cluster, by the same call.

A chunk of seeds is one task. What a dead worker had not handed back is done again by others; seeds
that kill every worker that tries them are found out and reported, not tried for ever.
"""

import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

import msgspec

from reference_engine.model.errors import InputRefusedError, TransientError
from simulator.campaign.processes import renewal_untold
from simulator.campaign.sweep.seeds import BREAKDOWN, Breach, SeedResult, try_seeds

DEATHS_MOST: Final = 3
"""How often workers may die in a row before the seeds under way are tried one at a time."""

Chunk = tuple[int, ...]
Chunks = Callable[[], Iterable[Chunk]]
"""Chunks of the seeds that are still to be done, at the moment of the call."""


class Backend(msgspec.Struct, frozen=True, kw_only=True):
    """Where seeds are tried."""

    jobs: int
    """Processes on this machine; 1: in this process."""

    dask: str | None
    """Address of a Dask scheduler, in place of processes of this machine."""


class ClusterUnreachableError(TransientError):
    """No Dask scheduler answers at an address, or it has lost its workers."""

    def __init__(self, address: str, reason: str, /) -> None:
        super().__init__(address, reason)
        self.address, self.reason = address, reason

    def __str__(self) -> str:
        return f"the Dask cluster at {self.address} does not answer: {self.reason}"


def tried(chunks: Chunks, backend: Backend, /, *, mutant: str | None) -> Iterator[list[SeedResult]]:
    """Yield the results of every chunk, in the order in which they come."""
    if backend.jobs == 1 and backend.dask is None:
        for chunk in chunks():
            yield try_seeds(chunk, mutant)
        return
    joblib = _extra("joblib", "campaign")
    with _engine(backend, joblib) as lost:
        yield from _outliving_workers(chunks, backend, lost, joblib, mutant)


def _outliving_workers(
    chunks: Chunks,
    backend: Backend,
    lost: tuple[type[Exception], ...],
    joblib: Any,
    mutant: str | None,
) -> Iterator[list[SeedResult]]:
    deaths = 0
    while True:
        order = joblib.delayed(try_seeds)
        # What was chosen for this round and has not come back is what a death leaves undone.
        under_way: dict[Chunk, None] = {}
        parallel = joblib.Parallel(
            n_jobs=-1 if backend.dask else backend.jobs,
            batch_size=1,
            pre_dispatch="2*n_jobs",
            return_as="generator_unordered",
        )
        try:
            for results in parallel(order(chunk, mutant) for chunk in _noted(chunks(), under_way)):
                deaths = 0
                under_way.pop(tuple(result.seed for result in results), None)
                yield results
        except lost:
            deaths += 1
            _forget_workers(backend)
            if deaths >= DEATHS_MOST:
                yield from _one_at_a_time(under_way, backend, lost, joblib, mutant)
                deaths = 0
        else:
            return


def _noted(chunks: Iterable[Chunk], under_way: dict[Chunk, None]) -> Iterator[Chunk]:
    for chunk in chunks:
        under_way[chunk] = None
        yield chunk


def _one_at_a_time(
    chunks: Iterable[Chunk],
    backend: Backend,
    lost: tuple[type[Exception], ...],
    joblib: Any,
    mutant: str | None,
) -> Iterator[list[SeedResult]]:
    """Yield the results of the chunks; a seed that kills its worker once more is a finding."""
    order = joblib.delayed(try_seeds)
    for seed in sorted({seed for chunk in chunks for seed in chunk}):
        try:
            [results] = joblib.Parallel(n_jobs=-1 if backend.dask else 2)([order((seed,), mutant)])
            yield results
        except lost as death:
            _forget_workers(backend)
            yield [_deadly(seed, death)]


def _deadly(seed: int, death: Exception) -> SeedResult:
    reason = " ".join(str(death).split())[:200]
    return SeedResult(
        seed=seed,
        points=0,
        simulated_us=0,
        cpu_s=0.0,
        digest="",
        breaches=(Breach(invariant=f"{BREAKDOWN}:WorkerDied", detail=reason),),
        cells={},
        outcomes={},
        marks=(),
        checks={},
    )


def _forget_workers(backend: Backend) -> None:
    """Have new processes started in the place of an executor that is broken."""
    if backend.dask is None:
        loky = importlib.import_module("joblib.externals.loky")
        loky.get_reusable_executor().shutdown(wait=True, kill_workers=True)


@contextmanager
def _engine(backend: Backend, joblib: Any) -> Iterator[tuple[type[Exception], ...]]:
    """Have joblib use the back end; yields the errors that say that a worker is lost."""
    place: AbstractContextManager[Any]
    if backend.dask is None:
        processes = importlib.import_module("joblib.externals.loky.process_executor")
        place = nullcontext()
        lost: Sequence[type[Exception]] = (processes.BrokenProcessPool,)
    else:
        distributed = _extra("distributed", "dask")
        try:
            place = distributed.Client(backend.dask, timeout="5s")
        except (OSError, ValueError) as failure:
            raise ClusterUnreachableError(
                backend.dask, " ".join(str(failure).split()) or type(failure).__name__
            ) from None
        scheduler = importlib.import_module("distributed.scheduler")
        lost = (scheduler.KilledWorker,)
    kind = "dask" if backend.dask else "loky"
    with place, renewal_untold(), joblib.parallel_config(backend=kind):
        yield tuple(lost)


def _extra(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputRefusedError(
            f"{module} is not installed", f"pip install 'twinshot[{extra}]', or use -j 1"
        ) from None
