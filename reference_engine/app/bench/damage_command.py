"""`twinshot bench damage`: bits flip and calls die, here and in other tools."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter

from reference_engine.app.bench.amounts import disk_size
from reference_engine.app.bench.changes import ChangeRequest
from reference_engine.app.bench.contestants import Contestant
from reference_engine.app.bench.damage_report import figures, is_our_failure, render_page, tell
from reference_engine.app.bench.images import ImageRequest, layout_here, make_image, usual_use
from reference_engine.app.bench.own import OwnEngine, ways, with_parity
from reference_engine.app.bench.peers import chosen_peers
from reference_engine.app.bench.results import machine_information
from reference_engine.app.bench.rounds import make_generations
from reference_engine.app.bench.scaling import space_for
from reference_engine.app.bench.trials import Trials
from reference_engine.app.bench.workplace import full_disk_told, require_room, working_in
from reference_engine.app.exit_codes import ExitCode
from reference_engine.app.output import Output, announcing
from reference_engine.model.errors import InputRefusedError

_OUT: Final = Path("reports/bench-damage")
_IMAGE_SEED: Final = 1
_DAYS: Final = tuple(ChangeRequest(permille=20, seed=seed) for seed in (7, 8, 9))
_KINDS: Final = 3
"""A flipped bit, a killed backup, a killed prune."""


def damage(
    *,
    peers: str | None = None,
    size: str = "64MiB",
    trials: int = 20,
    seed: int = 1,
    out: Path = _OUT,
    output: Annotated[Output, Parameter(parse=False)],
) -> ExitCode:
    """Flip bits in repositories and kill backups and prunes, here and with other tools.

    Each trial starts from a copy of one repository of three points. One bit flips: does the tool's
    own check notice, which points restore, and which after the tool's own repair? A backup or a
    prune is killed: do the points restore at once, does the next call go on without a manual step?
    Bits are drawn from the seed; where a kill hits depends on the machine.

    Args:
        peers: Tools to compare with (restic, borg), each alone or as NAME=PATH; `none` for none,
            and without this option all that are installed.
        size: Size of the disk.
        trials: How many bits are flipped, and how many calls of each kind are killed.
        seed: Which bits are flipped.
        out: Directory of the results, and of images and repositories while it runs.
        output: Where results go.
    """
    if trials < 1:
        raise InputRefusedError(f"{trials} trials show nothing", "give at least one")
    field = chosen_peers(peers)
    # A tool that cannot repair what it stored promises too little to be held to it.
    able = [tool for tool in field.peers if tool.repairs]
    left_out = [tool.name for tool in field.peers if not tool.repairs]
    usual = ways()[0]
    own = [OwnEngine(way) for way in (usual, with_parity(usual)) if way is not None]
    tools: list[Contestant] = [*own, *able]
    bytes_of_disk = disk_size(size)
    used = usual_use(bytes_of_disk)
    with working_in(out, keep=False) as work, full_disk_told(work):
        require_room(work, space_for(used, 2 * len(tools)))
        request = ImageRequest(
            size=bytes_of_disk, used=used, seed=_IMAGE_SEED, layout=layout_here()
        )
        with output.progress("making the disk", used) as advance:
            first = make_image(work / "day-0.raw", request, advance=advance)
            generations = make_generations(first, _DAYS)
        with output.steps("injuring", len(tools) * trials * _KINDS) as step:
            injured = Trials(generations, work, seed=seed, progress=announcing(step))
            every = [injured.endure(tool, trials=trials) for tool in tools]
    facts = _facts(tools, left_out + list(field.missing))
    under = f"a disk of {size}, three points, {trials} trials of each kind"
    records = [figures(endured) for endured in every]
    holds = not any(is_our_failure(record) for record in records)
    page = render_page(
        records, holds=holds, title="Damage and sudden deaths", under=under, facts=facts
    )
    (out / "report.html").write_text(page, encoding="utf-8")
    lines = [json.dumps(msgspec.to_builtins(endured)) for endured in every]
    (out / "trials.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name, said in facts:
        output.say(f"{name:<16} {said}")
    tell(records, output)
    output.say(f"report           {out / 'report.html'}")
    output.say(f"every trial      {out / 'trials.jsonl'}")
    code = ExitCode.OK if holds else ExitCode.FINDING
    output.summary(tools=len(every), result=str(out / "trials.jsonl"), exit_code=int(code))
    return code


def _facts(tools: Sequence[Contestant], missing: Sequence[str]) -> list[tuple[str, str]]:
    machine = machine_information()
    facts = [
        ("machine", f"{machine['cpu']['brand_raw']}, {machine['cpu']['count']} processors"),
        *((tool.name, tool.version) for tool in tools),
    ]
    return facts + [("not taking part", ", ".join(missing))] * bool(missing)
