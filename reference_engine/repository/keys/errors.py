"""What can be wrong with keys, in its own words; no error ever holds a secret."""

from reference_engine.model.errors import CorruptionError, RefusedError


class KeyNeededError(RefusedError):
    """The repository is encrypted, and no key was given."""

    def __str__(self) -> str:
        return (
            "the repository is encrypted; give its passphrase (--password-file, "
            "--password-command, TWINSHOT_PASSWORD) or a --key-file"
        )


class SecondKeyNeededError(KeyNeededError):
    """A command's second repository is encrypted, and no key was given for it."""

    def __init__(self, variables: str, /) -> None:
        super().__init__(variables)
        self.variables = variables

    def __str__(self) -> str:
        return (
            f"the second repository is encrypted; set {self.variables}_PASSWORD, "
            f"{self.variables}_PASSWORD_FILE, {self.variables}_PASSWORD_COMMAND or "
            f"{self.variables}_KEY_FILE"
        )


class WrongKeyError(RefusedError):
    """No slot opens with the credential that was given."""

    def __str__(self) -> str:
        return "wrong key: it opens no slot of this repository; give another passphrase or key file"


class KeyRetiredError(RefusedError):
    """The slot that was opened holds an older master key than the one in use."""

    def __str__(self) -> str:
        return "this key was retired when the master key was rotated; ask for a key that is in use"


class NotEncryptedError(RefusedError):
    """A key was given, and the repository has none."""

    def __str__(self) -> str:
        return (
            "a key was given, but the repository is not encrypted; leave the key away (options and "
            "TWINSHOT_ variables) if that is right, or name the repository that you meant"
        )


class NoEncryptedRepositoryError(RefusedError):
    """A key was given for a place where there is no repository yet."""

    def __str__(self) -> str:
        return "no repository here that a key could open; create one by: repo init --encrypt"


class SlotsDamagedError(CorruptionError):
    """No key slot can be read at all."""

    def __str__(self) -> str:
        return "no key slot of the repository can be read; restore its keys/ from another copy"


class DomainKeyMissingError(RefusedError):
    """Something was to be written in a dedup domain whose key is not there (any more)."""

    def __init__(self, domain: str, /) -> None:
        super().__init__(domain)
        self.domain = domain

    def __str__(self) -> str:
        return (
            f"the key of domain {self.domain} is gone, so nothing can be written in it; bring "
            f"domains/{self.domain} back from a copy of the repository, or name another --domain"
        )


class SlotUnknownError(RefusedError):
    """There is no such key slot; `wanted` is what was asked for."""

    def __init__(self, wanted: str, /) -> None:
        super().__init__(wanted)
        self.wanted = wanted

    def __str__(self) -> str:
        return f"the repository has no key {self.wanted!r}; list them with: repo key list"


class LastSlotError(RefusedError):
    """Removing this slot would lock everybody out."""

    def __init__(self, slot: str, /) -> None:
        super().__init__(slot)
        self.slot = slot

    def __str__(self) -> str:
        return f"{self.slot} is the last key of the repository; add another one first"


class SlotsFullError(RefusedError):
    """There are as many key slots as a repository may have."""

    def __init__(self, most: int, /) -> None:
        super().__init__(most)
        self.most = most

    def __str__(self) -> str:
        return f"the repository has {self.most} keys already, as many as it may; remove one first"
