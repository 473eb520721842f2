"""HKDF-SHA-256 and Argon2id, and the bounds of what a stored slot may ask for.

Sources: RFC 5869 (HKDF), RFC 9106 (Argon2; its second recommended option is the default here).
"""

import importlib
from typing import Final

import msgspec

from reference_engine.repository.errors import PackageMissingError

_CONTEXT: Final = b"twinshot repository format 2: "
_NONCE: Final = bytes(12)
"""Right where a key wraps one thing only."""


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What one try of a passphrase costs: Argon2id's memory in KiB, passes over it, and lanes."""

    memory_kib: int
    passes: int
    lanes: int

    @property
    def work(self) -> int:
        """KiB of memory that are filled, counting every pass."""
        return self.memory_kib * self.passes

    @property
    def is_bearable(self) -> bool:
        """Whether a stored slot may ask for it: at most 1 GiB, 16 passes, 16 lanes, 2 GiB in all.

        Whoever can write key objects must not be able to ask for a terabyte.
        """
        return (
            1 <= self.lanes <= 16
            and 1 <= self.passes <= 16
            and 8 * self.lanes <= self.memory_kib <= 1 << 20
            and self.work <= 2 << 20
        )


DEFAULT_COST: Final = Cost(memory_kib=64 << 10, passes=3, lanes=4)
WORK_MAX: Final = 8 << 20
"""KiB filled at most for one credential, over all slots that it is tried on."""


def check_installed() -> None:
    """Have what encrypts.

    Raises:
        PackageMissingError: it is not installed.
    """
    try:
        importlib.import_module("cryptography")
    except ModuleNotFoundError as error:
        raise PackageMissingError("an encrypted repository", "cryptography", "crypto") from error


def derived(
    key: bytes, purpose: str, /, *, salt: bytes = b"", context: bytes = b"", length: int = 32
) -> bytes:
    """Return a key for one purpose and context: HKDF-SHA-256 of `key` and `salt`."""
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - an extra
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415 - an extra

    info = _CONTEXT + purpose.encode() + b"\0" + context
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(key)


def stretched(passphrase: bytes, salt: bytes, /, *, cost: Cost) -> bytes:
    """Return the 32 bytes that Argon2id makes of a passphrase."""
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id  # noqa: PLC0415 - an extra

    assert cost.is_bearable, cost
    return Argon2id(
        salt=salt,
        length=32,
        iterations=cost.passes,
        lanes=cost.lanes,
        memory_cost=cost.memory_kib,
    ).derive(passphrase)


def wrapped(key: bytes, content: bytes, /, *, bound_to: bytes) -> bytes:
    """Return `content` under AES-256-GCM; `key` must never wrap anything else."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - an extra

    return AESGCM(key).encrypt(_NONCE, content, bound_to)


def unwrapped(key: bytes, content: bytes, /, *, bound_to: bytes) -> bytes | None:
    """Return what was wrapped; None: under another key, or bound to something else."""
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - an extra
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - an extra

    try:
        return AESGCM(key).decrypt(_NONCE, content, bound_to)
    except InvalidTag:
        return None
