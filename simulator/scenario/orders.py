"""What an administrator cannot order, in the words of a scenario file."""

from collections.abc import Iterable, Iterator

from simulator.faults.orders import MachineRestored

Place = tuple[str | int, ...]


def impossible_orders(
    happenings: Iterable[object], place: Place, hosting: frozenset[str], /
) -> Iterator[tuple[Place, str]]:
    """Yield what is wrong with orders; `hosting`: machines with an application in their guest.

    An application that is put back while it runs would have to forget what it has done since.
    """
    for index, each in enumerate(happenings):
        if not isinstance(each, MachineRestored) or each.restored_as == "new":
            continue
        if each.machine in hosting:
            yield (*place, index, "restored_as"), "is `new` only where an application runs"
