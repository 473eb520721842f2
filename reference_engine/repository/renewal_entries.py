"""Log entries by which a history goes on behind entries that were lost; see `FORMAT.md`."""

import msgspec

from reference_engine.model.identity import Epoch, MachineId, RecoveryPointId
from reference_engine.model.units import Instant
from reference_engine.repository.domain_entries import KnownDomain


class EntryLostEntry(msgspec.Struct, frozen=True, kw_only=True, tag="entry-lost", tag_field="kind"):
    """The entry of this number was lost: the number stays taken, and nobody may append here."""


class LivePoint(msgspec.Struct, frozen=True, kw_only=True):
    """A point that exists, with the manifest that counts; `digest` is its seal, hexadecimal."""

    machine: MachineId
    epoch: Epoch
    point: RecoveryPointId
    manifest: str
    digest: str


class TakenEpoch(msgspec.Struct, frozen=True, kw_only=True):
    """No run of the machine takes this epoch, or a lower one, any more."""

    machine: MachineId
    epoch: Epoch


class KnownRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that has ended, and its session; epoch 0: whose it was cannot be told any more."""

    machine: MachineId
    epoch: Epoch
    session: str


class LogRenewedEntry(
    msgspec.Struct, frozen=True, kw_only=True, tag="log-renewed", tag_field="kind"
):
    """Entries from number `first` up to this one mean nothing any more; this is what stands.

    `at` is shown to people and decides nothing.
    """

    first: int = msgspec.field(name="from")
    points: tuple[LivePoint, ...]
    """Every point that exists, in commit order."""

    epochs: tuple[TakenEpoch, ...]
    floor: Epoch
    """Of machines that `epochs` does not name."""

    runs: tuple[KnownRun, ...]
    """What opened runs among the entries that mean nothing any more, as far as it is known."""

    gone: tuple[str, ...]
    """Objects that no point uses from here on: lists of blocks speak of them, and they are not
    there, or a sweep among the entries that mean nothing any more was about them."""

    removed: tuple[str, ...] = ()
    """Key slots that were removed by such entries."""

    rotated: tuple[str, ...] = ()
    """Fingerprints of master keys that came by such entries, in their order."""

    domains: tuple[KnownDomain, ...] = ()
    """Dedup domains that came by such entries."""

    shredded: tuple[str, ...] = ()
    """Domains that were shredded by such entries."""

    at: Instant
