"""`twinshot bench sync`: this engine and its peers back the same disk up, and give it back."""

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter

from reference_engine.app.bench.amounts import disk_size
from reference_engine.app.bench.contestants import Contestant, Job
from reference_engine.app.bench.ext4 import ext4_version
from reference_engine.app.bench.images import (
    SMALLEST,
    ImageRequest,
    Layout,
    layout_here,
    make_image,
    usual_use,
)
from reference_engine.app.bench.own import OwnEngine, is_ours, ways
from reference_engine.app.bench.peers import chosen_peers
from reference_engine.app.bench.report import render_page, tell, tell_scaling
from reference_engine.app.bench.results import machine_information, write_result
from reference_engine.app.bench.rounds import DAYS, Generations, Rounds, make_generations
from reference_engine.app.bench.samples import Finding, rows_of
from reference_engine.app.bench.scaling import Step, costs_per_tib, data_for, space_for
from reference_engine.app.bench.workplace import full_disk_told, require_room, working_in
from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output, announcing, sized
from reference_engine.model.errors import InputRefusedError
from reference_engine.model.units import ByteCount

_SEED: Final = 1
_USUAL: Final = "1GiB"
_LARGEST: Final = "64GiB"
_OUT: Final = Path("reports/bench")
_STEPS: Final = (64, 16, 4, 1)


def sync(
    *,
    peers: str | None = None,
    size: str | None = None,
    runs: int = 3,
    scaling: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    out: Path = _OUT,
    keep: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Measure full backup, two days of changes, restore and verification, beside other tools.

    Args:
        peers: Tools to compare with (restic, borg, qemu-img, desync, casync), each alone or as
            NAME=PATH, or script=PATH for one of your own; `none` for none, and without this
            option all that are installed.
        size: Size of the disk: 1GiB without it. With `--scaling` the largest one: 64GiB.
        runs: How often everything is done; the median is reported.
        scaling: Measure this engine alone on disks of growing size, and what a TiB costs.
        out: Directory of the results, and of images and repositories while it runs.
        keep: Keep the images and the last run's repositories.
        output: Where results go.
    """
    if runs < 1:
        raise InputRefusedError(f"{runs} runs measure nothing", "give at least one")
    largest = disk_size(size or (_LARGEST if scaling else _USUAL))
    with working_in(out, keep=keep) as work:
        if scaling:
            return _scale(largest, work, out, output)
        return _compete(peers, largest, work, runs=runs, out=out, output=output)


def _compete(
    wanted: str | None, size: ByteCount, work: Path, /, *, runs: int, out: Path, output: Output
) -> ExitCode:
    field = chosen_peers(wanted)
    tools: list[Contestant] = [*_own(), *field.peers]
    require_room(work, space_for(usual_use(size), len(tools)))
    generations = _images(size, usual_use(size), work, output)
    with _rounds(tools, generations, work, output, runs=runs) as rounds:
        for number in range(runs):
            rounds.run(number)
    rows = rows_of(rounds.samples, rounds.findings, size)
    about = _about(generations)
    about["tools"] = {tool.name: tool.version for tool in tools}
    write_result(out / "result.json", rows, rounds.samples, about=about)
    page = render_page(
        rows,
        rounds.findings,
        title=f"Block sync, {sized(size)}",
        under=f"{sized(generations.images[0].data)} of data, {runs} runs in turn, whole processes",
        facts=_facts(about, field.missing),
    )
    (out / "report.html").write_text(page, encoding="utf-8")
    for name, said in _facts(about, field.missing):
        output.say(f"{name:<14} {said}")
    tell(rows, rounds.findings, output)
    output.say(f"report         {out / 'report.html'}")
    output.say(f"result         {out / 'result.json'}")
    code = _code(rounds.findings)
    output.summary(
        runs=runs,
        findings=len(rounds.findings),
        not_installed=field.missing,
        result=str(out / "result.json"),
        exit_code=int(code),
        **about,
    )
    return code


def _scale(largest: ByteCount, work: Path, out: Path, output: Output) -> ExitCode:
    sizes = [size for share in _STEPS if (size := ByteCount(largest // share)) >= SMALLEST]
    steps: list[Step] = []
    findings: list[Finding] = []
    about: dict[str, Any] = {}
    for size in sizes:
        place = work / sized(size).replace(" ", "-")
        place.mkdir()
        used = data_for(size, ByteCount(shutil.disk_usage(work).free))
        generations = _images(size, used, place, output, days=1)
        with _rounds(_own()[:1], generations, place, output, runs=1) as rounds:
            rounds.run(0)
        data = generations.images[0].data
        steps.append(Step(size=size, data=data, samples=tuple(rounds.samples)))
        findings += rounds.findings
        about = _about(generations)
        rows = rows_of(rounds.samples, rounds.findings, size)
        name = sized(size).replace(" ", "")
        write_result(out / f"scaling-{name}.json", rows, rounds.samples, about=about)
        shutil.rmtree(place)
    tell_scaling(steps, costs_per_tib(steps), output)
    tell((), findings, output)
    code = _code(findings)
    output.summary(findings=len(findings), result=str(out), exit_code=int(code), **about)
    return code


def _own() -> list[Contestant]:
    """Return this engine in every way that it offers, the usual one first."""
    return [OwnEngine(way) for way in ways()]


def _images(
    size: ByteCount, used: ByteCount, work: Path, output: Output, *, days: int = len(DAYS)
) -> Generations:
    request = ImageRequest(size=size, used=used, seed=_SEED, layout=layout_here())
    with output.progress("making the disk", used) as advance, full_disk_told(work):
        first = make_image(work / "day-0.raw", request, advance=advance)
        return make_generations(first, DAYS[:days])


@contextlib.contextmanager
def _rounds(
    tools: Sequence[Contestant], generations: Generations, work: Path, output: Output, *, runs: int
) -> Iterator[Rounds]:
    calls = runs * len(tools) * len(Job)
    with output.steps("measuring", calls) as step, full_disk_told(work):
        yield Rounds(tools, generations, work, progress=announcing(step))


def _code(findings: Sequence[Finding]) -> ExitCode:
    """Return a finding for a wrong restore or our own failure, a part for a peer's failure."""
    if any(each.is_wrong_restore or is_ours(each.tool) for each in findings):
        return ExitCode.FINDING
    return ExitCode.PARTIAL if findings else ExitCode.OK


def _about(generations: Generations) -> dict[str, Any]:
    layout = layout_here()
    return {
        "image": generations.images[0].digest,
        "size": generations.images[0].size,
        "data": generations.images[0].data,
        "layout": layout.value,
        "made_by": f"e2fsprogs {ext4_version()}" if layout is Layout.EXT4 else "twinshot",
        "seed": _SEED,
        "changed": [each.changed for each in generations.changes if each is not None],
    }


def _facts(about: dict[str, Any], missing: Sequence[str]) -> list[tuple[str, str]]:
    machine = machine_information()
    days = " and ".join(sized(amount) for amount in about["changed"])
    facts = [
        ("machine", f"{machine['cpu']['brand_raw']}, {machine['cpu']['count']} processors"),
        ("system", f"{machine['system']} {machine['release']}, load {machine['load'][0]:.1f}"),
        ("disk", f"{sized(about['size'])}, {about['layout']}, {sized(about['data'])} of data"),
        ("changes", f"{days} on the days after"),
        ("image", f"{about['image']}, seed {about['seed']}, {about['made_by']}"),
    ]
    facts += [(name, version) for name, version in about["tools"].items()]
    return facts + [("not installed", ", ".join(missing))] * bool(missing)
