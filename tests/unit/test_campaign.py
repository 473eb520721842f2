"""A campaign counts every seed once, wherever it was done and whatever happened to the workers."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic  # noqa: TID251 - other processes live in real time
from typing import Any, Final, get_args

import msgspec
import pytest

from reference_engine.app.command_line import run
from reference_engine.model.errors import InputRefusedError
from simulator.campaign.sweep.coverage import CLASS_OF_KIND, TOLD_BY_THEIR_FACTS, cells_hit
from simulator.campaign.sweep.page import render_campaign
from simulator.campaign.sweep.results_log import heading, opened_log, read_results
from simulator.campaign.sweep.seeds import SeedResult, swarm_subject, try_seed
from simulator.campaign.sweep.summary import Rate, Summary, summary_of
from simulator.campaign.trial import run_trial, subject_of
from simulator.faults.kinds import Happening, Outage
from simulator.oracle.registry import INVARIANTS
from simulator.scenario.reading import parse_scenario, read_scenario
from simulator.scenario.swarm import draw_scenario
from tests.strategies.simulated_clusters import scenario_text

ROOT: Final = Path(__file__).resolve().parents[2]
SEEDS: Final = 24
COMMAND: Final = (sys.executable, "-m", "reference_engine.app.command_line", "--json", "campaign")
ENVIRONMENT: Final = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}


HAPPENINGS: Final = """
happenings = [
  { kind = "live-migration", machine = "x", target = "B", on = { machine = "x", step = 5 } },
  { kind = "guest-silence", machine = "x", occurrence = 2 },
  { kind = "coordinator-move", volume = "V2", target = "A", on = { machine = "x", step = 10 } },
  { kind = "coordinator-move", volume = "V1", target = "B", on = { machine = "x", step = 10 } },
]
"""


def records(capsys: pytest.CaptureFixture[str], *tokens: object) -> list[dict[str, Any]]:
    """Return what a campaign in this process wrote as JSON Lines."""
    capsys.readouterr()
    code = run(["--json", "campaign", *map(str, tokens)])
    out = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert out[-1]["exit_code"] == code, out
    return out


def seeds_in(log: Path) -> list[int]:
    """Return the seeds of a log's lines, in order and as often as they stand there."""
    return [json.loads(line)["seed"] for line in log.read_text().splitlines()[1:]]


@pytest.fixture
def capsys_of(capsys: pytest.CaptureFixture[str]) -> Callable[..., list[dict[str, Any]]]:
    """Return a function that runs a campaign and returns its records."""
    return lambda *tokens: records(capsys, *tokens)


Campaign = Callable[..., list[dict[str, Any]]]


def test_a_later_call_adds_to_an_earlier_one(capsys_of: Campaign, tmp_path: Path) -> None:
    """What is done is not done again, and the sums are those of one call for all."""
    capsys_of("--seeds", "1..3", "--out", tmp_path / "parts")
    added = capsys_of("--seeds", "2..6", "--out", tmp_path / "parts")[-1]
    whole = capsys_of("--seeds", "1..6", "--out", tmp_path / "whole")[-1]

    assert (added["seeds"], added["seeds_this_call"]) == (6, 3)
    assert [added[key] for key in ("digest", "points", "coverage", "outcomes", "judged")] == [
        whole[key] for key in ("digest", "points", "coverage", "outcomes", "judged")
    ]
    assert seeds_in(tmp_path / "parts" / "results.jsonl") == [1, 2, 3, 4, 5, 6]


def test_shards_add_up_to_the_whole(capsys_of: Campaign, tmp_path: Path) -> None:
    """Every seed is in exactly one shard, and the shards' logs in one directory are merged."""
    for shard in ("1/3", "2/3", "3/3"):
        last = capsys_of("--seeds", "1..7", "--shard", shard, "--out", tmp_path / "shards")[-1]
    whole = capsys_of("--seeds", "1..7", "--out", tmp_path / "whole")[-1]

    logs = sorted((tmp_path / "shards").glob("*.jsonl"))
    assert sorted(seed for log in logs for seed in seeds_in(log)) == [1, 2, 3, 4, 5, 6, 7]
    assert (last["seeds"], last["digest"]) == (7, whole["digest"])


def test_a_torn_line_is_a_seed_to_be_done(capsys_of: Campaign, tmp_path: Path) -> None:
    """A campaign that died while it wrote goes on behind the last whole line."""
    before = capsys_of("--seeds", "1..4", "--out", tmp_path)[-1]
    log = tmp_path / "results.jsonl"
    log.write_bytes(log.read_bytes()[:-20])

    after = capsys_of("--seeds", "1..4", "--out", tmp_path)[-1]

    assert after["seeds_this_call"] == 1
    assert after["digest"] == before["digest"]
    assert seeds_in(log) == [1, 2, 3, 4]


