"""Secrets: bytes and words that no `repr`, no error and no record ever shows."""

import enum
import unicodedata
from typing import Final

from blake3 import blake3

from reference_engine.model.errors import InputRefusedError
from reference_engine.ports.runtime import RandomStream

KEY_SIZE: Final = 32
PASSPHRASE_MAX: Final = 4096
"""Bytes. Longer ones are files that were named by mistake."""

_CHECK_SIZE: Final = 3
_GROUP: Final = 4
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: without I, L, O and U, which are misread or spell words."""

_READ_AS: Final = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None})
_LENGTH: Final = (KEY_SIZE + _CHECK_SIZE) * 8 // 5
_CHECK_CONTEXT: Final = "twinshot repository format 2: printed key"
_FILE_MARK: Final = "twinshot key file 1"


class Secret:
    """32 bytes that are not shown by accident."""

    __slots__ = ("_raw",)

    def __init__(self, raw: bytes, /) -> None:
        assert len(raw) == KEY_SIZE, "a secret has 32 bytes"
        self._raw = raw

    @property
    def raw(self) -> bytes:
        """The bytes, for whoever computes with them."""
        return self._raw

    def __repr__(self) -> str:
        return "Secret(hidden)"

    @classmethod
    def drawn(cls, chance: RandomStream, /) -> "Secret":
        """Return a secret that nobody can guess, as far as `chance` cannot be guessed."""
        return cls(bytes.fromhex(chance.token() + chance.token()))


class SlotKind(enum.StrEnum):
    """What opens a slot."""

    PASSPHRASE = "passphrase"  # noqa: S105 - it is the word, not one
    RECOVERY = "recovery"
    """A random key that was printed."""

    FILE = "file"
    """A random key that is kept in a file."""


class Passphrase:
    """Words that a person remembers, or a program keeps; normalised, so that keyboards agree."""

    __slots__ = ("_text",)

    def __init__(self, text: str, /) -> None:
        """Take a passphrase.

        Raises:
            InputRefusedError: it is empty, or far too long.
        """
        normal = unicodedata.normalize("NFC", text)
        if not normal:
            raise InputRefusedError("the passphrase is empty", "give one of at least one character")
        if len(normal.encode("utf-8", "surrogatepass")) > PASSPHRASE_MAX:
            raise InputRefusedError(
                f"the passphrase is longer than {PASSPHRASE_MAX} bytes", "use a key file instead"
            )
        self._text = normal

    @property
    def raw(self) -> bytes:
        """The bytes from which a key is derived."""
        return self._text.encode("utf-8", "surrogatepass")

    def __repr__(self) -> str:
        return "Passphrase(hidden)"


Credential = Passphrase | Secret
"""What a person or a program has: a passphrase, or a random key."""


def printed(key: Secret, /) -> str:
    """Return a random key as it is printed: 14 groups of 4 symbols, the last ones a checksum."""
    content = key.raw + _check(key.raw)
    number = int.from_bytes(content, "big")
    symbols = "".join(_ALPHABET[number >> shift & 31] for shift in range(5 * (_LENGTH - 1), -1, -5))
    return "-".join(symbols[at : at + _GROUP] for at in range(0, _LENGTH, _GROUP))


def looks_printed(text: str, /) -> bool:
    """Return whether a text has the form of a printed key, rightly copied or not."""
    symbols = text.strip().upper().translate(_READ_AS)
    return len(symbols) == _LENGTH and all(symbol in _ALPHABET for symbol in symbols)


def parsed(text: str, /) -> Secret:
    """Return the random key that was printed; groups may be joined, and `O` stand for zero.

    Raises:
        InputRefusedError: symbols are missing, or at least one of them is wrong.
    """
    if not looks_printed(text):
        raise InputRefusedError(
            "this is no printed key", f"type all {_LENGTH} letters and digits of it"
        )
    number = 0
    for symbol in text.strip().upper().translate(_READ_AS):
        number = number << 5 | _ALPHABET.index(symbol)
    content = number.to_bytes(KEY_SIZE + _CHECK_SIZE, "big")
    if _check(content[:KEY_SIZE]) != content[KEY_SIZE:]:
        raise InputRefusedError("the printed key is mistyped", "compare it letter by letter")
    return Secret(content[:KEY_SIZE])


def _check(raw: bytes) -> bytes:
    return blake3(raw, derive_key_context=_CHECK_CONTEXT).digest(length=_CHECK_SIZE)


def key_file(key: Secret, /) -> bytes:
    """Return the bytes of a key file."""
    return f"{_FILE_MARK}\n{printed(key)}\n".encode()


def parsed_file(content: bytes, /, *, name: str) -> Secret:
    """Return the key of a key file called `name`.

    Raises:
        InputRefusedError: it is no key file, or was altered.
    """
    try:
        mark, _, rest = content.decode("ascii").partition("\n")
        found = parsed(rest) if mark.strip() == _FILE_MARK else None
    except (UnicodeDecodeError, InputRefusedError):
        found = None
    if found is None:
        # What is in the file may be a secret of another kind, so nothing of it is repeated.
        raise InputRefusedError(
            f"{name} is no key file, or is damaged", "name one that `repo key add` has written"
        )
    return found
