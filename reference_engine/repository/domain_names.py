"""Names that tell of which dedup domain an object is.

What a session of a domain writes bears the domain in its name, so that nobody has to look anything
up to know under which key an object was sealed, and what it may share blocks with.
"""

import re
from collections.abc import Iterable
from typing import Final

DOMAINS: Final = "domains/"
"""Where the domains' keys are."""

OWN: Final = ""
"""The repository's own domain: what is in none has no name for it, and no key of its own."""

_KEY: Final = re.compile(r"(?:quarantine/)?(?:copies/)?domains/(d[0-9a-f]{16})(?:-[0-9]+)?")
_OBJECT: Final = re.compile(r"(?:quarantine/)?(?:copies/)?[a-z]+/(d[0-9a-f]{16})\.")
_SESSION: Final = re.compile(r"(d[0-9a-f]{16})\.")


def domain_id(token: str, /) -> str:
    """Return the id of a new domain, given 32 hexadecimal digits of chance."""
    return f"d{token[:16]}"


def domain_of(name: str, /) -> str:
    """Return of which domain an object is; empty where it is of none."""
    found = _OBJECT.match(name)
    return OWN if found is None else found[1]


def domain_of_session(session: str, /) -> str:
    """Return in which domain a session writes."""
    found = _SESSION.match(session)
    return OWN if found is None else found[1]


def in_domain(domain: str, token: str, /) -> str:
    """Return the name of a session, a manifest or a list of a domain."""
    return f"{domain}.{token}" if domain else token


def bare(name: str, /) -> str:
    """Return the name of a session, a manifest or a list without its domain."""
    found = _SESSION.match(name)
    return name if found is None else name[found.end() :]


def only_of(domain: str, names: Iterable[str], /) -> tuple[str, ...]:
    """Return the names of a domain's objects."""
    return tuple(name for name in names if domain_of(name) == domain)


def key_name(domain: str, /) -> str:
    """Return the name of the object that holds a domain's key; its copy is named as all copies."""
    return DOMAINS + domain


def keyed_domain(name: str, /) -> str:
    """Return whose key an object is, its copy, or what a repair put aside; empty: nobody's."""
    found = _KEY.fullmatch(name)
    return OWN if found is None else found[1]
