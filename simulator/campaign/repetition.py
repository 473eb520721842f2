"""The same runs in another process, under another hash seed: only their trace digests."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from simulator.campaign.images import opened_images
from simulator.campaign.mutants import with_mutant
from simulator.campaign.night import Watcher
from simulator.campaign.trial import Subject, night_of, subjects_of
from simulator.scenario.schema import Scenario
from simulator.scenario.writing import as_data

_OTHER_HASH_SEED: Final = "4711"


class Repetition:
    """A process that repeats runs beside ours; `digest` waits for the next one's."""

    def __init__(self, subjects: Sequence[Subject], /, *, mutant: str | None) -> None:
        environment = {**os.environ, "PYTHONHASHSEED": _OTHER_HASH_SEED}
        self._process = subprocess.Popen(  # noqa: S603 - this very program
            [sys.executable, "-m", "simulator.campaign.repetition", mutant or ""],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("".join(json.dumps(_order(each)) + "\n" for each in subjects))
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # it died: then its digests are missing, and the verdict says so

    def digest(self) -> str:
        """Return the next run's digest, or what to say where there is none."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip() or "nothing, the repetition died"

    def stop(self) -> None:
        """End the process, finished or not."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None and not stream.closed:
                stream.close()


def _order(subject: Subject) -> dict[str, Any]:
    return {
        "scenario": as_data(subject.scenario),
        "name": subject.name,
        "variant": None if subject.variant is None else subject.variant.id,
        "seed": subject.seed,
        "beside": str(Path.cwd() if subject.path is None else subject.path.parent),
    }


def _repeat(order: dict[str, Any]) -> str:
    scenario = Scenario.model_validate(order["scenario"])
    with opened_images(scenario, Path(order["beside"])) as (images, _):
        subject = next(
            each
            for each in subjects_of(
                scenario, name=order["name"], path=None, seed=order["seed"], images=images
            )
            if order["variant"] in (None, each.variant and each.variant.id)
        )
        night = night_of(subject, Watcher(), lambda _: None)
        night.run()
        return night.digest.hexdigest()


def main() -> None:
    """Repeat every run that standard input names, one digest a line."""
    with with_mutant(sys.argv[1] or None):
        for line in sys.stdin:
            sys.stdout.write(_repeat(json.loads(line)) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
