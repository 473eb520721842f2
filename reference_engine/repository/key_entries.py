"""What the log says about keys."""

import enum

import msgspec


class KeyChange(enum.StrEnum):
    """What happened to a key slot."""

    ADDED = "added"
    REMOVED = "removed"
    ROTATED = "rotated"


class KeyChangedEntry(
    msgspec.Struct, frozen=True, kw_only=True, tag="key-changed", tag_field="kind"
):
    """A way into the repository came or went. What was removed may still be there for a moment."""

    change: KeyChange
    slot: str
    fingerprint: str = ""
    """Of the new master key where it was rotated: from here on it seals."""
