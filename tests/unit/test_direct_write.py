"""Writing past the cache: every byte arrives, wherever it begins."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_engine.formats.direct_write import ALIGNMENT, BUFFER, DIRECT_MIN, DirectWriter

EDGES = (0, 1, 511, ALIGNMENT - 1, ALIGNMENT, DIRECT_MIN, DIRECT_MIN + 7, BUFFER, BUFFER + 1)


@given(
    st.lists(
        st.tuples(st.sampled_from(EDGES), st.sampled_from(EDGES), st.integers(1, 255)), max_size=6
    ),
    st.sampled_from(["at once", "at the end"]),
)
def test_the_last_write_of_every_byte_counts(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[int, int, int]], flushed: str
) -> None:
    """Neighbouring, overlapping and backward writes leave what plain writes would."""
    path = tmp_path_factory.mktemp("direct") / "file"
    expected = bytearray()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    writer = DirectWriter(descriptor)

    for offset, length, fill in writes:
        content = bytes([fill]) * length
        writer.write(content, offset)
        if flushed == "at once":
            writer.flush()
        if content:
            expected.extend(bytes(max(0, offset + length - len(expected))))
            expected[offset : offset + length] = content
    writer.flush()
    os.close(descriptor)

    assert path.read_bytes() == expected


def test_direct_writes_happen_where_they_can(tmp_path: Path) -> None:
    """On a file system that has direct writes a large aligned write does not enter the cache."""
    path = tmp_path / "file"
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_DIRECT))
    except (OSError, AttributeError):
        path.write_bytes(b"")  # no direct writes here: nothing to be seen but the content
        direct = False
    else:
        direct = True
    descriptor = os.open(path, os.O_RDWR)
    writer = DirectWriter(descriptor)

    writer.write(b"x" * (DIRECT_MIN + 1), 0)
    writer.flush()
    os.close(descriptor)

    assert path.read_bytes() == b"x" * (DIRECT_MIN + 1)
    assert bool(writer._direct) == direct
