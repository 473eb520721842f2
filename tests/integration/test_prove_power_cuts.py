"""Power cuts on real file systems: a sample of what `prove power-cuts` does.

Where this machine has no FUSE, no loop devices or no right to them, the command has to say so in
one sentence; whether that is true is found out here by trying.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def proved(*tokens: object) -> tuple[int, list[dict[str, Any]]]:
    """Run the command in a process of its own; return its code and its records."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "reference_engine.app.command_line"),
            *("prove", "power-cuts", *map(str, tokens), "--json"),
        ],
        capture_output=True,
        check=False,
        text=True,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def can_mount(kind: str, place: Path) -> bool:
    """Return whether this machine mounts such a file system from a file, and offers FUSE."""
    image, mountpoint = place / f"{kind}.img", place / kind
    mountpoint.mkdir()
    with image.open("wb") as file:
        file.truncate(304 << 20)
    script = f"mkfs.{kind} -q {image} && mount -o loop {image} {mountpoint}"
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
        # The mount ends with the namespace.
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script],
            capture_output=True,
            check=False,
            env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
        )
    except OSError:
        return False
    return done.returncode == 0


def is_refused(code: int, records: list[dict[str, Any]]) -> bool:
    """Return whether the command said in one sentence that it cannot be done here."""
    return (
        code == 2
        and [each["type"] for each in records] == ["error"]
        and len(records[0]["message"].splitlines()) == 1
    )


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_a_power_cut_takes_nothing_that_was_acknowledged(kind: str, tmp_path: Path) -> None:
    """Points, restored images and keys survive every cut, and nothing is left mounted."""
    possible = can_mount(kind, tmp_path)

    code, records = proved("--fs", kind, "--cuts", 8)

    if not possible:
        assert is_refused(code, records), records
        return
    assert code == 0, records
    assert [(each["name"], each["neighbour"], each["cuts"]) for each in records[:2]] == [
        (kind, False, 4),
        (kind, True, 4),
    ]
    assert records[-1]["cuts"] == 8
    assert records[-1]["points_restored"] >= 16
    assert "twinshot-prov" not in Path("/proc/mounts").read_text()


def test_a_missing_flush_is_noticed(tmp_path: Path) -> None:
    """Without its flushes the store loses points on ext4, and the printed line shows it again."""
    possible = can_mount("ext4", tmp_path)
    out = tmp_path / "kept"

    code, records = proved(
        *("--fs", "ext4", "--cuts", 3, "--mutant", "no-file-flush", "--out", out)
    )

    if not possible:
        assert is_refused(code, records), records
        return
    assert code == 1, records
    failure = records[0]
    again, shown = proved(*failure["replay"].split()[3:])
    assert again == 1
    assert shown[0]["findings"] == failure["findings"]


def test_a_name_before_its_bytes_is_noticed_beside_another_program(tmp_path: Path) -> None:
    """Written in place, an object is durable while it is still empty: somebody else flushed it."""
    possible = can_mount("ext4", tmp_path)

    code, records = proved(
        *("--fs", "ext4", "--cuts", 60, "--mutant", "written-in-place", "--out", tmp_path / "kept")
    )

    if not possible:
        assert is_refused(code, records), records
        return
    assert code == 1, records
    failures = [each for each in records if each["type"] == "failure"]
    assert {each["neighbour"] for each in failures} == {True}


def test_a_command_that_fails_with_the_power_on_is_a_finding(tmp_path: Path) -> None:
    """The story ends there, and the cuts are taken from what came before."""
    possible = can_mount("ext4", tmp_path)

    code, records = proved(
        *("--fs", "ext4", "--cuts", 2, "--mutant", "commit-before-packs", "--out", tmp_path / "k")
    )

    if not possible:
        assert is_refused(code, records), records
        return
    assert code == 1, records
    assert records[0]["type"] == "failure"
    assert "with the power on repo repair repo ends with 1" in records[0]["findings"][0]
    assert records[-1]["cuts"] == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--cuts 0", "show nothing"),
        ("--seed -1", "is no seed"),
        ("--cut -1", "there is no cut"),
        ("--mutant none", "there is no mutant"),
        ("--recording nowhere", "holds no recording"),
        ("--recording nowhere --fs xfs", "stays as it is"),
        ("--out .", "exists"),
    ],
)
def test_requests_that_cannot_be_met(options: str, words: str) -> None:
    """One sentence, and the code for input."""
    code, records = proved(*options.split())

    assert is_refused(code, records), records
    assert words in records[0]["message"]
