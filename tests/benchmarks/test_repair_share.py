"""How many points restore after one flipped bit: at once, after a repair, after the next backup.

`python -m tests.benchmarks.test_repair_share 60` flips as often as that and prints the shares: two
thirds of the flips are spread over bytes, the others over kinds of objects, in a repository of
three points, the source being as it was at the third.
"""

import contextlib
import io
import json
import random  # noqa: TID251 - the draws of a protocol, each from its own seed
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from reference_engine.app.command_line import run

MIB: Final = 1 << 20
POINTS: Final = 3


def grown(source: Path, step: int) -> None:
    """Write the first state of the source, or change it: scattered edits, and a new megabyte."""
    chance = random.Random(1000 + step)  # noqa: S311 - a protocol, no cryptography
    if step == 0:
        words = "".join(f"line {n} {chance.random()}\n" for n in range(60000)).encode()
        content = bytearray(512) + chance.randbytes(6 * MIB) + bytes(4 * MIB) + words
        content[510:512] = b"\x55\xaa"
        source.write_bytes(content.ljust(20 * MIB, b"\0"))
        return
    with source.open("r+b") as file:
        for _ in range(3):
            file.seek(512 + chance.randrange(6 * MIB - 70_000))
            file.write(chance.randbytes(70_000))
        file.seek((14 + step) * MIB)
        file.write(chance.randbytes(MIB))


def called(*tokens: object) -> tuple[int, list[dict[str, Any]]]:
    """Return the exit code and the records of one command."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        code = run(["--json", *map(str, tokens)])
    return code, [json.loads(line) for line in out.getvalue().splitlines()]


class Protocol:
    """One repository, injured again and again."""

    def __init__(self, root: Path) -> None:
        self.root, self.source = root, root / "source.raw"
        self.pristine, self.repository = root / "pristine", root / "repository"
        self.images: dict[str, bytes] = {}
        for step in range(POINTS):
            grown(self.source, step)
            code, records = called("backup", self.source, "--repo", self.pristine, "--name", "vm")
            assert code == 0, records
            self.images[records[-1]["point"]] = self.source.read_bytes()

    def flip(self, number: int, count: int) -> str:
        """Flip one bit of a fresh copy, and return the object's name."""
        shutil.rmtree(self.repository, ignore_errors=True)
        shutil.copytree(self.pristine, self.repository)
        chance = random.Random(number)  # noqa: S311 - as above
        files = sorted(path for path in self.repository.rglob("*") if path.is_file())
        sizes = [path.stat().st_size for path in files]
        if number < count * 2 // 3:
            [path] = chance.choices(files, sizes)
        else:
            kinds = sorted({self._kind(path) for path in files})
            kind = kinds[number % len(kinds)]
            path = chance.choice([path for path in files if self._kind(path) == kind])
        content = bytearray(path.read_bytes())
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(content)
        return path.relative_to(self.repository).as_posix()

    def _kind(self, path: Path) -> str:
        return path.relative_to(self.repository).as_posix().rpartition("/")[0]

    def restored(self) -> tuple[int, int]:
        """Return how many points restore right, and how many wrong with success."""
        right = wrong = 0
        for point, image in self.images.items():
            target = self.root / "restored.raw"
            code, _ = called(
                "restore", point, "--repo", self.repository, "--to", target, "--overwrite"
            )
            if code == 0:
                equal = target.read_bytes() == image
                right, wrong = right + equal, wrong + (not equal)
        return right, wrong

    def measured(self, count: int) -> dict[str, Any]:
        """Return the figures of `count` flips."""
        found: dict[str, Any] = dict.fromkeys(
            ("structure", "all", "at_once", "repaired", "healed", "silent"), 0
        )
        missed: list[str] = []
        for number in range(count):
            name = self.flip(number, count)
            found["structure"] += called("repo", "check", self.repository)[0] != 0
            seen = called("repo", "check", self.repository, "--read-data")[0] != 0
            found["all"] += seen
            missed += [] if seen else [name]
            for stage in ("at_once", "repaired", "healed"):
                if stage == "repaired":
                    called("repo", "repair", self.repository)
                elif stage == "healed":
                    called("backup", self.source, "--repo", self.repository, "--name", "vm")
                right, wrong = self.restored()
                found[stage] += right
                found["silent"] += wrong
        return {"flips": count, "points": POINTS * count, **found, "undetected": missed}


def test_most_points_survive_a_flipped_bit(tmp_path: Path) -> None:
    """None restores wrong, all damage is found, and repair and source bring most points back."""
    figures = Protocol(tmp_path).measured(9)

    assert figures["silent"] == 0
    assert figures["undetected"] == []
    assert figures["healed"] >= 0.95 * figures["points"]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        sys.stdout.write(json.dumps(Protocol(Path(place)).measured(int(sys.argv[1]))) + "\n")
