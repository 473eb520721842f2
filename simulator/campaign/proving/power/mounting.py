"""Disks, file systems on them, and where they are mounted: for this process alone, and not longer.

Mounts are made in a namespace of their own, which ends with the processes in it, however they end;
the system detaches loop devices by itself when nobody has them mounted any more.
"""

import contextlib
import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from reference_engine.model.errors import InputRefusedError
from reference_engine.repository.errors import PackageMissingError
from simulator.campaign.proving.power.logged_disk import NAME

_NEW_MOUNTS: Final = 0x20000
"""Linux: CLONE_NEWNS."""

_NEEDED: Final = "run this as root on a Linux that has FUSE and loop devices, not in a container"
_SPARSE: Final = 64 * 1024
_WAY: Final = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


class FileSystemKind(msgspec.Struct, frozen=True, kw_only=True):
    """A file system of the kernel, and how it is made and mounted."""

    name: str
    size: int
    """Of the disk, in bytes: about the smallest on which it can be made."""

    make: tuple[str, ...]
    package: str
    """The Debian package that has the program which makes it."""

    options: str
    """With which it is mounted."""

    journal_shared: bool
    """Whether a flush of one file makes durable which names others have made so far."""


KINDS: Final = (
    FileSystemKind(
        name="ext4",
        size=48 << 20,
        make=("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"),
        package="e2fsprogs",
        # Nothing is written because of the time it is, so that each recording is like the other.
        options="commit=300",
        journal_shared=True,
    ),
    FileSystemKind(
        name="xfs",
        size=304 << 20,
        make=("mkfs.xfs", "-q", "-f", "-K"),
        package="xfsprogs",
        # The same file system is mounted again and again after different cuts.
        options="nouuid",
        journal_shared=True,
    ),
    FileSystemKind(
        name="btrfs",
        size=128 << 20,
        make=("mkfs.btrfs", "-q", "-f", "-K"),
        package="btrfs-progs",
        options="commit=300,nodiscard",
        journal_shared=False,
    ),
)


def withdraw() -> None:
    """Let this process have mounts that nobody else sees, and that end with it.

    Raises:
        InputRefusedError: mounting is not allowed here, or something is missing for it.
    """
    if sys.platform != "linux":
        raise InputRefusedError("this system has no loop devices", "run this on Linux")
    if importlib.util.find_spec("mfusepy") is None:
        raise PackageMissingError("a disk that notes its writes", "mfusepy", "power-cuts")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_MOUNTS) != 0:
        cause = os.strerror(ctypes.get_errno()).lower()
        raise InputRefusedError(f"nothing can be mounted here ({cause})", _NEEDED)
    _done("mount", "--make-rprivate", "/")


def make(kind: FileSystemKind, image: Path, /) -> None:
    """Have a new file system in the file `image`.

    Raises:
        InputRefusedError: the program for it is missing, or fails.
    """
    if shutil.which(kind.make[0], path=_WAY) is None:
        raise InputRefusedError(
            f"{kind.make[0]} is missing, so there is no {kind.name} to try",
            f"install it by: apt install {kind.package}",
        )
    with image.open("wb") as file:
        file.truncate(kind.size)
    _done(*kind.make, str(image))


@contextlib.contextmanager
def logged(image: Path, log: Path, place: Path, /) -> Iterator[Path]:
    """Have the disk of `image` as a file below `place` that notes every write in `log`.

    Raises:
        InputRefusedError: FUSE is missing, or not allowed here.
    """
    place.mkdir()
    module = "simulator.campaign.proving.power.logged_disk"
    server = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", module, str(image), str(log), str(place)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Ctrl-C is for us, who unmount before the disk goes away.
        start_new_session=True,
    )
    assert server.stdout is not None
    try:
        if server.stdout.readline() != b"ready\n":
            _, complaint = server.communicate()
            raise _fuse_missing(complaint.decode(errors="replace"))
        try:
            yield place / NAME
        finally:
            _unmount(place)
            server.wait()
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
        if server.stderr is not None:
            server.stderr.close()


def _fuse_missing(complaint: str) -> InputRefusedError:
    if "libfuse" in complaint:
        return InputRefusedError("the library of FUSE is missing", "apt install fuse3")
    said = complaint.strip().splitlines() or ["no reason is given"]
    cause = next((line for line in said if line.startswith("fuse:")), said[-1])
    return InputRefusedError(f"FUSE does not work here ({cause})", _NEEDED)


@contextlib.contextmanager
def mounted(kind: FileSystemKind, image: Path, place: Path, /) -> Iterator[Path]:
    """Have the file system of the disk file `image` at `place`, its journal replayed.

    Raises:
        InputRefusedError: it cannot be mounted.
    """
    place.mkdir(exist_ok=True)
    _done("mount", "-t", kind.name, "-o", f"loop,{kind.options}", str(image), str(place))
    try:
        yield place
    finally:
        _unmount(place)


def _unmount(place: Path) -> None:
    done = _run("umount", str(place))
    if done.returncode != 0:
        # Somebody is still in it; it goes when they do.
        _done("umount", "--lazy", str(place))


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": _WAY, "LC_ALL": "C"}
    return subprocess.run(  # noqa: S603 - programs of the system, with names that we chose
        command, capture_output=True, check=False, text=True, env=environment
    )


def _done(*command: str) -> None:
    try:
        done = _run(*command)
    except FileNotFoundError:
        raise InputRefusedError(f"the program {command[0]} is missing", "install it") from None
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise InputRefusedError(f"{command[0]} fails here ({said[0]})", _NEEDED)


def copy_sparse(source: Path, target: Path, /) -> None:
    """Have a copy of a file, with holes wherever it has nothing but zeros."""
    with source.open("rb") as old, target.open("wb") as new:
        size = os.fstat(old.fileno()).st_size
        new.truncate(size)
        at = 0
        while at < size:
            try:
                at = os.lseek(old.fileno(), at, os.SEEK_DATA)
            except OSError:
                break  # nothing but a hole up to the end
            end = os.lseek(old.fileno(), at, os.SEEK_HOLE)
            while at < end:
                piece = os.pread(old.fileno(), min(_SPARSE, end - at), at)
                if piece.count(0) != len(piece):
                    os.pwrite(new.fileno(), piece, at)
                at += len(piece)
