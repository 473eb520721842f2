"""`twinshot repo domain`, and what other commands say of domains, from the first to the shred."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio
import datetime as dt
import os
from pathlib import Path
from typing import Any

import pytest

from reference_engine.adapters.directory_store import DirectoryStore
from reference_engine.app.credentials import Keyholder, KeyOptions
from reference_engine.model.identity import RecoveryPointId
from reference_engine.model.units import Instant
from reference_engine.repository.repository import Repository
from tests.strategies.disk_places import Place, disk

NOW = Instant(int(dt.datetime.now(dt.UTC).timestamp() * 1_000_000))


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


@pytest.fixture
def bare(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Tenants:
    """Return a place without a repository, where no variable gives a key."""
    for name in [name for name in os.environ if name.startswith("TWINSHOT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TWINSHOT_CACHE_DIR", str(tmp_path / "cache"))
    return Tenants(tmp_path, capsys)


@pytest.fixture
def tenants(bare: Tenants) -> Tenants:
    """Return a place with two domains and no point."""
    bare.create()
    bare.add("red", "blue")
    return bare


def test_points_go_where_a_backup_says_and_stay_together(tenants: Tenants) -> None:
    """The next one follows the newest one, unless another domain is named, or none by ''."""
    tenants.store("one", "--domain", "red")
    tenants.store("one")
    tenants.store("two")
    tenants.store("three", "--domain", "blue")
    tenants.store("three", "--domain", "")
    tenants.store("three")

    assert tenants.homes() == {
        "one 1": "red",
        "one 2": "red",
        "two 3": "",
        "three 4": "blue",
        "three 5": "",
        "three 6": "",
    }
    assert tenants.domains() == {"red": (2, 1), "blue": (1, 1)}
    summary = tenants.records("repo", "info", *tenants.own)[-1]
    assert summary["domains"] == ["red", "blue"]
    assert "red, blue" in tenants.run("repo", "info", *tenants.own)[1]


def test_what_one_domain_has_is_stored_again_in_another(tenants: Tenants) -> None:
    """Equal disks share their blocks inside a domain only."""
    first = tenants.records("backup", tenants.sources["one"], *tenants.by, "--domain", "red")[-1]
    again = ("backup", tenants.sources["one"], *tenants.by, "--name", "twin")
    inside = tenants.records(*again, "--domain", "red")[-1]
    outside = tenants.records(*again, "--domain", "blue")[-1]
    own = tenants.records(*again, "--domain", "")[-1]

    assert first["bytes_sent"] > 0
    assert inside["bytes_sent"] == 0
    assert outside["bytes_sent"] == own["bytes_sent"] == first["bytes_sent"]
    assert outside["base"] is None


def test_people_get_tables(tenants: Tenants) -> None:
    """Of domains, and a column beside the points as soon as there are domains."""
    tenants.store("one", "--domain", "red")
    tenants.store("two")

    code, out, err = tenants.run("repo", "domain", "list", *tenants.own)
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines() if line.strip()]
    assert rows[0] == ["DOMAIN", "POINTS", "MACHINES", "KEY"]
    assert ["red", "1", "1"] in rows
    assert ["blue", "0", "0"] in rows
    titles, *points = tenants.run("points", *tenants.by)[1].splitlines()
    assert titles.split()[-1] == "DOMAIN"
    assert [line.split()[-1] == "red" for line in points if ".raw" in line or "full" in line] == [
        True,
        False,
    ]


def test_without_domains_nothing_is_said_of_them(bare: Tenants) -> None:
    """A list says that there are none, points have no such column, and programs an empty field."""
    bare.create()
    bare.store("one")

    assert "no domains yet" in bare.run("repo", "domain", "list", *bare.own)[1]
    assert bare.told("list") == [{"type": "summary", "domains": 0, "lost_keys": 0, "exit_code": 0}]
    assert "DOMAIN" not in bare.run("points", *bare.by)[1]
    assert bare.homes() == {"one 1": ""}
    assert bare.records("repo", "info", *bare.own)[-1]["domains"] == []


def test_a_shred_destroys_one_domain_and_nothing_else(tenants: Tenants) -> None:
    """Its points and its key are gone at once, its space by the next prune, and no check minds."""
    [red] = [each["id"] for each in tenants.told("list")[:-1] if each["name"] == "red"]
    gone = [tenants.store("one", "--domain", "red"), tenants.store("one")]
    stay = {"two": tenants.store("two", "--domain", "blue"), "three": tenants.store("three")}
    held = {name: content for name, content in tenants.objects().items() if red not in name}

    done = tenants.told("shred", "red", "--yes")
    assert done[0] == {
        "type": "domain",
        "id": red,
        "name": "red",
        "change": "shredded",
        "points": 2,
    }
    assert (done[-1]["points"], done[-1]["locked_objects"], done[-1]["exit_code"]) == (2, 0, 0)
    assert not [name for name in tenants.of(red) if "domains/" in name]
    assert tenants.domains() == {"blue": (1, 1)}
    assert tenants.homes() == {"two 1": "blue", "three 2": ""}
    for point in gone:
        tenants.refused(2, "restore", point, *tenants.by, "--to", tenants.root / "gone.raw")
    for options in ((), ("--read-data",)):
        code, out, err = tenants.run("repo", "check", *tenants.own, *options)
        assert (code, err) == (0, ""), out
    assert tenants.of(red), "its space is not given back yet"

    freed = tenants.records("repo", "prune", *tenants.own)[-1]["freed_bytes"]
    assert freed > 0
    assert tenants.of(red) == []
    assert held.items() <= tenants.objects().items()
    assert tenants.records("repo", "check", *tenants.own, "--read-data")[-1]["points"] == 2
    assert all(tenants.restores(point, machine) for machine, point in stay.items())


def test_a_shred_is_meant_or_nothing_happens(tenants: Tenants) -> None:
    """Without --yes it says how much would go; with it, it may be given again."""
    tenants.store("one", "--domain", "red")
    tenants.store("one")
    tenants.store("two", "--domain", "red")
    before = tenants.objects()

    sentence = tenants.declined("shred", "red")
    assert "3 points of 2 machines in domain 'red'" in sentence
    assert "--yes" in sentence
    assert "'green'" in tenants.declined("shred", "green", "--yes")
    assert "'green'" in tenants.declined("shred", "green")
    assert len(tenants.declined("shred", "g" * 9999, "--yes")) < 200
    assert tenants.objects() == before

    assert tenants.told("shred", "red", "--yes")[-1]["points"] == 3
    after = tenants.objects()
    for options in (("--yes",), ()):
        assert tenants.told("shred", "red", *options)[-1]["points"] == 0
        assert tenants.objects() == after


def test_a_name_is_free_again_once_its_domain_was_shredded(tenants: Tenants) -> None:
    """The new domain has an id, a key and points of its own, and goes by its own shred only."""
    tenants.store("one", "--domain", "red")
    tenants.told("shred", "red", "--yes")
    [red] = tenants.add("red")
    point = tenants.store("two", "--domain", "red")

    assert tenants.domains() == {"blue": (0, 0), "red": (1, 1)}
    assert "1 points of 1 machines" in tenants.declined("shred", "red")
    tenants.records("repo", "prune", *tenants.own)
    assert tenants.restores(point, "two")
    assert tenants.told("shred", "red", "--yes")[0]["id"] == red
    assert tenants.domains() == {"blue": (0, 0)}


def test_a_machine_whose_domain_was_shredded_says_where_it_belongs(tenants: Tenants) -> None:
    """Nothing of it is stored elsewhere by accident."""
    tenants.store("one", "--domain", "red")
    tenants.told("shred", "red", "--yes")
    before = tenants.objects()
    backup = ("backup", tenants.sources["one"], *tenants.by)

    sentence = tenants.refused(2, *backup)
    assert "'red', which was shredded" in sentence
    assert "--domain" in sentence
    assert "'red'" in tenants.refused(2, *backup, "--domain", "red")
    assert tenants.objects() == before

    done = tenants.records(*backup, "--domain", "")[-1]
    assert done["base"] is None
    assert tenants.restores(done["point"], "one")
    assert tenants.restores(tenants.store("one"), "one")
    assert tenants.homes() == {"one 1": "", "one 2": ""}


BAD_NAMES = ("", "  ", " red", "red ", "x" * 65, "x" * 200, "a\nb", "\x1b[31m", "tab\there", "\0")


@pytest.mark.parametrize("name", BAD_NAMES)
def test_what_is_no_name_is_refused(tenants: Tenants, name: str) -> None:
    """In one sentence without control characters, and nothing is stored."""
    before = tenants.objects()

    sentence = tenants.declined("add", name)
    assert "no name of a domain" in sentence
    assert sentence.rstrip("\n").isprintable()
    assert len(sentence) < 250
    assert tenants.objects() == before


@pytest.mark.parametrize("name", ["x", "x" * 64, "Zoë & Söhne/2", "-", "d0123456789abcdef"])
def test_names_may_be_anything_printable(tenants: Tenants, name: str) -> None:
    """A name is never a path or an option, and only who can open the repository sees it."""
    tenants.records("repo", "domain", "add", *tenants.with_key, "--", tenants.repo, name)
    point = tenants.store("one", f"--domain={name}")

    assert tenants.domains()[name] == (1, 1)
    assert tenants.restores(point, "one")
    if len(name) > 1:
        stored = tenants.objects()
        assert not [each for each in stored if name in each]
        assert not [each for each, content in stored.items() if name.encode() in content]


def test_a_domain_that_exists_is_not_added_again(tenants: Tenants) -> None:
    """One sentence, and no second key."""
    before = tenants.objects()

    assert "'red' already" in tenants.declined("add", "red")
    assert tenants.objects() == before


def test_an_unknown_domain_is_no_place_for_a_point(tenants: Tenants) -> None:
    """The sentence says how to add it, and nothing is stored."""
    before = tenants.objects()
    for machine in ("one", "two"):
        sentence = tenants.refused(
            2, "backup", tenants.sources[machine], *tenants.by, "--domain", "green"
        )
        assert "'green'" in sentence
        assert "repo domain add" in sentence
    assert tenants.objects() == before


def test_what_is_not_encrypted_has_no_domains(bare: Tenants) -> None:
    """Each command says so and changes nothing, but '' is its own domain."""
    plain = ("--repo", bare.second)
    bare.records("backup", bare.sources["one"], *plain)
    before = bare.objects(bare.second)

    for words in (("add", "red"), ("list",), ("shred", "red"), ("shred", "red", "--yes")):
        what, *others = words
        sentence = bare.refused(2, "repo", "domain", what, bare.second, *others)
        assert "not encrypted" in sentence
        assert "repo init --encrypt" in sentence
    sentence = bare.refused(2, "backup", bare.sources["one"], *plain, "--domain", "red")
    assert "not encrypted" in sentence
    assert bare.objects(bare.second) == before
    bare.records("backup", bare.sources["one"], *plain, "--domain", "")


def test_a_domain_of_a_repository_that_is_not_there_is_none(bare: Tenants) -> None:
    """A mistyped path leaves no repository behind."""
    for words in (("add", "red"), ("list",), ("shred", "red", "--yes")):
        what, *others = words
        bare.refused(10, "repo", "domain", what, bare.repo, *others)
    backup = ("backup", bare.sources["one"], "--repo", bare.repo)
    bare.refused(10, *backup, "--domain", "red")
    bare.records("backup", bare.sources["one"], "--repo", bare.second)
    bare.refused(2, "repo", "copy", bare.second, bare.repo, "--domain", "red")
    assert not bare.repo.exists()
    bare.records(*backup, "--domain", "")


def test_with_a_wrong_key_nothing_is_told_and_nothing_done(tenants: Tenants) -> None:
    """Nor with none."""
    wrong = tenants.root / "wrong"
    wrong.write_text("nonsense\n")
    tenants.store("one", "--domain", "red")
    before = tenants.objects()

    for words in (("add", "green"), ("list",), ("shred", "red", "--yes")):
        what, *others = words
        command = ("repo", "domain", what, tenants.repo, *others)
        assert "red" not in tenants.refused(12, *command).replace("required", "")
        assert "wrong key" in tenants.refused(12, *command, "--password-file", wrong)
    assert tenants.objects() == before


def test_nothing_is_shredded_in_an_append_only_repository(bare: Tenants) -> None:
    """Domains may come, and stay."""
    bare.create("--append-only")
    bare.add("red")
    point = bare.store("one", "--domain", "red")
    before = bare.objects()

    assert "append-only" in bare.declined("shred", "red", "--yes")
    assert bare.objects() == before
    assert bare.restores(point, "one")


def test_a_domain_stays_as_long_as_one_of_its_points_is_immutable(bare: Tenants) -> None:
    """An empty one may go."""
    bare.create("--immutable-for", "5d")
    bare.add("red", "blue")
    point = bare.store("one", "--domain", "red")
    before = bare.objects()

    assert "immutable for another" in bare.declined("shred", "red", "--yes")
    assert bare.objects() == before
    assert bare.restores(point, "one")
    assert bare.told("shred", "blue", "--yes")[-1]["points"] == 0
    assert bare.domains() == {"red": (1, 1)}


def test_a_domain_stays_while_one_of_its_points_is_read(tenants: Tenants) -> None:
    """Whoever reads it is named."""
    tenants.store("one", "--domain", "red")
    point = RecoveryPointId(tenants.store("one"))

    async def leased(*, is_taken: bool) -> None:
        leases = (await tenants.opened()).leases
        await (leases.take(point, "a reader", at=NOW) if is_taken else leases.end("a reader"))

    asyncio.run(leased(is_taken=True))
    before = tenants.objects()
    assert "being read by a reader" in tenants.declined("shred", "red", "--yes")
    assert tenants.objects() == before
    assert tenants.restores(point, "one")

    asyncio.run(leased(is_taken=False))
    assert tenants.told("shred", "red", "--yes")[-1]["points"] == 2


def test_a_copy_belongs_where_its_point_does(
    tenants: Tenants, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the domain of the same name, which has to be there, or where one is told to put it."""
    tenants.store("one", "--domain", "red")
    tenants.store("two")
    there = tenants.create_second()
    monkeypatch.setenv("TWINSHOT_TO_KEY_FILE", str(there[1]))
    copy = ("repo", "copy", tenants.repo, tenants.second, *tenants.with_key)
    before = tenants.objects(tenants.second)

    assert "'red'" in tenants.refused(2, *copy)
    assert "'green'" in tenants.refused(2, *copy, "--domain", "green")
    assert tenants.objects(tenants.second) == before
    tenants.records("repo", "domain", "add", tenants.second, "red", *there)
    assert tenants.records(*copy)[-1]["copied"] == 2
    assert tenants.homes(tenants.second, *there) == {"one 1": "red", "two 2": ""}

    # A shred there does not touch what is here.
    tenants.records("repo", "domain", "shred", tenants.second, "red", "--yes", *there)
    assert tenants.homes(tenants.second, *there) == {"two 1": ""}
    assert tenants.homes() == {"one 1": "red", "two 2": ""}


