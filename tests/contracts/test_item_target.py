"""What every target of items promises: whole files or none, and nothing outside of it."""

import asyncio  # noqa: TID251 - targets are awaited on asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from reference_engine.adapters.targets.item_directory import ItemDirectory
from reference_engine.formats.output_file import Existing
from reference_engine.model.errors import InputRefusedError
from reference_engine.ports.item_target import ItemRefusedError, ItemTarget
from simulator.facade.item_target import ItemTargetFacade

Seen = dict[str, tuple[str, bytes]]


class Subject:
    """A target, and how to look at what is in it."""

    def __init__(self, target: ItemTarget, look: Callable[[], Seen], /) -> None:
        self.target, self.look = target, look


def looked_at(place: Path) -> Seen:
    """Return everything below a directory of this machine."""
    seen: Seen = {}
    for each in sorted(place.rglob("*")):
        name = each.relative_to(place).as_posix()
        if each.is_symlink():
            seen[name] = ("link", os.fsencode(each.readlink()))
        elif each.is_dir():
            seen[name] = ("directory", b"")
        else:
            seen[name] = ("file", each.read_bytes())
    return seen


@pytest.fixture(params=["directory", "facade"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Subject:
    """Return each kind of target in turn, empty."""
    if request.param == "facade":
        facade = ItemTargetFacade()
        return Subject(
            facade,
            lambda: {
                "/".join(path): (each.kind, each.content) for path, each in facade.taken.items()
            },
        )
    place = tmp_path / "out"
    return Subject(ItemDirectory(place, existing=Existing.REFUSE), lambda: looked_at(place))


async def put(target: ItemTarget, path: tuple[str, ...], content: bytes) -> None:
    """Have a file with this content."""
    number = await target.begin(path, size=len(content))
    await target.write(number, 0, content)
    await target.finish(number, modified_ns=1_500_000_000_123_456_700)


def test_a_file_has_its_name_when_it_is_whole(subject: Subject) -> None:
    """Before it is finished nothing has the name, and what was not written is zeros."""

    async def scenario() -> None:
        number = await subject.target.begin(("a",), size=10)
        await subject.target.write(number, 4, b"xyz")
        assert "a" not in subject.look()
        await subject.target.finish(number, modified_ns=None)

    asyncio.run(scenario())

    assert subject.look() == {"a": ("file", b"\0\0\0\0xyz\0\0\0")}


def test_nothing_is_left_of_what_is_abandoned(subject: Subject) -> None:
    """A file that was given up leaves no trace, however often it is given up."""

    async def scenario() -> None:
        number = await subject.target.begin(("a",), size=1 << 20)
        await subject.target.write(number, 0, b"xyz")
        await subject.target.abandon(number)
        await subject.target.abandon(number)

    asyncio.run(scenario())

    assert subject.look() == {}


def test_directories_links_and_names_of_one_file(subject: Subject) -> None:
    """All kinds of items are there, also a name that is no text, and a link to nowhere."""

    async def scenario() -> None:
        await subject.target.directory(("d",))
        await subject.target.directory(("d",))
        await put(subject.target, ("d", "a"), b"one")
        await subject.target.same(("d", "b"), ("d", "a"))
        await subject.target.link(("l",), "../../etc/passwd", modified_ns=None)
        await put(subject.target, ("\udcff\n",), b"odd")
        await subject.target.settle(("d",), modified_ns=1)

    asyncio.run(scenario())

    seen = subject.look()
    assert seen.pop("d/a") == seen.pop("d/b") == ("file", b"one")
    assert seen.pop("d") == ("directory", b"")
    assert seen.pop("l") == ("link", b"../../etc/passwd")
    assert [*seen.values()] == [("file", b"odd")]


@pytest.mark.parametrize(
    "path",
    [("..",), ("..", "x"), (".",), ("",), ("a/b",), ("/etc",), ("a\0b",), ("l", "x"), ("f", "x")],
)
def test_nothing_outside_is_ever_written(
    subject: Subject, path: tuple[str, ...], tmp_path: Path
) -> None:
    """A name that is a path, and a way that leads through a link or a file, are refused."""
    (tmp_path / "elsewhere").mkdir()

    async def scenario() -> None:
        await subject.target.link(("l",), str(tmp_path / "elsewhere"), modified_ns=None)
        await put(subject.target, ("f",), b"")
        for call in (
            lambda: put(subject.target, path, b"evil"),
            lambda: subject.target.directory(path),
            lambda: subject.target.link(path, "evil", modified_ns=None),
            lambda: subject.target.same(path, ("f",)),
        ):
            with pytest.raises(ItemRefusedError):
                await call()

    asyncio.run(scenario())

    assert {*subject.look()} == {"l", "f"}
    assert [*(tmp_path / "elsewhere").iterdir()] == []


def test_what_has_the_name_stays(subject: Subject) -> None:
    """A second item of one name is refused, whatever it is, and the first is as it was."""

    async def scenario() -> None:
        await put(subject.target, ("a",), b"first")
        for call in (
            lambda: put(subject.target, ("a",), b"second"),
            lambda: subject.target.directory(("a",)),
            lambda: subject.target.link(("a",), "b", modified_ns=None),
        ):
            with pytest.raises(ItemRefusedError):
                await call()

    asyncio.run(scenario())

    assert subject.look() == {"a": ("file", b"first")}


def test_an_absurd_size_is_refused(subject: Subject) -> None:
    """What no file can be is an error of that item alone."""

    async def scenario() -> None:
        with pytest.raises(ItemRefusedError):
            await subject.target.begin(("a",), size=1 << 70)

    asyncio.run(scenario())

    assert subject.look() == {}


def test_what_exists_is_replaced_if_that_is_wanted(tmp_path: Path) -> None:
    """A link that has the name is replaced itself, and not what it points to."""
    (tmp_path / "victim").write_bytes(b"safe")
    place = tmp_path / "out"
    place.mkdir()
    (place / "a").symlink_to(tmp_path / "victim")
    (place / "l").write_bytes(b"old")
    target = ItemDirectory(place, existing=Existing.REPLACE)

    async def scenario() -> None:
        await put(target, ("a",), b"new")
        await target.link(("l",), "a", modified_ns=None)

    asyncio.run(scenario())

    assert looked_at(place) == {"a": ("file", b"new"), "l": ("link", b"a")}
    assert (tmp_path / "victim").read_bytes() == b"safe"


def test_files_and_links_keep_their_time_and_files_their_holes(tmp_path: Path) -> None:
    """A large file of which little is written takes little space, and has the item's time."""
    target = ItemDirectory(tmp_path / "out", existing=Existing.REFUSE)

    async def scenario() -> None:
        number = await target.begin(("a",), size=1 << 30)
        await target.write(number, 1 << 29, b"x")
        await target.finish(number, modified_ns=1_500_000_000_123_456_700)
        await target.link(("l",), "a", modified_ns=1_400_000_000_000_000_300)

    asyncio.run(scenario())

    assert (tmp_path / "out" / "l").lstat().st_mtime_ns == 1_400_000_000_000_000_300
    found = (tmp_path / "out" / "a").stat()
    assert (found.st_size, found.st_mtime_ns) == (1 << 30, 1_500_000_000_123_456_700)
    assert found.st_blocks * 512 < 1 << 20


def test_a_place_that_is_none_is_refused(tmp_path: Path) -> None:
    """A file, or a directory below one that is not there, cannot be the target."""
    (tmp_path / "file").write_bytes(b"")

    for place in (tmp_path / "file", tmp_path / "no" / "where"):
        with pytest.raises(InputRefusedError):
            ItemDirectory(place, existing=Existing.REFUSE)
