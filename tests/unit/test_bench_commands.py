"""`twinshot bench` measures every tool alike, notices a wrong restore, and tells what got worse."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reference_engine.adapters.memory_store import MemoryStore
from reference_engine.app.bench.comparing import Judgement, compare_results
from reference_engine.app.bench.contestants import Job, Place
from reference_engine.app.bench.measuring import Cost
from reference_engine.app.bench.own import OWN
from reference_engine.app.bench.peers import chosen_peers
from reference_engine.app.bench.results import Recorded
from reference_engine.app.bench.samples import Sample, rows_of
from reference_engine.app.bench.scaling import Step, costs_per_tib
from reference_engine.app.repositories import CountingStore, Requests
from reference_engine.model.errors import InputRefusedError
from reference_engine.model.units import GIB, MIB, SECOND, ByteCount, Duration, seconds
from tests.strategies.command_line import CommandLine

COPYING = """#!/bin/sh
case "$1" in
  store) cp "$4" "$2/g$3" ;;
  restore) cp "$2/g$3" "$4" ;;
  verify) cat "$2"/g* > /dev/null ;;
esac
"""
LYING = COPYING.replace(
    '"$2/g$3" "$4" ;;',
    '"$2/g$3" "$4"; printf x | dd of="$4" seek=70000 bs=1 conv=notrunc status=none ;;',
)


@pytest.fixture
def commands(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """Return the command line."""
    return CommandLine(capsys)


def peer(place: Path, text: str) -> str:
    """Return the option that lets a script take part."""
    script = place / "tool.sh"
    script.write_text(text, encoding="utf-8")
    script.chmod(0o755)
    return f"script={script}"


def sync(commands: CommandLine, place: Path, peers: str, *, code: int) -> list[dict[str, Any]]:
    """Measure a small disk once."""
    options = ("--size", "8MiB", "--runs", 1, "--out", place / "results")
    return commands.records("bench", "sync", *options, "--peers", peers, code=code)


def test_every_tool_does_every_job(tmp_path: Path, commands: CommandLine) -> None:
    """Tools are measured at all jobs, restores are exact, and nothing but results is left."""
    records = sync(commands, tmp_path, peer(tmp_path, COPYING), code=0)
    rows = [record for record in records if record["type"] == "measurement"]
    tools = {row["tool"] for row in rows}

    assert records[-1]["findings"] == 0
    assert {"twinshot", "script"} <= tools
    assert {row["job"] for row in rows if row["tool"] == "script"} == {job.value for job in Job}
    assert all(row["cpu_ratio"] > 0 for row in rows if row["tool"] == "script")
    assert all(row["exact"] for row in rows if row["job"] == "restore")
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == [
        "report.html",
        "result.json",
    ]

    page = (tmp_path / "results" / "report.html").read_text("utf-8")
    assert "Every restore is bit-exact" in page
    assert "<script" not in page

    result = tmp_path / "results" / "result.json"
    commands.records("bench", "compare", result, result)


def test_a_wrong_restore_is_a_finding(tmp_path: Path, commands: CommandLine) -> None:
    """A restore with one wrong byte is named with its place, and ends the command with 1."""
    records = sync(commands, tmp_path, peer(tmp_path, LYING), code=1)
    found = [record for record in records if record["type"] == "finding"]

    assert {each["tool"] for each in found} == {"script"}
    assert all(each["wrong_restore"] for each in found)
    assert "differs from its source at byte 70000" in found[0]["what"]
    assert "A restore was wrong" in (tmp_path / "results" / "report.html").read_text("utf-8")


def test_a_tool_that_fails_leaves_the_others_alone(tmp_path: Path, commands: CommandLine) -> None:
    """A peer that fails takes no further part; the command says what it complained of, with 3."""
    text = "#!/bin/sh\necho no room for you >&2\nexit 4\n"

    records = sync(commands, tmp_path, peer(tmp_path, text), code=3)
    found = [record for record in records if record["type"] == "finding"]

    assert [each["what"] for each in found] == ["ended with 4: no room for you"]
    assert {each["job"] for each in records if each["type"] == "measurement"} >= {"full", "restore"}


def test_scaling_says_what_a_tib_costs(tmp_path: Path, commands: CommandLine) -> None:
    """Disks of growing size are measured, and the growth is told for a TiB of data."""
    options = ("--scaling", "--size", "32MiB", "--out", tmp_path / "results")

    records = commands.records("bench", "sync", *options)

    assert {each["size"] for each in records if each["type"] == "step"} == {8 * MIB, 32 * MIB}
    costs = {each["job"]: each for each in records if each["type"] == "per-tib"}
    assert costs["full"]["stored"] > GIB
    asked = {each["job"]: each["requests"] for each in records if each["type"] == "step"}
    # Header, two log entries and a manifest are objects of their own, beside what they speak of.
    assert asked["full"]["put"] > 10
    assert asked["restore"]["get"] > 5
    assert (asked["restore"]["put"], asked["restore"]["delete"]) == (0, 0)
    assert asked["verify"] is None
    assert costs["verify"]["requests"] is None
    assert costs["restore"]["requests"]["get"] > 0


class OwnedMemoryStore(MemoryStore):
    """A store in memory in which nothing is anybody else's."""

    async def stranger(self) -> str | None:
        """Return nothing."""
        return None


