"""Small file systems of their own: full ones, sealed ones."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def mounted(where: Path, options: str) -> Iterator[None]:
    """Have a small file system of its own at `where`."""
    where.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(where)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("this user may not mount file systems")
    try:
        yield
    finally:
        subprocess.run(["umount", str(where)], check=True)
