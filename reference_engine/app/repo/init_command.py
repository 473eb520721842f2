"""`twinshot repo init`: a new repository, with promises, encrypted or with parity as wanted."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime
from reference_engine.app.credentials import NO_OPTIONS, Keyholder, KeyOptions, new_passphrase
from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output
from reference_engine.app.places import Place
from reference_engine.app.repo.durations import parse_duration, write_duration
from reference_engine.app.repo.new_keys import (
    file_access,
    recovery_access,
    shown_recovery_access,
)
from reference_engine.app.repositories import create_repository, naming, open_store
from reference_engine.model.errors import InputRefusedError
from reference_engine.model.units import Duration
from reference_engine.ports.object_locks import LockMode, locks_of
from reference_engine.ports.runtime import RandomStream, Runtime
from reference_engine.repository.keys.derivation import DEFAULT_COST
from reference_engine.repository.keys.material import SlotKind
from reference_engine.repository.keys.slots import Access
from reference_engine.repository.opening import Features, NewKeys
from reference_engine.repository.parity import GROUP_MAX, ParityPlan
from reference_engine.repository.repository import Repository
from reference_engine.repository.settings import Settings

_FLAG = Parameter(negative=(), show_default=False)


def init(
    repo: Place,
    /,
    *,
    append_only: Annotated[bool, Parameter(negative=())] = False,
    immutable_for: str | None = None,
    object_lock: LockMode | None = None,
    encrypt: Annotated[bool, _FLAG] = False,
    keys: KeyOptions = NO_OPTIONS,
    new_key_file: Path | None = None,
    recovery_key: Path | None = None,
    no_recovery_key: Annotated[bool, _FLAG] = False,
    parity: str | None = None,
    pack_parity: int | None = None,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Make a new repository.

    Args:
        repo: Directory, or s3://bucket/prefix; nothing may be there yet.
        append_only: Never remove anything from it.
        immutable_for: How old a point has to be before it may be removed, like 30d. Programs like
            this one keep to it; in a bucket, --object-lock has the store itself keep to it.
        object_lock: Lock every object in the bucket for as long as --immutable-for says:
            `governance`, which a right of its own lifts, or `compliance`, which nobody lifts.
        encrypt: Encrypt everything with AES-256-GCM under a passphrase or a key file.
        keys: Where the new passphrase comes from; without an option it is asked for.
        new_key_file: Key file to write, instead of a passphrase.
        recovery_key: File to write the recovery key to; print it, and delete the file.
        no_recovery_key: Do without a recovery key: a lost passphrase is a lost repository.
        parity: Reed-Solomon parity against lost sectors, as a share of the packs: `6%`.
        pack_parity: One more pack for every so many (2 to 255), so that one lost file of them is
            restored; with --parity only.
        output: Where results go.
    """
    age = Duration(0) if immutable_for is None else parse_duration(immutable_for, "--immutable-for")
    if object_lock is not None and not age:
        raise InputRefusedError(
            "--object-lock does not say for how long", "add --immutable-for, like 30d"
        )
    settings = Settings(append_only=append_only, immutable_for=age, object_lock=object_lock)
    plan = _plan(parity, pack_parity)
    runtime = AsyncioRuntime(seed=None)
    given = new_key_file or recovery_key or no_recovery_key or Keyholder(keys).named
    if given and not encrypt:
        raise InputRefusedError(
            "a key was given without --encrypt",
            "add it, or leave options and TWINSHOT_ variables away",
        )
    if recovery_key is not None and no_recovery_key:
        raise InputRefusedError("a recovery key is both wanted and not", "leave one option away")
    chance = runtime.random("keys")

    written: list[Path] = []

    def features() -> Features:
        if not encrypt:
            return Features(parity=plan)
        accesses = [_first(keys, new_key_file, chance)]
        written.extend(path for path in (new_key_file,) if path is not None)
        accesses += _recovery(recovery_key, wanted=not no_recovery_key, chance=chance)
        written.extend(path for path in (recovery_key,) if path is not None)
        return Features(encryption=NewKeys(accesses=tuple(accesses), chance=chance), parity=plan)

    try:
        repository = runtime.run(_init(repo, settings, features, runtime))
    except BaseException:
        # Keys of a repository that does not exist would only be mistaken for others.
        for path in written:
            path.unlink(missing_ok=True)
        raise
    promises = said_of(settings)
    how = "an encrypted repository" if encrypt else "a repository"
    output.say(f"created {how} in {repo}" + (f": {promises}" if promises else ""))
    output.summary(
        repository=repository.identity,
        block_size=repository.block_size,
        append_only=settings.append_only,
        immutable_for_s=settings.immutable_for // 1_000_000,
        object_lock=None if object_lock is None else object_lock.value,
        encrypted=encrypt,
        parity_percent=0.0 if plan is None else plan.percent,
        pack_parity=0 if plan is None else plan.group,
        exit_code=int(ExitCode.OK),
    )
    return ExitCode.OK


async def _init(
    place: str, settings: Settings, features: Callable[[], Features], runtime: Runtime
) -> Repository:
    store = open_store(place)
    if settings.object_lock is not None and locks_of(store) is None:
        raise InputRefusedError(
            f"{place} has no locks of objects", "leave --object-lock away, or use a bucket"
        )
    with naming(place):
        return await create_repository(store, settings, features=features, runtime=runtime)


def said_of(settings: Settings, /) -> str:
    """Return a repository's promises as people read them; nothing where it makes none."""
    parts = ["append-only"] if settings.append_only else []
    if settings.immutable_for:
        parts.append(f"points immutable for {write_duration(settings.immutable_for)}")
    if settings.object_lock is not None:
        parts.append(f"objects locked ({settings.object_lock.value})")
    return ", ".join(parts)


def _first(keys: KeyOptions, new_key_file: Path | None, chance: RandomStream) -> Access:
    if new_key_file is not None:
        if keys != NO_OPTIONS:
            raise InputRefusedError(
                "a passphrase and a key file were given", "create with one, then: repo key add"
            )
        return file_access(new_key_file, "first", chance=chance)
    return Access(
        credential=new_passphrase(Keyholder(keys)),
        kind=SlotKind.PASSPHRASE,
        label="first",
        cost=DEFAULT_COST,
    )


def _recovery(path: Path | None, *, wanted: bool, chance: RandomStream) -> tuple[Access, ...]:
    if path is not None:
        return (recovery_access(path, "recovery", chance=chance),)
    return (shown_recovery_access(chance=chance),) if wanted else ()


def _plan(parity: str | None, group: int | None) -> ParityPlan | None:
    if parity is None:
        if group is not None:
            raise InputRefusedError("--pack-parity needs --parity", "say how much: --parity 6%")
        return None
    try:
        share = float(parity.removesuffix("%"))
    except ValueError:
        share = 0.0
    if not parity.endswith("%") or not 1 <= share <= 100:
        raise InputRefusedError(f"{parity!r} is no share of parity", "write one from 1% to 100%")
    if group is not None and not 2 <= group <= GROUP_MAX:
        raise InputRefusedError(f"{group} packs are no group", f"choose from 2 to {GROUP_MAX}")
    return ParityPlan.of_percent(share, group=group or 0)
