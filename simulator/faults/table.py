"""What every part of a scenario file has in common."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A table of a scenario file: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
