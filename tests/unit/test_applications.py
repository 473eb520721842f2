"""Applications in guests survive a power cut after any write, and notice disks of two instants."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_engine.model.units import MINUTE, Instant
from simulator.kernel.streams import Stream
from simulator.world.applications.application import Application, CellWrite, Kind, Opening
from simulator.world.applications.opening import opened, parts_of, program

CELL = 4096
KINDS: tuple[Kind, ...] = ("ledger", "sqlite", "sqlite-wal")
few = settings(max_examples=max(5, settings().max_examples // 10))


class Disks:
    """The cells of both parts, as writes leave them."""

    def __init__(self, writes: list[CellWrite]) -> None:
        self.cells: dict[tuple[str, int], bytes] = {}
        self.committed = self.begun = 0
        for write in writes:
            self.take(write)

    def take(self, write: CellWrite) -> None:
        """Have the cell hold what is written to it."""
        self.cells[write.part, write.cell] = write.content
        self.committed, self.begun = write.committed, write.begun

    def read(self, part: str, cell: int) -> bytes:
        """Return a cell; what was never written is zeros."""
        return self.cells.get((part, cell), bytes(CELL))


def started(kind: Kind, seed: int) -> tuple[Application, list[CellWrite]]:
    """Return an application and the writes that made its files."""
    application = program(kind, Stream("test", seed), cell=CELL, per_hour=1200)
    return application, application.format()


def sound(kind: Kind, disks: Disks) -> Opening:
    """Return what opening says, once it is checked that nothing is wrong."""
    opening = opened(kind, disks.read, CELL)
    assert opening.problems == ()
    assert disks.committed <= opening.transactions <= disks.begun
    return opening


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 2**32), minutes=st.integers(1, 4))
@few
def test_after_any_write_the_data_is_sound(kind: Kind, seed: int, minutes: int) -> None:
    """Whatever write was the last one, recovery finds all that was committed, and no more."""
    application, first = started(kind, seed)
    disks = Disks(first)
    clean = []

    for write in application.until(Instant(minutes * MINUTE)):
        disks.take(write)
        clean.append(sound(kind, disks).clean)

    assert not all(clean)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 2**32), minutes=st.integers(1, 10))
@few
def test_what_is_closed_opens_clean(kind: Kind, seed: int, minutes: int) -> None:
    """A close leaves nothing to recover, and every transaction that was begun is there."""
    application, first = started(kind, seed)
    now = Instant(minutes * MINUTE)
    disks = Disks([*first, *application.until(now), *application.close(now)])

    opening = sound(kind, disks)

    assert opening.clean
    assert disks.committed == disks.begun == opening.transactions


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 2**32), cut=st.integers(0, 60))
@few
def test_a_program_goes_on_from_what_the_disks_hold(kind: Kind, seed: int, cut: int) -> None:
    """After a power cut it recovers, goes on, and loses nothing that was committed."""
    application, first = started(kind, seed)
    disks = Disks([*first, *application.until(Instant(3 * MINUTE))[:cut]])
    committed = disks.committed

    application.stop()
    for write in application.start(Instant(4 * MINUTE), disks.read):
        disks.take(write)
        sound(kind, disks)
    for write in application.until(Instant(8 * MINUTE)):
        disks.take(write)

    assert sound(kind, disks).transactions >= committed


@pytest.mark.parametrize("kind", KINDS)
def test_disks_of_two_instants_do_not_go_together(kind: Kind) -> None:
    """Tables newer than their log are noticed, by what is wrong or by what nobody committed."""
    application, first = started(kind, 1)
    now = Instant(2 * MINUTE)
    disks = Disks([*first, *application.until(now), *application.close(now)])
    log = {place: raw for place, raw in disks.cells.items() if place[0] == "log"}
    committed = disks.committed
    noticed = []

    for write in application.until(Instant(6 * MINUTE)):
        disks.take(write)
        mixed = Disks([])
        mixed.cells = {**disks.cells, **log}
        opening = opened(kind, mixed.read, CELL)
        noticed.append(bool(opening.problems) or opening.transactions != committed)

    assert any(noticed)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@few
def test_damaged_cells_are_a_sentence(kind: Kind, data: st.DataObject) -> None:
    """Whatever the cells hold, opening them ends with an answer."""
    application, first = started(kind, 1)
    disks = Disks([*first, *application.until(Instant(3 * MINUTE))])
    parts = parts_of(kind)
    for _ in range(data.draw(st.integers(1, 4))):
        part = data.draw(st.sampled_from(sorted(parts)))
        cell = data.draw(st.integers(0, parts[part] - 1))
        raw = bytearray(disks.read(part, cell))
        at = data.draw(st.integers(0, CELL - 1))
        raw[at : at + 8] = data.draw(st.binary(min_size=8, max_size=8))
        disks.cells[part, cell] = bytes(raw[:CELL])

    opening = opened(kind, disks.read, CELL)

    assert all(problem.strip() for problem in opening.problems)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_writes_the_same_bytes(kind: Kind) -> None:
    """Nothing of a process, such as SQLite's own generator, is in the bytes."""
    written = []
    for _ in range(2):
        application, first = started(kind, 7)
        written.append([*first, *application.until(Instant(5 * MINUTE))])

    assert written[0] == written[1]