def test_requests_are_counted_as_a_service_bills_them() -> None:
    """Each is one, whether it finds anything or not; a listing is one for a thousand names."""

    async def scenario() -> None:
        memory = OwnedMemoryStore()
        memory.objects.update({f"packs/{number}": b"x" for number in range(2001)})
        store = CountingStore(memory)
        assert await store.create("log/1", b"")
        assert not await store.create("log/1", b"")
        await store.read("log/2")
        await store.read_range("packs/1", offset=0, length=1)
        await store.names("packs/")
        await store.sizes("index/")
        await store.delete("log/1")
        assert store.requests == Requests(put=2, get=2, list=4, delete=1)

    asyncio.run(scenario())


def test_what_a_tib_costs_follows_from_growth() -> None:
    """What every process needs, whatever the disk, is not counted for each TiB."""
    costs = costs_per_tib(
        tuple(
            Step(
                size=ByteCount(4 * count * GIB),
                data=ByteCount(count * GIB),
                samples=(sample(cpu_s=2 + count, memory=50 * MIB + count * MIB, objects=count),),
            )
            for count in (1, 3)
        )
    )

    assert [(cost.cpu_s, cost.memory, cost.objects) for cost in costs] == [(1024, GIB, 1024)]
    asked = Requests(put=2 * 1024, get=3 * 1024, list=0, delete=0)
    assert [cost.requests for cost in costs] == [asked]


def sample(
    *, tool: str = OWN, cpu_s: float = 1, memory: int = MIB, objects: int = 1, run_number: int = 0
) -> Sample:
    """Return a sample of a full backup."""
    cost = Cost(cpu=seconds(cpu_s), wall=Duration(SECOND), peak_memory=ByteCount(memory))
    return Sample(
        tool=tool,
        job=Job.FULL,
        run=run_number,
        cost=cost,
        stored=ByteCount(MIB),
        objects=objects,
        requests=Requests(put=7 + 2 * objects, get=9 + 3 * objects, list=5, delete=0),
    )


def test_ratios_are_those_of_medians() -> None:
    """One slow run of three changes the range, not the ratio."""
    ours = [sample(cpu_s=cpu, run_number=run) for run, cpu in enumerate((1, 1, 9))]
    theirs = [sample(tool="borg", cpu_s=cpu, run_number=run) for run, cpu in enumerate((3, 2, 3))]

    rows = rows_of((*ours, *theirs), (), ByteCount(GIB))

    assert [(row.tool, row.cpu_ratio, row.cpu_s.most) for row in rows] == [
        (OWN, None, 9),
        ("borg", 3, 3),
    ]


def recorded(*cpu_s: float, stored: int = 100, is_ours: bool = True) -> Recorded:
    """Return a benchmark of a result."""
    return Recorded(
        name="full",
        wall_s=(1.0, 2.0),
        cpu_s=cpu_s,
        stored=stored,
        peak_memory=None,
        is_ours=is_ours,
        image="a",
    )


