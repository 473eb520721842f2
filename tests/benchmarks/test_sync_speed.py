"""How fast a disk is backed up, given back and checked: once in a test run, measured on demand.

`pytest tests/benchmarks --benchmark-enable --benchmark-json=now.json` measures;
`twinshot bench compare then.json now.json` says what became slower.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from reference_engine.app.bench.changes import ChangeRequest, change_image
from reference_engine.app.bench.images import ImageRequest, Layout, make_image, usual_use
from reference_engine.app.bench.rounds import difference
from reference_engine.app.command_line import run
from reference_engine.model.units import MIB, ByteCount

SIZE = ByteCount(32 * MIB)
ROUNDS = 5


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a disk, and the same disk a day later."""
    place = tmp_path_factory.mktemp("images")
    request = ImageRequest(size=SIZE, used=usual_use(SIZE), seed=1, layout=Layout.PLAIN)
    first = make_image(place / "disk.raw", request, advance=lambda _: None).path
    change_image(first, place / "later.raw", ChangeRequest(permille=10, seed=7))
    return first, place / "later.raw"


def back_up(image: Path, repository: Path) -> None:
    """Back an image up as the machine that all of them are."""
    assert run(["--quiet", "backup", str(image), "--repo", str(repository), "--name", "vm"]) == 0


def repeated(
    benchmark: BenchmarkFixture, call: Callable[..., None], prepare: Callable[[Path], Any], at: Path
) -> None:
    """Measure `call`, each time on what `prepare` makes in a new directory."""
    number = iter(range(10 * ROUNDS))

    def fresh() -> tuple[tuple[Any, ...], dict[str, Any]]:
        place = at / str(next(number))
        place.mkdir()
        return prepare(place), {}

    benchmark.extra_info["disk_bytes"] = SIZE
    benchmark.pedantic(call, setup=fresh, rounds=ROUNDS)


def test_full_backup(benchmark: BenchmarkFixture, days: tuple[Path, Path], tmp_path: Path) -> None:
    """A disk is stored for the first time."""
    repeated(benchmark, back_up, lambda place: (days[0], place / "store"), tmp_path)


def test_later_backup(benchmark: BenchmarkFixture, days: tuple[Path, Path], tmp_path: Path) -> None:
    """A disk is stored again after a day on which 1 % of it changed."""
    source = tmp_path / "disk.raw"

    def prepared(place: Path) -> tuple[Path, Path]:
        source.unlink(missing_ok=True)
        source.hardlink_to(days[0])
        back_up(source, place / "store")
        source.unlink()
        source.hardlink_to(days[1])
        return source, place / "store"

    repeated(benchmark, back_up, prepared, tmp_path)


def test_restore(benchmark: BenchmarkFixture, days: tuple[Path, Path], tmp_path: Path) -> None:
    """A disk is written to a new image, and is the same to the last byte."""
    repository = tmp_path / "store"
    back_up(days[0], repository)
    targets: list[Path] = []

    def restore(target: Path) -> None:
        code = run(["--quiet", "restore", "latest", "--repo", str(repository), "--to", str(target)])
        assert code == 0
        targets.append(target)

    repeated(benchmark, restore, lambda place: (place / "back.raw",), tmp_path)

    assert {difference(days[0], target) for target in targets} == {""}


def test_verification(benchmark: BenchmarkFixture, days: tuple[Path, Path], tmp_path: Path) -> None:
    """Everything stored is read and checked."""
    repository = tmp_path / "store"
    back_up(days[0], repository)

    def verify() -> None:
        assert run(["--quiet", "verify", "--repo", str(repository)]) == 0

    repeated(benchmark, verify, lambda _: (), tmp_path)
