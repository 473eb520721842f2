"""What an administrator cannot order, in the words of a scenario file."""

from collections.abc import Iterable, Iterator
from typing import Annotated

from pydantic import AfterValidator

from simulator.faults.orders import MachineRestored
from simulator.world.own_disks import is_own, own_disk_names

Place = tuple[str | int, ...]


def _known_image(image: str) -> str:
    if is_own(image) and image not in own_disk_names():
        raise ValueError(f"is none of {', '.join(own_disk_names())}")
    return image


Image = Annotated[str, AfterValidator(_known_image)]
"""The path of a disk image, or `own:` with the name of a disk that the simulator brings along."""


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