@pytest.mark.parametrize(("domain", "homes"), [("", ["", ""]), ("green", ["green", "green"])])
def test_copies_go_into_the_domain_that_is_named(
    tenants: Tenants, monkeypatch: pytest.MonkeyPatch, domain: str, homes: list[str]
) -> None:
    """All of them, wherever they come from."""
    tenants.store("one", "--domain", "red")
    tenants.store("two")
    there = tenants.create_second()
    tenants.records("repo", "domain", "add", tenants.second, "green", *there)
    monkeypatch.setenv("TWINSHOT_TO_KEY_FILE", str(there[1]))

    copy = ("repo", "copy", tenants.repo, tenants.second, *tenants.with_key)
    assert tenants.records(*copy, "--domain", domain)[-1]["copied"] == 2
    assert [*tenants.homes(tenants.second, *there).values()] == homes
    assert tenants.run("verify", "--repo", tenants.second, *there)[0] == 0


def test_a_copy_in_clear_is_asked_for_by_its_own_words(tenants: Tenants) -> None:
    """A copy that no shred reaches comes about by --domain '' only."""
    tenants.store("one", "--domain", "red")
    assert tenants.run("repo", "init", tenants.second)[0] == 0
    copy = ("repo", "copy", tenants.repo, tenants.second, *tenants.with_key)
    before = tenants.objects(tenants.second)

    assert "'red'" in tenants.refused(2, *copy)
    assert tenants.objects(tenants.second) == before
    assert tenants.records(*copy, "--domain", "")[-1]["copied"] == 1
    tenants.told("shred", "red", "--yes")
    assert tenants.run("verify", "--repo", tenants.second)[0] == 0


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("injury", ["absent", "damaged"])
def test_a_repair_restores_the_key_from_its_other_object(
    tenants: Tenants, which: int, injury: str
) -> None:
    """Points restore meanwhile, a check tells of it, and a domain's key is there twice again."""
    point = tenants.store("one", "--domain", "red")
    [red] = [each["id"] for each in tenants.told("list")[:-1] if each["name"] == "red"]
    name = (f"domains/{red}", f"copies/domains/{red}")[which]
    was = (tenants.repo / name).read_bytes()
    if injury == "absent":
        (tenants.repo / name).unlink()
    else:
        (tenants.repo / name).write_bytes(was[:-20] + bytes(20))

    assert tenants.restores(point, "one")
    assert tenants.domains() == {"red": (1, 1), "blue": (0, 0)}
    code, out, _ = tenants.run("repo", "check", *tenants.own)
    assert code == 1
    assert name in out
    tenants.records("repo", "repair", *tenants.own)
    assert (tenants.repo / name).read_bytes() == was
    assert tenants.run("repo", "check", *tenants.own)[0] == 0


