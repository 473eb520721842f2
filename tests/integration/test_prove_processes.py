"""Real processes may die and fail at any call: a sample of what `prove kills` and `errors` do."""

import json
import subprocess
import sys
from typing import Any

import pytest


def proved(*tokens: str) -> tuple[int, list[dict[str, Any]]]:
    """Run `prove` in a process without threads, which may fork; return its code and records."""
    done = subprocess.run(
        [sys.executable, "-m", "reference_engine.app.command_line", "prove", *tokens, "--json"],
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode in {0, 1}, done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("operation", "every"),
    [
        ("init-and-backup", 61),
        ("backup-of-two-disks", 71),
        ("prune", 37),
        ("restore-vhdx", 23),
        ("repair-several", 31),
        ("repair-from-another", 23),
        ("later-copy", 131),
        ("key-rotate-to-the-same", 29),
        ("prune-encrypted", 131),
        ("backup-with-parity", 131),
        ("domain-add", 23),
        ("domain-shred", 11),
        ("backup-in-domain", 101),
        ("prune-after-half-a-shred", 83),
        ("copy-between-domains", 211),
    ],
)
def test_a_killed_process_loses_nothing(operation: str, every: int) -> None:
    """Old points restore, the same command works without help, and nothing is left over."""
    code, records = proved("kills", operation, "--every", str(every))

    assert code == 0, records
    assert records[-1]["points"] >= 2


@pytest.mark.parametrize(
    ("operation", "every"),
    [
        ("init-and-backup", 601),
        ("next-backup", 501),
        ("prune", 701),
        ("restore-raw", 171),
        ("domain-add", 401),
        ("domain-shred", 501),
    ],
)
def test_a_failing_call_loses_nothing(operation: str, every: int) -> None:
    """The command says so in one sentence or succeeds all the same, and the next one works."""
    code, records = proved("errors", operation, "--every", str(every))

    assert code == 0, records
    assert records[-1]["points"] >= 2


def test_a_loss_would_be_noticed() -> None:
    """With packs that are deleted behind its back, a repository is told to have lost points."""
    script = """
import sys
from simulator.campaign.proving import kills_command
from reference_engine.app.command_line import run

def destroy(place):
    for pack in (place / "repo" / "packs").iterdir():
        pack.unlink()
    return 0

[operation] = [each for each in kills_command.OPERATIONS if each.name == "next-backup"]
import msgspec
bad = msgspec.structs.replace(operation, act=destroy)
kills_command.OPERATIONS = (bad,)
sys.exit(run(["prove", "kills", "--every", "3"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=False, text=True
    )

    assert done.returncode == 1, done.stderr
    assert "lost" in done.stdout


PLANTED = {
    "key-rotate": (
        9,
        "none of the keys",
        """
from reference_engine.repository.access import Keys

async def removes_before_it_adds(self, access, /, *, chance):
    await self.remove(self._keyring.slot.slot)
    return await self.add(access, chance=chance)

Keys.replace = removes_before_it_adds
""",
    ),
    "key-remove": (
        2,
        "was removed and opens",
        """
from reference_engine.repository.access import Keys

async def takes_one_copy_only(self, slot, /):
    await self._store.delete("keys/" + slot)

Keys.remove = takes_one_copy_only
""",
    ),
    "repair-pages": (
        3,
        "lost: ",
        """
from reference_engine.repository.codec import copy_name
from reference_engine.upkeep import repair
from reference_engine.upkeep.replacing import put_right

async def deletes_the_sound_copy_first(store, name, sound, /):
    await store.delete(copy_name(name))
    await put_right(store, name, sound)
    return await store.create(copy_name(name), sound)

repair.put_right = deletes_the_sound_copy_first
""",
    ),
    "copy": (
        29,
        "lost: ",
        """
from reference_engine.adapters.directory_store import DirectoryStore

create, held = DirectoryStore.create, {}

async def commits_before_its_packs(self, name, content, /):
    if name.startswith("packs/"):
        held[name] = bytes(content)
        return True
    if name.startswith("index/"):
        for pack in list(held):
            await create(self, pack, held.pop(pack))
    return await create(self, name, content)

DirectoryStore.create = commits_before_its_packs
""",
    ),
    "prune-with-parity": (
        211,
        "left over: parity/",
        """
from reference_engine.repository.segmented_store import SegmentedStore

async def leaves_the_parity(self, name, /):
    await self._store.delete(name)

SegmentedStore.delete = leaves_the_parity
""",
    ),
    "check-read-data": (
        1,
        "it changes files",
        """
from reference_engine.verification.check import Check

result = Check.result

async def notes_what_it_found(self):
    await self._repository.store.create("wanted/found", b"nothing")
    return await result(self)

Check.result = notes_what_it_found
""",
    ),
}


@pytest.mark.parametrize("operation", PLANTED)
def test_a_bug_of_each_kind_would_be_noticed(operation: str) -> None:
    """With one rule broken, the first moments that are tried show it, in words that tell what."""
    every, said, bug = PLANTED[operation]
    begin = "import sys\nfrom reference_engine.app.command_line import run\n"
    tokens = ["prove", "kills", operation, "--every", str(every)]
    done = subprocess.run(
        [sys.executable, "-c", f"{begin}{bug}\nsys.exit(run({tokens}))"],
        capture_output=True,
        check=False,
        text=True,
    )

    assert done.returncode == 1, done.stderr
    assert said in done.stdout
