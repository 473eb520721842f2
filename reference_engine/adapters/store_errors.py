"""What every store of objects may answer instead of a result."""

from reference_engine.model.errors import RefusedError


class StoreUnusableError(RefusedError):
    """The place cannot hold a repository as things are; `remedy` says what to change."""

    def __init__(self, place: str, cause: str, remedy: str, /) -> None:
        super().__init__(place, cause, remedy)
        self.place, self.cause, self.remedy = place, cause, remedy

    def __str__(self) -> str:
        return f"{self.place} cannot be used: {self.cause}; {self.remedy}"
