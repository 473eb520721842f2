"""Simulated storage loses at a power cut what real storage may lose, and nothing else."""

from simulator.kernel.streams import Stream
from simulator.world.file_system import SECTOR, CrashableFiles, Durability

CUTS = 200


def made(durability: Durability) -> CrashableFiles:
    """Return a file system with one durable directory."""
    files = CrashableFiles(durability)
    files.make_directory("/d")
    files.flush_directory("/")
    return files


def write(files: CrashableFiles, path: str, content: bytes) -> int:
    """Create a file, and flush nothing."""
    descriptor = files.create(path)
    files.write(descriptor, content)
    return descriptor


def after(durability: Durability, do: object) -> list[dict[str, bytes]]:
    """Return what may be found after power cuts behind what `do` does."""
    found = []
    for seed in range(CUTS):
        files = made(durability)
        do(files)  # type: ignore[operator]
        cut = files.after_power_cut(Stream("cut", seed))
        found.append({path: bytes(cut.content(path)) for path in cut.files()})
    return found


def test_flushed_content_under_a_flushed_name_survives() -> None:
    """After both flushes every power cut finds the file whole."""

    def do(files: CrashableFiles) -> None:
        files.flush(write(files, "/d/a", b"x" * 2000))
        files.flush_directory("/d")

    for durability in Durability:
        assert after(durability, do) == [{"/d/a": b"x" * 2000}] * CUTS


def test_content_that_was_not_flushed_is_torn() -> None:
    """A durable name says nothing of the content: any of its sectors may be missing."""

    def do(files: CrashableFiles) -> None:
        write(files, "/d/a", b"x" * (3 * SECTOR))
        files.flush_directory("/d")

    for durability in Durability:
        found = {each["/d/a"] for each in after(durability, do)}
        assert found == {
            (one + two + three).rstrip(b"\0") if three == bytes(SECTOR) else one + two + three
            for one in (b"x" * SECTOR, bytes(SECTOR))
            for two in (b"x" * SECTOR, bytes(SECTOR))
            for three in (b"x" * SECTOR, bytes(SECTOR))
        }


def test_a_journal_keeps_the_order_of_names() -> None:
    """Names come back in the order in which they were given; without a journal in any."""

    def do(files: CrashableFiles) -> None:
        for name in ("a", "b"):
            files.create(f"/d/{name}")

    journal = {tuple(each) for each in after(Durability.JOURNAL, do)}
    posix = {tuple(each) for each in after(Durability.POSIX, do)}

    assert journal == {(), ("/d/a",), ("/d/a", "/d/b")}
    assert posix == journal | {("/d/b",)}


def test_a_journal_makes_every_name_durable_at_once() -> None:
    """A flush of any file carries the names of all with a journal, and no name without one."""

    def do(files: CrashableFiles) -> None:
        files.flush(write(files, "/d/a", b"a"))

    assert after(Durability.JOURNAL, do) == [{"/d/a": b"a"}] * CUTS
    assert {tuple(each) for each in after(Durability.POSIX, do)} == {(), ("/d/a",)}


def test_a_directory_is_lost_with_what_is_in_it() -> None:
    """A file in a directory whose own name is not durable is not durable either."""

    def do(files: CrashableFiles) -> None:
        files.make_directory("/d/new")
        files.flush(write(files, "/d/new/a", b"a"))
        files.flush_directory("/d/new")

    assert {tuple(each) for each in after(Durability.POSIX, do)} == {(), ("/d/new/a",)}


def test_a_deleted_file_may_come_back() -> None:
    """As long as the directory is not flushed, a power cut may undo a deletion."""

    def do(files: CrashableFiles) -> None:
        files.flush(write(files, "/d/a", b"a"))
        files.flush_directory("/d")
        files.unlink("/d/a")

    for durability in Durability:
        assert {tuple(each) for each in after(durability, do)} == {(), ("/d/a",)}


def test_a_failed_flush_is_not_made_good_by_another_one() -> None:
    """What a flush failed to write is visible, called clean, and lost at the power cut."""

    def do(files: CrashableFiles) -> None:
        descriptor = write(files, "/d/a", b"a")
        files.lose_writes(descriptor)
        files.flush(descriptor)
        files.flush_directory("/d")
        assert files.content("/d/a") == b"a"

    for durability in Durability:
        assert after(durability, do) == [{"/d/a": b""}] * CUTS
