"""The master key in its generations, and every key that is derived from it."""

from collections.abc import Sequence

from blake3 import blake3

from reference_engine.repository.keys.derivation import derived
from reference_engine.repository.keys.errors import KeyRetiredError
from reference_engine.repository.keys.material import Secret
from reference_engine.repository.keys.slots import Slot


class Keyring:
    """What an opened repository computes with: `generations` from the first to the newest."""

    def __init__(self, repository: str, generations: tuple[Secret, ...], /, *, slot: Slot) -> None:
        assert generations, "there is at least one master key"
        self.repository = repository
        self._salt = repository.encode()
        self._families: dict[tuple[int, str], bytes] = {}
        self.generations = generations
        self.slot = slot
        """The slot that was opened."""

        self.sealing = len(generations)
        """The generation that seals what is written now, counted from 1."""

    def knows(self, generation: int, /) -> bool:
        """Return whether what this generation sealed can be opened."""
        return 1 <= generation <= len(self.generations)

    @property
    def digest_key(self) -> bytes:
        """The key of every digest; it never changes, or nothing would be found again."""
        return derived(self.generations[0].raw, "content digests", salt=self._salt)

    def authenticator(self, content: bytes, /) -> str:
        """Return what proves that `content` of the header was written by an owner of the key."""
        key = derived(self.generations[0].raw, "header", salt=self._salt)
        return blake3(content, key=key).hexdigest()

    def family(self, generation: int, purpose: str, /) -> bytes:
        """Return the key from which the keys of one kind of objects are derived."""
        known = self._families.get((generation, purpose))
        if known is None:
            master = self.generations[generation - 1]
            known = derived(master.raw, purpose, salt=self._salt)
            self._families[generation, purpose] = known
        return known

    def fingerprint(self, generation: int, /) -> str:
        """Return what tells two master keys of one number apart, and nothing else about them."""
        return self.family(generation, "fingerprint").hex()

    def settle(self, rotations: Sequence[str], /) -> None:
        """Seal by the master key that the log names last; `rotations` are its fingerprints.

        A slot of a rotation that never came to its log entry holds one key more than counts.

        Raises:
            KeyRetiredError: another master key than those of this slot is in use.
        """
        for generation, fingerprint in enumerate(rotations, start=2):
            if not self.knows(generation) or self.fingerprint(generation) != fingerprint:
                raise KeyRetiredError
        self.sealing = 1 + len(rotations)

    def __repr__(self) -> str:
        return f"Keyring({len(self.generations)} master keys, hidden)"
