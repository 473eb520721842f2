"""Planted bugs of engines that take over: of frozen guests, of late orders, and of who is who."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from msgspec.structs import replace

from reference_engine.jobs import backup, clearing, discovery, owner, schedule
from reference_engine.jobs.insisting import insist
from reference_engine.jobs.saving import Saving
from reference_engine.model.errors import ConsistencyLostError, TransientError, TwinshotError
from reference_engine.model.identity import Epoch
from reference_engine.model.units import HOUR, Duration, Instant
from reference_engine.reconcile.freeze import DEFAULT_LIMITS
from simulator.campaign import night
from simulator.campaign.planted_bugs import Patch


async def _nothing(*_: object, **__: object) -> None:
    return None


class _Cluster:
    """A cluster's answers, but for those that a bug changes."""

    def __init__(self, cluster: Any, /) -> None:
        self._cluster = cluster

    def __getattr__(self, name: str, /) -> Any:
        return getattr(self._cluster, name)


def first_look_put_off() -> list[Patch]:
    """An engine that starts looks for machines when it would look again, not at once."""
    original = discovery.discover

    async def late(ports: Any, policy: Any, rule: Any, *args: Any, **kwargs: Any) -> None:
        if ports.runtime.now() + rule.poll < rule.until:
            await ports.runtime.sleep(rule.poll)
        await original(ports, policy, rule, *args, **kwargs)

    return [(schedule, "discover", late)]


def found_machines_stay_frozen() -> list[Patch]:
    """Without its repository an engine has only those machines go on that it has a list of."""
    original = clearing.let_all_go_on

    async def listed(ports: Any, known: Any, rule: Any, /, *, limit: Any) -> None:
        del rule
        await original(ports, known, None, limit=limit)

    return [(night, "let_all_go_on", listed)]


def last_look_left_out() -> list[Patch]:
    """An engine that starts behind the rule's end looks for no machines."""
    return [(discovery, "insist", _nothing)]


def silence_until_the_end() -> list[Patch]:
    """An engine that looked for machines in vain until the rule ended looks no more."""
    original = discovery.discover

    async def looked(
        ports: Any, policy: Any, rule: Any, *args: Any, clear: Any, within: Any
    ) -> None:
        if ports.runtime.now() + rule.poll < rule.until:
            within = Duration(0)
        await original(ports, policy, rule, *args, clear=clear, within=within)

    async def while_there_is_time(*args: Any, within: Any) -> None:
        if within:
            await insist(*args, within=within)

    return [(schedule, "discover", looked), (discovery, "insist", while_there_is_time)]


def last_look_not_repeated() -> list[Patch]:
    """An engine that starts behind the rule's end, and is not answered, looks for machines once."""

    async def once(ports: Any, policy: Any, work: Any, /, **_: object) -> None:
        with suppress(TwinshotError):
            async with ports.runtime.deadline(policy.step_limit):
                await work()

    return [(discovery, "insist", once)]


def found_machines_left_alone() -> list[Patch]:
    """A machine that is found when no slot is left is not cleared either."""
    original = schedule._protect_one  # noqa: SLF001 - a planted bug

    async def with_slots(*args: Any, **kwargs: Any) -> None:
        plan = args[4]
        if plan.count:
            await original(*args, **kwargs)

    return [(schedule, "_protect_one", with_slots)]


def silence_empties_the_census() -> list[Patch]:
    """A cluster that answers with an error is taken for one that has no machines."""

    class Empty(_Cluster):
        async def machines(self) -> Any:
            try:
                return await self._cluster.machines()
            except TwinshotError:
                return ()

    original = discovery.discover

    async def hasty(ports: Any, *args: Any, **kwargs: Any) -> None:
        await original(replace(ports, cluster=Empty(ports.cluster)), *args, **kwargs)

    return [(schedule, "discover", hasty)]


def copy_taken_unasked() -> list[Patch]:
    """Nobody asks who else has a machine of whose disks none is the base's."""
    return [(backup, "confirm_identity", _nothing)]


def identity_by_disk_names() -> list[Patch]:
    """A machine whose disks are called as the base's are goes on with it."""

    def named_alike(machine: Any, base: Any, /) -> bool:
        names = {disk.id for disk in base.machine.disks}
        return any(disk.id in names for disk in machine.disks)

    return [(owner, "continues", named_alike)]


def one_node_asked_for_identity() -> list[Patch]:
    """One other node is asked whether it has the machine, not every one."""
    original = owner.confirm_identity

    class Pair(_Cluster):
        async def nodes(self) -> Any:
            return (await self._cluster.nodes())[:2]

    async def one(ports: Any, *args: Any, **kwargs: Any) -> None:
        await original(replace(ports, cluster=Pair(ports.cluster)), *args, **kwargs)

    return [(backup, "confirm_identity", one)]


