"""`twinshot repo domain shred`: what it destroys, what refuses it, and keys that are lost."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio
import datetime as dt

import pytest

from reference_engine.model.identity import RecoveryPointId
from reference_engine.model.units import Instant
from tests.strategies.tenants import Tenants

NOW = Instant(int(dt.datetime.now(dt.UTC).timestamp() * 1_000_000))


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
    assert "1 point of 1 machine" in tenants.declined("shred", "red")
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


def test_nothing_is_shredded_in_an_append_only_repository(bare_place: Tenants) -> None:
    """Domains may come, and stay."""
    bare_place.create("--append-only")
    bare_place.add("red")
    point = bare_place.store("one", "--domain", "red")
    before = bare_place.objects()

    assert "append-only" in bare_place.declined("shred", "red", "--yes")
    assert bare_place.objects() == before
    assert bare_place.restores(point, "one")


def test_a_domain_stays_as_long_as_one_of_its_points_is_immutable(bare_place: Tenants) -> None:
    """An empty one may go."""
    bare_place.create("--immutable-for", "5d")
    bare_place.add("red", "blue")
    point = bare_place.store("one", "--domain", "red")
    before = bare_place.objects()

    assert "immutable for another" in bare_place.declined("shred", "red", "--yes")
    assert bare_place.objects() == before
    assert bare_place.restores(point, "one")
    assert bare_place.told("shred", "blue", "--yes")[-1]["points"] == 0
    assert bare_place.domains() == {"red": (1, 1)}


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
