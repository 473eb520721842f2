"""Log entries about dedup domains; see `FORMAT.md`."""

import msgspec

from reference_engine.model.units import Instant


class DomainAddedEntry(
    msgspec.Struct, frozen=True, kw_only=True, tag="domain-added", tag_field="kind"
):
    """Sessions may write in this domain from here on; its key is durable by then."""

    domain: str
    name: str


class DomainShreddedEntry(
    msgspec.Struct, frozen=True, kw_only=True, tag="domain-shredded", tag_field="kind"
):
    """The domain's points exist no more, and none comes to be; its key is deleted next."""

    domain: str
    at: Instant


class KnownDomain(msgspec.Struct, frozen=True, kw_only=True):
    """A domain that was not shredded, and what people call it."""

    domain: str
    name: str
