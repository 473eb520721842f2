"""`twinshot mutants`: would the harness notice if the engine were wrong?"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Final, Literal

import msgspec
from cyclopts import Parameter

from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output
from reference_engine.model.errors import InputRefusedError
from simulator.campaign.exploring.comparison import MODES, first_found
from simulator.campaign.mutants import MUTANTS, Mutant, mutant_named, planted
from simulator.campaign.proving.mutants import REPOSITORY_MUTANTS
from simulator.campaign.proving.mutants_command import repository_mutants
from simulator.campaign.sweep.seeds import swarm_subject
from simulator.campaign.trial import Subject, Trial, run_trial, subjects_of
from simulator.scenario.library import library, scenario_files
from simulator.scenario.reading import read_scenario

_LEFT_OUT: Final = ("first_night", "real_disk", "d63_engine_crash")
"""Too long, or too many variants, to be tried against every mutant before the others were."""
_SEEDS: Final = 60
_REPOSITORY_SEEDS: Final = 600


class Kill(msgspec.Struct, frozen=True, kw_only=True):
    """What killed a mutant first: which trial, and which promise was broken."""

    by: Subject
    invariant: str
    tried: int
    """How many trials it took, with the one that killed."""

    @property
    def subject(self) -> str:
        """What was tried."""
        return self.by.title

    @property
    def seed(self) -> int:
        """Under which seed."""
        return self.by.seed


def mutants(
    *names: str,
    seeds: int | None = None,
    of: Literal["engine", "repository"] = "engine",
    by: Literal["scenarios", "explore"] = "scenarios",
    schedules: int = 300,
    list_: Annotated[bool, Parameter(name="--list", negative=(), show_default=False)] = False,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Plant bugs in the engine, one at a time, and show what notices each.

    Args:
        names: Mutants to plant; all of them without a name.
        seeds: How many seeds each mutant may survive before it counts as alive: 60 random
            scenarios, or 600 runs of the repository and every schedule.
        of: Whose rules are broken: those of the engine that backs up, or of its repository.
        by: `scenarios`: random ones and the catalogue's. `explore`: random, PCT and exhaustive
            schedules of the smallest world, side by side; then nothing counts as alive that only
            a larger world can show.
        schedules: How many schedules each mutant may survive in each mode of `--by explore`.
        list_: Say which mutants there are, and what each breaks; plant none.
        output: Where results go.
    """
    if seeds is not None and seeds < 1:
        raise InputRefusedError(f"{seeds} seeds cannot kill anything", "give at least one")
    if list_:
        return _list(MUTANTS if of == "engine" else REPOSITORY_MUTANTS, output)
    if of == "repository":
        return repository_mutants(names, seeds=seeds or _REPOSITORY_SEEDS, output=output)
    chosen = _chosen(names)
    if by == "explore":
        return _by_exploring(chosen, schedules, output)
    swarm = [swarm_subject(seed) for seed in range(1, (seeds or _SEEDS) + 1)]
    catalogue = _catalogue()
    rows: list[tuple[str, ...]] = []
    alive: list[str] = []
    killers: dict[tuple[str, int], Subject] = {}
    with output.steps("planted bugs", len(chosen) + 1) as advance:
        for index, mutant in enumerate(chosen):
            advance(index, mutant.name)
            with planted(mutant):
                by_seed, by_scenario = _first_kill(swarm), _first_kill(catalogue)
            kill = by_seed or by_scenario
            killers |= {
                (each.subject, each.seed): each.by for each in (by_seed, by_scenario) if each
            }
            if kill is None:
                alive.append(mutant.name)
            output.record(
                "mutant",
                name=mutant.name,
                what=mutant.what,
                killed=kill is not None,
                invariant=None if kill is None else kill.invariant,
                seed=None if kill is None else kill.seed,
                seeds_tried=None if by_seed is None else by_seed.tried,
                scenario=None if by_scenario is None else by_scenario.subject,
                scenario_invariant=None if by_scenario is None else by_scenario.invariant,
            )
            rows.append(_row(mutant, by_seed, by_scenario))
        advance(len(chosen), "the engine as it is")
        clean = _first_kill(tuple(killers.values()))
    output.table(("MUTANT", "SEEDS", "BY SEED", "BY SCENARIO", "WHAT IS WRONG"), rows)
    if clean is not None:
        output.say(f"FAIL the engine as it is breaks {clean.invariant} in {clean.subject}")
    output.say(f"{len(chosen) - len(alive)} of {len(chosen)} mutants killed")
    code = ExitCode.FINDING if alive or clean is not None else ExitCode.OK
    output.summary(
        mutants=len(chosen),
        killed=len(chosen) - len(alive),
        alive=alive,
        engine_clean=clean is None,
        exit_code=int(code),
    )
    return code


