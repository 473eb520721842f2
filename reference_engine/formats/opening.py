"""Opening a file as the disk image it is, whatever its name says."""

import os
from pathlib import Path
from typing import Final

from reference_engine.formats import recognition
from reference_engine.formats.image import DamagedImageError, DiskImage
from reference_engine.formats.image_file import ImageFile
from reference_engine.formats.raw import raw_image
from reference_engine.formats.vhd import has_vhd_footer, open_vhd
from reference_engine.formats.vhdx import is_vhdx, open_vhdx
from reference_engine.model.errors import InputRefusedError

SECTOR: Final = 512
_NAMED: Final = {
    ".vhd": "VHD",
    ".avhd": "VHD",
    ".vhdx": "VHDX",
    ".avhdx": "VHDX",
}


def open_disk_image(path: str | os.PathLike[str], /) -> DiskImage:
    """Return the disk image in `path`, its structure checked, ready to be read.

    Raises:
        InputRefusedError: there is no such file, or nothing in it can be read as a disk.
        DamagedImageError: it is an image, but parts of it are missing or changed.
        OperationFailedError: the storage below the file reports a fault.
    """
    file = ImageFile(path)
    try:
        return _opened(file)
    except BaseException:
        file.close()
        raise


def _opened(file: ImageFile) -> DiskImage:
    if file.length == 0:
        raise InputRefusedError(f"{file.path} is empty", "give the path of a disk image")
    if is_vhdx(file):
        return open_vhdx(file)
    if has_vhd_footer(file):
        return open_vhd(file)
    _refuse_what_is_no_disk(file)
    return raw_image(file)


def _refuse_what_is_no_disk(file: ImageFile) -> None:
    head = file.read(0, min(recognition.HEAD_BYTES, file.length))
    container = recognition.known_container(head)
    if container is not None:
        raise InputRefusedError(
            f"{file.path} is {container}", "convert it with qemu-img convert -O vhdx"
        )
    other = None if recognition.is_partitioned(head) else recognition.known_other(head)
    if other is not None:
        raise InputRefusedError(f"{file.path} is {other}", "give the path of a disk image")
    promised = _NAMED.get(Path(file.path).suffix.lower())
    if promised is not None:
        raise DamagedImageError(
            file.path, f"it is named like a {promised}, but neither begins nor ends like one"
        )
    if file.length % SECTOR:
        raise InputRefusedError(
            f"{file.path} has {file.length} bytes, which is no multiple of a sector",
            "give the path of a whole disk image",
        )
    if not recognition.is_disk_head(head):
        raise InputRefusedError(
            f"{file.path} does not look like a disk: "
            "it begins with neither a partition table nor a known file system",
            "give the path of a disk image",
        )
