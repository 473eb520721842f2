"""Log entries by which points and objects go or move; `FORMAT.md` says what each means."""

import msgspec

from reference_engine.model.identity import Epoch, MachineId, RecoveryPointId
from reference_engine.model.units import Instant


class PointsExpiredEntry(
    msgspec.Struct, frozen=True, kw_only=True, tag="points-expired", tag_field="kind"
):
    """From here on these points do not exist any more.

    `at` is shown to people and decides nothing.
    """

    points: tuple[RecoveryPointId, ...]
    at: Instant


class RunClosedEntry(msgspec.Struct, frozen=True, kw_only=True, tag="run-closed", tag_field="kind"):
    """This run came to nothing and can no longer commit."""

    machine: MachineId
    epoch: Epoch


class MovedPoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where a point's manifest is from now on; `digest` is its seal, hexadecimal."""

    point: RecoveryPointId
    manifest: str
    digest: str


class PointsMovedEntry(
    msgspec.Struct, frozen=True, kw_only=True, tag="points-moved", tag_field="kind"
):
    """From here on these points, which exist, have other manifests, and the repack has ended.

    `at` is when, by the clock of whoever wrote it: it decides how long what was written then is
    left alone, and never whether something is needed.
    """

    epoch: Epoch
    points: tuple[MovedPoint, ...]
    at: Instant


class ObjectsCondemnedEntry(
    msgspec.Struct, frozen=True, kw_only=True, tag="objects-condemned", tag_field="kind"
):
    """No point used these objects; runs opened from here on do not build on them.

    `at` is when, by the clock of whoever wrote it: it decides how long to wait for runs that may
    be dead, and never whether something is needed.
    """

    objects: tuple[str, ...]
    at: Instant


class ObjectsSweptEntry(
    msgspec.Struct, frozen=True, kw_only=True, tag="objects-swept", tag_field="kind"
):
    """From here on no point may use what entry `condemned` listed, but for `spared`."""

    condemned: int
    spared: tuple[str, ...]


class ObjectsReleasedEntry(
    msgspec.Struct, frozen=True, kw_only=True, tag="objects-released", tag_field="kind"
):
    """What was swept of entry `condemned` has been deleted."""

    condemned: int


class PointLeasedEntry(
    msgspec.Struct, frozen=True, kw_only=True, tag="point-leased", tag_field="kind"
):
    """Until the lease ends, or its holder has been silent for too long, this point does not expire.

    `at` is when, by the clock of whoever wrote it: it tells how long the holder has been silent.
    """

    point: RecoveryPointId
    holder: str
    at: Instant


class LeaseEndedEntry(
    msgspec.Struct, frozen=True, kw_only=True, tag="lease-ended", tag_field="kind"
):
    """This holder no longer reads its point."""

    holder: str
