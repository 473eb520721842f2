"""What stands between a header and a repository that can be used: its key, and its features."""

import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple, TypeVar

import msgspec

from reference_engine.model.errors import TwinshotError
from reference_engine.model.units import ByteCount
from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.local_cache import LocalCache
from reference_engine.ports.runtime import Executor, RandomStream
from reference_engine.repository.access import Keys
from reference_engine.repository.domain_keys import DomainKeys
from reference_engine.repository.domains import Domains
from reference_engine.repository.envelope import Sealing, Tagging
from reference_engine.repository.errors import LogDamagedError, RepositoryForeignError
from reference_engine.repository.header import (
    ENCRYPTION,
    FEATURES,
    Header,
    StoredHeader,
    encode_header,
    plain_header,
)
from reference_engine.repository.kept_log import KeptLog
from reference_engine.repository.keys import derivation
from reference_engine.repository.keys.errors import (
    KeyNeededError,
    KeyRetiredError,
    WrongKeyError,
)
from reference_engine.repository.keys.keyring import Keyring
from reference_engine.repository.keys.material import Credential, Secret
from reference_engine.repository.keys.slots import Access, add_slot
from reference_engine.repository.keys.unlocking import unlocked
from reference_engine.repository.log import Log
from reference_engine.repository.parity import ParityPlan, check_installed
from reference_engine.repository.segmented_store import SegmentedStore
from reference_engine.repository.settings import Settings

Found = TypeVar("Found")
Unlock = Callable[[], Credential]
"""Returns what opens the repository; called only if it is encrypted."""


def no_key() -> Credential:
    """Have no credential.

    Raises:
        KeyNeededError: always.
    """
    raise KeyNeededError


class NewKeys(msgspec.Struct, frozen=True, kw_only=True):
    """How a repository that is to be created will be opened."""

    accesses: tuple[Access, ...]
    """At least one."""

    chance: RandomStream
    """Where keys and salts come from."""


class Features(msgspec.Struct, frozen=True, kw_only=True):
    """What a repository has beyond the plain format."""

    encryption: NewKeys | None = None
    parity: ParityPlan | None = None


PLAIN: Final = Features()


class Opened(NamedTuple):
    """A header with its key, the store through which everything goes, and the keyring."""

    header: Header
    store: BlobStore
    keyring: Keyring | None
    sealing: Sealing
    """How the objects are sealed, or would be if they were."""


async def prepared(
    store: BlobStore,
    token: str,
    features: Features,
    /,
    *,
    block_size: ByteCount,
    settings: Settings,
    executor: Executor,
) -> tuple[StoredHeader, Unlock]:
    """Return the header of a new repository, and what opens it; its key slots are durable.

    Slots come before the header: a repository without a key can never be seen.

    Raises:
        PackageMissingError: what the features need is not installed.
    """
    if features.parity is not None:
        check_installed()
    header = plain_header(token, block_size=block_size, settings=settings, parity=features.parity)
    new = features.encryption
    if new is None:
        return header, no_key
    assert new.accesses, "nobody could ever open it"
    derivation.check_installed()
    master = Secret.drawn(new.chance)
    slots = [
        await add_slot(
            store, each, (master,), repository=token, chance=new.chance, executor=executor
        )
        for each in new.accesses
    ]
    names = tuple(name for name in FEATURES if name == ENCRYPTION or name in header.features)
    bare = msgspec.structs.replace(header, digest_key="", features=names)
    proof = Keyring(token, (master,), slot=slots[0]).authenticator(encode_header(bare))
    credential = new.accesses[0].credential
    return msgspec.structs.replace(bare, authenticator=proof), lambda: credential


