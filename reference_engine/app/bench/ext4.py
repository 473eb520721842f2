"""An ext4 file system inside an image file, made without root and without mounting anything.

Files are written by `debugfs` in a given order rather than by `mkfs.ext4 -d`, which follows the
order of the staging directory and copies its times: neither can be repeated.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from reference_engine.model.errors import OperationFailedError
from reference_engine.model.extents import Extent
from reference_engine.model.units import MIB

TOOLS: Final = ("mkfs.ext4", "debugfs")
_WHEN: Final = "1760000000"
_BATCH: Final = 128 * MIB
_IDENTITY: Final = "5f0e6a3c-0000-4000-8000-0000000000aa"
_HASH_SEED: Final = "5f0e6a3c-0000-4000-8000-0000000000bb"
# What a distribution sets for new file systems must not change the image.
_SETTINGS: Final = """[defaults]
  base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
  default_mntopts = acl,user_xattr
  enable_periodic_fsck = 0
  blocksize = 4096
  inode_size = 256
  inode_ratio = 16384
[fs_types]
  small = {
  }
  ext4 = {
    features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink
  }
"""


def ext4_version() -> str | None:
    """Return the version of the tools that make the file system; None where they are missing."""
    found = [_tool(name) for name in TOOLS]
    if None in found:
        return None
    said = subprocess.run(  # noqa: S603 - a program found on PATH
        [str(found[0]), "-V"], capture_output=True, text=True, check=False
    ).stderr
    match = re.search(r"mke2fs (\S+)", said)
    return match[1] if match else "unknown"


class Ext4:
    """A file system in one part of an image."""

    def __init__(self, image: Path, part: Extent, /) -> None:
        self._image = image
        self._part = part

    def make(self) -> None:
        """Make it, with nothing in it."""
        options = (
            f"offset={self._part.offset},hash_seed={_HASH_SEED},root_owner=0:0,"
            "lazy_itable_init=1,lazy_journal_init=1,nodiscard"
        )
        _run(
            *("mkfs.ext4", "-q", "-F", "-b", "4096", "-U", _IDENTITY, "-E", options),
            str(self._image),
            f"{self._part.length // 1024}k",
        )

    def write(self, files: Iterable[tuple[str, bytes]], /) -> None:
        """Write files in the given order; their directories appear with them."""
        directories: set[str] = set()
        with tempfile.TemporaryDirectory(dir=self._image.parent, prefix="staging-") as place:
            script: list[str] = []
            held = 0
            for number, (name, content) in enumerate(files):
                for parent in reversed(Path(name).parents):
                    if str(parent) not in {".", "/"} and str(parent) not in directories:
                        directories.add(str(parent))
                        script.append(f'mkdir "/{parent}"')
                staged = Path(place) / str(number)
                staged.write_bytes(content)
                staged.chmod(0o644)
                script.append(f'write {staged} "/{name}"')
                held += len(content)
                if held >= _BATCH:
                    self._obey(script, place)
                    script, held = [], 0
            self._obey(script, place)

    def delete(self, names: Iterable[str], /) -> None:
        """Delete files; what they held stays in free space."""
        with tempfile.TemporaryDirectory(dir=self._image.parent, prefix="staging-") as place:
            self._obey([f'rm "/{name}"' for name in names], place)

    def _obey(self, script: list[str], place: str) -> None:
        if not script:
            return
        file = Path(place) / "script"
        file.write_text("\n".join(script) + "\n", encoding="utf-8")
        said = _run("debugfs", "-w", "-f", str(file), f"{self._image}?offset={self._part.offset}")
        # debugfs ends well whatever happened; a complaint names the call that it is about.
        complaint = re.search(r"^\w+: .*(?:error|Could not|No space).*$", said, re.MULTILINE)
        if complaint:
            raise OperationFailedError("debugfs", complaint[0])
        for staged in Path(place).iterdir():
            staged.unlink()


def _tool(name: str) -> str | None:
    # Debian keeps file system tools out of an ordinary user's path.
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _run(name: str, *arguments: str) -> str:
    program = _tool(name)
    assert program is not None, name
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as settings:
        settings.write(_SETTINGS)
        settings.flush()
        done = subprocess.run(  # noqa: S603 - a program found on PATH, and no shell
            [program, *arguments],
            capture_output=True,
            text=True,
            check=False,
            errors="replace",
            env={**os.environ, "MKE2FS_CONFIG": settings.name, "E2FSPROGS_FAKE_TIME": _WHEN},
        )
    if done.returncode:
        raise OperationFailedError(name, " ".join(done.stderr.split())[-300:])
    return done.stdout + done.stderr