def thaw_without_limit() -> list[Patch]:
    """A thaw behind a run waits for its answer as long as other calls do."""
    return [(clearing, "DEFAULT_LIMITS", replace(DEFAULT_LIMITS, thaw=Duration(HOUR)))]


def thaw_said_once() -> list[Patch]:
    """A thaw without an answer is not said again."""
    return [(clearing, "_THAW_TRIES", 1)]


def thaw_where_named() -> list[Patch]:
    """A frozen guest is thawed where the cluster says that it is, or not at all."""
    original = clearing.thaw_wherever

    class Alone(_Cluster):
        async def nodes(self) -> tuple[()]:
            return ()

    async def there(ports: Any, run: Any, /) -> None:
        await original(replace(ports, cluster=Alone(ports.cluster)), run)

    return [(clearing, "thaw_wherever", there)]


def any_answer_thaws() -> list[Patch]:
    """A node that answers a thaw has thawed the guest, whether one stood still there or not."""
    original = clearing._thaw_soon  # noqa: SLF001 - a planted bug

    async def answered(*args: Any, **kwargs: Any) -> bool:
        await original(*args, **kwargs)
        return True

    return [(clearing, "_thaw_soon", answered)]


def failed_thaw_passes() -> list[Patch]:
    """A guest that could not be thawed passes for cleared up."""
    original = clearing.thaw_wherever

    async def hopeful(*args: Any) -> None:
        with suppress(TransientError, ConsistencyLostError):
            await original(*args)

    return [(clearing, "thaw_wherever", hopeful)]


def held_machine_not_looked_at_again() -> list[Patch]:
    """A machine that was told to go on when an engine started is not looked at again then."""
    original = clearing.let_go_on

    async def once(*args: Any) -> Any:
        return replace(await original(*args), frozen_guest=None, saved_by=None)

    return [(clearing, "let_go_on", once)]


def start_waits_for_repository() -> list[Patch]:
    """Nobody thaws a guest while the repository cannot be opened."""
    return [(night, "let_all_go_on", _nothing)]


def thaw_behind_repository() -> list[Patch]:
    """An engine that starts asks its repository what ran last before it looks at the guest."""
    return [(schedule, "let_go_on", _nothing)]


def silent_repository_looked_past_once() -> list[Patch]:
    """An engine whose repository is silent looks at the guest once, and then waits for it."""

    async def asked_twice(ports: Any, policy: Any, machine: Any) -> tuple[Epoch, bool]:
        for limit in (policy.freeze.thaw, policy.step_limit):
            with suppress(TwinshotError):
                async with ports.runtime.deadline(limit):
                    return tuple(await ports.repository.last_run(machine))
            await schedule._bounded(ports, policy, clearing.let_go_on(ports, machine))  # noqa: SLF001 - a planted bug
        return Epoch(0), False

    return [(schedule, "_last_run", asked_twice)]


def last_run_not_asked() -> list[Patch]:
    """An engine that starts does not ask what ran last, and whether it came to an end."""

    async def none(*_: object) -> tuple[Epoch, bool]:
        return Epoch(0), False

    return [(schedule, "_last_run", none)]


def late_freeze_not_outlasted() -> list[Patch]:
    """An engine that takes over looks once for a guest that is frozen, not for one that will be."""
    return [(schedule, "outlast_late_freeze", _nothing)]


def late_freeze_thawed_once() -> list[Patch]:
    """A guest that was told to go on once is not told again, though it may freeze later."""

    async def once(ports: Any, run: Any, /) -> None:
        await ports.runtime.sleep(DEFAULT_LIMITS.thaw_again)
        with suppress(TwinshotError):
            async with ports.runtime.deadline(DEFAULT_LIMITS.late_answer):
                await clearing.thaw_wherever(ports, run)

    return [(schedule, "outlast_late_freeze", once)]


def point_ends_late_freezes() -> list[Patch]:
    """A run that came to a point leaves no freeze behind, though its guest never answered."""
    original = clearing.may_freeze_late

    def unanswered(latest: Any, /, *, interrupted: bool) -> bool:
        return (latest is None or interrupted) and original(latest, interrupted=interrupted)

    return [(schedule, "may_freeze_late", unanswered)]


def interrupted_run_froze_nothing() -> list[Patch]:
    """A run that came to nothing leaves no freeze behind."""
    original = clearing.may_freeze_late

    def ended(latest: Any, /, *, interrupted: bool) -> bool:
        del interrupted
        return original(latest, interrupted=False)

    return [(schedule, "may_freeze_late", ended)]


def first_run_froze_nothing() -> list[Patch]:
    """A guest of which there is no point yet is believed to be no guest that freezes late."""
    original = clearing.may_freeze_late

    def known(latest: Any, /, *, interrupted: bool) -> bool:
        return latest is not None and original(latest, interrupted=interrupted)

    return [(schedule, "may_freeze_late", known)]