async def opened(
    store: BlobStore,
    stored: StoredHeader,
    /,
    *,
    executor: Executor,
    unlock: Unlock,
    without: Sequence[str] = (),
) -> Opened:
    """Return what a repository with this header is read and written through.

    Key slots `without` are passed over.

    Raises:
        KeyNeededError, WrongKeyError: the credential is none, or not right.
        SlotsDamagedError: no key slot can be read.
        PackageMissingError: what its features need is not installed.
    """
    if not stored.features:
        key = bytes.fromhex(stored.digest_key)
        return Opened(Header(stored, key=key), store, None, Tagging(key))
    if stored.parity is not None:
        if not stored.parity.is_usable:
            raise RepositoryForeignError("its parity cannot be computed")
        check_installed()
    keyring: Keyring | None = None
    domains: DomainKeys | None = None
    sealing: Sealing
    if ENCRYPTION in stored.features:
        derivation.check_installed()
        from reference_engine.repository.encryption import Encryption  # noqa: PLC0415 - an extra

        bare = msgspec.structs.replace(stored, authenticator="")
        keyring = await unlocked(
            store,
            unlock(),
            repository=stored.repository,
            proof=encode_header(bare),
            authenticator=stored.authenticator,
            executor=executor,
            without=without,
        )
        domains = DomainKeys()
        key, sealing = keyring.digest_key, Encryption(keyring, stored.repository, domains)
    else:
        key = bytes.fromhex(stored.digest_key)
        sealing = Tagging(key)
    segmented = SegmentedStore(
        store, sealing, parity=stored.parity, executor=executor, domains=domains
    )
    return Opened(Header(stored, key=key), segmented, keyring, sealing)


class Entered(NamedTuple):
    """What is behind a header: how it is read and written, its history, and who can open it."""

    header: Header
    store: BlobStore
    sealing: Sealing
    log: Log
    keys: Keys | None
    domains: Domains | None


async def entered(
    store: BlobStore,
    stored: StoredHeader,
    content: bytes,
    /,
    *,
    executor: Executor,
    unlock: Unlock,
    cache: LocalCache | None = None,
) -> Entered:
    """Return what is behind the header, opened by the first of its key slots that counts.

    What of the log is kept in `cache` is not asked of the store.

    A credential may open several: whoever changed keys, and died, has left slots that the log does
    not count, or not any more.

    Raises:
        KeyNeededError, WrongKeyError, KeyRetiredError: the credential is none, or not right.
        SlotsDamagedError: no key slot can be read.
        PackageMissingError: what its features need is not installed.
        LogDamagedError: its history is not what was written.
    """
    kept: KeptLog | None = None
    if cache is not None:
        store = kept = await KeptLog.opened(store, cache, repository=stored.repository)

    async def look(found: Opened) -> Entered:
        header, through, keyring, sealing = found
        log = Log(through, header, content, executor=executor)
        await log.check_complete()
        keys = None if keyring is None else Keys(through, log, keyring, executor=executor)
        domains: Domains | None = None
        if keys is not None and isinstance(through, SegmentedStore):
            domains = Domains(through, log)
        return Entered(header, through, sealing, log, keys, domains)

    # To an old master key what was sealed by a newer one looks damaged.
    passing = (WrongKeyError, KeyRetiredError, LogDamagedError)
    through = await by_first_slot(
        store, stored, look, passing=passing, executor=executor, unlock=unlock
    )
    if kept is not None:
        kept.done()
    return through


async def by_first_slot(
    store: BlobStore,
    stored: StoredHeader,
    look: Callable[[Opened], Awaitable[Found]],
    /,
    *,
    passing: tuple[type[TwinshotError], ...],
    executor: Executor,
    unlock: Unlock,
) -> Found:
    """Return what `look` finds behind the header, opened by the first key slot that counts.

    A slot at which it raises one of `passing` does not; if none counts, the first of these errors
    is raised, or what `opened` raises.
    """
    unlock = functools.cache(unlock)
    passed: list[str] = []
    failure: TwinshotError | None = None
    while True:
        try:
            found = await opened(store, stored, executor=executor, unlock=unlock, without=passed)
        except WrongKeyError as error:
            raise failure or error from None
        try:
            return await look(found)
        except passing as error:
            if found.keyring is None:
                raise
            failure = failure or error
            passed.append(found.keyring.slot.slot)
