"""`twinshot mutants --of repository`: would the proof notice if a safety rule were missing?"""

from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output
from simulator.campaign.mutants import Mutant
from simulator.campaign.naming import named
from simulator.campaign.proving.killing import (
    Kill,
    kill_by_death,
    kill_by_schedule,
    kill_by_seed,
)
from simulator.campaign.proving.kills_command import OPERATIONS
from simulator.campaign.proving.mutants import (
    EQUIVALENT,
    REPOSITORY_MUTANTS,
    SHOWN_BY_KILLS,
    repository_mutant,
)


def repository_mutants(names: tuple[str, ...], /, *, seeds: int, output: Output) -> ExitCode:
    """Take away one safety rule after the other, and show what notices each."""
    chosen = [repository_mutant(name) for name in names] or list(REPOSITORY_MUTANTS)
    rows: list[tuple[str, ...]] = []
    alive: list[str] = []
    with output.steps("mutants of the repository", len(chosen)) as advance:
        for index, mutant in enumerate(chosen):
            advance(index, mutant.name)
            expected = EQUIVALENT.get(mutant.name)
            kill = _kill(mutant, seeds)
            if kill is None and expected is None:
                alive.append(mutant.name)
            output.record(
                "mutant",
                name=mutant.name,
                what=mutant.what,
                killed=kill is not None,
                by=None if kill is None else kill.by,
                tried=None if kill is None else kill.tried,
                rule=None if kill is None else kill.rule,
                equivalent=expected,
            )
            rows.append(_row(mutant, kill, expected))
    output.table(("MUTANT", "TRIED", "KILLED BY", "RULE", "WHAT IS WRONG"), rows)
    equivalent = [mutant.name for mutant in chosen if mutant.name in EQUIVALENT]
    for name in equivalent:
        output.say(f"{name} loses nothing: {EQUIVALENT[name]}")
    real = len(chosen) - len(equivalent)
    output.say(f"{real - len(alive)} of {real} mutants killed")
    code = ExitCode.FINDING if alive else ExitCode.OK
    output.summary(
        mutants=real,
        killed=real - len(alive),
        alive=alive,
        equivalent=equivalent,
        exit_code=int(code),
    )
    return code


def _kill(mutant: Mutant, seeds: int) -> Kill | None:
    """Return what notices that the rule is missing."""
    shown_by = SHOWN_BY_KILLS.get(mutant.name)
    if shown_by is not None:
        return kill_by_death(mutant, named(shown_by, OPERATIONS, kind="operation"))
    kill = kill_by_seed(mutant, seeds=seeds)
    if kill is None and mutant.name not in EQUIVALENT:
        kill = kill_by_schedule(mutant)
    return kill


def _row(mutant: Mutant, kill: Kill | None, expected: str | None) -> tuple[str, ...]:
    if kill is None:
        return mutant.name, "-", "equivalent" if expected else "ALIVE", "-", mutant.what
    return mutant.name, f"{kill.tried:,}", kill.by, kill.rule, mutant.what
