"""A benchmark's images are the same everywhere, its maps exact, and a wrong restore is noticed."""

import os
import struct
import zlib
from pathlib import Path

import pytest

from reference_engine.app.bench.changes import PIECE, ChangeRequest, Changes, change_image
from reference_engine.app.bench.ext4 import ext4_version
from reference_engine.app.bench.images import (
    CHUNK,
    ImageMade,
    ImageRequest,
    Layout,
    describe_image,
    make_image,
    usual_use,
)
from reference_engine.app.bench.measuring import Call, measure
from reference_engine.app.bench.rounds import difference
from reference_engine.model.units import MIB, ByteCount

SIZE = ByteCount(8 * MIB)
DIGEST = "749c343d5b76cb8892a2e5d43a2f08ab"
NEXT_DIGEST = "a4fbf6f0f8091e095b5703bf955078e7"


def image(place: Path, *, seed: int = 1, layout: Layout = Layout.PLAIN) -> ImageMade:
    """Return a small image."""
    request = ImageRequest(size=SIZE, used=usual_use(SIZE), seed=seed, layout=layout)
    return make_image(place, request, advance=lambda _: None)


def truly_changed(before: Path, after: Path) -> tuple[int, ...]:
    """Return the offsets of all pieces in which two images differ."""
    left, right = before.read_bytes(), after.read_bytes()
    return tuple(
        offset
        for offset in range(0, len(left), PIECE)
        if left[offset : offset + PIECE] != right[offset : offset + PIECE]
    )


def test_a_seed_gives_the_same_image_on_every_machine(tmp_path: Path) -> None:
    """The bytes follow from the seed alone, and another seed gives others."""
    made, other = image(tmp_path / "a.raw"), image(tmp_path / "b.raw", seed=2)
    change_image(made.path, tmp_path / "c.raw", ChangeRequest(permille=10, seed=7))

    assert made.digest == DIGEST
    assert describe_image(tmp_path / "c.raw").digest == NEXT_DIGEST
    assert other.digest != DIGEST


def test_an_image_has_a_partition_table_that_holds(tmp_path: Path) -> None:
    """Both copies of the table carry right checksums and name one partition."""
    made = image(tmp_path / "a.raw")

    content = made.path.read_bytes()
    for start in (512, SIZE - 512):
        header = content[start : start + 92]
        said, first = struct.unpack_from("<I", header, 16)[0], struct.unpack_from("<Q", header, 72)
        table = content[first[0] * 512 : first[0] * 512 + 128 * 128]

        assert header[:8] == b"EFI PART"
        assert said == zlib.crc32(header[:16] + bytes(4) + header[20:])
        assert struct.unpack_from("<I", header, 88)[0] == zlib.crc32(table)


def test_the_map_names_exactly_what_differs(tmp_path: Path) -> None:
    """Every piece that the map names differs, and no other one."""
    made = image(tmp_path / "a.raw")

    changes = change_image(made.path, tmp_path / "b.raw", ChangeRequest(permille=50, seed=7))

    assert changes.pieces == truly_changed(made.path, tmp_path / "b.raw")
    assert 0.045 < changes.changed / SIZE < 0.06


def test_holes_stay_where_they_were(tmp_path: Path) -> None:
    """A day moves no hole: tools that start blocks behind holes find the rest of a disk again."""
    made = image(tmp_path / "a.raw")
    change_image(made.path, tmp_path / "b.raw", ChangeRequest(permille=10, seed=7))

    starts = [stretches(tmp_path / name) for name in ("a.raw", "b.raw")]

    assert [offset % CHUNK for start in starts for offset in start] == [0] * sum(map(len, starts))
    assert len(starts[0]) > 1


def stretches(path: Path) -> list[int]:
    """Return where in a file data begins behind a hole."""
    found: list[int] = []
    end = 0
    with path.open("rb") as file:
        while end < SIZE:
            try:
                start = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError:
                break
            found.append(start)
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
    return found


def test_stretches_of_a_map_join_neighbours() -> None:
    """Pieces that touch become one stretch."""
    changes = Changes(size=SIZE, pieces=(0, PIECE, 3 * PIECE))

    assert changes.extents() == [(0, 2 * PIECE), (3 * PIECE, PIECE)]


def test_a_file_system_is_the_same_each_time(tmp_path: Path) -> None:
    """With e2fsprogs, two runs give the same ext4 image, whatever the clock says."""
    if ext4_version() is None:
        pytest.skip("e2fsprogs is not installed")
    first = image(tmp_path / "a.raw", layout=Layout.EXT4)
    second = image(tmp_path / "b.raw", layout=Layout.EXT4)

    assert first.digest == second.digest
    assert first.path.read_bytes()[MIB + 1080 : MIB + 1082] == b"\x53\xef"


def test_children_are_part_of_what_a_call_costs(tmp_path: Path) -> None:
    """CPU time and memory of a grandchild are counted; the caller's own memory is not."""
    work = "b = b'x' * (80 << 20); n = sum(range(3_000_000))"
    argv = ("sh", "-c", f'python3 -c "{work}"; exit 3')

    measured = measure(Call(argv=argv, cwd=tmp_path))
    small = measure(Call(argv=("true",), cwd=tmp_path))

    assert measured.exit_code == 3
    assert measured.cost.cpu > small.cost.cpu
    assert measured.cost.peak_memory > 80 * MIB
    assert small.cost.peak_memory < 30 * MIB


def test_a_program_that_is_missing_is_no_crash(tmp_path: Path) -> None:
    """A call that cannot start ends with 127 and says why."""
    measured = measure(Call(argv=("/no/such/program",), cwd=tmp_path))

    assert measured.exit_code == 127
    assert "No such file" in measured.complaint


def test_the_first_different_byte_is_named(tmp_path: Path) -> None:
    """A restore is right only if it is the same to the last byte."""
    wanted, restored = tmp_path / "a", tmp_path / "b"
    wanted.write_bytes(bytes(3 * MIB))
    restored.write_bytes(bytes(2 * MIB + 5) + b"x" + bytes(MIB - 6))

    assert difference(wanted, restored) == f"differs from its source at byte {2 * MIB + 5}"
    assert difference(wanted, wanted) == ""
    restored.write_bytes(b"")
    assert "has 0 bytes" in difference(wanted, restored)
