"""Logical volumes of a point's disks (LVM2), put together from all that hold pieces of them."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from reference_engine.items.disk_view import Window
from reference_engine.items.errors import TreeDamagedError
from reference_engine.items.lvm.mapped import Mapped
from reference_engine.items.lvm.physical_volume import PhysicalVolume, physical_volume
from reference_engine.items.lvm.volume_group import LogicalVolume, VolumeGroup, volume_group
from reference_engine.items.signatures import Known
from reference_engine.items.volume import Volume, looked_into
from reference_engine.model.identity import DiskId

_ELSEWHERE: Final = "a part of it lies on a physical volume that is on none of the point's disks"
_TWICE: Final = "a physical volume of this identity is there twice"


class LvmPart(NamedTuple):
    """A part of a disk that begins like a physical volume."""

    start: int
    window: Window


class _Held(NamedTuple):
    """A physical volume, and where it is."""

    disk: DiskId
    start: int
    volume: PhysicalVolume


async def with_logical_volumes(
    found: Sequence[Volume], places: Mapping[DiskId, Sequence[LvmPart]], /
) -> tuple[Volume, ...]:
    """Return volumes, what is to be said of physical ones among them, and the logical ones.

    A logical volume belongs to the disk on which it begins, and follows that disk's others.

    Raises:
        CorruptionError: blocks of the point cannot be read back as they were written.
    """
    held = [
        _Held(disk, part.start, volume)
        for disk, parts in places.items()
        for part in parts
        if (volume := await physical_volume(part.window)) is not None
    ]
    assembly = _Assembly(held)
    told: dict[DiskId, list[Volume]] = {}
    for each in found:
        is_lvm = each.file_system == Known.LVM.value
        told.setdefault(each.disk, []).append(assembly.physical(each) if is_lvm else each)
    for group in assembly.groups.values():
        for logical in group.logical:
            home = assembly.home(group, logical)
            if home is not None and home.disk in told:
                number = told[home.disk][-1].number + 1
                told[home.disk].append(await assembly.opened(group, logical, home, number))
    return tuple(each for volumes in told.values() for each in volumes)


class _Assembly:
    """What the physical volumes of a point say together."""

    def __init__(self, held: Sequence[_Held], /) -> None:
        self._by_uuid: dict[str, list[_Held]] = {}
        self._by_place = {(each.disk, each.start): each.volume for each in held}
        self._damaged: dict[str, str] = {}
        self.groups: dict[str, VolumeGroup] = {}
        for each in held:
            self._by_uuid.setdefault(each.volume.uuid, []).append(each)
            self._learn(each.volume)

    def _learn(self, volume: PhysicalVolume) -> None:
        """Keep the newest description of each group."""
        if volume.damaged:
            self._damaged[volume.uuid] = volume.damaged
        for text in volume.texts:
            try:
                group = volume_group(text)
            except TreeDamagedError as error:
                self._damaged[volume.uuid] = error.cause
                continue
            known = self.groups.get(group.uuid)
            if known is None or known.version < group.version:
                self.groups[group.uuid] = group

    def physical(self, shown: Volume, /) -> Volume:
        """Return a physical volume with the group that it belongs to."""
        own = self._by_place.get((shown.disk, shown.start))
        if own is None:
            return replace(shown, unsupported="LVM: no label of it is whole")
        if len(self._by_uuid[own.uuid]) > 1:
            return replace(shown, unsupported=f"LVM: {_TWICE}")
        group = next((each for each in self.groups.values() if own.uuid in each.volumes), None)
        damaged = self._damaged.get(own.uuid, "")
        if group is not None:
            remark = f"LVM: {damaged}; another copy was used" if damaged else ""
            member = f"LVM: physical volume of {group.name}"
            return replace(shown, unsupported=member, remark=shown.remark or remark)
        if damaged:
            return replace(shown, unsupported="", damaged=damaged)
        return replace(shown, unsupported="LVM: in no volume group that is known here")

    def home(self, group: VolumeGroup, logical: LogicalVolume, /) -> _Held | None:
        """Return on which physical volume a logical one begins, as far as one knows."""
        likely = (*(area.volume for area in logical.areas), *group.volumes)
        return next((self._by_uuid[uuid][0] for uuid in likely if uuid in self._by_uuid), None)

    async def opened(
        self, group: VolumeGroup, logical: LogicalVolume, home: _Held, number: int, /
    ) -> Volume:
        """Return a logical volume with what its bytes are."""
        first = next(iter(logical.areas), None)
        inside = 0 if first is None or first.volume != home.volume.uuid else first.start
        shown = Volume(
            disk=home.disk,
            number=number,
            start=home.start + inside,
            length=logical.size,
            kind=f"LVM {group.name}/{logical.name}",
            damaged=logical.damaged,
            unsupported="" if logical.damaged else logical.unsupported,
        )
        if shown.damaged or shown.unsupported:
            return shown
        needed = {area.volume for area in logical.areas}
        for uuid in sorted(needed):
            if len(self._by_uuid.get(uuid, ())) != 1:
                return replace(shown, unsupported=_TWICE if uuid in self._by_uuid else _ELSEWHERE)
        windows = {uuid: self._by_uuid[uuid][0].volume.window for uuid in needed}
        return await looked_into(
            Window(Mapped(logical, windows), start=0, length=logical.size), shown
        )
