"""What the command line does to a repository in a directory, and what must be true after it.

Each operation starts from a directory that was prepared once and is copied for each try.
"""

import asyncio  # noqa: TID251 - points are read back on asyncio, as commands do it
import contextlib
import functools
import io
import shutil
from collections.abc import Callable, Container, Coroutine
from pathlib import Path
from typing import Any, Final

import msgspec

from reference_engine.adapters.directory_store import DirectoryStore
from reference_engine.app.credentials import Keyholder, KeyOptions
from reference_engine.formats.opening import open_disk_image
from reference_engine.model.errors import RefusedError, TwinshotError
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import RecoveryPointId
from reference_engine.model.units import HOUR, ByteCount, Instant
from reference_engine.repository.errors import RepositoryAbsentError
from reference_engine.repository.keys.material import Credential
from reference_engine.repository.repository import Repository
from simulator.campaign.proving.children import run_command
from simulator.kernel.streams import Stream

BLOCK: Final = 64 * 1024
THIN: Final = "fg"
"""Images of blocks that hold next to nothing."""

KEYS: Final = "keys"
"""Below a prepared directory: what opens its repository, one file each."""

WORDS: Final = ".words"
"""How files with passphrases end."""

_LITTLE: Final = 512
_KNOWN: Final = "abcdefg"
_LATER: Final = Instant(4_100_000_000_000_000)
"""In a far future, in which no run is waited for any more."""


def _nothing(_: Path) -> None:
    """Leave it as it is."""


def _no_promise(_: Path, __: bool) -> list[str]:  # noqa: FBT001 - as `keeps` has it
    return []


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a process does, and what it leads to."""

    name: str
    prepare: Callable[[Path], None]
    """Fills a new directory."""

    act: Callable[[Path], int]
    """Does it in a prepared directory, and returns the exit code."""

    again: Callable[[Path], int]
    """Does it once more, whatever became of the first time."""

    adds: tuple[str, ...]
    """What each of its new points holds, images by name with commas between; perhaps none."""

    removes: tuple[str, ...]
    """Machines of which it removes all but the newest point."""

    shreds: tuple[str, ...] = ()
    """Machines of which it removes all points, in one step."""

    restores: tuple[str, ...]
    """The images that it writes, by their file's name: a restore."""

    injures: Callable[[Path], None] = _nothing
    """Damages what was prepared, before the operation."""

    loses: bool = False
    """Whether points do not restore from the injury until the operation has succeeded."""

    keeps: Callable[[Path, bool], list[str]] = _no_promise
    """Returns which further promises do not hold, in the middle of it or (True) once it is done."""

    made: Callable[[Path], bool] | None = None
    """Returns whether its result is there as soon as it says so; None: points or files tell."""

    changes: bool = True
    """Whether it changes any file."""


@functools.cache
def image(name: str, /) -> bytes:
    """Return the bytes of a source image: some blocks of its own, some shared, some holes."""
    own = [Stream("image", name, index) for index in range(4)]
    if name in THIN:
        # Several blocks share a pack, and the next image needs one of them.
        parts = [
            _block(each, noise=_LITTLE) for each in (own[0], Stream("image", "thin"), *own[1:])
        ]
        return b"".join([_bootable(parts[0]), *parts[1:]])
    shared = Stream("image", "shared")
    tail = name.encode() * 512
    head = _bootable(_block(own[0]))
    body = [_block(shared), _block(own[1]), bytes(BLOCK), _block(own[2]), _block(own[3])]
    return b"".join([head, bytes(BLOCK), *body, tail])


def _bootable(block: bytes) -> bytes:
    """Return a block with the signature of a partition table."""
    return block[:510] + b"\x55\xaa" + block[512:]


