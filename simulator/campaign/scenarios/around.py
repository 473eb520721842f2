"""Scenario files under many seeds: other draws of chance around the same schedule."""

import re
from pathlib import Path
from time import process_time  # noqa: TID251 - what a subject costs is real time
from typing import Final, NamedTuple

import msgspec

from reference_engine.model.errors import InputRefusedError
from simulator.campaign.images import opened_images
from simulator.campaign.sweep.seeds import findings
from simulator.campaign.trial import subjects_of
from simulator.scenario.reading import read_scenario

_SEEDS_MOST: Final = 1_000_000


class SeedBreach(msgspec.Struct, frozen=True, kw_only=True):
    """A seed under which a scenario does not hold."""

    seed: int
    broken: tuple[str, ...]
    """Each invariant or expectation, with the reason."""


class Around(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario, or one of its variants, under every seed."""

    title: str
    file: str
    seeds: int
    breaches: tuple[SeedBreach, ...]
    cpu_s: float


def parse_seeds(text: str, /) -> range:
    """Return the seeds that `text` names, as `1..50`.

    Raises:
        InputRefusedError: it is no such range, or one of more than a million seeds.
    """
    found = re.fullmatch(r"(\d{1,18})\.\.(\d{1,18})", text, re.ASCII)
    if found is None or not 0 <= int(found[2]) - int(found[1]) < _SEEDS_MOST:
        raise InputRefusedError(f"{text!r} is no range of seeds", "give it as 1..50")
    return range(int(found[1]), int(found[2]) + 1)


def titles(files: list[Path], /) -> list[tuple[Path, str]]:
    """Return what there is to try: each file's scenario, or each of its variants, by title."""
    return [
        (file, subject.title)
        for file in files
        for subject in subjects_of(
            read_scenario(file), name=file.stem, path=file, seed=None, images={}
        )
    ]


class Subject(NamedTuple):
    """A scenario of a file, by its title, and the seeds to try around it."""

    file: Path
    title: str
    seeds: range


def try_around(work: Subject, /) -> Around:
    """Return what one scenario came to under every seed; each point is restored once."""
    file, title, seeds = work
    began = process_time()
    breaches: list[SeedBreach] = []
    scenario = read_scenario(file)
    with opened_images(scenario, file.parent) as (images, _):
        for seed in seeds:
            tried = subjects_of(scenario, name=file.stem, path=file, seed=seed, images=images)
            [subject] = [each for each in tried if each.title == title]
            broken = findings(subject)
            if broken:
                told = tuple(f"{each.invariant} {each.detail}" for each in broken)
                breaches.append(SeedBreach(seed=seed, broken=told))
    return Around(
        title=title,
        file=str(file),
        seeds=len(seeds),
        breaches=tuple(breaches),
        cpu_s=process_time() - began,
    )
