"""New images that a restore writes: one for each disk, whole or not at all."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from reference_engine.app.restoring.request import Request
from reference_engine.formats.output_file import Existing
from reference_engine.formats.raw_writer import RawWriter
from reference_engine.formats.vhdx_writer import VhdxIdentity, VhdxWriter
from reference_engine.formats.writer import DiskWriter
from reference_engine.model.errors import InputRefusedError
from reference_engine.model.identity import DiskId
from reference_engine.model.units import ByteCount
from reference_engine.ports.runtime import RandomStream

_RAW: Final = (".raw", ".img")
_VHDX: Final = ".vhdx"


def image_paths(request: Request, disks: tuple[DiskId, ...], /) -> dict[DiskId, Path]:
    """Return where each disk's image is to be.

    Raises:
        InputRefusedError: there is no place for each of them, or no format.
    """
    to = request.to
    if request.is_directory:
        targets = {disk: Path(to) / _file_name(disk) for disk in disks}
        if len(set(targets.values())) < len(disks):
            raise InputRefusedError(
                "two disks would get the same file name", "restore them one by one with --disk"
            )
        return targets
    if len(disks) > 1:
        raise InputRefusedError(
            f"the point has {len(disks)} disks", "give a directory (DIR/), or one of them (--disk)"
        )
    if Path(to).suffix.lower() not in {_VHDX, *_RAW}:
        raise InputRefusedError(
            f"{to} names no image format", "end it in .vhdx, .raw or .img, or in / for a directory"
        )
    return {disks[0]: Path(to)}


def _file_name(disk: DiskId) -> str:
    name = disk.replace("/", "_").replace("\\", "_").lstrip(".") or "disk"
    return name if Path(name).suffix.lower() in {_VHDX, *_RAW} else f"{name}{_VHDX}"


@contextlib.contextmanager
def image_directory(path: Path, /) -> Iterator[None]:
    """Have the directory exist while images are written; a new one goes again with them."""
    made = not path.exists()
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise InputRefusedError(
            f"{path} cannot be made a directory", "choose another place"
        ) from error
    try:
        yield
    except BaseException:
        if made:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def image_writer(
    target: Path, size: ByteCount, /, *, existing: Existing, chance: RandomStream
) -> DiskWriter:
    """Return a writer of the format that the target's name asks for."""
    if target.suffix.lower() in _RAW:
        return RawWriter.create(target, size, existing=existing)
    identity = VhdxIdentity(
        disk_id=bytes.fromhex(chance.token()),
        data_write_id=bytes.fromhex(chance.token()),
        file_write_id=bytes.fromhex(chance.token()),
    )
    return VhdxWriter.create(target, size, identity=identity, existing=existing)
