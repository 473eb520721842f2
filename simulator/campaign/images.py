"""Real disk images for simulated guests: opened to be read, and known again afterwards."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from blake3 import blake3

from reference_engine.formats.image import DiskImage
from reference_engine.formats.opening import open_disk_image
from reference_engine.model.extents import EMPTY
from reference_engine.model.units import MIB, ByteCount
from simulator.scenario.building import RealDisk
from simulator.scenario.schema import Scenario
from simulator.world.free_space import free_space
from simulator.world.own_disks import is_own


def images_of(scenario: Scenario, /) -> list[str]:
    """Return the images that the scenario's disks name, each once."""
    named = [
        disk.image
        for machine in scenario.machines
        for disk in machine.disks
        if disk.image is not None and not is_own(disk.image)
    ]
    return list(dict.fromkeys(named))


@contextmanager
def opened_images(
    scenario: Scenario, beside: Path, /
) -> Iterator[tuple[Mapping[str, RealDisk], Mapping[str, Path]]]:
    """Open every image that the scenario names; relative paths start from `beside`.

    Yields the disks and the files' paths, by the name that the scenario uses.

    Raises:
        RefusedError, CorruptionError: a file is missing, damaged or no disk image.
    """
    with ExitStack() as stack:
        disks: dict[str, RealDisk] = {}
        paths: dict[str, Path] = {}
        for name in images_of(scenario):
            paths[name] = beside / name
            image = stack.enter_context(open_disk_image(paths[name]))
            disks[name] = RealDisk(
                content=_Underlay(image),
                size=image.size,
                allocated=image.allocated(),
                free=free_space(image) or EMPTY,
            )
        yield disks, paths


class _Underlay:
    """An open image as the world reads it."""

    def __init__(self, image: DiskImage, /) -> None:
        self._image = image

    def read(self, offset: int, length: int, /) -> bytes:
        return self._image.read(ByteCount(offset), ByteCount(length))


def file_digest(path: Path, /) -> str:
    """Return the digest of a file's whole content."""
    digest = blake3()
    with path.open("rb") as file:
        while piece := file.read(4 * MIB):
            digest.update(piece)
    return str(digest.hexdigest())
