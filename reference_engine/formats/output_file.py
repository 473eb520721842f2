"""A file that appears under its name complete, or not at all.

It grows under a temporary name in the directory of its target, `.<name>.<process>-<n>.partial`.
Nothing but a killed process leaves such a file behind; it may be deleted.
"""

import errno
import os
from contextlib import suppress
from enum import Enum
from itertools import count
from pathlib import Path
from typing import Final, NoReturn

from reference_engine.formats.direct_write import DirectWriter
from reference_engine.model.errors import InputRefusedError, OperationFailedError

TEMPORARY_MAX: Final = 100
"""How many temporary names are tried; that many writers of one target are a mistake."""

NAME_MAX: Final = 200
"""How much of the target's name goes into the temporary one; file systems allow 255 bytes."""

_NO_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL)


class Existing(Enum):
    """What happens to a file that bears the name already."""

    REFUSE = "refuse"
    REPLACE = "replace"


class OutputFile:
    """An open new file; whatever fails on it abandons it first."""

    __slots__ = ("_descriptor", "_existing", "_target", "_temporary", "_writer", "name")

    def __init__(self, target: str | os.PathLike[str] | int, /, *, existing: Existing) -> None:
        """Start a file at the path `target`, or in the regular file open as descriptor `target`.

        A descriptor stays the caller's to close. What was in it is gone at once, since there is
        no name that could be given later.

        Raises:
            InputRefusedError: the name is taken, or there is no such directory.
            OperationFailedError: the storage is full or faulty.
        """
        self._existing = existing
        self._target: Path | None = None
        self._temporary: Path | None = None
        self._descriptor = -1
        if isinstance(target, int):
            self.name = f"descriptor {target}"
            try:
                self._descriptor = os.dup(target)
                os.ftruncate(self._descriptor, 0)
            except OSError as fault:
                self._fail(fault)
            self._writer = DirectWriter(self._descriptor)
            return
        self._target = Path(target)
        self.name = str(self._target)
        self._check_target(self._target)
        self._create_temporary(self._target)
        self._writer = DirectWriter(self._descriptor)

    def _check_target(self, target: Path) -> None:
        if target.is_dir():
            raise InputRefusedError(f"{self.name} is a directory", "give the path of a file")
        if self._existing is Existing.REFUSE and os.path.lexists(target):
            self._refuse_taken()
        if not target.parent.is_dir():
            raise InputRefusedError(
                f"there is no directory {target.parent}", "create it, or choose another place"
            )

    def _refuse_taken(self) -> NoReturn:
        raise InputRefusedError(
            f"{self.name} exists already", "choose another name, or replace it with --overwrite"
        )

    def _create_temporary(self, target: Path) -> None:
        stem = target.name.encode(errors="surrogateescape")[:NAME_MAX].decode(errors="ignore")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        for number in count():
            path = target.with_name(f".{stem}.{os.getpid()}-{number}.partial")
            try:
                self._descriptor = os.open(path, flags, 0o600)
            except FileExistsError as fault:
                if number == TEMPORARY_MAX:
                    self._fail(fault)
            except (OSError, ValueError) as fault:
                self._fail(fault)
            else:
                self._temporary = path
                return

    def extend(self, length: int, /) -> None:
        """Make the file `length` bytes long; what is new reads as zeros and takes no space."""
        try:
            os.ftruncate(self._descriptor, length)
        except OSError as fault:
            self._fail(fault)

    def write(self, data: bytes | memoryview, offset: int, /) -> None:
        """Put all of `data` at `offset`."""
        try:
            self._writer.write(data, offset)
        except OSError as fault:
            self._fail(fault)

    def sync(self) -> None:
        """Make durable what has been written so far."""
        try:
            self._writer.flush()
            os.fsync(self._descriptor)
        except OSError as fault:
            self._fail(fault)

    def publish(self) -> None:
        """Make the file durable and give it its name.

        Raises:
            InputRefusedError: another file has taken the name meanwhile; this one is gone.
            OperationFailedError: the storage is full or faulty; the file is gone.
        """
        self.sync()
        try:
            if self._target is not None and self._temporary is not None:
                self._take_name(self._temporary, self._target)
                self._temporary = None
                _sync_directory(self._target.parent)
        except FileExistsError:
            self.abandon()
            self._refuse_taken()
        except OSError as fault:
            self._fail(fault)
        self._close()

    def _take_name(self, temporary: Path, target: Path) -> None:
        if self._existing is Existing.REPLACE:
            temporary.replace(target)
            return
        try:
            os.link(temporary, target)
        except OSError as fault:
            if fault.errno not in _NO_LINKS:
                raise
            # Without hard links the name is taken by an empty file, which only we replace.
            target.touch(mode=0o600, exist_ok=False)
            temporary.replace(target)
        else:
            temporary.unlink()

    def abandon(self) -> None:
        """Leave nothing of the file behind; once it is published this does nothing."""
        if self._descriptor < 0:
            return
        if self._temporary is not None:
            with suppress(OSError):
                self._temporary.unlink()
            self._temporary = None
        elif self._target is None:
            with suppress(OSError):
                os.ftruncate(self._descriptor, 0)
        self._close()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with suppress(OSError):
                os.close(descriptor)

    def _fail(self, fault: OSError | ValueError) -> NoReturn:
        self.abandon()
        words = getattr(fault, "strerror", None) or "the path is not usable"
        raise OperationFailedError(f"writing {self.name}", words) from fault


def _sync_directory(directory: Path) -> None:
    """Make the new name durable, where the file system lets a directory be synced."""
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
