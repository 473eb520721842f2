"""Where this machine keeps what makes the next backup quick, and whether it does."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from reference_engine.ports.local_cache import LocalCache

DIRECTORY: Final = "TWINSHOT_CACHE_DIR"
NONE: Final = "TWINSHOT_NO_CACHE"

NoCache = Annotated[bool, Parameter(name="--no-cache", negative=(), show_default=False)]
"""The option of the commands that use it."""


def local_cache(
    *, is_wanted: bool, environment: Mapping[str, str] = os.environ
) -> LocalCache | None:
    """Return the cache of this user; None where none is wanted, or nobody knows a place for it."""
    if not is_wanted or environment.get(NONE):
        return None
    from reference_engine.adapters.cache_directory import CacheDirectory  # noqa: PLC0415 - unused

    named = environment.get(DIRECTORY)
    if named:
        return CacheDirectory(Path(named))
    from platformdirs import user_cache_path  # noqa: PLC0415 - unused where a place is named

    try:
        return CacheDirectory(user_cache_path("twinshot", appauthor=False) / "index")
    except RuntimeError:
        # There is nobody whose home it could be in.
        return None