@pytest.mark.parametrize(
    ("before", "after", "worse"),
    [
        (recorded(1, 1), recorded(1.04, 1.04), []),
        (recorded(1, 1), recorded(1.06, 1.06), ["CPU s"]),
        (recorded(1, 1), recorded(1, 1, stored=106), ["stored"]),
        (recorded(1, 1, is_ours=False), recorded(2, 2, is_ours=False), []),
        (recorded(), msgspec.structs.replace(recorded(), wall_s=(1.6, 2.0)), ["wall s"]),
    ],
)
def test_growth_beyond_the_limit_is_worse(
    before: Recorded, after: Recorded, worse: list[str]
) -> None:
    """Our own CPU time and stored bytes decide; wall time does where there is no CPU time."""
    comparison = compare_results((before,), (after,), 0.05)

    assert [figure.metric for figure in comparison.worse] == worse
    assert comparison.same_image


def test_a_result_that_got_worse_ends_with_a_finding(tmp_path: Path, commands: CommandLine) -> None:
    """`bench compare` ends with 1, names what grew, and reads files of pytest-benchmark, too."""
    for name, median in (("a", 1.0), ("b", 1.2)):
        stats = {"min": median, "median": median, "max": median}
        content = {"benchmarks": [{"name": "test_full", "stats": stats}]}
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")

    records = commands.records("bench", "compare", tmp_path / "a", tmp_path / "b", code=1)

    assert records[-1]["worse"] == ["test_full: wall s"]
    assert records[0]["judgement"] == Judgement.WORSE.value
    options = ("--fail-above", "25%")
    commands.records("bench", "compare", tmp_path / "a", tmp_path / "b", *options)


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (("sync", "--size", "1 parsec"), "is no size"),
        (("sync", "--size", "1MiB"), "cannot be made"),
        (("sync", "--runs", "0"), "0 runs"),
        (("sync", "--peers", "tape"), "there is no peer 'tape'"),
        (("sync", "--peers", "borg=/no/such/borg"), "is no program"),
        (("compare", "/no/such/file", "/no/such/file"), "holds no benchmarks"),
        (("compare", "a", "b", "--fail-above", "much"), "is no percentage"),
        (("swim",), "choose from sync, damage, simulate, compare"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_a_sentence(
    tmp_path: Path, commands: CommandLine, tokens: tuple[str, ...], said: str
) -> None:
    """A mistake ends with 2 and one sentence, and leaves no images behind."""
    extra = ("--out", str(tmp_path)) if tokens[0] == "sync" else ()

    assert said in commands.refused(2, "bench", *tokens, *extra)
    assert list(tmp_path.iterdir()) == []


def test_a_peer_is_called_as_its_manual_says(tmp_path: Path) -> None:
    """A tool under a path of its own keeps its recipe, and takes part twice under two names."""
    for name in ("old", "new"):
        script = tmp_path / name
        script.write_text(f"#!/bin/sh\necho borg 1.{len(name)}.{name}\n", encoding="utf-8")
        script.chmod(0o755)
    place = Place(root=tmp_path / "borg", source=tmp_path / "disk.raw")

    field = chosen_peers(f"borg={tmp_path / 'old'},borg={tmp_path / 'new'}")
    call = field.peers[0].store(0, place, changed=None)

    assert [each.name for each in field.peers] == ["borg", "borg 1.3.new"]
    assert call is not None
    assert call.argv[:2] == (str(tmp_path / "old"), "create")
    assert "--sparse" in call.argv
    assert call.env["BORG_REPO"] == str(place.repository)
    with pytest.raises(InputRefusedError):
        chosen_peers(f"borg={tmp_path / 'old'},borg={tmp_path / 'old'},borg={tmp_path / 'old'}")


def test_peers_that_are_not_installed_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its program a tool is missing, and that is no mistake."""
    monkeypatch.setenv("PATH", str(tmp_path))

    field = chosen_peers("restic,desync")

    assert (field.peers, field.missing) == ((), ("restic", "desync"))
