"""`twinshot repo domain`, and what other commands say of domains."""

import pytest

from tests.strategies.tenants import Tenants


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


def test_without_domains_nothing_is_said_of_them(bare_place: Tenants) -> None:
    """A list says that there are none, points have no such column, and programs an empty field."""
    bare_place.create()
    bare_place.store("one")

    assert "no domains yet" in bare_place.run("repo", "domain", "list", *bare_place.own)[1]
    assert bare_place.told("list") == [
        {"type": "summary", "domains": 0, "lost_keys": 0, "exit_code": 0}
    ]
    assert "DOMAIN" not in bare_place.run("points", *bare_place.by)[1]
    assert bare_place.homes() == {"one 1": ""}
    assert bare_place.records("repo", "info", *bare_place.own)[-1]["domains"] == []


def test_a_lost_key_is_named(tenants: Tenants) -> None:
    """Where both objects of a domain's key are gone, each sentence says which to bring back."""
    [green] = tenants.add("green")
    point, other = tenants.store("one", "--domain", "green"), tenants.store("two")
    keys = [tenants.repo / "domains" / green, tenants.repo / "copies" / "domains" / green]
    contents = [each.read_bytes() for each in keys]
    for each in keys:
        each.unlink()

    to = ("--to", tenants.root / "back.raw")
    for code, words in ((1, ("restore", point, *to)), (2, ("backup", tenants.sources["one"]))):
        sentence = tenants.refused(code, *words, *tenants.by)
        assert f"domains/{green}" in sentence
        assert "copy of the repository" in sentence
    assert tenants.restores(other, "two")

    keys[1].write_bytes(contents[1])
    assert tenants.restores(point, "one")


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


def test_what_is_not_encrypted_has_no_domains(bare_place: Tenants) -> None:
    """Each command says so and changes nothing, but '' is its own domain."""
    plain = ("--repo", bare_place.second)
    bare_place.records("backup", bare_place.sources["one"], *plain)
    before = bare_place.objects(bare_place.second)

    for words in (("add", "red"), ("list",), ("shred", "red"), ("shred", "red", "--yes")):
        what, *others = words
        sentence = bare_place.refused(2, "repo", "domain", what, bare_place.second, *others)
        assert "not encrypted" in sentence
        assert "repo init --encrypt" in sentence
    sentence = bare_place.refused(2, "backup", bare_place.sources["one"], *plain, "--domain", "red")
    assert "not encrypted" in sentence
    assert bare_place.objects(bare_place.second) == before
    bare_place.records("backup", bare_place.sources["one"], *plain, "--domain", "")


def test_a_domain_of_a_repository_that_is_not_there_is_none(bare_place: Tenants) -> None:
    """A mistyped path leaves no repository behind."""
    for words in (("add", "red"), ("list",), ("shred", "red", "--yes")):
        what, *others = words
        bare_place.refused(10, "repo", "domain", what, bare_place.repo, *others)
    backup = ("backup", bare_place.sources["one"], "--repo", bare_place.repo)
    bare_place.refused(10, *backup, "--domain", "red")
    bare_place.records("backup", bare_place.sources["one"], "--repo", bare_place.second)
    bare_place.refused(2, "repo", "copy", bare_place.second, bare_place.repo, "--domain", "red")
    assert not bare_place.repo.exists()
    bare_place.records(*backup, "--domain", "")


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
