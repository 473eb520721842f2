"""What must be true of a disk after a power cut: promises are kept, and the next command works."""

from pathlib import Path
from typing import Final

import msgspec

from reference_engine.adapters.asyncio_runtime import AsyncioRuntime
from reference_engine.app.credentials import Keyholder, KeyOptions
from reference_engine.app.repositories import open_repository
from reference_engine.model.errors import TwinshotError
from reference_engine.repository.errors import RepositoryAbsentError
from reference_engine.verification.findings import Problem
from simulator.campaign.proving.children import in_child
from simulator.campaign.proving.operations import Found, held, image
from simulator.campaign.proving.power.story import (
    REPOSITORIES,
    SEALED,
    Promise,
    source_of,
    spoken,
)

_NEXT: Final = ("c", "d")
"""What is backed up after the cut: images that no machine had as its newest."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a cut has left."""

    points: int
    """How many points were restored and compared."""

    findings: tuple[str, ...]
    """Broken promises; empty if there is none."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A disk that was mounted after a cut, and what is known of it."""

    place: str
    """Where it is mounted."""

    beside: str
    """The directory with keys, and with images to back up."""

    cache: str | None
    """A cache that outlived the cut on another disk, and knows what came after it."""

    made: tuple[Promise, ...]
    """All promises of the story."""

    worked_on: tuple[str, ...]
    """Repositories that are checked in full and worked on further; in others points restore."""

    under_way: bool
    """Whether the cut came in the middle of a command."""

    position: int
    """Of the cut, in bytes of the log."""


def judge(case: Case, /) -> Verdict:
    """Return which promises the disk breaks; further points are made on it."""
    ended = in_child(lambda: (0, msgspec.json.encode(_Judge(case).verdict())))
    if ended.code != 0:
        last = (ended.complaint.strip().splitlines() or [""])[-1]
        return Verdict(points=0, findings=(f"the judge broke down with {ended.code}: {last}",))
    verdict: Verdict = msgspec.json.decode(ended.report, type=Verdict)
    return verdict


