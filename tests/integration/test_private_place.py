"""What a proof leaves when it is ended: nothing, or what the next one clears away."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simulator.campaign.proving.private_place import clear, private_place

PROGRAM = """
import sys
from simulator.campaign.proving.private_place import private_place
with private_place() as place:
    (place / "object").write_bytes(b"content")
    print(place, flush=True)
    sys.stdin.read()
"""


@contextmanager
def at_work() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Have a process with a private place, and that place."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        try:
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def test_a_process_that_is_asked_to_end_leaves_nothing() -> None:
    """SIGTERM and SIGHUP clear up; the exit code says which it was."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        with at_work() as (process, place):
            assert (place / "object").exists()

            process.send_signal(number)

            assert process.wait() == 128 + number
            assert not place.exists()


def test_what_a_killed_process_left_goes_with_the_next_one() -> None:
    """The lock on its directory died with it."""
    with at_work() as (process, place):
        process.kill()
        process.wait()
        assert place.exists()

        with private_place():
            assert not place.exists()


def test_the_place_of_a_living_process_stays() -> None:
    """Whoever holds the lock is at work there."""
    with at_work() as (_, place), private_place() as ours:
        assert (place / "object").exists()
        assert ours != place


def test_links_and_other_directories_stay(tmp_path: Path) -> None:
    """Only directories under our name go, and nothing that a link there points to."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (tmp_path / "twinshot-proving-link").symlink_to(precious)
    (tmp_path / "twinshot-proving-left").mkdir()

    clear(tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["precious", "twinshot-proving-link"]
