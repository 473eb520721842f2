"""Items that become files below a directory of this machine.

Names come from an image that a stranger wrote. Each becomes one name below a directory that was
looked at just before: what is a link is never followed, and a file gets its name when it is whole.
Against somebody who changes the directory meanwhile there is no protection: choose one of your own.
"""

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path as Place
from typing import Final, NoReturn

import msgspec

from reference_engine.formats.output_file import Existing
from reference_engine.model.errors import InputRefusedError, OperationFailedError
from reference_engine.ports.item_target import ItemRefusedError, ItemTarget, Path

_NEW: Final = (
    os.O_WRONLY
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_BINARY", 0)
)
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS})
"""After these nothing else can be written either."""

_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK})

_NOT_ON_WINDOWS: Final = frozenset('<>:"\\|?*')


class _Open(msgspec.Struct, frozen=True, kw_only=True):
    path: Path
    temporary: Place
    descriptor: int


class ItemDirectory(ItemTarget):
    """A directory, made when it is not there yet."""

    def __init__(self, place: Place, /, *, existing: Existing) -> None:
        """`existing`: what becomes of files that have the names of items.

        Raises:
            InputRefusedError: it is no directory, and none can be made there.
        """
        self._place, self._existing = place, existing
        self._open: dict[int, _Open] = {}
        self._begun = 0
        try:
            place.mkdir(exist_ok=True)
        except FileExistsError:
            raise InputRefusedError(f"{place} is no directory", "choose another place") from None
        except (OSError, ValueError) as error:
            words = getattr(error, "strerror", None) or "its name is not usable"
            raise InputRefusedError(
                f"{place} cannot be made: {words.lower()}", "create it, or choose another place"
            ) from error

    async def directory(self, path: Path, /) -> None:
        """Have a directory there."""
        place = self._placed(path)
        try:
            place.mkdir()
        except FileExistsError:
            if not stat.S_ISDIR(place.lstat().st_mode):
                raise ItemRefusedError(str(place), "something else has its name") from None
        except (OSError, ValueError) as error:
            self._fail(place, error)

    async def begin(self, path: Path, /, *, size: int) -> int:
        """Return the number of a new file of so many zeros, which take no space."""
        place = self._placed(path)
        if self._existing is Existing.REFUSE:
            self._refuse_taken(place)
        self._begun += 1
        temporary = place.with_name(f".twinshot-{os.getpid()}-{self._begun}.partial")
        try:
            descriptor = os.open(temporary, _NEW, 0o666)
        except (OSError, ValueError) as error:
            self._fail(place, error)
        self._open[self._begun] = _Open(path=path, temporary=temporary, descriptor=descriptor)
        try:
            os.ftruncate(descriptor, size)
        except (OSError, OverflowError) as error:
            await self.abandon(self._begun)
            self._fail(place, error)
        return self._begun

    @staticmethod
    def _refuse_taken(place: Place) -> None:
        if os.path.lexists(place):
            raise ItemRefusedError(str(place), "it exists already; --overwrite replaces it")

    async def write(self, number: int, offset: int, content: bytes, /) -> None:
        """Write into a file that was begun."""
        file, view = self._open[number], memoryview(content)
        try:
            while view:
                done = os.pwrite(file.descriptor, view, offset)
                view, offset = view[done:], offset + done
        except OSError as error:
            self._fail(file.temporary, error)

    async def finish(self, number: int, /, *, modified_ns: int | None) -> None:
        """Have a file be durable, and give it its name."""
        file = self._open[number]
        place = self._placed(file.path)
        try:
            os.fsync(file.descriptor)
            with suppress(OSError, OverflowError):  # a time that this file system cannot hold
                if modified_ns is not None:
                    os.utime(file.descriptor, ns=(modified_ns, modified_ns))
            os.close(file.descriptor)
            del self._open[number]
            self._named(file.temporary, place)
        except (OSError, ValueError) as error:
            with suppress(OSError):
                file.temporary.unlink()
            self._fail(place, error)

    def _named(self, temporary: Place, place: Place) -> None:
        if self._existing is Existing.REPLACE:
            temporary.replace(place)
            return
        try:
            os.link(temporary, place, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # Without hard links the name is taken by an empty file, which only we replace.
            place.touch(exist_ok=False)
            temporary.replace(place)
        else:
            temporary.unlink()

    async def abandon(self, number: int, /) -> None:
        """Leave nothing of a file that was begun."""
        file = self._open.pop(number, None)
        if file is not None:
            with suppress(OSError):
                os.close(file.descriptor)
            with suppress(OSError):
                file.temporary.unlink()

    async def link(self, path: Path, target: str, /, *, modified_ns: int | None) -> None:
        """Have a symbolic link there, whatever it points to, with a time if it can have one."""
        place = self._placed(path)
        try:
            self._make_room(place)
            place.symlink_to(target)
            if modified_ns is not None and os.utime in os.supports_follow_symlinks:
                with suppress(OSError, OverflowError):  # as of a file
                    os.utime(place, ns=(modified_ns, modified_ns), follow_symlinks=False)
        except (OSError, ValueError) as error:
            self._fail(place, error)

    async def same(self, path: Path, first: Path, /) -> None:
        """Have another name of a file that was finished."""
        place, of = self._placed(path), self._placed(first)
        try:
            self._make_room(place)
            os.link(of, place, follow_symlinks=False)
        except (OSError, ValueError) as error:
            self._fail(place, error)

    def _make_room(self, place: Place) -> None:
        if self._existing is Existing.REPLACE:
            with suppress(FileNotFoundError):
                if not stat.S_ISDIR(place.lstat().st_mode):
                    place.unlink()

    async def settle(self, path: Path, /, *, modified_ns: int | None) -> None:
        """Give a directory its time."""
        if modified_ns is None:
            return
        with suppress(OSError, OverflowError, ItemRefusedError):
            place = self._placed(path)
            if stat.S_ISDIR(place.lstat().st_mode):
                os.utime(place, ns=(modified_ns, modified_ns), follow_symlinks=False)

    def _placed(self, path: Path) -> Place:
        """Return where an item goes: below directories, each of which is one and no link."""
        place = self._place
        assert path, path
        for name in path:
            odd = os.name == "nt" and (_NOT_ON_WINDOWS & {*name} or name[-1:] in {".", " "})
            if name in {"", ".", ".."} or "/" in name or "\0" in name or odd:
                raise ItemRefusedError(str(place), f"{name!r} cannot be a name here")
            place /= name
        above = self._place
        for name in path[:-1]:
            above /= name
            try:
                kind = above.lstat().st_mode
            except (OSError, ValueError) as error:
                self._fail(above, error)
            if not stat.S_ISDIR(kind):
                raise ItemRefusedError(str(place), f"{above.name} above it is no directory")
        return place

    def _fail(self, place: Place, error: Exception) -> NoReturn:
        number = getattr(error, "errno", None)
        if number in _NO_ROOM:
            raise OperationFailedError(f"writing {place}", os.strerror(number)) from error
        if isinstance(error, FileExistsError):
            cause = "it exists already; --overwrite replaces it"
        elif isinstance(error, OSError) and number:
            cause = os.strerror(number).lower()
        else:
            cause = "its name or size cannot be had here"
        raise ItemRefusedError(str(place), cause) from error