def test_a_domain_whose_key_is_lost_is_called_so(tenants: Tenants) -> None:
    """Its points are lost, others are not, nothing new goes in, and it can be shredded."""
    lost = tenants.store("one", "--domain", "red")
    stays = tenants.store("two", "--domain", "blue")
    [red] = [each["id"] for each in tenants.told("list")[:-1] if each["name"] == "red"]
    for name in (f"domains/{red}", f"copies/domains/{red}"):
        (tenants.repo / name).unlink()

    code, out, err = tenants.run("repo", "domain", "list", *tenants.own)
    assert (code, err) == (1, "")
    [row] = [line.split() for line in out.splitlines() if line.startswith("red")]
    assert row == ["red", "1", "1", "lost"]
    *found, summary = tenants.told("list", code=1)
    assert {each["name"]: each["has_key"] for each in found} == {"red": False, "blue": True}
    assert summary["lost_keys"] == 1
    assert not tenants.restores(lost, "one")
    assert tenants.restores(stays, "two")
    assert tenants.run("repo", "check", *tenants.own)[0] == 1
    code, out, err = tenants.run("backup", tenants.sources["three"], *tenants.by, "--domain", "red")
    assert code == 2
    assert "key of domain" in err
    assert err.count("\n") == 1

    tenants.told("shred", "red", "--yes")
    tenants.records("repo", "prune", *tenants.own)
    assert tenants.of(red) == []
    assert tenants.domains() == {"blue": (1, 1)}
    assert tenants.run("repo", "check", *tenants.own, "--read-data")[0] == 0
    assert tenants.restores(stays, "two")


def test_a_repair_leaves_alone_what_it_has_no_key_for(tenants: Tenants) -> None:
    """Other domains are repaired, and if the key is found somewhere, nothing else is missing."""
    lost = tenants.store("one", "--domain", "red")
    tenants.store("two", "--domain", "blue")
    ids = {each.get("name"): each.get("id") for each in tenants.told("list")}
    keys = [tenants.repo / f"{above}domains/{ids['red']}" for above in ("", "copies/")]
    held = [path.read_bytes() for path in keys]
    [manifest] = [name for name in tenants.of(str(ids["blue"])) if name.startswith("copies/points")]
    for path in (*keys, tenants.repo / manifest):
        path.unlink()
    before = tenants.of(str(ids["red"]))

    *told, summary = tenants.records("repo", "repair", *tenants.own, code=1)
    assert [each["name"] for each in told if each["type"] == "replaced"] == [manifest]
    assert summary["damaged_points"] == 1
    assert tenants.of(str(ids["red"])) == before

    for path, content in zip(keys, held, strict=True):
        path.write_bytes(content)
    assert tenants.run("repo", "check", *tenants.own, "--read-data")[0] == 0
    assert tenants.restores(lost, "one")
