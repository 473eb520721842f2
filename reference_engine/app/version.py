"""Which version of Twinshot runs."""

import importlib.metadata
from typing import Final

PROJECT: Final = "twinshot"


def installed_version() -> str:
    """Return the version's number; `from source` where nothing was installed."""
    try:
        return importlib.metadata.version(PROJECT)
    except importlib.metadata.PackageNotFoundError:
        return "from source"
