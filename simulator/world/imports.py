"""Files of restore orders on hosts, and the machines that are made of them."""

from typing import Final

import numpy as np
import numpy.typing as npt

from reference_engine.model.errors import (
    MachinePresentError,
    OperationFailedError,
    VolumeFullError,
)
from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import MachineId, NodeName, OrderId, VolumeName
from reference_engine.model.machine import Machine
from reference_engine.model.units import ByteCount
from simulator.kernel.streams import key_of
from simulator.kernel.task import SimTask
from simulator.world import lifecycle, room
from simulator.world.cluster import World
from simulator.world.disk import SimDisk
from simulator.world.machine import SimMachine
from simulator.world.newcomers import placed_among
from simulator.world.truth import Landing, Shape

_KEPT_BY_CHANCE: Final = 500
"""Of a thousand writes that nobody flushed, how many a power cut leaves."""

Content = npt.NDArray[np.uint8]


class OrderFile:
    """One file; what was not flushed is lost in part when its host loses power."""

    def __init__(self, node: NodeName, volume: VolumeName, size: int, /) -> None:
        self.node, self.volume, self.handle = node, volume, ""
        self.content: Content = np.zeros(size, np.uint8)
        self.durable = self.content.copy()
        self.pending: list[tuple[int, int]] = []

    def resize(self, size: int, /) -> None:
        """Be of another size; what is new is zero."""
        for name in ("content", "durable"):
            fitted = np.zeros(size, np.uint8)
            kept = getattr(self, name)[:size]
            fitted[: len(kept)] = kept
            setattr(self, name, fitted)


class Underlaid:
    """Restored bytes under what a guest writes."""

    def __init__(self, content: Content, /) -> None:
        self._content = content

    def read(self, offset: int, length: int, /) -> bytes:
        """Return exactly `length` bytes from `offset`."""
        return self._content[offset : offset + length].tobytes()


class Imports:
    """All order files of the cluster."""

    def __init__(self, world: World, /) -> None:
        self._world = world
        self.files: dict[tuple[OrderId, str], OrderFile] = {}
        self.realized: dict[OrderId, Machine] = {}
        self._prepared = 0
        world.on_node_loss.append(self._node_lost)

    def present(self, machine: MachineId, /) -> tuple[NodeName, ...]:
        """Return the hosts that have a machine of this identity."""
        found = self._world.machines.get(machine)
        there = [] if found is None or found.deleted else [found.node or found.last_node]
        twin = self._world.twins.get(machine)
        if twin is not None:
            there.append(twin.node)
        return tuple(node for node in there if node is not None)

    def prepare(
        self, node: NodeName, order: OrderId, path: str, volume: VolumeName, size: ByteCount
    ) -> tuple[str, bool]:
        """Return the file's new handle, and whether the file is new."""
        there = self.files.get((order, path))
        place = self._world.volumes.get(volume)
        if place is None:
            raise OperationFailedError("prepare", f"there is no volume {volume}")
        more = size - (0 if there is None else len(there.content))
        free = room.free_of(self._world, place)
        if free is not None and place.room is not None:
            if free < more:
                raise VolumeFullError(volume, free, more)
            place.room = ByteCount(place.room - more)
        fresh = there is None
        if there is None:
            there = self.files[order, path] = OrderFile(node, volume, size)
        elif more:
            there.resize(size)
        self._prepared += 1
        there.node, there.handle = node, f"{order}/{path}/{self._prepared}"
        return there.handle, fresh

    def file(self, handle: str, /) -> OrderFile:
        """Return the file of a handle.

        Raises:
            OperationFailedError: the handle is worth nothing any more.
        """
        found = next((each for each in self.files.values() if each.handle == handle), None)
        if found is None:
            raise OperationFailedError("import", "the file was prepared again, or is gone")
        return found

    def write(self, handle: str, offset: int, content: bytes, /) -> None:
        """Put bytes into a file."""
        file = self.file(handle)
        file.content[offset : offset + len(content)] = np.frombuffer(content, np.uint8)
        file.pending.append((offset, offset + len(content)))

    def flush(self, handle: str, /) -> None:
        """Make a file durable."""
        file = self.file(handle)
        file.durable = file.content.copy()
        file.pending.clear()

    def discard(self, order: OrderId, /) -> None:
        """Remove the order's files."""
        for key in [key for key in self.files if key[0] == order]:
            file = self.files.pop(key)
            place = self._world.volumes[file.volume]
            if place.room is not None:
                place.room = ByteCount(place.room + len(file.content))

    def _node_lost(self, node: NodeName, lost: list[SimTask]) -> None:
        del lost
        chance = self._world.sim.stream("unflushed", node, self._world.sim.now())
        for file in self.files.values():
            if file.node != node:
                continue
            file.handle = ""
            for start, end in file.pending:
                if chance.chance(_KEPT_BY_CHANCE):
                    file.durable[start:end] = file.content[start:end]
            file.content = file.durable.copy()
            file.pending.clear()

    def realize(
        self,
        node: NodeName,
        order: OrderId,
        machine: Machine,
        handles: tuple[str, ...],
        *,
        replace: bool,
    ) -> None:
        """Make the machine of the files, and have it run."""
        if order in self.realized:
            return
        files = [self.file(handle) for handle in handles]
        there = self.present(machine.id)
        if there and not replace:
            raise MachinePresentError(machine.id, ", ".join(there))
        contents = [file.content for file in files]
        self.realized[order] = machine
        self._world.truth.landings.append(
            Landing(
                order=order,
                machine=machine,
                contents=tuple(content.tobytes() for content in contents),
                replaced=bool(there),
            )
        )
        for key in [key for key in self.files if key[0] == order]:
            del self.files[key]  # they are the machine's now, and take room still
        known = self._world.machines.get(machine.id)
        if known is None:
            known = placed_among(
                self._world,
                machine,
                [self._disk(machine, number, content) for number, content in enumerate(contents)],
            )
        else:
            self._bring_back(known, machine, contents)
        known.adapters = machine.adapters
        self._world.place(known, node, why="restored")

    def _disk(self, machine: Machine, number: int, content: Content) -> SimDisk:
        described = machine.disks[number]
        return SimDisk(
            described.id,
            key=key_of("disk", self._world.sim.seed, described.id, number),
            size=ByteCount(len(content)),
            cell=next(iter(self._world.machines.values())).disks[0].cell,
            volume=described.volume,
            underlay=Underlaid(content),
            free=None,
            allocated=ExtentSet.whole(ByteCount(len(content))),
        )

    def _bring_back(self, known: SimMachine, machine: Machine, contents: list[Content], /) -> None:
        """Have the machine that there was be again what the files say."""
        world = self._world
        if not known.deleted:
            lifecycle.delete(world, known)
        world.twins.pop(known.id, None)
        for snapshot, (machine_of, _) in tuple(world.foreign.items()):
            if machine_of == known.id:
                del world.foreign[snapshot]  # it went with the machine that it was of
        known.deleted = False
        known.checkpoint = {}
        known.stalled.clear()
        known.name = machine.name
        known.keep_first(len(contents))
        for disk, described, content in zip(known.disks, machine.disks, contents, strict=True):
            disk.volume = described.volume
            if len(content) != disk.size:
                disk.resize(ByteCount(len(content)))
                world.maps.resize(disk)
                world.truth.shapes.setdefault(disk.id, []).append(
                    Shape(stamp=known.pass_stamp(), size=disk.size, cells=disk.cells)
                )
            known.put_back(disk, content)
        known.skip()
