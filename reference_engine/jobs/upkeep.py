"""Keeping the repository within its bounds: retention, and the space that it gives back.

Retention is a promise, not a means: where the repository is full, space is given back that no point
needs, and no point goes that the rules keep.
"""

from contextlib import suppress

import msgspec

from reference_engine.catalogue.retention import DatedPoint, RetentionPolicy, choose_kept
from reference_engine.jobs.surroundings import Policy, Ports
from reference_engine.model.errors import CorruptionError, RefusedError, TwinshotError
from reference_engine.model.identity import RunTag
from reference_engine.model.units import Duration, Instant
from reference_engine.repository.errors import PointRemovedError
from reference_engine.repository.reclaim import Reclaimed
from reference_engine.repository.repack_rule import RepackRule
from reference_engine.trace.engine import PointsExpired, SpaceReclaimed, UpkeepDeferred


class BelievedClock:
    """A wall clock that anybody may set, held against the hosts' clocks and one that nobody sets.

    What is believed is behind all that speaks of a later instant: a wall clock that was set ahead
    makes no point older, and nor does a host's. Only both together, from one engine's life to the
    next, could: then nothing is left that says otherwise.
    """

    def __init__(self, ports: Ports, /) -> None:
        self._runtime, self._wall = ports.runtime, ports.wall_clock
        self._ahead: int | None = None

    def now(self, newest: Instant | None, /) -> Instant:
        """Return the instant that is believed; `newest`: the latest that a host ever stated."""
        wall, monotonic = self._wall(), self._runtime.now()
        if newest is None:
            return wall
        if self._ahead is None:
            self._ahead = min(wall, newest) - monotonic
        believed = min(wall, max(newest, Instant(monotonic + self._ahead)))
        self._ahead = max(self._ahead, believed - monotonic)
        return Instant(believed)


class Upkeep:
    """Applies the rules now and then, and whenever the repository is full."""

    def __init__(
        self, ports: Ports, policy: Policy, plan: "UpkeepPlan", clock: BelievedClock, /
    ) -> None:
        self._ports, self._policy, self._plan, self._clock = ports, policy, plan, clock
        self._has_expired = False
        """Whether points have expired since packs were looked at last."""

        self._is_short = False
        """Whether a run found no room since then."""

        self._held = 0
        """Bytes of packs that were left when they were looked at last; 0 before the first time."""

    async def keep_up(self) -> None:
        """Work every now and then; what fails is tried again the next time."""
        runtime, plan = self._ports.runtime, self._plan
        while runtime.now() + plan.every < plan.until:
            await runtime.sleep(plan.every)
            await self.work()

    async def make_room(self, given_up: RunTag, /) -> bool:
        """Give back space for a run that found none; return whether another attempt may do."""
        self._is_short = True
        return await self.work(given_up)

    async def work(self, given_up: RunTag | None = None, /) -> bool:
        """Expire what no rule keeps, give back its space; return whether there is or will be any.

        `given_up`: a run that has ended without a point, so that nobody has to wait for it.
        """
        ports = self._ports
        try:
            async with ports.runtime.deadline(self._policy.step_limit):
                if given_up is not None:
                    await ports.repository.reclaim.close(given_up)
                now = await self._expire()
                reclaimed = await ports.repository.reclaim.reclaim(at=now)
        except TwinshotError as failure:
            ports.tracer(UpkeepDeferred(at=ports.runtime.now(), cause=str(failure)))
            return False
        if given_up is None:
            # Who waits for room is helped by what was given back, and not by copies.
            reclaimed = await self._repacked(now, reclaimed)
        if reclaimed.deleted:
            ports.tracer(SpaceReclaimed(at=ports.runtime.now(), objects=len(reclaimed.deleted)))
        return bool(reclaimed.deleted or reclaimed.waiting)

    async def _repacked(self, now: Instant, reclaimed: Reclaimed) -> Reclaimed:
        """Move what is used out of packs of which little is; return what was reclaimed in all.

        Only when points have expired since the last time: before that, nothing has changed. And
        only when packs have grown by a part since then, or room is short: what is copied after each
        expiry is many times what the expiry frees. Another engine's repack is left its work; one
        that died is closed when it was silent for long.
        """
        ports, repack = self._ports, self._ports.repository.repack
        if not self._has_expired or repack.open_run() is not None:
            return reclaimed
        chance = ports.runtime.random("repack")
        try:
            async with ports.runtime.deadline(self._policy.copy_limit):
                held = await self._holding(reclaimed)
                if not self._is_short and held <= self._held * (1 + self._plan.repack_growth):
                    return reclaimed
                plan = await repack.plan(RepackRule(), at=now)
                self._has_expired, self._is_short, self._held = False, False, held
                if not plan.choice.objects:
                    return reclaimed
                await repack.run(plan, token=chance.token, at=now)
                again = await ports.repository.reclaim.reclaim(at=now)
                self._held = await self._holding(again)
        except TwinshotError as failure:
            ports.tracer(UpkeepDeferred(at=ports.runtime.now(), cause=str(failure)))
            # Nobody has to wait for a repack that ended halfway.
            with suppress(TwinshotError):
                await repack.end_own()
            return reclaimed
        return again._replace(deleted=(*reclaimed.deleted, *again.deleted))

    async def _holding(self, reclaimed: Reclaimed) -> int:
        """Return how many bytes there are in packs that do not wait for their deletion."""
        sizes = await self._ports.repository.store.sizes("packs/")
        return sum(sizes.values()) - sum(sizes.get(name, 0) for name in reclaimed.waiting)

    async def _expire(self) -> Instant:
        ports = self._ports
        dated: list[DatedPoint] = []
        newest: Instant | None = None
        for entry in await ports.repository.commits():
            try:
                record = await ports.repository.manifests.record(entry)
            except (CorruptionError, PointRemovedError):
                continue  # of a point whose record is damaged a person decides
            newest = max(newest or record.host_instant, record.host_instant)
            dated.append(DatedPoint(point=entry.point, machine=entry.machine, at=record.made))
        now = self._clock.now(newest)
        verdicts = choose_kept(
            dated,
            self._plan.retention,
            now=now,
            immutable_for=ports.repository.settings.immutable_for,
        )
        leased = await ports.repository.leases.leased()
        unkept = tuple(each.point.point for each in verdicts if not each.keep)
        going = tuple(point for point in unkept if point not in leased)
        if len(going) < len(unkept):
            count = len(unkept) - len(going)
            cause = f"{count} points that no rule keeps are being read"
            ports.tracer(UpkeepDeferred(at=ports.runtime.now(), cause=cause))
        if going:
            try:
                await ports.repository.reclaim.expire(going, at=now, allow_last=False)
            except RefusedError as refusal:
                ports.tracer(UpkeepDeferred(at=ports.runtime.now(), cause=str(refusal)))
            else:
                self._has_expired = True
                ports.tracer(PointsExpired(at=ports.runtime.now(), points=going))
        return now


class UpkeepPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept, and how often that is looked after."""

    retention: RetentionPolicy
    every: Duration
    until: Instant
    repack_growth: float = 0.2
    """By what part packs grow before those of which little is used are looked for again."""