def _block(chance: Stream, *, noise: int = BLOCK // 8) -> bytes:
    # An eighth of the block is noise, so that packs stay small and are still no zeros.
    noisy = b"".join(chance.bits().to_bytes(8, "little") for _ in range(noise // 8))
    return noisy + bytes(BLOCK - len(noisy))


def back_up(place: Path, *names: str, machine: str, options: tuple[str, ...] = ()) -> int:
    """Back up images, under file names by which later ones follow earlier ones."""
    files = []
    for index, name in enumerate(names):
        path = place / f"disk{index}.raw"
        path.write_bytes(image(name))
        files.append(str(path))
    return run_command("backup", *files, "--repo", str(place / "repo"), "--name", machine, *options)


def prepared(*backups: tuple[str, tuple[str, ...]]) -> Callable[[Path], None]:
    """Return what fills a directory with these machines' points, in their order."""

    def prepare(place: Path) -> None:
        place.mkdir()
        for machine, names in backups:
            code = back_up(place, *names, machine=machine)
            assert code == 0, (machine, code)

    return prepare


def on_repository(place: Path, work: Callable[[Repository], Coroutine[Any, Any, Any]], /) -> Any:
    """Return what `work` makes of the repository of a directory, opened by any of its keys."""

    async def main() -> Any:
        return await work(await _opened(place))

    return asyncio.run(main())


async def _opened(place: Path) -> Repository:
    store = DirectoryStore(place / "repo")
    refusal: TwinshotError | None = None
    for key in sorted((place / KEYS).glob("*.*")):
        try:
            return await Repository.open(store, unlock=credential_of(key))
        except RefusedError as error:
            refusal = refusal or error
    if refusal is not None:
        raise refusal
    return await Repository.open(store)


def opens(place: Path, key: str, /) -> bool:
    """Return whether the key in this file opens the repository and lists its points."""

    async def main() -> bool:
        store = DirectoryStore(place / "repo")
        try:
            repository = await Repository.open(store, unlock=credential_of(place / KEYS / key))
            await repository.commits()
        except TwinshotError:
            return False
        return True

    return asyncio.run(main())


def credential_of(key: Path, /) -> Callable[[], Credential]:
    """Return what reads the credential in a file: a passphrase in `.words`, else a random key."""
    options = KeyOptions(password_file=key) if key.suffix == WORDS else KeyOptions(key_file=key)
    return Keyholder(options).credential


def _prune(place: Path, *options: str) -> int:
    return run_command("repo", "prune", str(place / "repo"), *options)


def _restore(place: Path, *options: str) -> int:
    return run_command("restore", "latest", "--repo", str(place / "repo"), *options)


def _restored(name: str, target: str, images: tuple[str, ...]) -> Operation:
    return Operation(
        name=name,
        prepare=prepared(("one", images)),
        act=lambda place: _restore(place, "--to", f"{place}/{target}"),
        again=lambda place: _restore(place, "--to", f"{place}/{target}", "--overwrite"),
        adds=(),
        removes=(),
        restores=images,
    )


def _backed_up(
    name: str,
    before: tuple[tuple[str, tuple[str, ...]], ...],
    machine: str,
    images: tuple[str, ...],
) -> Operation:
    def act(place: Path) -> int:
        return back_up(place, *images, machine=machine)

    return Operation(
        name=name,
        prepare=prepared(*before),
        act=act,
        again=act,
        adds=(",".join(images),),
        removes=(),
        restores=(),
    )


def _pruned(
    name: str, before: tuple[tuple[str, tuple[str, ...]], ...], machines: tuple[str, ...]
) -> Operation:
    return Operation(
        name=name,
        prepare=prepared(*before),
        act=lambda place: _prune(place, "--keep-last", "1"),
        again=lambda place: _prune(place, "--keep-last", "1"),
        adds=(),
        removes=machines,
        restores=(),
    )


def warm_up(place: Path, /) -> None:
    """Run each command once in this process, so that no child has to import it for itself."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        prepared(("one", ("a",)))(place)
        _restore(place, "--to", f"{place}/back.raw")
        _restore(place, "--to", f"{place}/back.vhdx")
        _prune(place, "--keep-last", "1")
        look(place)


_ONE: Final = ("one", ("a",))
_TWO: Final = ("two", ("b", "c"))

PLAIN_OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        name="init",
        prepare=prepared(),
        act=lambda place: run_command("repo", "init", str(place / "repo")),
        again=lambda place: back_up(place, "a", machine="one"),
        adds=(),
        removes=(),
        restores=(),
    ),
    _backed_up("init-and-backup", (), "one", ("a",)),
    _backed_up("next-backup", (_ONE,), "one", ("b",)),
    _backed_up("backup-of-another", (_ONE,), "two", ("c",)),
    _backed_up("backup-of-two-disks", (_ONE, _TWO), "two", ("d", "e")),
    _backed_up("backup-of-the-same", (_ONE, _TWO), "two", ("b", "c")),
    _pruned("prune", (_ONE, ("one", ("b",)), ("one", ("c",))), ("one",)),
    _pruned("prune-of-two", (_ONE, _TWO, ("one", ("d",)), ("two", ("e", "b"))), ("one", "two")),
    _pruned("prune-with-repack", (("one", ("f",)), ("one", ("g",))), ("one",)),
    _restored("restore-raw", "back.raw", ("a",)),
    _restored("restore-vhdx", "back.vhdx", ("b",)),
    _restored("restore-directory", "back/", ("c", "d")),
)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a repository: each point's machine and the digest of its disks, or why not."""

    points: tuple[tuple[str, str, str], ...]
    """Id, machine, and what it restores to: the images' names, or a complaint."""


def look(place: Path, /) -> Found:
    """Restore every point that is listed, and say which images it holds.

    Raises:
        TwinshotError: the repository does not open.
    """
    try:
        result: Found = on_repository(place, held)
    except RepositoryAbsentError:
        return Found(points=())
    return result


async def held(repository: Repository, /) -> Found:
    """Return which images every listed point holds, all its blocks read.

    Raises:
        TwinshotError: the points cannot be listed.
    """
    known = {image(name): name for name in _KNOWN}
    listed = await repository.commits()
    contents = [await _content(repository, entry.point, known) for entry in listed]
    return Found(
        points=tuple(
            (entry.point, entry.machine, content)
            for entry, content in zip(listed, contents, strict=True)
        )
    )


async def _content(repository: Repository, point: RecoveryPointId, known: dict[bytes, str]) -> str:
    try:
        reader = await repository.reader(point)
        names: list[str] = []
        for disk in reader.disks:
            content = await reader.read(disk, ExtentSet.whole(reader.size(disk)))
            names.append(known.get(content, "WRONG BYTES"))
    except TwinshotError as error:
        return f"LOST: {error}"
    return ",".join(names)


def orphans(place: Path, /) -> list[str]:
    """Reclaim, and return every file that is still there and that nothing refers to."""

    async def work(repository: Repository) -> list[str]:
        await repository.reclaim.reclaim(at=_LATER)
        await repository.reclaim.reclaim(at=Instant(_LATER + 48 * HOUR))
        history = repository.reclaim.history
        survey = repository.reclaim._survey  # noqa: SLF001 - the engine's own word on what is used
        used = await survey.used(tuple(history.live.values()))
        names = await DirectoryStore(place / "repo").names("")
        slots = () if repository.keys is None else await repository.keys.slots()
        standing = {*(slot.slot for slot in slots), *history.domains}
        return [name for name in names if not _is_used(name, used, names, standing)]

    left: list[str] = on_repository(place, work)
    temporaries = [path.name for path in (place / "repo").rglob("~*")]
    return [*left, *temporaries]


def _is_used(name: str, used: Container[str], names: Container[str], keys: Container[str]) -> bool:
    """Return whether an object serves one that is used, or is of a kind that always stays."""
    if name.startswith(("packs/", "maps/", "points/", "copies/points/")):
        return name in used
    if name.startswith("parity/packs/"):
        return name.removeprefix("parity/") in names
    if name.startswith(("keys/", "copies/keys/", "domains/", "copies/domains/")):
        return name.rpartition("/")[2] in keys
    return not name.startswith("parity/renewed/")


def copy(prepared_place: Path, place: Path, /) -> None:
    """Have a fresh copy of a prepared directory at `place`."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(prepared_place, place)


def targets_of(operation: Operation, place: Path, /) -> list[str]:
    """Return what is wrong with the images that a restore has left: wrong bytes under a name."""
    wrong: list[str] = []
    for path in [*place.glob("back.*"), *place.glob("back/*")]:
        if path.name.startswith("."):
            continue
        if path.suffix == ".raw":
            if path.read_bytes() not in [image(name) for name in operation.restores]:
                wrong.append(f"{path.name} has other bytes")
        elif path.suffix == ".vhdx" and not _is_whole(path):
            wrong.append(f"{path.name} is no whole image")
    return wrong


def _is_whole(path: Path) -> bool:
    known = [image(name) for name in _KNOWN]
    try:
        with open_disk_image(path) as disk:
            content = disk.read(ByteCount(0), disk.size)
    except (TwinshotError, ValueError):
        return False
    return any(content[: len(each)] == each and not any(content[len(each) :]) for each in known)
