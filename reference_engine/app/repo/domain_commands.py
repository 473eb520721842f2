"""`twinshot repo domain`: points that can be destroyed together, for sure."""

from typing import Annotated

from cyclopts import Parameter

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime, wall_clock
from reference_engine.app.credentials import NO_OPTIONS, Keyholder, KeyOptions
from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output
from reference_engine.app.places import Place
from reference_engine.app.repositories import domains_of, open_repository
from reference_engine.model.errors import InputRefusedError
from reference_engine.model.wording import counted
from reference_engine.ports.runtime import Executor
from reference_engine.repository.domains import Domains, DomainView
from reference_engine.repository.repository import Repository

_Output = Annotated[Output, Parameter(parse=False)]
_Flag = Annotated[bool, Parameter(negative=(), show_default=False)]


async def _opened(
    place: str, executor: Executor, options: KeyOptions
) -> tuple[Repository, Domains]:
    repository = await open_repository(place, executor, Keyholder(options))
    return repository, domains_of(repository, place)


def add(repo: str, name: str, /, *, keys: KeyOptions = NO_OPTIONS, output: _Output) -> ExitCode:
    """Add a domain: `backup --domain NAME` puts a machine's points in it from then on.

    Points of a domain share stored blocks among themselves only, under a key of their own.

    Args:
        repo: Directory of the repository, or s3://bucket/prefix.
        name: What to call the domain; only who can open the repository sees it.
        keys: How to open the repository.
        output: Where results go.
    """
    runtime = AsyncioRuntime(seed=None)

    async def work() -> str:
        _, domains = await _opened(repo, runtime, keys)
        return await domains.add(name, chance=runtime.random("domains"))

    domain = runtime.run(work())
    output.record("domain", id=domain, name=name, change="added")
    output.say(f"added domain {name}")
    output.summary(domain=domain, exit_code=int(ExitCode.OK))
    return ExitCode.OK


def show(repo: Place, /, *, keys: KeyOptions = NO_OPTIONS, output: _Output) -> ExitCode:
    """List the domains, and how many points and machines each has.

    Args:
        repo: Directory of the repository, or s3://bucket/prefix.
        keys: How to open the repository.
        output: Where results go.
    """
    runtime = AsyncioRuntime(seed=None)

    async def work() -> tuple[DomainView, ...]:
        _, domains = await _opened(repo, runtime, keys)
        return await domains.listed()

    found = runtime.run(work())
    rows: list[tuple[str, ...]] = []
    for each in found:
        output.record(
            "domain",
            id=each.domain,
            name=each.name,
            points=each.points,
            machines=each.machines,
            has_key=each.has_key,
        )
        rows.append(
            (each.name, str(each.points), str(each.machines), "" if each.has_key else "lost")
        )
    if rows:
        output.table(("DOMAIN", "POINTS", "MACHINES", "KEY"), rows)
    else:
        output.say("no domains yet")
    lost = sum(not each.has_key for each in found)
    code = ExitCode.FINDING if lost else ExitCode.OK
    output.summary(domains=len(found), lost_keys=lost, exit_code=int(code))
    return code


def shred(
    repo: str,
    name: str,
    /,
    *,
    yes: _Flag = False,
    keys: KeyOptions = NO_OPTIONS,
    output: _Output,
) -> ExitCode:
    """Destroy a domain with all its points, for ever, wherever copies of the store may be.

    Its key is deleted, so nobody can read any of it again. `repo prune` gives back its space.
    Given again after a crash, the command does what is left to do.

    Args:
        repo: Directory of the repository, or s3://bucket/prefix.
        name: The domain, as `repo domain list` shows it.
        yes: Do it; without this it is only said what would be destroyed.
        keys: How to open the repository.
        output: Where results go.
    """
    runtime = AsyncioRuntime(seed=None)

    async def work() -> ExitCode:
        repository, domains = await _opened(repo, runtime, keys)
        going = [each for each in await domains.listed() if each.name == name]
        if going and not yes:
            points, machines = sum(g.points for g in going), sum(g.machines for g in going)
            raise InputRefusedError(
                f"{counted(points, 'point')} of {counted(machines, 'machine')} in domain {name!r} "
                "would be destroyed for ever",
                "say --yes if that is meant",
            )
        done = await domains.shred(name, reclaim=repository.reclaim, at=wall_clock())
        output.record("domain", id=done.domain, name=name, change="shredded", points=done.points)
        key, code = "the key is deleted", ExitCode.OK
        if done.locked:
            until = max(done.locked.values())
            key = f"the store keeps the key locked until {until}: shred or prune again then"
            code = ExitCode.PARTIAL
        gone = counted(done.points, "point")
        output.say(f"shredded domain {name}, and with it {gone}; {key}")
        output.summary(
            domain=done.domain,
            points=done.points,
            locked_objects=len(done.locked),
            exit_code=int(code),
        )
        return code

    return runtime.run(work())
