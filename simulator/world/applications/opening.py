"""Opening an application's data in an image, with nothing of the guest that wrote it."""

from simulator.kernel.streams import Stream
from simulator.world.applications import ledger, ledger_format
from simulator.world.applications.application import Application, Kind, Opening, ReadCell


def parts_of(kind: Kind, /) -> dict[str, int]:
    """Return how many cells each part of an application needs."""
    if kind == "ledger":
        return ledger.PARTS
    from simulator.world.applications import database  # noqa: PLC0415 - SQLite only where it is used

    return database.PARTS


def program(kind: Kind, draw: Stream, /, *, cell: int, per_hour: int) -> Application:
    """Return the application, with empty files of its own."""
    if kind == "ledger":
        return ledger.Ledger(draw, cell=cell, per_hour=per_hour)
    from simulator.world.applications import database  # noqa: PLC0415 - SQLite only where it is used

    return database.Database(draw, cell=cell, per_hour=per_hour, wal=kind == "sqlite-wal")


def opened(kind: Kind, read: ReadCell, cell: int, /) -> Opening:
    """Return what the application says of its data in these cells; they are not written."""
    if kind == "ledger":
        found = ledger_format.recover(read, cell)
        return found.opening if isinstance(found, ledger_format.Found) else found
    from simulator.world.applications import database  # noqa: PLC0415 - SQLite only where it is used

    return database.open_database(read, cell, wal=kind == "sqlite-wal")