def _list(there: Iterable[Mutant], output: Output) -> ExitCode:
    rows = [(mutant.name, mutant.what) for mutant in there]
    for name, what in rows:
        output.record("mutant", name=name, what=what)
    output.table(("MUTANT", "WHAT IS WRONG"), rows)
    output.summary(mutants=len(rows), exit_code=int(ExitCode.OK))
    return ExitCode.OK


def _by_exploring(chosen: list[Mutant], schedules: int, output: Output) -> ExitCode:
    """Show after how many schedules each mode finds each mutant."""
    if schedules < 1:
        raise InputRefusedError(f"{schedules} schedules find nothing", "give at least one")
    rows: list[tuple[str, ...]] = []
    counts = dict.fromkeys(MODES, 0)
    with output.steps("the engine as it is", len(chosen) + 1) as advance:
        clean = [found for mode in MODES if (found := first_found(mode, schedules=schedules))]
        for index, mutant in enumerate(chosen):
            advance(index + 1, mutant.name)
            with planted(mutant):
                found_by = {mode: first_found(mode, schedules=schedules) for mode in MODES}
            for mode, found in found_by.items():
                counts[mode] += found is not None
            output.record(
                "mutant",
                name=mutant.name,
                what=mutant.what,
                **{
                    mode: None if found is None else msgspec.structs.asdict(found)
                    for mode, found in found_by.items()
                },
            )
            first = next((found for found in found_by.values() if found is not None), None)
            rows.append(
                (
                    mutant.name,
                    *(
                        "-" if found is None else str(found.schedules)
                        for found in found_by.values()
                    ),
                    "-" if first is None else f"{first.back_end}: {first.broken}",
                    mutant.what,
                )
            )
    columns = (*(mode.upper() for mode in MODES), "BREAKS", "WHAT IS WRONG")
    output.table(("MUTANT", *columns), rows)
    for found in clean:
        output.say(f"FAIL the engine as it is breaks {found.broken} on {found.back_end}")
    said = ", ".join(f"{mode} finds {count}" for mode, count in counts.items())
    output.say(f"of {len(chosen)} mutants {said}; at most {schedules} schedules each")
    code = ExitCode.FINDING if clean else ExitCode.OK
    output.summary(mutants=len(chosen), found=counts, engine_clean=not clean, exit_code=int(code))
    return code


def _chosen(names: tuple[str, ...]) -> list[Mutant]:
    return [mutant_named(name) for name in names] or list(MUTANTS)


def _catalogue() -> tuple[Subject, ...]:
    return tuple(
        subject
        for file in scenario_files((library(),))
        if not file.stem.startswith(_LEFT_OUT)
        for subject in subjects_of(
            read_scenario(file), name=file.stem, path=file, seed=None, images={}
        )
    )


def _first_kill(subjects: Sequence[Subject]) -> Kill | None:
    """Return the first trial that shows something wrong."""
    for tried, (subject, found) in enumerate(_findings(subjects), start=1):
        if found:
            return Kill(by=subject, invariant=found, tried=tried)
    return None


def _findings(subjects: Sequence[Subject]) -> Iterator[tuple[Subject, str]]:
    for subject in subjects:
        try:
            trial = run_trial(subject, restore_again=False)
        except Exception as error:  # noqa: BLE001 - an engine that breaks down is noticed, too
            yield subject, f"breakdown ({type(error).__name__})"
        else:
            yield subject, _broken(trial)


def _broken(trial: Trial) -> str:
    """Return the broken invariants, or else the broken expectations."""
    broken = [verdict.invariant for verdict in trial.verdicts if verdict.holds is False]
    invariants = [name for name in broken if not name.startswith("expect:")]
    return " ".join(invariants or broken[:1])


def _row(mutant: Mutant, by_seed: Kill | None, by_scenario: Kill | None) -> tuple[str, ...]:
    if by_seed is None and by_scenario is None:
        return mutant.name, "-", "ALIVE", "ALIVE", mutant.what
    return (
        mutant.name,
        "-" if by_seed is None else str(by_seed.tried),
        "-" if by_seed is None else f"seed {by_seed.seed}: {by_seed.invariant}",
        "-" if by_scenario is None else f"{by_scenario.subject}: {by_scenario.invariant}",
        mutant.what,
    )
