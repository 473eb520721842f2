"""VHD files, fixed and dynamic, made here and by qemu-img."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_engine.formats.image import DamagedImageError
from reference_engine.formats.opening import open_disk_image
from reference_engine.model.errors import InputRefusedError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.units import KIB, MIB
from tests.strategies.disk_images import (
    Spoiling,
    content_in,
    content_or_error,
    dynamic_vhd,
    fixed_vhd,
    patterned,
    qemu_img,
    vhd_footer,
    written_raw,
)

ODD_SIZE = 5 * MIB + 3 * 512


@pytest.mark.parametrize("subformat", ["fixed", "dynamic"])
def test_a_vhd_made_by_qemu_reads_as_its_source(tmp_path: Path, subformat: str) -> None:
    """Both kinds of VHD give the bytes that were converted, whatever the size."""
    content = patterned(ODD_SIZE)
    raw, vhd = written_raw(tmp_path / "disk.img", content), tmp_path / "disk.vhd"
    options = f"subformat={subformat},force_size=on"
    qemu_img("convert", "-f", "raw", "-O", "vpc", "-o", options, raw, vhd)

    with open_disk_image(vhd) as image:
        assert image.format_name == f"{subformat} VHD"
        assert content_in(image) == content


def test_only_blocks_that_exist_are_allocated(tmp_path: Path) -> None:
    """A dynamic VHD names its empty blocks, and they are not read."""
    content = bytes(256 * KIB) + b"x" * 256 * KIB + bytes(256 * KIB)
    path = tmp_path / "disk"
    path.write_bytes(dynamic_vhd(content, block=256 * KIB))

    with open_disk_image(path) as image:
        assert image.allocated() == ExtentSet.of([(256 * KIB, 512 * KIB)])
        assert content_in(image) == content


def test_a_dynamic_vhd_without_its_last_footer_opens_by_the_copy(tmp_path: Path) -> None:
    """The copy in front of a dynamic VHD stands in for a lost footer."""
    content = patterned(ODD_SIZE)
    path = tmp_path / "disk.vhd"
    path.write_bytes(dynamic_vhd(content, block=256 * KIB)[:-512])

    assert content_or_error(path) == content


def test_a_footer_of_511_bytes_is_a_footer(tmp_path: Path) -> None:
    """Programs before Virtual PC 2004 left out the footer's last byte."""
    content = patterned(MIB)
    path = tmp_path / "disk.vhd"
    path.write_bytes(fixed_vhd(content)[:-1])

    assert content_or_error(path) == content


def test_a_differencing_vhd_is_refused(tmp_path: Path) -> None:
    """Changes without what they change are no disk."""
    path = tmp_path / "disk.avhd"
    path.write_bytes(dynamic_vhd(patterned(MIB), block=256 * KIB, kind=4))

    with pytest.raises(InputRefusedError, match="is a differencing VHD"):
        open_disk_image(path)


def test_a_fixed_vhd_larger_than_its_file_is_damaged(tmp_path: Path) -> None:
    """A disk that the file cannot hold is not given out short."""
    path = tmp_path / "disk.vhd"
    path.write_bytes(patterned(MIB) + vhd_footer(2 * MIB, kind=2))

    with pytest.raises(DamagedImageError, match="cannot be in"):
        open_disk_image(path)


def test_a_disk_of_2_tib_in_a_small_file_is_refused_without_its_memory(tmp_path: Path) -> None:
    """A size that is only declared costs nothing."""
    spoilt = bytearray(dynamic_vhd(patterned(MIB), block=256 * KIB))
    spoilt[:512] = spoilt[-512:] = vhd_footer(2040 << 30, kind=3, header_at=512)
    path = tmp_path / "disk.vhd"
    path.write_bytes(spoilt)

    with pytest.raises(DamagedImageError, match="cannot be a disk of"):
        open_disk_image(path)


@pytest.fixture(scope="module")
def vhds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One small VHD of each kind."""
    folder = tmp_path_factory.mktemp("vhd")
    content = patterned(ODD_SIZE)
    kinds = {"fixed": fixed_vhd(content), "dynamic": dynamic_vhd(content, block=256 * KIB)}
    for kind, image in kinds.items():
        (folder / f"{kind}.vhd").write_bytes(image)
    return {kind: folder / f"{kind}.vhd" for kind in kinds}


def test_each_byte_of_a_lone_footer_is_checked(vhds: dict[str, Path]) -> None:
    """A fixed VHD with any byte of its footer changed is damaged."""
    path = vhds["fixed"]
    length = path.stat().st_size

    for place in range(length - 512, length):
        with Spoiling(path, at=place, mask=1), pytest.raises(DamagedImageError):
            open_disk_image(path)


def test_each_byte_of_a_dynamic_header_is_checked(vhds: dict[str, Path]) -> None:
    """A dynamic VHD with any byte of its header changed is damaged."""
    path = vhds["dynamic"]

    for place in range(512, 1536):
        with (
            Spoiling(path, at=place, mask=1),
            pytest.raises(DamagedImageError, match="header does not hold"),
        ):
            open_disk_image(path)


def test_a_block_table_of_many_pieces_is_read_whole(tmp_path: Path) -> None:
    """Blocks behind the first piece of a large table are where they belong."""
    content = bytes(128 * MIB) + b"far" * 512
    path = tmp_path / "disk.vhd"
    path.write_bytes(dynamic_vhd(content, block=512))

    with open_disk_image(path) as image:
        assert image.allocated() == ExtentSet.of([(128 * MIB, len(content))])
        assert content_in(image) == content


@given(
    kind=st.sampled_from(["fixed", "dynamic"]),
    place=st.integers(0, 511) | st.integers(512, 2047),
    from_end=st.booleans(),
    mask=st.integers(1, 255),
)
@settings(derandomize=True, deadline=None, max_examples=250)
def test_a_changed_byte_in_a_checked_structure_is_never_believed(
    vhds: dict[str, Path], *, kind: str, place: int, from_end: bool, mask: int
) -> None:
    """Where checksums are, a flipped bit ends in a sentence or in the right bytes."""
    path = vhds[kind]
    checked = 1536 if kind == "dynamic" else 0
    at = place % checked if checked and not from_end else path.stat().st_size - 1 - place % 512

    with Spoiling(path, at=at, mask=mask):
        found = content_or_error(path)

    assert found in (None, patterned(ODD_SIZE))


@given(
    kind=st.sampled_from(["fixed", "dynamic"]),
    at=st.integers(1536, 1700) | st.integers(0, ODD_SIZE - 1),
    mask=st.integers(1, 255),
)
@settings(derandomize=True, deadline=None, max_examples=150)
def test_a_changed_byte_anywhere_ends_in_a_sentence_or_a_disk(
    vhds: dict[str, Path], kind: str, at: int, mask: int
) -> None:
    """Where no checksums are, a flipped bit gives other bytes at worst, and no other failure."""
    path = vhds[kind]

    with Spoiling(path, at=at % path.stat().st_size, mask=mask):
        found = content_or_error(path)

    assert found is None or len(found) == ODD_SIZE


@given(kind=st.sampled_from(["fixed", "dynamic"]), cut=st.integers(1, 6 * MIB))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_a_vhd_cut_short_is_refused_or_whole(vhds: dict[str, Path], kind: str, cut: int) -> None:
    """A VHD that lost its end is not taken for a shorter disk."""
    path = vhds[kind]
    whole = path.read_bytes()
    path.write_bytes(whole[: max(0, len(whole) - cut)])

    found = content_or_error(path)
    path.write_bytes(whole)

    assert found in (None, patterned(ODD_SIZE))
