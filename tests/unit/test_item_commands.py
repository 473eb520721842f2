"""The commands for items: what people see, what they get, and what they are told."""

import hashlib
import os
from pathlib import Path

import pytest

from simulator.world.own_disks import own_disk
from tests.strategies.command_line import CommandLine
from tests.strategies.item_images import BASIC, gpt


@pytest.fixture
def line(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """Return the command line, with one repository for all commands."""
    return CommandLine(capsys)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """Return where the repository is."""
    return tmp_path / "repo"


def backed_up(line: CommandLine, repo: Path, content: bytes) -> None:
    """Have a point of a disk."""
    source = repo.parent / "web.raw"
    source.write_bytes(content)
    assert line.run("backup", source, "--repo", repo, "--quiet")[0] == 0


def test_volumes_say_what_they_are(line: CommandLine, repo: Path) -> None:
    """Each volume of a disk has a line, and a name for what cannot be read."""
    backed_up(line, repo, own_disk("own:closed").content)

    code, out, err = line.run("items", "volumes", "latest", "--repo", repo)

    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 11
    for each in ("BitLocker", "ReFS", "(LDM)", "Storage Spaces", "LVM", "LUKS", "btrfs", "unknown"):
        assert each in out


def test_a_volume_that_cannot_be_read_is_refused(line: CommandLine, repo: Path) -> None:
    """Neither a listing nor an extraction begins: a sentence says which volume holds what."""
    backed_up(line, repo, own_disk("own:closed").content)

    for words in (("list", "latest", "/"), ("extract", "latest", "/", "--to", repo.parent / "o")):
        one = line.refused(2, "items", *words, "--repo", repo, "--volume", 1)
        every = line.refused(2, "items", *words, "--repo", repo)

        assert "BitLocker" in one
        assert "ReFS" in every
    assert not (repo.parent / "o").exists()


def test_the_volume_has_to_be_named_where_there_are_several(line: CommandLine, repo: Path) -> None:
    """Of two that can be read none is chosen by itself, and a number that there is not is told."""
    fat = own_disk("own:fat").content
    backed_up(line, repo, gpt([(BASIC, fat), (BASIC, fat)]))

    said = line.refused(2, "items", "list", "latest", "--repo", repo)
    missing = line.refused(2, "items", "list", "latest", "--repo", repo, "--volume", 3)
    *items, _ = line.records("items", "list", "latest", "--repo", repo, "--volume", 2)

    assert "--volume" in said
    assert "choose from 1, 2" in missing
    assert any(each["path"] == "/hello.txt" for each in items)


def test_a_listing_shows_streams_links_and_what_is_closed(line: CommandLine, repo: Path) -> None:
    """What NTFS has beside files is there, and what cannot be had says why."""
    backed_up(line, repo, own_disk("own:ntfs").content)

    code, out, err = line.run("items", "list", "latest", "--repo", repo)
    [again, _] = line.records("items", "list", "latest", r"one\AGAIN.txt", "--repo", repo)

    assert (code, err) == (0, "")
    assert "/hello.txt:Zone.Identifier" in out
    assert "[2 names]" in out
    assert "/junction -> C:\\Windows  [junction]" in out
    assert "not supported: data deduplication (0x80000013)" in out
    assert again["path"] == "/one/again.txt"


def test_names_do_nothing_to_a_terminal(line: CommandLine, repo: Path) -> None:
    """Control characters, line breaks and bytes that are no text are written out."""
    backed_up(line, repo, own_disk("own:ext4").content)

    _, out, _ = line.run("items", "list", "latest", "--repo", repo)

    assert r"/line\nbreak \x1b[31m" in out
    assert r"/not\xfftext" in out
    assert "\x1b" not in out


def test_what_there_is_not_is_no_finding(line: CommandLine, repo: Path) -> None:
    """A path of nothing has an exit code of its own."""
    backed_up(line, repo, own_disk("own:ext4").content)

    for path in ("nothing", "hello.txt/x", "../etc", "link/x", "HELLO.TXT", r"one\two"):
        said = line.refused(5, "items", "list", "latest", path, "--repo", repo)
        assert f"no '{path}';" in said, "as it was typed"
    said = line.refused(5, "items", "list", "latest", "\x1b[31m", "--repo", repo)
    assert r"no '\x1b[31m';" in said


def test_files_come_out_as_they_went_in(line: CommandLine, repo: Path) -> None:
    """Every file that can be had is there, bit for bit; the rest is named, with a code."""
    disk, out = own_disk("own:ext4"), repo.parent / "out"
    backed_up(line, repo, disk.content)

    *records, summary = line.records(
        "items", "extract", "latest", "/", "--repo", repo, "--to", out, code=3
    )

    assert [each["path"] for each in records] == ["/pipe"]
    assert summary["missed"] == 1
    wanted = {item.path: item for item in disk.volumes[1].items}
    for path, item in wanted.items():
        found = out / os.fsdecode(bytes.fromhex(path)).removeprefix("/")
        if item.kind == "link":
            assert str(found.readlink()) == item.target
        elif item.kind == "file":
            assert hashlib.sha256(found.read_bytes()).hexdigest() == item.digest
    assert (out / "hello.txt").samefile(out / "one" / "again.txt")
    assert (out / "sparse.bin").stat().st_blocks * 512 < 100_000
    assert (out / "hello.txt").stat().st_mtime == 1_700_000_000
    assert [each for each in out.rglob("*") if "partial" in each.name] == []


def test_single_items_come_below_their_own_names(line: CommandLine, repo: Path) -> None:
    """A file and a directory out of the middle of a volume, and streams if they are wanted."""
    disk, out = own_disk("own:ntfs"), repo.parent / "out"
    backed_up(line, repo, disk.content)
    command = ("items", "extract", "latest", "hello.txt", r"one\two", "--repo", repo, "--to", out)

    *_, left = line.records(*command)
    *_, taken = line.records(*command, "--overwrite", "--streams")
    *missed, _ = line.records(*command, code=3)

    assert (left["streams_left"], taken["streams_left"]) == (2, 0)
    assert (out / "hello.txt:Zone.Identifier").read_bytes().startswith(b"[ZoneTransfer]")
    assert (out / "two" / "three").is_dir()
    assert {each["path"] for each in missed} >= {"/hello.txt"}


def test_a_damaged_directory_is_a_finding(line: CommandLine, repo: Path) -> None:
    """What is in it is not listed as if it were empty; the rest is, and the exit code tells."""
    content = bytearray(own_disk("own:ext4").content)
    at = content.index(b"a rather long name of a small file 000")
    content[at] ^= 1
    backed_up(line, repo, bytes(content))

    code, out, err = line.run("items", "list", "latest", "--repo", repo, "--recursive")
    alone = line.refused(1, "items", "list", "latest", "many", "--repo", repo)
    *missed, _ = line.records(
        "items", "extract", "latest", "many", "--repo", repo, "--to", repo.parent / "o", code=3
    )

    assert code == 1
    assert "/many  [damaged: " in out
    assert "/hello.txt" in out
    assert "damaged" in err
    assert "/many is damaged" in alone
    assert missed[0]["damaged"] is True


def test_a_volume_that_was_in_use_is_told(line: CommandLine, repo: Path) -> None:
    """People are warned once on standard error; programs have a field."""
    content = bytearray(own_disk("own:exfat").content)
    content[106] |= 2
    backed_up(line, repo, bytes(content))

    _, _, err = line.run("items", "list", "latest", "--repo", repo)
    *_, summary = line.records("items", "list", "latest", "--repo", repo)

    assert err.count("\n") == 1
    assert "was not at rest: it was in use" in err
    assert (summary["at_rest"], summary["unrest"]) == (False, "it was in use")
