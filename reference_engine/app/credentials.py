"""Where a key comes from: an option, a variable, a command, a file or a prompt; never an argument.

What was read here goes into `Passphrase` and `Secret`, which nothing shows. No sentence written
here repeats what a file, a variable or a command held.
"""

import getpass
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from reference_engine.model.errors import InputRefusedError
from reference_engine.repository.keys.errors import KeyNeededError, SecondKeyNeededError
from reference_engine.repository.keys.material import (
    PASSPHRASE_MAX,
    Credential,
    Passphrase,
    looks_printed,
    parsed,
    parsed_file,
)

_VARIABLES: Final = "TWINSHOT"
_COMMAND_LIMIT_S: Final = 120
_READ_MAX: Final = PASSPHRASE_MAX + 2


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class KeyOptions:
    """How an encrypted repository is opened."""

    password_file: Annotated[Path | None, Parameter(show_default=False)] = None
    """File whose first line is the passphrase, or a recovery key."""

    password_command: Annotated[str | None, Parameter(show_default=False)] = None
    """Command that prints the passphrase."""

    key_file: Annotated[Path | None, Parameter(show_default=False)] = None
    """Key file that `repo key add` or `repo init` wrote."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class NewKeyOptions:
    """What is to open the repository from now on."""

    new_password_file: Annotated[Path | None, Parameter(show_default=False)] = None
    """File whose first line is the new passphrase."""

    new_password_command: Annotated[str | None, Parameter(show_default=False)] = None
    """Command that prints the new passphrase."""

    new_key_file: Annotated[Path | None, Parameter(show_default=False)] = None
    """Key file to write."""

    new_recovery_key: Annotated[Path | None, Parameter(show_default=False)] = None
    """File to write a printable recovery key to; print it, and delete the file."""


NO_OPTIONS: Final = KeyOptions()
"""Variables and prompts only."""


class Keyholder:
    """Finds the credential of one command: at most one source may be named."""

    def __init__(
        self,
        options: KeyOptions = NO_OPTIONS,
        /,
        *,
        variables: str = _VARIABLES,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._variables = variables
        sources: list[Callable[[], Credential]] = []
        if options.password_file is not None:
            sources.append(_of_file(options.password_file))
        if options.password_command is not None:
            sources.append(_of_command(options.password_command))
        if options.key_file is not None:
            sources.append(_of_key_file(options.key_file))
        if len(sources) > 1:
            raise InputRefusedError("two keys were given", "give one of the options only")
        if not sources:
            sources = self._of_environment(environment)
        self._source = sources[0] if sources else None

    def _of_environment(self, environment: Mapping[str, str]) -> list[Callable[[], Credential]]:
        found: list[Callable[[], Credential]] = []
        if text := environment.get(f"{self._variables}_PASSWORD"):
            found.append(lambda: _credential(text))
        if name := environment.get(f"{self._variables}_PASSWORD_FILE"):
            found.append(_of_file(Path(name)))
        if command := environment.get(f"{self._variables}_PASSWORD_COMMAND"):
            found.append(_of_command(command))
        if name := environment.get(f"{self._variables}_KEY_FILE"):
            found.append(_of_key_file(Path(name)))
        if len(found) > 1:
            raise InputRefusedError(
                f"several {self._variables}_ variables hold a key", "set one of them only"
            )
        return found

    @property
    def named(self) -> bool:
        """Whether an option or a variable says where the key is."""
        return self._source is not None

    def credential(self) -> Credential:
        """Return the credential; a person at a terminal is asked for it.

        Raises:
            KeyNeededError: nothing was named, and nobody can be asked.
            InputRefusedError: what was named cannot be read, or holds no key.
        """
        if self._source is not None:
            return self._source()
        if not can_ask():
            if self._variables != _VARIABLES:
                raise SecondKeyNeededError(self._variables)
            raise KeyNeededError
        of = "" if self._variables == _VARIABLES else " of the second repository"
        return _credential(ask(f"passphrase or recovery key{of}: "))


def second_key(which: str, /) -> Keyholder:
    """Return who finds the key of a command's second repository: variables TWINSHOT_`which`_...

    Raises:
        InputRefusedError: several of them hold a key.
    """
    return Keyholder(variables=f"TWINSHOT_{which}")


def can_ask() -> bool:
    """Return whether a person is there to answer."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask(prompt: str, /) -> str:
    """Return what a person types, which is not shown."""
    try:
        return getpass.getpass(prompt, stream=sys.stderr)
    except EOFError:
        raise InputRefusedError("nothing was typed", "try again") from None


def new_passphrase(holder: Keyholder, /) -> Passphrase:
    """Return a passphrase that is to be; a person types it twice.

    Raises:
        KeyNeededError: nothing was named, and nobody can be asked.
        InputRefusedError: both were not the same, or what was named holds no passphrase.
    """
    if holder.named:
        found = holder.credential()
        if not isinstance(found, Passphrase):
            raise InputRefusedError(
                "a printed key or key file was given as a new passphrase", "choose other words"
            )
        return found
    if not can_ask():
        raise KeyNeededError
    first = ask("new passphrase: ")
    if first != ask("new passphrase again: "):
        raise InputRefusedError("the two passphrases differ", "try again")
    return Passphrase(first)


def _credential(text: str) -> Credential:
    """Return what a text is: a recovery key where its checksum says so, else a passphrase."""
    if looks_printed(text):
        try:
            return parsed(text)
        except InputRefusedError:
            return Passphrase(text)
    return Passphrase(text)


def _of_file(path: Path) -> Callable[[], Credential]:
    return lambda: _credential(_first_line(_read(path, "passphrase file"), "passphrase file"))


def _of_key_file(path: Path) -> Callable[[], Credential]:
    return lambda: parsed_file(_read(path, "key file"), name=str(path))


def _read(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_READ_MAX)
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or "unusable name"
        raise InputRefusedError(
            f"the {what} {path} cannot be read ({str(cause).lower()})", "name one that can"
        ) from None


def _of_command(command: str) -> Callable[[], Credential]:
    def run() -> Credential:
        try:
            words = shlex.split(command)
            done = subprocess.run(  # noqa: S603 - the user's own command, without a shell
                words, stdout=subprocess.PIPE, timeout=_COMMAND_LIMIT_S, check=False
            )
        except (OSError, ValueError, IndexError):
            cause = "cannot be started"
        except subprocess.TimeoutExpired:
            cause = f"took longer than {_COMMAND_LIMIT_S} s"
        else:
            if done.returncode == 0:
                return _credential(_first_line(done.stdout, "password command's output"))
            cause = f"ended with {done.returncode}"
        # The command itself may hold a secret, so it is not repeated.
        raise InputRefusedError(f"the password command {cause}", "try it in a shell")

    return run


def _first_line(content: bytes, what: str) -> str:
    line = content.split(b"\n", 1)[0].removesuffix(b"\r")
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise InputRefusedError(f"the {what} is not text", "write it in UTF-8") from None
