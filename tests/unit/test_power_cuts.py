"""What survives a power cut is a function of the log, the seed and the cut's number."""

from pathlib import Path

from simulator.campaign.proving.power.cuts import Cut, Platter, survivors
from simulator.campaign.proving.power.mounting import copy_sparse
from simulator.campaign.proving.power.write_log import FLUSH, WRITE, WriteLog, header

BLOCK = 4096


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

    platter.after(Cut(number=0, at=4, surviving=0, sector=512), 1, image)
    early = image.read_bytes()
    platter.after(Cut(number=1, at=6, surviving=1000, sector=512), 1, image)
    late = image.read_bytes()

    assert early[:BLOCK] == bytes([1]) * BLOCK
    assert set(early[2 * BLOCK : 4 * BLOCK]) <= {0, 2, 3}
    assert early[4 * BLOCK :] == bytes(4 * BLOCK)
    assert [late[index * BLOCK] for index in range(6)] == [1, 0, 2, 3, 0, 4]


def test_a_write_can_be_torn_at_sectors_only() -> None:
    """What survives in part consists of whole sectors, and the same seed tears alike."""
    log = written(*range(1, 41))
    cut = Cut(number=3, at=40, surviving=0, sector=512)

    torn = list(survivors(log, 5, cut))

    assert torn == list(survivors(log, 5, cut))
    assert torn != list(survivors(log, 6, cut))
    assert {len(each.content) for each in torn} == {512}
    assert all(each.offset % 512 == 0 for each in torn)


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
