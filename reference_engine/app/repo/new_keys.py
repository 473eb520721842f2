"""Making keys: what is written to files, and what a person has to type back."""

import os
import sys
from pathlib import Path
from typing import Final

from reference_engine.app.credentials import (
    Keyholder,
    KeyOptions,
    NewKeyOptions,
    ask,
    can_ask,
    new_passphrase,
)
from reference_engine.model.errors import InputRefusedError
from reference_engine.ports.runtime import RandomStream
from reference_engine.repository.keys.derivation import DEFAULT_COST
from reference_engine.repository.keys.material import (
    Secret,
    SlotKind,
    key_file,
    looks_printed,
    parsed,
    printed,
)
from reference_engine.repository.keys.slots import LABEL_MAX, Access

_TRIES: Final = 3


def checked_label(label: str, /) -> str:
    """Return a label that a key may have.

    Raises:
        InputRefusedError: it is too long, or has characters that cannot be shown.
    """
    if len(label) > LABEL_MAX or not label.isprintable():
        raise InputRefusedError(
            "the label is too long or unprintable", f"use at most {LABEL_MAX} characters"
        )
    return label


def new_access(options: NewKeyOptions, label: str, /, *, chance: RandomStream) -> Access:
    """Return the way in that the options ask for; without any, a passphrase is asked for.

    Raises:
        InputRefusedError: several were asked for, or a file cannot be written.
        KeyNeededError: a passphrase is needed, and nobody can be asked.
    """
    words = (options.new_password_file, options.new_password_command)
    files = (options.new_key_file, options.new_recovery_key)
    if sum(each is not None for each in (*words, *files)) > 1:
        raise InputRefusedError("two new keys were asked for", "add them one by one")
    label = checked_label(label)
    if options.new_key_file is not None:
        return file_access(options.new_key_file, label, chance=chance)
    if options.new_recovery_key is not None:
        return recovery_access(options.new_recovery_key, label, chance=chance)
    holder = Keyholder(
        KeyOptions(
            password_file=options.new_password_file, password_command=options.new_password_command
        ),
        variables="TWINSHOT_NEW",
    )
    return Access(
        credential=new_passphrase(holder),
        kind=SlotKind.PASSPHRASE,
        label=label,
        cost=DEFAULT_COST,
    )


def file_access(path: Path, label: str, /, *, chance: RandomStream) -> Access:
    """Return a way in whose key is in a new file, which only its owner can read.

    Raises:
        InputRefusedError: the file exists, or cannot be written.
    """
    key = Secret.drawn(chance)
    _write(path, key_file(key))
    return Access(credential=key, kind=SlotKind.FILE, label=label, cost=DEFAULT_COST)


def recovery_access(path: Path, label: str, /, *, chance: RandomStream) -> Access:
    """Return a way in whose key is written to a file, to be printed and put away.

    Raises:
        InputRefusedError: the file exists, or cannot be written.
    """
    key = Secret.drawn(chance)
    _write(path, f"{printed(key)}\n".encode())
    return Access(credential=key, kind=SlotKind.RECOVERY, label=label, cost=DEFAULT_COST)


def shown_recovery_access(*, chance: RandomStream) -> Access:
    """Return a way in whose key a person has read off the terminal and typed back.

    Raises:
        InputRefusedError: nobody is there, or what was typed was wrong three times.
    """
    if not can_ask():
        raise InputRefusedError(
            "a recovery key cannot be shown here",
            "write it to a file (--recovery-key FILE), or do without it (--no-recovery-key)",
        )
    key = Secret.drawn(chance)
    sys.stderr.write(
        "recovery key, for the day on which the passphrase is forgotten; write it down:\n\n"
        f"  {printed(key)}\n\n"
    )
    for _ in range(_TRIES):
        typed = ask("type it back: ")
        try:
            right = looks_printed(typed) and parsed(typed).raw == key.raw
        except InputRefusedError:
            right = False
        if right:
            return Access(
                credential=key, kind=SlotKind.RECOVERY, label="recovery", cost=DEFAULT_COST
            )
        sys.stderr.write("that is not it\n")
    raise InputRefusedError("the recovery key was not typed back", "run the command again")


def _write(path: Path, content: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        _flush_name(path)
    except FileExistsError:
        raise InputRefusedError(f"{path} exists", "name a new file for the key") from None
    except (OSError, ValueError) as error:
        cause = (getattr(error, "strerror", None) or "unusable name").lower()
        raise InputRefusedError(
            f"{path} cannot be written ({cause})", "name a file that can"
        ) from None


def _flush_name(path: Path) -> None:
    """Let a power cut leave the file its name: soon it may be the only key. Windows needs none."""
    if os.name == "nt":
        return
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