def late_freeze_timed_by_wall_clock() -> list[Patch]:
    """A wall clock says whether a freeze can still come for a point's run."""
    protect, original = schedule._protect_one, clearing.may_freeze_late  # noqa: SLF001 - a planted bug
    clocks: list[Callable[[], Instant]] = []

    async def with_clock(ports: Any, *args: Any, **kwargs: Any) -> None:
        clocks[:] = [ports.wall_clock]
        await protect(ports, *args, **kwargs)

    def in_time(latest: Any, /, *, interrupted: bool) -> bool:
        if latest is not None and not interrupted:
            ago = Duration(clocks[0]() - latest.made)
            return ago < DEFAULT_LIMITS.late_answer and original(latest, interrupted=False)
        return original(latest, interrupted=interrupted)

    return [(schedule, "_protect_one", with_clock), (schedule, "may_freeze_late", in_time)]


def last_look_too_early() -> list[Patch]:
    """An engine looks for the last time although its hosts may still do what was asked of them."""
    return [(schedule, "_outlast_late_orders", _nothing)]


def moved_guest_left_to_the_clearing() -> list[Patch]:
    """A failed run thaws its guest where it froze it, and leaves the rest to whoever clears up."""

    async def there(ports: Any, run: Any, saving: Any, freeze: Any, /, *, limit: Any) -> None:
        del run
        with suppress(TwinshotError):
            async with ports.runtime.deadline(limit):
                if saving is not None:
                    await saving.resume()
                if freeze is not None:
                    await freeze.thaw()

    return [(backup, "let_run_on", there)]


def thaw_behind_a_late_cluster() -> list[Patch]:
    """No guest is thawed before the cluster has said where it runs."""
    original = clearing.thaw_wherever

    async def told_first(ports: Any, run: Any, /) -> None:
        await ports.cluster.locate(run.machine)
        await original(ports, run)

    return [(clearing, "thaw_wherever", told_first)]


def witness_not_asked() -> list[Patch]:
    """Nobody is asked where a guest stands still but the cluster."""

    async def unseen(*_: object) -> tuple[()]:
        return ()

    return [(clearing, "_where_seen", unseen)]


def saved_machine_not_looked_at() -> list[Patch]:
    """A machine that was saved is taken to have stood still until it was told to go on."""
    original = Saving.resume

    async def believed(self: Any) -> str:
        self.held = True
        return await original(self)

    return [(Saving, "resume", believed)]


PLANTED: Final[tuple[tuple[str, Callable[[], list[Patch]]], ...]] = (
    ("first-look-put-off", first_look_put_off),
    ("found-machines-stay-frozen", found_machines_stay_frozen),
    ("last-look-left-out", last_look_left_out),
    ("silence-until-the-end", silence_until_the_end),
    ("last-look-not-repeated", last_look_not_repeated),
    ("found-machines-left-alone", found_machines_left_alone),
    ("silence-empties-the-census", silence_empties_the_census),
    ("copy-taken-unasked", copy_taken_unasked),
    ("identity-by-disk-names", identity_by_disk_names),
    ("one-node-asked-for-identity", one_node_asked_for_identity),
    ("thaw-without-limit", thaw_without_limit),
    ("thaw-said-once", thaw_said_once),
    ("thaw-where-named", thaw_where_named),
    ("any-answer-thaws", any_answer_thaws),
    ("failed-thaw-passes", failed_thaw_passes),
    ("held-machine-not-looked-at-again", held_machine_not_looked_at_again),
    ("start-waits-for-repository", start_waits_for_repository),
    ("thaw-behind-repository", thaw_behind_repository),
    ("silent-repository-looked-past-once", silent_repository_looked_past_once),
    ("last-run-not-asked", last_run_not_asked),
    ("late-freeze-not-outlasted", late_freeze_not_outlasted),
    ("late-freeze-thawed-once", late_freeze_thawed_once),
    ("point-ends-late-freezes", point_ends_late_freezes),
    ("interrupted-run-froze-nothing", interrupted_run_froze_nothing),
    ("first-run-froze-nothing", first_run_froze_nothing),
    ("late-freeze-timed-by-wall-clock", late_freeze_timed_by_wall_clock),
    ("last-look-too-early", last_look_too_early),
    ("moved-guest-left-to-the-clearing", moved_guest_left_to_the_clearing),
    ("thaw-behind-a-late-cluster", thaw_behind_a_late_cluster),
    ("witness-not-asked", witness_not_asked),
    ("saved-machine-not-looked-at", saved_machine_not_looked_at),
)
"""The name and the patches of each; what the engine does wrong then is said where it is planted."""
