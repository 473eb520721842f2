"""One schedule: a night in which a chooser says at each call of the engine what happens there."""

from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from reference_engine.model.identity import MachineId, VolumeName
from reference_engine.trace import Event as Fact
from reference_engine.trace.cluster import NodeChanged
from reference_engine.trace.engine import JobEnded, StepEntered
from simulator.campaign.exploring.fingerprint import History
from simulator.campaign.exploring.small_world import Scope, small_scenario
from simulator.campaign.exploring.vocabulary import Place, happening_of, options_at
from simulator.campaign.judging import Prover, gather
from simulator.campaign.night import Night
from simulator.campaign.sweep.seeds import (
    Breach,
    HangingError,
    breakdown_of,
    broken_of,
    limited,
)
from simulator.faults.kinds import Happening
from simulator.faults.plan import Answer, FaultPlan
from simulator.oracle.registry import judge

_BORDERS: Final = (StepEntered, JobEnded, NodeChanged)


class Kinds(msgspec.Struct, frozen=True, kw_only=True):
    """Of which kinds the first happening of a schedule is, and the later ones."""

    first: tuple[str, ...]
    later: tuple[str, ...]


class ScheduleCutError(BaseException):
    """The rest of this run is known; not an Exception: nothing of the engine may catch it."""


class Chooser(Protocol):
    """Decides what happens; one lives for one run."""

    def begin(self, history: History, stop: Callable[[], None], /) -> None:
        """Meet the run; `stop` ends it where its rest is known."""

    def wants(self) -> bool:
        """Return whether anything may still happen."""

    def choose(self, place: Place, options: int, /, *, border: bool) -> int:
        """Return 0, or which of so many options, from 1, happens at this call.

        `border`: the first call since the engine entered a step, asked about for the first time.
        """


class _ChoosingPlan(FaultPlan):
    """Asks the chooser at every call, and has happen what it chose."""

    def __init__(self, chooser: Chooser, kinds: Kinds, /, *, jobs: int) -> None:
        """`jobs`: after how many of them nothing more happens."""
        super().__init__()
        self._chooser, self._kinds, self._jobs = chooser, kinds, jobs
        self._night: Night | None = None
        self._history: History | None = None
        self.border = True

    def meet(self, night: Night, history: History, /) -> None:
        """Learn in which night this is the plan."""
        self._night, self._history = night, history

    def consult(self, subject: str, operation: str, occurrence: int, /) -> Answer:
        """Return what becomes of this call, once the chooser has said so."""
        night, history = self._night, self._history
        assert night is not None
        assert history is not None
        history.tell(night.sim.now(), subject, operation, occurrence)
        cluster = (
            MachineId(subject) in night.world.machines or VolumeName(subject) in night.world.volumes
        )
        place = Place(subject=subject, operation=operation, occurrence=occurrence, cluster=cluster)
        border, self.border = self.border, False
        while True:
            kinds = self._kinds.later if night.happenings else self._kinds.first
            offered = self._jobs > 0 and self._chooser.wants()
            options = options_at(place, kinds) if offered else ()
            chosen = self._chooser.choose(place, len(options), border=border)
            border = False
            if chosen == 0:
                return super().consult(subject, operation, occurrence)
            night.expect((happening_of(options[chosen - 1], place, night.world),))

    def watch(self, fact: Fact, /) -> None:
        """Notice where steps begin, and jobs end."""
        if isinstance(fact, _BORDERS):
            self.border = True
            self._jobs -= isinstance(fact, JobEnded)

    def answered(self, value: object, error: BaseException | None, /) -> None:
        """Take note of an answer: what the engine does next depends on it."""
        assert self._history is not None
        self._history.tell(value, type(error).__name__, str(error))


class _ListeningProver(Prover):
    """Proves points, and has the plan see what happens."""

    def __init__(self, plan: _ChoosingPlan, /) -> None:
        super().__init__()
        self._plan = plan

    def see(self, fact: Fact, night: Night, /) -> None:
        """Look at a fact."""
        self._plan.watch(fact)
        super().see(fact, night)


class Course:
    """What came of one schedule."""

    def __init__(
        self, happenings: tuple[Happening, ...], breaches: tuple[Breach, ...] | None, /
    ) -> None:
        self.happenings = happenings
        self.breaches = breaches
        """What did not hold; None where the run was cut."""


def run_schedule(scope: Scope, chooser: Chooser, kinds: Kinds, /) -> Course:
    """Run and judge one schedule of what `chooser` chooses from `kinds`."""
    scenario = small_scenario(scope)
    plan = _ChoosingPlan(chooser, kinds, jobs=scope.backups * scope.machines)
    prover = _ListeningProver(plan)
    night = Night(
        scenario,
        seed=scenario.seed,
        happenings=(),
        images={},
        plan=plan,
        watcher=prover,
        progress=lambda _: None,
    )
    history = History(night)
    plan.meet(night, history)
    sim = night.sim

    def stop() -> None:
        assert sim.current is not None
        sim.fail(sim.current, ScheduleCutError())

    chooser.begin(history, stop)
    try:
        with limited():
            night.run()
            evidence = gather(
                night,
                prover,
                restore_again=False,
                restored=lambda _, __: None,
                second_digest=None,
                sources_unchanged={},
            )
            breaches = broken_of(judge(evidence))
    except ScheduleCutError:
        sim.close()
        return Course(night.happenings, None)
    except (Exception, HangingError) as error:  # noqa: BLE001 - an engine that breaks down is a finding
        sim.close()
        breaches = (breakdown_of(error),)
    return Course(night.happenings, breaches)
