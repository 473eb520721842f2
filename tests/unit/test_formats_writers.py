"""A new image appears whole under its name, or not at all."""

import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from reference_engine.formats import vhdx_layout as layout
from reference_engine.formats.opening import open_disk_image
from reference_engine.formats.output_file import Existing, OutputFile
from reference_engine.formats.raw_writer import RawWriter
from reference_engine.formats.vhdx_writer import FIXED, VhdxWriter
from reference_engine.formats.writer import DiskWriter
from reference_engine.model.errors import InputRefusedError, OperationFailedError, TwinshotError
from reference_engine.model.units import MIB, ByteCount
from tests.strategies.disk_images import IDENTITY, content_or_error, patterned, write_content

SIZE = ByteCount(5 * MIB + 512)
FORMATS = ["raw", "dynamic", "fixed"]


def new_writer(
    kind: str, target: Path | int, /, *, existing: Existing = Existing.REFUSE
) -> DiskWriter:
    """Start an image of one of the formats that are written here."""
    if kind == "raw":
        return RawWriter.create(target, SIZE, existing=existing)
    if kind == "fixed":
        return VhdxWriter.create(target, SIZE, identity=IDENTITY, form=FIXED, existing=existing)
    return VhdxWriter.create(target, SIZE, identity=IDENTITY, existing=existing)


@pytest.mark.parametrize("kind", FORMATS)
def test_an_image_has_its_name_only_once_it_is_finished(tmp_path: Path, kind: str) -> None:
    """Before `finish` there is no such file, afterwards there is no other one."""
    target = tmp_path / "disk"

    with new_writer(kind, target) as writer:
        writer.write(ByteCount(0), patterned(SIZE))
        assert not target.exists()
        writer.finish()

    assert list(tmp_path.iterdir()) == [target]
    assert content_or_error(target) == patterned(SIZE)


@pytest.mark.parametrize("kind", FORMATS)
def test_an_abandoned_image_leaves_nothing(tmp_path: Path, kind: str) -> None:
    """Leaving a writer before `finish` removes what it has written."""
    with new_writer(kind, tmp_path / "disk") as writer:
        writer.write(ByteCount(0), patterned(SIZE))

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", FORMATS)
def test_an_existing_file_is_refused(tmp_path: Path, kind: str) -> None:
    """What bears the name already stays as it is."""
    target = tmp_path / "disk"
    target.write_text("precious")

    with pytest.raises(InputRefusedError, match="exists already"):
        new_writer(kind, target)

    assert target.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [target]


def test_a_dangling_link_is_an_existing_file(tmp_path: Path) -> None:
    """A name is taken by a link too, wherever it leads."""
    (tmp_path / "disk").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(InputRefusedError, match="exists already"):
        new_writer("raw", tmp_path / "disk")


def test_an_existing_file_is_replaced_on_request_and_only_at_the_end(tmp_path: Path) -> None:
    """Until the new image is whole the old file is there."""
    target = tmp_path / "disk"
    target.write_text("old")

    with new_writer("dynamic", target, existing=Existing.REPLACE) as writer:
        assert target.read_text() == "old"
        write_content(writer, patterned(SIZE))

    assert content_or_error(target) == patterned(SIZE)
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("links", ["with hard links", "without hard links"])
def test_a_name_taken_meanwhile_is_not_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: str
) -> None:
    """Of two writers of one name the first to finish wins, and the other leaves nothing."""
    if links == "without hard links":
        monkeypatch.setattr(os, "link", refuse_links)
    target = tmp_path / "disk"

    with new_writer("raw", target) as writer:
        target.write_text("first")
        with pytest.raises(InputRefusedError, match="exists already"):
            writer.finish()

    assert target.read_text() == "first"
    assert list(tmp_path.iterdir()) == [target]


def refuse_links(*_: object) -> None:
    """Answer like a file system that has no hard links."""
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def test_a_file_system_without_hard_links_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a name cannot be linked, it is claimed and then filled."""
    monkeypatch.setattr(os, "link", refuse_links)
    target = tmp_path / "disk"

    with new_writer("dynamic", target) as writer:
        write_content(writer, patterned(SIZE))

    assert list(tmp_path.iterdir()) == [target]
    assert content_or_error(target) == patterned(SIZE)


def test_an_image_may_go_into_an_open_file(tmp_path: Path) -> None:
    """A descriptor is filled in place and stays its owner's."""
    path = tmp_path / "disk"
    with path.open("w+b") as file:
        file.write(b"old")
        file.flush()
        with new_writer("dynamic", file.fileno()) as writer:
            write_content(writer, patterned(SIZE))
        assert os.fstat(file.fileno()).st_size > SIZE

    assert content_or_error(path) == patterned(SIZE)


