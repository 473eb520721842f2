"""AES-256-GCM over the segments of an object, under a key that is the object's own."""

from typing import Final

import msgspec
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from reference_engine.repository.domain_keys import DomainKeys
from reference_engine.repository.domain_names import domain_of
from reference_engine.repository.envelope import (
    Head,
    ObjectCipher,
    Sealing,
    SegmentDamagedError,
    encode_head,
)
from reference_engine.repository.keys.derivation import derived
from reference_engine.repository.keys.errors import DomainKeyMissingError
from reference_engine.repository.keys.keyring import Keyring

_METHOD: Final = 1
_SYNTHETIC: Final = "salts"


class _GcmCipher(ObjectCipher):
    """One object's key; the nonce is the segment's number, and no segment is sealed twice."""

    def __init__(self, key: bytes, bound_to: bytes, /) -> None:
        self._cipher, self._bound_to = AESGCM(key), bound_to

    def seal(self, number: int, plain: memoryview, sealed: memoryview, /) -> None:
        """Fill `sealed`."""
        self._cipher.encrypt_into(number.to_bytes(12, "little"), plain, self._aad(plain), sealed)

    def open(self, number: int, sealed: memoryview, plain: memoryview, /) -> bool:
        """Fill `plain`."""
        try:
            self._cipher.decrypt_into(
                number.to_bytes(12, "little"), sealed, self._aad(plain), plain
            )
        except InvalidTag:
            return False
        return True

    def _aad(self, plain: memoryview) -> bytes:
        return self._bound_to + len(plain).to_bytes(8, "little")


class Encryption(Sealing):
    """Every object is sealed by the newest master key, and opened by the one that it names."""

    def __init__(self, keyring: Keyring, repository: str, domains: DomainKeys, /) -> None:
        self._keyring, self._repository, self._domains = keyring, repository, domains

    def begin(self, name: str, content: bytes | bytearray, /) -> tuple[Head, ObjectCipher]:
        """Return the head of an object that is to be written, and what seals it.

        Raises:
            DomainKeyMissingError: the key of the domain that the name tells of is not known.
        """
        generation = self._keyring.sealing
        salt = blake3(key=self._family(generation, _SYNTHETIC, domain_of(name)))
        salt.update(len(name).to_bytes(8, "little") + name.encode())
        salt.update(content)
        bare = Head(
            method=_METHOD,
            generation=generation,
            length=len(content),
            salt=salt.digest(),
            commitment=bytes(32),
        )
        key, commitment, bound_to = self._own(name, bare)
        head = msgspec.structs.replace(bare, commitment=commitment)
        return head, _GcmCipher(key, bound_to)

    def resume(self, name: str, head: Head, /) -> ObjectCipher:
        """Return what opens an object that was written."""
        if head.method != _METHOD or not self._keyring.knows(head.generation):
            raise SegmentDamagedError(-1)
        try:
            key, commitment, bound_to = self._own(name, head)
        except DomainKeyMissingError:
            raise SegmentDamagedError(-1) from None
        if commitment != head.commitment:
            raise SegmentDamagedError(-1)
        return _GcmCipher(key, bound_to)

    def _own(self, name: str, head: Head) -> tuple[bytes, bytes, bytes]:
        """Return the object's key, the commitment to it, and what each segment is bound to."""
        purpose = f"objects of {name.partition('/')[0]}"
        family = self._family(head.generation, purpose, domain_of(name))
        said = encode_head(msgspec.structs.replace(head, commitment=bytes(32)))
        identity = b"\n".join([self._repository.encode(), name.encode(), said])
        both = derived(family, "object", context=identity, length=64)
        return both[:32], both[32:], identity

    def _family(self, generation: int, purpose: str, domain: str) -> bytes:
        """Return the key of a kind of objects: in a domain, one that follows from its key too.

        From both: a rotation of the master key takes back what comes, and a shred all there is.
        """
        family = self._keyring.family(generation, purpose)
        if not domain:
            return family
        return derived(family, "domain", salt=self._domains.key(domain), context=domain.encode())