def test_results_of_another_engine_do_not_add_up(capsys_of: Campaign, tmp_path: Path) -> None:
    """A log says which program wrote it, and no other one adds to it."""
    capsys_of("--seeds", "1..1", "--out", tmp_path)

    refused = capsys_of("--seeds", "2..2", "--mutant", "stale-owner-used", "--out", tmp_path)

    assert refused[-1]["exit_code"] == 2
    assert "another directory" in refused[-1]["message"]


def test_a_log_has_one_writer(tmp_path: Path) -> None:
    """A second campaign in the same directory is refused, not mixed in."""
    first = heading(None)
    with (
        opened_log(tmp_path, "results.jsonl", first),
        pytest.raises(InputRefusedError, match="another campaign"),
        opened_log(tmp_path, "results.jsonl", first),
    ):
        pass


def test_a_seed_in_two_logs_counts_once(tmp_path: Path) -> None:
    """Copying the same shard twice changes nothing."""
    result, first = try_seed(5), heading(None)
    for name in ("results.jsonl", "results-copy.jsonl"):
        with opened_log(tmp_path, name, first) as log:
            log.append([result])

    assert read_results(tmp_path, first) == {5: result}


@pytest.mark.parametrize(
    "tokens",
    [
        ("--seeds", "9..3"),
        ("--seeds", "many"),
        ("--shard", "4/3"),
        ("--minutes", "0"),
        ("-j", "0"),
        ("--mutant", "nobody"),
        ("--dask", "tcp://127.0.0.1:9"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_sentence(
    capsys_of: Campaign, tmp_path: Path, tokens: tuple[str, ...]
) -> None:
    """Wrong requests end with a usage code and a sentence, and leave no results behind."""
    said = capsys_of(*tokens, "--out", tmp_path)

    assert said[-1]["exit_code"] in {2, 4}
    assert "\n" not in said[-1]["message"]
    assert all(len(log.read_bytes().splitlines()) == 1 for log in tmp_path.glob("*.jsonl"))


def test_failures_come_with_their_scenario_and_commands(
    capsys_of: Campaign, tmp_path: Path
) -> None:
    """A seed that breaks something leaves a scenario file that is the seed's scenario."""
    said = capsys_of(
        "--seeds", "1..4", "--mutant", "skew-not-carried", "--out", tmp_path, "--on-failure", "stop"
    )

    failures = [record for record in said if record["type"] == "failure"]
    assert said[-1]["exit_code"] == 1
    assert failures
    for failure in failures:
        file = tmp_path / "failures" / f"seed-{failure['seed']}.toml"
        assert failure["replay"] == f"twinshot replay {file} --mutant skew-not-carried"
        assert read_scenario(file) == draw_scenario(failure["seed"])
    page = (tmp_path / "report.html").read_text()
    assert "Broken" in page
    assert f"seed {failures[0]['seed']}" in page


def test_time_ends_a_campaign(capsys_of: Campaign, tmp_path: Path) -> None:
    """With `--minutes` no new seed is taken up once they are over, and the next call goes on."""
    first = capsys_of("--minutes", "0.001", "--out", tmp_path)[-1]
    second = capsys_of("--minutes", "0.001", "--out", tmp_path)[-1]

    assert first["seeds"] > 0
    assert second["seeds"] == first["seeds"] + second["seeds_this_call"]
    assert sorted(seeds_in(tmp_path / "results.jsonl")) == [*range(1, second["seeds"] + 1)]


def test_the_page_is_the_same_for_the_same_results(tmp_path: Path) -> None:
    """The page is a function of the summary, and shows every class and step."""
    results = [try_seed(seed) for seed in (2, 7)]

    def summary(given: list[SeedResult]) -> Summary:
        return summary_of(
            given,
            tmp_path,
            program="p",
            mutant=None,
            rate=Rate(seeds=2, wall_s=1.0),
            digest="d",
        )

    page = render_campaign(summary(results))

    assert page == render_campaign(summary(results[::-1]))
    assert all(name in page for name in ("partition", "VM life cycle", "S16 maintain"))


def test_an_invariant_that_nothing_asked_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Every invariant has its line; one that no seed concerned does not pass for a proven one."""
    summary = records(capsys, "--seeds", "1..2", "--out", tmp_path)[-1]
    rows = {row["invariant"]: row for row in summary["judged"]}
    assert set(rows) == {each.id for each in INVARIANTS if each.id != "I19"}
    evidence = [run_trial(swarm_subject(seed), restore_again=False) for seed in (1, 2)]
    for name, row in rows.items():
        checked = [v.checked for trial in evidence for v in trial.verdicts if v.invariant == name]
        assert (row["seeds"], row["checks"]) == (sum(map(bool, checked)), sum(checked)), name

    assert rows["I22"]["checks"] == 0 < rows["I1"]["checks"]
    run(["campaign", "--seeds", "1..2", "--out", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    told = [line.split()[2] for line in lines if line.startswith("never judged: ")]
    assert told == [f"{name}," for name, row in rows.items() if row["checks"] == 0]


def test_every_kind_of_happening_has_a_class() -> None:
    """A kind that the table of steps and events does not know would be counted as other."""
    kinds = {
        get_args(kind.model_fields["kind"].annotation)[0]
        for kind in get_args(get_args(Happening)[0])
    }
    by_the_door = {"call-disturbed", "guest-silence"}
    services = get_args(Outage.model_fields["service"].annotation)
    kinds = kinds - {"outage"} | {f"outage/{service}" for service in services}

    assert sorted(kinds - by_the_door - {*TOLD_BY_THEIR_FACTS} - {*CLASS_OF_KIND}) == []


def test_events_count_in_the_step_in_which_they_begin() -> None:
    """A migration at S5, a silent guest in S4 and a failing log in S12 stand in their cells."""
    text = HAPPENINGS + scenario_text()
    subject = subject_of(parse_scenario(text, name="x.toml"), name="x")

    cells = cells_hit(subject.scenario, run_trial(subject, restore_again=False).evidence.facts)

    assert cells[5, "migrate"] == 1
    assert cells[4, "freeze fault"] == 1
    assert cells[10, "coordinator move"] == 1, "the volume without a disk of x does not count"


@contextmanager
def campaign_process(*tokens: object) -> Iterator[subprocess.Popen[str]]:
    """Have a campaign run in a process of its own."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, tokens)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=ENVIRONMENT,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def results_come(log: Path, process: subprocess.Popen[str]) -> None:
    """Return when the log has its first result."""
    limit = monotonic() + 60
    while not (log.exists() and log.read_bytes().count(b"\n") > 1):
        assert monotonic() < limit
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.05)
            pytest.fail(str(process.communicate()))


def children(parent: int) -> list[int]:
    """Return the worker processes of a process, oldest first."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            command = (stat.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == parent and b"popen_loky" in command:
            found.append(int(stat.parent.name))
    return sorted(found)


def assert_every_seed_once(process: subprocess.Popen[str], log: Path) -> None:
    """Check the end of a campaign during which a worker was killed."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    summary = json.loads(out.splitlines()[-1])
    assert sorted(seeds_in(log)) == [*range(1, SEEDS + 1)]
    assert summary["seeds"] == SEEDS
    assert summary["failures"] == []


def test_a_killed_process_loses_no_seed(tmp_path: Path) -> None:
    """What a killed worker process had under way is done by another one, once."""
    log = tmp_path / "results.jsonl"
    with campaign_process("--seeds", f"1..{SEEDS}", "-j", 2, "--out", tmp_path) as process:
        results_come(log, process)
        os.kill(children(process.pid)[0], signal.SIGKILL)
        assert_every_seed_once(process, log)


@contextmanager
def dask_cluster(place: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Have a Dask scheduler and two workers, each a process; yields the address and the workers."""
    file = place / "scheduler.json"
    told = (place / "dask.log").open("wb")
    scheduler = [
        *(sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0"),
        *("--dashboard-address", ":0", "--scheduler-file", str(file)),
    ]
    worker = [
        *(sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(file)),
        *("--nthreads", "1", "--no-dashboard", "--no-nanny", "--local-directory", str(place)),
    ]
    processes = [
        subprocess.Popen(command, stdout=told, stderr=told, cwd=ROOT, env=ENVIRONMENT)
        for command in (scheduler, worker, worker)
    ]
    try:
        limit = monotonic() + 60
        while not file.exists():
            assert monotonic() < limit, (place / "dask.log").read_text()
            with suppress(subprocess.TimeoutExpired):
                processes[0].wait(timeout=0.05)
        yield json.loads(file.read_text())["address"], processes[1:]
    finally:
        for process in processes:
            process.kill()
            process.wait()
        told.close()


def test_a_killed_dask_worker_loses_no_seed(tmp_path: Path) -> None:
    """The same holds for a scheduler and two workers of Dask, one of them killed."""
    log = tmp_path / "out" / "results.jsonl"
    with (
        dask_cluster(tmp_path) as (address, workers),
        campaign_process(
            *("--seeds", f"1..{SEEDS}", "--dask", address, "--out", log.parent)
        ) as process,
    ):
        results_come(log, process)
        workers[0].kill()
        assert_every_seed_once(process, log)


def test_a_result_survives_its_log() -> None:
    """What is written about a seed is what is read."""
    result = try_seed(7)

    assert msgspec.json.decode(msgspec.json.encode(result), type=SeedResult) == result
