"""What a repository was told when it was made, beside its block size."""

import msgspec

from reference_engine.model.units import Duration


class Settings(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Promises about the repository's points, kept by every program that knows them."""

    append_only: bool = False
    """Points are added, and nothing is removed, ever."""

    immutable_for: Duration = msgspec.field(name="immutable_for_us", default=Duration(0))
    """No point expires before it is as old as this, in microseconds."""
