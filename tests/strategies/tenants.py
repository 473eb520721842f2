"""A place in which the points of several customers are kept apart, on the command line."""

from pathlib import Path
from typing import Any

import pytest

from reference_engine.adapters.directory_store import DirectoryStore
from reference_engine.app.credentials import Keyholder, KeyOptions
from reference_engine.repository.repository import Repository
from tests.strategies.disk_places import Place, disk


class Tenants(Place):
    """A place with an encrypted repository, the domains of which are red and blue."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        super().__init__(root, capsys)
        self.key, self.second = root / "server.key", root / "second"
        self.with_key = ("--key-file", self.key)
        self.by = ("--repo", self.repo, *self.with_key)
        self.own = (self.repo, *self.with_key)
        self.sources = {name: root / f"{name}.raw" for name in ("one", "two", "three")}
        for seed, path in enumerate(self.sources.values()):
            path.write_bytes(disk(seed, 1 << 18))

    def create(self, *options: object) -> None:
        """Create the repository, in which there is no domain."""
        new = ("--encrypt", "--no-recovery-key", "--new-key-file", self.key)
        assert self.run("repo", "init", self.repo, *new, *options)[0] == 0

    def create_second(self) -> tuple[str, Path]:
        """Create a second encrypted repository, and return what opens it."""
        key = self.root / "second.key"
        new = ("--encrypt", "--no-recovery-key", "--new-key-file", key)
        assert self.run("repo", "init", self.second, *new)[0] == 0
        return "--key-file", key

    def add(self, *names: str) -> list[str]:
        """Return the ids of new domains."""
        return [self.told("add", name)[-1]["domain"] for name in names]

    def told(self, what: str, *options: object, code: int = 0) -> list[dict[str, Any]]:
        """Return what a command about domains says to programs."""
        return self.records("repo", "domain", what, self.repo, *options, *self.with_key, code=code)

    def declined(self, what: str, *options: object) -> str:
        """Return the one sentence of a command about domains that is refused."""
        return self.refused(2, "repo", "domain", what, self.repo, *options, *self.with_key)

    def domains(self, *, code: int = 0) -> dict[str, tuple[int, int]]:
        """Return how many points and machines each domain has."""
        *found, _ = self.told("list", code=code)
        return {each["name"]: (each["points"], each["machines"]) for each in found}

    def store(self, machine: str, *options: object) -> str:
        """Back a machine up and return the point."""
        point: str = self.records("backup", self.sources[machine], *self.by, *options)[-1]["point"]
        return point

    def homes(self, *there: object) -> dict[str, str]:
        """Return the domain of each point, by its machine and number."""
        *points, _ = self.records("points", "--repo", *(there or self.own))
        return {f"{each['vm']} {number}": each["domain"] for number, each in enumerate(points, 1)}

    def restores(self, point: str, machine: str) -> bool:
        """Return whether the point comes back bit for bit."""
        target = self.root / "back.raw"
        code, _, _ = self.run("restore", point, *self.by, "--to", target, "--overwrite")
        return code == 0 and target.read_bytes() == self.sources[machine].read_bytes()

    def objects(self, repo: Path | None = None) -> dict[str, bytes]:
        """Return the content of every object, by its name."""
        root = repo or self.repo
        return {
            path.relative_to(root).as_posix(): path.read_bytes()
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }

    def of(self, domain: str) -> list[str]:
        """Return the names of all objects that bear a domain's id."""
        return [name for name in self.objects() if domain in name]

    async def opened(self) -> Repository:
        """Return the repository, as an engine has it."""
        unlock = Keyholder(KeyOptions(key_file=self.key)).credential
        return await Repository.open(DirectoryStore(self.repo), unlock=unlock)