class _Judge:
    def __init__(self, case: Case, /) -> None:
        self._place, self._beside = Path(case.place), Path(case.beside)
        self._cache = None if case.cache is None else Path(case.cache)
        self._made, self._under_way = case.made, case.under_way
        self._worked_on = case.worked_on
        self._kept = [each for each in case.made if each.holds(case.position)]
        self._findings: list[str] = []
        self._points = 0

    def verdict(self) -> Verdict:
        """Look at everything; the order is that in which a person would find things out."""
        self._look_at_files()
        for repository in REPOSITORIES:
            key = self._opening_key() if repository == SEALED else ""
            if key is not None and self._look_at(repository, key) and repository in self._worked_on:
                self._go_on(repository, key)
        return Verdict(points=self._points, findings=tuple(self._findings))

    def _look_at_files(self) -> None:
        for promise in self._made:
            if promise.kind != "file":
                continue
            path = self._place / promise.what
            wanted = [image(name) for name in promise.images]
            if path.exists() and path.read_bytes() not in wanted:
                self._findings.append(f"{promise.what} has other bytes")
            elif not path.exists() and promise in self._kept:
                self._findings.append(f"{promise.what} was restored and is gone")

    def _opening_key(self) -> str | None:
        """Return a key that opens the encrypted repository; None where there is nothing to open."""
        opening: list[str] = []
        names = [each.what for each in self._made if each.kind == "opens"]
        for name in names:
            try:
                self._found(SEALED, name)
            except TwinshotError as error:
                if self._holds("opens", name):
                    self._findings.append(f"key {name} does not open {SEALED}: {error}")
            else:
                opening.append(name)
                if self._holds("shut", name):
                    self._findings.append(f"key {name} was removed and opens {SEALED}")
        promised = any(
            each.kind in {"point", "opens"} and each.repository == SEALED for each in self._kept
        )
        if not opening and promised:
            self._findings.append(f"no key opens {SEALED}")
        return opening[-1] if opening else None

    def _holds(self, kind: str, what: str) -> bool:
        return any(each.kind == kind and each.what == what for each in self._kept)

    def _found(self, repository: str, key: str) -> Found:
        holder = Keyholder(KeyOptions(key_file=self._key(key))) if key else Keyholder()
        runtime = AsyncioRuntime(seed=None)

        async def work() -> Found:
            place = str(self._place / repository)
            return await held(await open_repository(place, runtime, holder))

        return runtime.run(work())

    def _look_at(self, repository: str, key: str) -> bool:
        """Restore every point, and check the rest; return whether a next command makes sense."""
        try:
            found = self._found(repository, key)
        except RepositoryAbsentError:
            found = Found(points=())
        except TwinshotError as error:
            self._findings.append(f"{repository} does not open: {error}")
            return False
        if not self._compare(repository, found):
            return False
        if found.points and repository in self._worked_on:
            self._check(repository, key)
        return True

    def _check(self, repository: str, key: str) -> None:
        """Check everything: what a command in the middle left out, a repair adds."""
        place = str(self._place / repository)
        check = ("repo", "check", place, "--read-data", *self._options(key))
        code, said, complaint = spoken(check, None)
        if code == 0:
            return
        records = [msgspec.json.decode(line) for line in said.splitlines()]
        amiss = [each for each in records if each["type"] != "summary"]
        if code != 1 or not self._under_way or not all(map(self._is_a_copy_less, amiss)):
            problem = complaint or msgspec.json.encode(amiss).decode()
            self._findings.append(f"a check of {repository} ends with {code}: {problem[:300]}")
            return
        code, _, complaint = spoken(("repo", "repair", place, *self._options(key)), None)
        if code != 0:
            self._findings.append(f"a repair of {repository} ends with {code}: {complaint[:300]}")
            return
        code, said, complaint = spoken(check, None)
        if code != 0:
            self._findings.append(
                f"after a repair a check of {repository} ends with {code}: "
                f"{(complaint or said)[:300]}"
            )

    def _is_a_copy_less(self, finding: dict[str, str]) -> bool:
        """Return whether a finding is one that a command leaves which never came to its end."""
        if finding["type"] != "object":
            return False
        taken = tuple(f"{each.what}/" for each in self._kept if each.kind == "damage")
        redundant = finding["name"].startswith(("copies/", "index/", *taken))
        harmless = finding["problem"] in {Problem.LEFTOVER, Problem.PENDING}
        return harmless or (finding["problem"] == Problem.MISSING and redundant)

    def _compare(self, repository: str, found: Found) -> bool:
        before = len(self._findings)
        here = {point: content for point, _, content in found.points}
        self._points += len(here)
        for each in self._kept:
            if each.kind != "point" or each.repository != repository:
                continue
            content = here.pop(each.what, None)
            if content is None:
                self._findings.append(f"point {each.what} was acknowledged and is not listed")
            elif content != ",".join(each.images):
                self._findings.append(f"point {each.what} restores as {content}")
        for point, content in here.items():
            if content.startswith("LOST") or "WRONG" in content:
                self._findings.append(f"point {point} is listed and restores as {content}")
        return len(self._findings) == before

    def _go_on(self, repository: str, key: str) -> None:
        """Back up once more, without anybody's help, and look at all points again."""
        cache = self._cache
        tokens = ("backup", *source_of(self._beside, _NEXT), "--repo")
        code, said, complaint = spoken(
            (*tokens, str(self._place / repository), "--name", "one", *self._options(key)), cache
        )
        if code != 0:
            self._findings.append(
                f"the next backup to {repository} ends with {code}: {complaint[-300:]}"
            )
            return
        point = msgspec.json.decode(said.splitlines()[-1])["point"]
        try:
            found = self._found(repository, key)
        except TwinshotError as error:
            self._findings.append(f"{repository} does not open after the next backup: {error}")
            return
        self._compare(repository, found)
        if (point, "one", ",".join(_NEXT)) not in found.points:
            self._findings.append(f"the next point {point} is not what was backed up")

    def _key(self, name: str) -> Path:
        return self._beside / "keys" / name

    def _options(self, key: str) -> tuple[str, ...]:
        return ("--key-file", str(self._key(key))) if key else ()
