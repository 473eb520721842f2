"""What survives a power cut is a function of the log, the seed and the cut's number."""

from pathlib import Path

import pytest

from simulator.campaign.proving.power.cuts import Cut, Fate, Platter, Span, draw, survivors
from simulator.campaign.proving.power.mounting import copy_sparse
from simulator.campaign.proving.power.write_log import FLUSH, WRITE, WriteLog, header

BLOCK = 4096
JOURNAL = bytes.fromhex("c03b3998").ljust(BLOCK, b"j")


def cut(number: int, at: int, fate: Fate, *, surviving: int = 0) -> Cut:
    """Return a cut after so many records."""
    return Cut(number=number, at=at, moment="", fate=fate, surviving=surviving, sector=512)


def kept(log: WriteLog, at: int, fate: Fate) -> list[int]:
    """Return which blocks survive of those that were not flushed when the power went."""
    return [each.offset // BLOCK for each in survivors(log, 1, cut(0, at, fate))]


def written(*fills: int | None) -> WriteLog:
    """Return a log of one block after the other with these bytes; None is a flush."""
    parts: list[bytes] = []
    for index, fill in enumerate(fills):
        if fill is None:
            parts.append(header(FLUSH, 0, 0))
        else:
            parts += [header(WRITE, index * BLOCK, BLOCK), bytes([fill]) * BLOCK]
    return WriteLog(b"".join(parts))


def test_what_was_flushed_survives_and_the_rest_may(tmp_path: Path) -> None:
    """All before the last flush is there, nothing of what came after the cut."""
    log = written(1, None, 2, 3, None, 4)
    base, image = tmp_path / "base", tmp_path / "image"
    base.write_bytes(bytes(8 * BLOCK))
    platter = Platter(log, base, tmp_path / "platter")

    platter.after(cut(0, 4, Fate.SOME), 1, image)
    early = image.read_bytes()
    platter.after(cut(1, 6, Fate.KEPT), 1, image)
    late = image.read_bytes()

    assert early[:BLOCK] == bytes([1]) * BLOCK
    assert set(early[2 * BLOCK : 4 * BLOCK]) <= {0, 2, 3}
    assert early[4 * BLOCK :] == bytes(4 * BLOCK)
    assert [late[index * BLOCK] for index in range(6)] == [1, 0, 2, 3, 0, 4]


def test_a_write_can_be_torn_at_sectors_only() -> None:
    """What survives in part consists of whole sectors, and the same seed tears alike."""
    log = written(*range(1, 41))
    some = cut(3, 40, Fate.SOME)

    torn = list(survivors(log, 5, some))

    assert torn == list(survivors(log, 5, some))
    assert torn != list(survivors(log, 6, some))
    assert {len(each.content) for each in torn} == {512}
    assert all(each.offset % 512 == 0 for each in torn)


def test_the_journal_can_survive_alone_or_be_all_that_is_lost() -> None:
    """What lies among its blocks is the journal, known by how ext4 and XFS begin theirs."""
    parts = [written(7, None, 1, 2), WriteLog(header(WRITE, 9 * BLOCK, BLOCK) + JOURNAL)]
    log = WriteLog(b"")
    log.records, log._flushes = parts[0].records + parts[1].records, [2]

    assert log.journal == range(9 * BLOCK, 10 * BLOCK)
    assert kept(log, 5, Fate.JOURNAL) == [9]
    assert kept(log, 5, Fate.NO_JOURNAL) == [2, 3]
    assert kept(log, 5, Fate.LOST) == []
    assert kept(log, 5, Fate.KEPT) == [2, 3, 9]


def test_only_the_last_write_is_torn() -> None:
    """A disk that writes in order has done all that came before."""
    log = written(1, None, 2, 3)

    torn = list(survivors(log, 1, cut(0, 4, Fate.LAST_TORN)))

    assert (torn[0].offset, len(torn[0].content)) == (2 * BLOCK, BLOCK)
    assert len(torn) > 1
    assert {len(each.content) for each in torn[1:]} == {512}
    assert len(torn) < 1 + BLOCK // 512


@pytest.mark.parametrize("seed", range(40))
def test_a_cut_means_the_same_in_another_recording(seed: int) -> None:
    """It hits the same flush of the same command though an earlier one wrote more."""
    fills = (1, None, 2, 3, None, 4, None, 5, 6, 7, None)
    here, there = written(*fills), written(9, 9, None, *fills)
    commands = (("one", 0, 4), ("two", 4, 11))

    cuts = [
        draw(
            log,
            seed,
            0,
            spans=[Span(command=n, first=a + late, last=b + late) for n, a, b in commands],
        )
        for log, late in ((here, 0), (there, 3))
    ]

    assert cuts[0].at + 3 == cuts[1].at
    assert (cuts[0].moment, cuts[0].fate) == (cuts[1].moment, cuts[1].fate)
    assert draw(here, seed, 0, spans=[Span(command="one", first=0, last=4)]).at <= 4


def test_cuts_come_at_flushes_between_them_and_as_commands_return() -> None:
    """Each is drawn, and none before the first command or after the last."""
    log = written(1, None, 2, 3, None, 4, None, 5, 6, 7, None)
    spans = [Span(command="one", first=1, last=5), Span(command="two", first=5, last=11)]

    cuts = [draw(log, 1, number, spans=spans) for number in range(300)]

    assert {each.at for each in cuts} == {*range(2, 12)} | {1}
    assert {each.fate for each in cuts} == {*Fate}
    assert sum(each.at in {1, 4, 6, 10} for each in cuts) > 100
    assert sum("after command" in each.moment for each in cuts) > 60


def test_a_place_in_the_log_is_a_number_of_records() -> None:
    """A promise made after a flush is in force in cuts after it, and in none before."""
    log = written(1, None, 2)

    assert log.flushes == 1
    assert [log.flushed(records) for records in range(4)] == [0, 0, 2, 2]
    assert [log.records_before(log.position(records)) for records in range(4)] == [0, 1, 2, 3]


def test_a_log_that_ends_in_the_middle_of_a_record_is_read_up_to_there() -> None:
    """What was not noted whole was never answered."""
    whole = header(WRITE, 0, 4) + b"data"

    assert len(WriteLog(whole + header(WRITE, 8, 4) + b"da").records) == 1


def test_a_sparse_copy_is_a_copy(tmp_path: Path) -> None:
    """Every byte is the same, and zeros take no room."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(300_000) + b"end" + bytes(300_000))

    copy_sparse(source, target)

    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_blocks < source.stat().st_blocks
