"""What a repository was told when it was made, beside its block size."""

import msgspec

from reference_engine.model.units import Duration
from reference_engine.ports.object_locks import LockMode, LockRule


class Settings(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Promises about the repository's points, kept by every program that knows them."""

    append_only: bool = False
    """Points are added, and nothing is removed, ever."""

    immutable_for: Duration = msgspec.field(name="immutable_for_us", default=Duration(0))
    """No point expires before it is as old as this, in microseconds."""

    object_lock: LockMode | None = None
    """The store locks every object for `immutable_for`, where it has locks."""

    @property
    def lock_rule(self) -> LockRule | None:
        """Until when objects are locked; None: they are not."""
        if self.object_lock is None or not self.immutable_for:
            return None
        return LockRule(mode=self.object_lock, period=self.immutable_for)
