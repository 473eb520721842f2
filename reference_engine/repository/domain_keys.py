"""The keys of dedup domains: read when first needed, each from one of two objects.

Whoever deletes both objects of a domain has shredded it: what was sealed under its key cannot be
opened any more by anybody, whatever else they have.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import RandomStream
from reference_engine.repository.codec import copy_name
from reference_engine.repository.domain_entries import KnownDomain
from reference_engine.repository.domain_names import key_name
from reference_engine.repository.keys.errors import DomainKeyMissingError
from reference_engine.repository.keys.material import KEY_SIZE, Secret

_json: Final = msgspec.json.Encoder(order="deterministic")


class DomainKey(msgspec.Struct, frozen=True, kw_only=True):
    """What the object of a domain's key says."""

    domain: str
    name: str
    key: str
    """64 hexadecimal digits."""

    def __repr__(self) -> str:
        return f"DomainKey({self.domain}, hidden)"


def encode_domain_key(domain: str, name: str, chance: RandomStream, /) -> bytes:
    """Return the content of a new domain's key object."""
    key = Secret.drawn(chance).raw.hex()
    return _json.encode(DomainKey(domain=domain, name=name, key=key))


def decode_domain_key(content: bytes, /) -> DomainKey:
    """Return what a key object says.

    Raises:
        ValueError: it is not what was written.
    """
    found = msgspec.json.decode(content, type=DomainKey)
    if len(bytes.fromhex(found.key)) != KEY_SIZE:
        raise ValueError("its key has the wrong length")
    return found


def key_names(domain: str, /) -> tuple[str, str]:
    """Return the names of both objects of a domain's key."""
    return key_name(domain), copy_name(key_name(domain))


async def stored_domains(store: BlobStore, /) -> tuple[KnownDomain, ...]:
    """Return every domain of which a key can be read, whatever the log says of it.

    Raises:
        TransientError: the store failed.
    """
    found: dict[str, KnownDomain] = {}
    for kind in key_names(""):
        for name in await store.names(kind):
            try:
                known = decode_domain_key(await store.read(name) or b"")
            except ValueError:  # msgspec's errors are ValueErrors
                continue
            found.setdefault(known.domain, KnownDomain(domain=known.domain, name=known.name))
    return tuple(found[domain] for domain in sorted(found))


class DomainKeys:
    """The keys that were needed so far."""

    def __init__(self) -> None:
        self._known: dict[str, Secret] = {}

    async def learn(
        self, domain: str, read: Callable[[str], Awaitable[bytes | None]], /
    ) -> DomainKey | None:
        """Know the domain's key, if one of its objects can be read; return what that says.

        Raises:
            TransientError: the store failed.
        """
        for name in key_names(domain):
            try:
                found = decode_domain_key(await read(name) or b"")
            except ValueError:  # msgspec's errors are ValueErrors
                continue
            if found.domain == domain:
                self._known[domain] = Secret(bytes.fromhex(found.key))
                return found
        return None

    def knows(self, domain: str, /) -> bool:
        """Return whether the domain's key is known."""
        return domain in self._known

    def key(self, domain: str, /) -> bytes:
        """Return the domain's key.

        Raises:
            DomainKeyMissingError: it is not known: it was shredded, or lost.
        """
        try:
            return self._known[domain].raw
        except KeyError:
            raise DomainKeyMissingError(domain) from None

    def forget(self, domain: str, /) -> None:
        """Know the domain's key no more."""
        self._known.pop(domain, None)

    def __repr__(self) -> str:
        return f"DomainKeys({len(self._known)} keys, hidden)"
