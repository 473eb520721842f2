"""Room on volumes: a snapshot grows with every write, and must be given up before it fills one."""

from reference_engine.jobs.surroundings import Policy, Ports
from reference_engine.model.errors import VolumeFullError
from reference_engine.model.identity import VolumeName
from reference_engine.model.machine import VolumeState
from reference_engine.model.units import Instant


def confirm_room(state: VolumeState, policy: Policy, /) -> None:
    """Return if the volume has more room than the policy keeps in reserve.

    Raises:
        VolumeFullError: give the snapshot up, or do not take it.
    """
    if state.free is not None and state.free < policy.volume_reserve:
        raise VolumeFullError(state.volume, state.free, policy.volume_reserve)


class RoomWatch:
    """Looks after the volumes whose room is known, while a run has snapshots on them."""

    def __init__(self, ports: Ports, policy: Policy, volumes: tuple[VolumeName, ...], /) -> None:
        self._ports, self._policy, self._volumes = ports, policy, volumes
        self._looked = Instant(0)

    async def look(self) -> None:
        """Return if all is well; asks no more often than the policy polls.

        Raises:
            VolumeFullError: a volume is about to fill; give the snapshots up.
        """
        now = self._ports.runtime.now()
        if now - self._looked < self._policy.poll:
            return
        self._looked = now
        for volume in self._volumes:
            confirm_room(await self._ports.cluster.volume(volume), self._policy)
