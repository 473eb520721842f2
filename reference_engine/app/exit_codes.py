"""Exit codes: what a script learns from a command without reading its text."""

import enum
from typing import Final

from reference_engine.adapters.store_errors import StoreUnusableError
from reference_engine.catalogue.points import NoPointError
from reference_engine.formats.image import DamagedImageError
from reference_engine.items.errors import ItemNotFoundError
from reference_engine.model.errors import (
    ConsistencyLostError,
    CorruptionError,
    RefusedError,
    RepositoryFullError,
    SupersededError,
    TransientError,
    TwinshotError,
)
from reference_engine.repository.errors import RepositoryAbsentError
from reference_engine.repository.keys.errors import KeyNeededError, KeyRetiredError, WrongKeyError


class ExitCode(enum.IntEnum):
    """How a command ended."""

    OK = 0
    FINDING = 1
    """It did its work and found something wrong: a damaged point, a broken promise."""

    INPUT = 2
    """The request cannot be met as it stands: options, files, names."""

    PARTIAL = 3
    UNREACHABLE = 4
    """Something did not answer, refused access, or has no room."""

    NOTHING = 5
    """Nothing matched what was asked for."""

    NO_REPOSITORY = 10
    LOCKED = 11
    """Another run has taken over."""

    WRONG_KEY = 12
    """The repository is encrypted, and no key was given that opens it."""

    INTERNAL = 70
    INTERRUPTED = 130
    PIPE_CLOSED = 141


_CODES: Final[tuple[tuple[type[TwinshotError], ExitCode], ...]] = (
    (RepositoryAbsentError, ExitCode.NO_REPOSITORY),
    (StoreUnusableError, ExitCode.UNREACHABLE),
    (RepositoryFullError, ExitCode.UNREACHABLE),
    (NoPointError, ExitCode.NOTHING),
    (ItemNotFoundError, ExitCode.NOTHING),
    (KeyNeededError, ExitCode.WRONG_KEY),
    (KeyRetiredError, ExitCode.WRONG_KEY),
    (WrongKeyError, ExitCode.WRONG_KEY),
    (SupersededError, ExitCode.LOCKED),
    (DamagedImageError, ExitCode.INPUT),
    (RefusedError, ExitCode.INPUT),
    (ConsistencyLostError, ExitCode.INPUT),
    (TransientError, ExitCode.UNREACHABLE),
    (CorruptionError, ExitCode.FINDING),
)
"""The first class that fits decides."""


def exit_code_of(error: TwinshotError, /) -> ExitCode:
    """Return with which code a command ends that this error ended."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.INTERNAL)
