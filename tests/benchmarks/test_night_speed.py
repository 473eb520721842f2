"""How fast nights are simulated and proven, and how fast a repository takes and gives back bytes.

Nothing here is held against a limit: a figure belongs to the machine that it was measured on.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime
from reference_engine.adapters.directory_store import DirectoryStore
from reference_engine.app.repositories import BLOCK_SIZE
from reference_engine.formats.raw_writer import RawWriter
from reference_engine.model.identity import RecoveryPointId
from reference_engine.model.units import HOUR, KIB, MIB, ByteCount
from reference_engine.repository.repository import Repository
from reference_engine.restore.write_back import restore_disk
from simulator.campaign.trial import Subject, Trial, run_trial, subjects_of
from simulator.scenario.library import library
from simulator.scenario.reading import read_scenario
from simulator.scenario.swarm import draw_scenario
from tests.strategies.repositories import DISK, VM, point_of

SIZE: Final = ByteCount(64 * MIB)
PIECE: Final = 4 * MIB
POINT: Final = RecoveryPointId("measured")


def tried(subject: Subject) -> Trial:
    """Return what came of one run, with each point restored and compared as it appears."""
    return run_trial(subject, restore_again=False)


def measured(
    benchmark: Any, work: Callable[..., Any], rounds: int, setup: Callable[[], Any] | None = None
) -> tuple[Any, float]:
    """Return what the work returned, and the seconds of its quickest round; 0 when not measured."""
    done = benchmark.pedantic(work, setup=setup, rounds=rounds, iterations=1)
    return done, 0.0 if benchmark.disabled else benchmark.stats.stats.min


def note(benchmark: Any, seconds: float, **amounts: float) -> None:
    """Have the benchmark's record say each amount per second of wall time."""
    if seconds:
        benchmark.extra_info.update(
            {f"{name}_per_second": round(amount / seconds, 1) for name, amount in amounts.items()}
        )


def test_speed_of_the_default_night(benchmark: Any) -> None:
    """The night that everybody sees first: simulated, proven and judged."""
    file = library() / "baseline" / "first_night.toml"
    [subject] = subjects_of(read_scenario(file), name=file.stem, path=file, seed=None, images={})

    trial, seconds = measured(benchmark, lambda: tried(subject), rounds=3)

    assert trial.holds
    note(
        benchmark,
        seconds,
        simulated_hours=subject.scenario.duration / HOUR,
        committed_and_verified_points=len(trial.evidence.proofs),
        facts=len(trial.evidence.facts),
    )


def test_speed_of_a_swarm(benchmark: Any) -> None:
    """Ten small nights in which much goes wrong."""
    subjects = [
        subject
        for seed in range(1, 11)
        for subject in subjects_of(
            draw_scenario(seed), name=f"swarm-{seed}", path=None, seed=None, images={}
        )
    ]

    trials, seconds = measured(benchmark, lambda: list(map(tried, subjects)), rounds=3)

    assert all(trial.holds for trial in trials)
    note(
        benchmark,
        seconds,
        seeds=len(trials),
        simulated_hours=sum(each.scenario.duration for each in subjects) / HOUR,
        committed_and_verified_points=sum(len(trial.evidence.proofs) for trial in trials),
    )


@pytest.fixture(scope="module")
def image() -> bytes:
    """A disk without empty blocks; a half of it is repetitive, a half cannot be compressed."""
    chance = np.random.default_rng(1)
    return b"".join(
        chance.bytes(64 * KIB) + chance.bytes(512) * 128 for _ in range(SIZE // (128 * KIB))
    )


def store_image(place: Path, image: bytes) -> Repository:
    """Return a repository whose only point has one disk."""
    runtime = AsyncioRuntime(seed=1)

    async def story() -> Repository:
        repository = await Repository.create(
            DirectoryStore(place), identity_token="ab" * 16, block_size=BLOCK_SIZE
        )
        session = await repository.open_run(VM, token="cd" * 16)
        await session.begin_disk(DISK, SIZE, inherit=None)
        for start in range(0, SIZE, PIECE):
            numbers = np.arange(start // BLOCK_SIZE, (start + PIECE) // BLOCK_SIZE)
            await session.put_blocks(DISK, numbers, image[start : start + PIECE])
        await session.stage(point_of(session, {DISK: SIZE}, POINT))
        await session.commit()
        return repository

    repository: Repository = runtime.run(story())
    return repository


def restore_image(repository: Repository, target: Path) -> None:
    """Restore the only disk of the only point to a raw image."""

    async def story() -> None:
        reader = await repository.reader(POINT)
        with RawWriter.create(target, SIZE) as writer:
            await restore_disk(reader, DISK, writer, progress=lambda _: None)
            writer.finish()

    AsyncioRuntime(seed=1).run(story())


def test_speed_of_storing_blocks(benchmark: Any, image: bytes, tmp_path: Path) -> None:
    """New blocks: digested, compressed, packed, written to a directory, and committed."""
    places = iter(tmp_path / f"repository-{number}" for number in range(10))

    _, seconds = measured(
        benchmark, store_image, rounds=5, setup=lambda: ((next(places), image), {})
    )

    note(benchmark, seconds, megabytes=SIZE / 1e6)


def test_speed_of_restoring(benchmark: Any, image: bytes, tmp_path: Path) -> None:
    """A whole disk: read from a directory, decompressed, checked, and written as a raw image."""
    repository = store_image(tmp_path / "repository", image)
    targets = [tmp_path / f"restored-{number}.raw" for number in range(10)]
    unused = iter(targets)

    _, seconds = measured(
        benchmark, restore_image, rounds=5, setup=lambda: ((repository, next(unused)), {})
    )

    assert targets[0].read_bytes() == image
    note(benchmark, seconds, megabytes=SIZE / 1e6)
