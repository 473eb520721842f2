"""Why an item cannot be had."""

from reference_engine.model.errors import CorruptionError, RefusedError


class TreeDamagedError(CorruptionError):
    """A file system contradicts itself: `where` it was read, and what was found there."""

    def __init__(self, cause: str, where: str = "", /) -> None:
        super().__init__(cause, where)
        self.cause, self.where = cause, where

    def __str__(self) -> str:
        return f"{self.where or 'the file system'} is damaged: {self.cause}"


class TreeUnsupportedError(RefusedError):
    """Something is sound as far as one can see, and nothing here reads it."""

    def __init__(self, what: str, where: str = "", /) -> None:
        super().__init__(what, where)
        self.what, self.where = what, where

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.what}; restore the disk to read it where it is understood"


class ItemNotFoundError(RefusedError):
    """The volume has no item of this path."""

    def __init__(self, path: str, /) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        # What Python doubles of a path of Windows is not what was typed.
        told = f"'{self.path}'" if self.path.isprintable() else repr(self.path)
        return f"there is no {told}; `items list` shows what there is"
