"""How tools bear damage: a bit flips, or a call dies, and then everything is restored.

Every trial starts from a copy of one repository with a point for each generation of the image.
"""

import enum
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from reference_engine.app.bench.contestants import Contestant, Place
from reference_engine.app.bench.draws import Draws
from reference_engine.app.bench.injuries import choose_flip, flip, kill_midway
from reference_engine.app.bench.measuring import Call, Measured, measure
from reference_engine.app.bench.rounds import Generations, difference
from reference_engine.model.errors import OperationFailedError
from reference_engine.model.units import Duration

BACKUP: Final = "backup"
PRUNE: Final = "prune"


class Restored(enum.Enum):
    """What a restore came to."""

    SAME = "same"
    REFUSED = "refused"
    WRONG = "wrong"
    """The tool said that all is well, and it is not."""


class Flipped(msgspec.Struct, frozen=True, kw_only=True):
    """One flipped bit, and what came of it."""

    where: str
    noticed: bool
    """By the tool's own check, or as a point was restored."""

    points: tuple[Restored, ...]
    after_repair: tuple[Restored, ...]


class Killed(msgspec.Struct, frozen=True, kw_only=True):
    """One call that died, and what came of it."""

    doing: str
    points: tuple[Restored, ...]
    """Those that were committed before and are to stay, with nothing done in between."""

    went_on: bool
    """Whether the same call, given again, did its work, without anything that a user has to do."""

    whole: bool
    """Whether the tool's own check was content in the end."""


class Endured(msgspec.Struct, frozen=True, kw_only=True):
    """How one tool bore everything."""

    tool: str
    flips: tuple[Flipped, ...]
    kills: tuple[Killed, ...]


class Trials:
    """Injures tools, and looks at what is left."""

    def __init__(
        self, generations: Generations, work: Path, /, *, seed: int, progress: Callable[[str], None]
    ) -> None:
        """All generations but the last are stored at first; killed backups store the last one."""
        self._generations, self._work = generations, work
        self._seed, self._progress = seed, progress
        self._kept = range(len(generations.images) - 1)
        self._newest = len(generations.images) - 1
        """What a killed backup stores: asked for as the latest, all others by their names."""

        self._source = work / "source" / "disk.raw"
        self._source.parent.mkdir()

    def endure(self, tool: Contestant, /, *, trials: int) -> Endured:
        """Return how a tool bears so many flipped bits, and as many deaths of each kind.

        Raises:
            OperationFailedError: it failed before anything was done to it.
        """
        place = Place(root=self._work / tool.name.replace(" ", "-"), source=self._source)
        untouched = self._work / "untouched"
        self._build(tool, place)
        shutil.rmtree(untouched, ignore_errors=True)
        shutil.copytree(place.root, untouched)

        def fresh() -> None:
            shutil.rmtree(place.root)
            shutil.copytree(untouched, place.root)

        flips: list[Flipped] = []
        for trial in range(trials):
            self._progress(f"{tool.name}: a flipped bit")
            fresh()
            flips.append(self._flip(tool, place, trial))
        kills: list[Killed] = []
        for doing, kept in ((BACKUP, self._kept), (PRUNE, self._kept[-1:])):
            fresh()
            calls = self._calls(tool, place, doing)
            if not calls:
                continue
            whole = Duration(sum(self._well(call, tool).cost.wall for call in calls))
            for trial in range(trials):
                self._progress(f"{tool.name}: a killed {doing}")
                fresh()
                after = Duration(whole * (2 * trial + 1) // (2 * trials))
                if kill_midway(calls, after=after):
                    kills.append(self._look(tool, place, doing, kept))
        shutil.rmtree(place.root)
        return Endured(tool=tool.name, flips=tuple(flips), kills=tuple(kills))

    def _build(self, tool: Contestant, place: Place) -> None:
        shutil.rmtree(place.root, ignore_errors=True)
        for directory in (place.repository, place.scratch, place.target):
            directory.mkdir(parents=True)
        call = tool.prepare(place)
        if call is not None:
            self._well(call, tool)
        for generation in self._kept:
            self._show(generation)
            call = tool.store(generation, place, changed=None)
            assert call is not None, tool.name
            self._well(call, tool)
        self._show(self._newest)
        for generation in self._kept:
            # A user has listed the points before anything breaks.
            if self._restore(tool, place, generation) is not Restored.SAME:
                raise OperationFailedError(f"restoring with {tool.name}", "it is not the same")

    def _well(self, call: Call, tool: Contestant) -> Measured:
        measured = measure(call)
        if measured.exit_code:
            raise OperationFailedError(tool.name, measured.complaint or "it said nothing")
        return measured

    def _show(self, generation: int) -> None:
        self._source.unlink(missing_ok=True)
        self._source.hardlink_to(self._generations.images[generation].path)

    def _calls(self, tool: Contestant, place: Place, doing: str) -> Sequence[Call]:
        if doing == PRUNE:
            return tool.prune(place)
        call = tool.store(self._newest, place, changed=None)
        return () if call is None else (call,)

    def _flip(self, tool: Contestant, place: Place, trial: int) -> Flipped:
        draws = Draws(self._seed, f"flip/{tool.name}/{trial}")
        injury = choose_flip(place.repository, draws, trial=trial)
        flip(place.repository, injury)
        content = self._is_content(tool, place)
        points = self._restore_all(tool, place, self._kept)
        after_repair = points
        noticed = not content or Restored.REFUSED in points
        if noticed:
            for call in tool.repair(place):
                measure(call)
            after_repair = self._restore_all(tool, place, self._kept)
        return Flipped(
            where=f"{injury.path}:{injury.offset}.{injury.bit}",
            noticed=noticed,
            points=points,
            after_repair=after_repair,
        )

    def _look(self, tool: Contestant, place: Place, doing: str, kept: Sequence[int]) -> Killed:
        points = self._restore_all(tool, place, kept)
        went_on = not any(measure(call).exit_code for call in self._calls(tool, place, doing))
        content = self._is_content(tool, place)
        afterwards = set(self._restore_all(tool, place, kept))
        if doing == BACKUP:
            newest = self._restore(tool, place, self._newest)
            # It may have died behind its commit: then there is nothing left to do.
            went_on = went_on or newest is Restored.SAME
            afterwards.add(newest)
        whole = content and afterwards == {Restored.SAME}
        return Killed(doing=doing, points=points, went_on=went_on, whole=whole)

    def _is_content(self, tool: Contestant, place: Place) -> bool:
        call = tool.verify(place)
        return call is not None and measure(call).exit_code == 0

    def _restore_all(
        self, tool: Contestant, place: Place, generations: Sequence[int]
    ) -> tuple[Restored, ...]:
        return tuple(self._restore(tool, place, generation) for generation in generations)

    def _restore(self, tool: Contestant, place: Place, generation: int) -> Restored:
        call = tool.restore(generation, self._newest, place)
        assert call is not None, tool.name
        refused = measure(call).exit_code != 0
        files = [path for path in place.target.rglob("*") if path.is_file()]
        wanted = self._generations.images[generation].path
        same = len(files) == 1 and not difference(wanted, files[0])
        shutil.rmtree(place.target)
        place.target.mkdir()
        if refused:
            return Restored.REFUSED
        return Restored.SAME if same else Restored.WRONG
