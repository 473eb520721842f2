"""`twinshot repo key`: who can open an encrypted repository."""

from typing import Annotated

from cyclopts import Parameter

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime
from reference_engine.app.credentials import NO_OPTIONS, Keyholder, KeyOptions, NewKeyOptions
from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output
from reference_engine.app.places import Place
from reference_engine.app.repo.new_keys import new_access
from reference_engine.app.repositories import open_repository
from reference_engine.model.errors import InputRefusedError
from reference_engine.ports.runtime import Executor
from reference_engine.repository.access import Keys

_Output = Annotated[Output, Parameter(parse=False)]
_Flag = Annotated[bool, Parameter(negative=(), show_default=False)]
_NEW = NewKeyOptions()


async def _keys(place: str, executor: Executor, options: KeyOptions) -> Keys:
    repository = await open_repository(place, executor, Keyholder(options))
    if repository.keys is None:
        raise InputRefusedError(
            f"{place} is not encrypted and has no keys",
            "create a new one with: repo init --encrypt",
        )
    return repository.keys


def add(
    repo: Place,
    /,
    *,
    label: str = "",
    keys: KeyOptions = NO_OPTIONS,
    new: NewKeyOptions = _NEW,
    output: _Output,
) -> ExitCode:
    """Add a key that opens the repository, beside those that there are.

    Args:
        repo: Directory of the repository, or s3://bucket/prefix.
        label: What to call the key; only who can open the repository sees it.
        keys: How to open the repository.
        new: The new key.
        output: Where results go.
    """
    runtime = AsyncioRuntime(seed=None)

    async def work() -> str:
        held = await _keys(repo, runtime, keys)
        chance = runtime.random("keys")
        return await held.add(new_access(new, label, chance=chance), chance=chance)

    return _done("added", runtime.run(work()), output)


def show(repo: Place, /, *, keys: KeyOptions = NO_OPTIONS, output: _Output) -> ExitCode:
    """List the keys that open the repository.

    Args:
        repo: Directory of the repository, or s3://bucket/prefix.
        keys: How to open the repository.
        output: Where results go.
    """
    runtime = AsyncioRuntime(seed=None)

    async def work() -> None:
        held = await _keys(repo, runtime, keys)
        slots = await held.slots()
        for slot in slots:
            output.record(
                "key", id=slot.slot, kind=slot.kind.value, label=slot.label, opened=slot.opened
            )
        rows = [(s.slot, s.kind.value, s.label, "yes" if s.opened else "") for s in slots]
        output.table(("KEY", "KIND", "LABEL", "USED NOW"), rows)
        output.summary(keys=len(slots), master_keys=held.master_keys, exit_code=int(ExitCode.OK))

    runtime.run(work())
    return ExitCode.OK


def remove(repo: str, key: str, /, *, keys: KeyOptions = NO_OPTIONS, output: _Output) -> ExitCode:
    """Remove a key: it opens the repository no more. The last one stays.

    Given again after a crash, the command does what is left to do.

    Args:
        repo: Directory of the repository, or s3://bucket/prefix.
        key: The key's id or its beginning, as `repo key list` shows it.
        keys: How to open the repository.
        output: Where results go.
    """
    runtime = AsyncioRuntime(seed=None)

    async def work() -> str:
        held = await _keys(repo, runtime, keys)
        name = await held.named(key)
        await held.remove(name)
        return name

    return _done("removed", runtime.run(work()), output)


def rotate(
    repo: Place,
    /,
    *,
    master: _Flag = False,
    label: str = "",
    keys: KeyOptions = NO_OPTIONS,
    new: NewKeyOptions = _NEW,
    output: _Output,
) -> ExitCode:
    """Replace the key that was used by a new one.

    Args:
        repo: Directory of the repository, or s3://bucket/prefix.
        master: Draw a new master key as well, for all that is written from now on, and remove
            every other key: after a key has leaked.
        label: What to call the key.
        keys: How to open the repository.
        new: The new key.
        output: Where results go.
    """
    runtime = AsyncioRuntime(seed=None)

    async def work() -> str:
        held = await _keys(repo, runtime, keys)
        chance = runtime.random("keys")
        access = new_access(new, label, chance=chance)
        if master:
            return await held.rotate_master(access, chance=chance)
        return await held.replace(access, chance=chance)

    return _done("rotated", runtime.run(work()), output)


def _done(change: str, slot: str, output: Output) -> ExitCode:
    output.record("key", id=slot, change=change)
    output.say(f"{change} key {slot}")
    output.summary(key=slot, exit_code=int(ExitCode.OK))
    return ExitCode.OK