def test_an_abandoned_open_file_is_empty(tmp_path: Path) -> None:
    """Half an image is not left in a descriptor either."""
    path = tmp_path / "disk"
    with path.open("w+b") as file, new_writer("raw", file.fileno()) as writer:
        writer.write(ByteCount(0), patterned(SIZE))

    assert path.stat().st_size == 0


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    """The place of an image has to be there."""
    with pytest.raises(InputRefusedError, match="there is no directory"):
        new_writer("raw", tmp_path / "none" / "disk")


def test_a_directory_is_never_replaced(tmp_path: Path) -> None:
    """A directory of that name is refused even when replacing is asked for."""
    (tmp_path / "disk").mkdir()

    with pytest.raises(InputRefusedError, match="is a directory"):
        new_writer("raw", tmp_path / "disk", existing=Existing.REPLACE)


@pytest.mark.parametrize("name", ["d" * 255, "\N{LATIN SMALL LETTER E WITH ACUTE}" * 127])
def test_a_name_as_long_as_names_may_be_is_usable(tmp_path: Path, name: str) -> None:
    """The temporary name is not longer than a name may be."""
    with new_writer("raw", tmp_path / name) as writer:
        writer.finish()

    assert (tmp_path / name).stat().st_size == SIZE


@pytest.fixture
def small_quota() -> Iterator[None]:
    """No file of this process may grow beyond 4 MiB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 * MIB, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_quota")
@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_that_may_not_grow_fails_with_a_sentence(tmp_path: Path, kind: str) -> None:
    """A limit on the size of files is one failed operation, and nothing is left."""
    with pytest.raises(OperationFailedError, match="failed: File too large"):
        fill(kind, tmp_path / "disk")

    assert list(tmp_path.iterdir()) == []


def fill(kind: str, target: Path) -> None:
    """Write a whole image."""
    with new_writer(kind, target) as writer:
        write_content(writer, patterned(SIZE))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("call", ["pwrite", "fsync", "ftruncate"])
def test_full_storage_fails_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, call: str
) -> None:
    """Wherever the space runs out, it is one failed operation, and nothing is left."""
    monkeypatch.setattr(os, call, run_out_of_space)

    with pytest.raises(OperationFailedError, match="disk failed: No space left on device"):
        fill(kind, tmp_path / "disk")

    assert list(tmp_path.iterdir()) == []


def run_out_of_space(*_: object) -> None:
    """Answer like a full file system."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_vhdx_torn_at_any_write_never_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is missing of the last writes, the rest is not taken for an image."""
    steps: list[tuple[bytes, int]] = []
    syncs: list[int] = []
    pwrite, fsync = os.pwrite, os.fsync

    def keep(descriptor: int, data: memoryview, offset: int) -> int:
        steps.append((bytes(data), offset))
        return pwrite(descriptor, data, offset)

    def count(descriptor: int) -> None:
        syncs.append(len(steps))
        fsync(descriptor)

    monkeypatch.setattr(os, "pwrite", keep)
    monkeypatch.setattr(os, "fsync", count)
    fill("dynamic", tmp_path / "disk")
    monkeypatch.undo()

    assert is_torn_at_every_step(tmp_path / "torn.vhdx", steps)
    switches = [place for place, (_, at) in enumerate(steps) if at < layout.REGION_TABLES_AT[0]]
    assert switches == list(range(syncs[0], syncs[1]))
    assert syncs[1] == len(steps)


def is_torn_at_every_step(path: Path, steps: list[tuple[bytes, int]]) -> bool:
    """Return whether each true prefix of the writes is refused, and all of them are not."""
    opened: list[bool] = []
    path.touch()
    for data, offset in steps:
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(data)
            file.truncate(max(file.seek(0, os.SEEK_END), 16 * MIB))
        try:
            open_disk_image(path).close()
        except TwinshotError:
            opened.append(False)
        else:
            opened.append(True)
    return opened == [False] * (len(steps) - 1) + [True]


def test_leftovers_of_a_killed_process_are_no_obstacle(tmp_path: Path) -> None:
    """A temporary name that is taken is passed over."""
    first = OutputFile(tmp_path / "disk", existing=Existing.REFUSE)
    second = OutputFile(tmp_path / "disk", existing=Existing.REFUSE)

    second.publish()
    first.abandon()

    assert [path.name for path in tmp_path.iterdir()] == ["disk"]
