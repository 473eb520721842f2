"""Care for an encrypted repository with parity: no key is garbage, and all is mended."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from reference_engine.model.errors import RefusedError
from reference_engine.repository.header import (
    HEADER_COPIES,
    HEADER_NAME,
    decode_header,
    encode_header,
)
from reference_engine.repository.settings import Settings
from tests.strategies.disk_places import Place, disk
from tests.strategies.encrypted_repositories import filled, opened


class Vault(Place):
    """A place with an encrypted repository with parity, opened by a key file."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        super().__init__(root, capsys)
        self.source.write_bytes(disk(5, 4 << 20))
        self.key, self.other_key, self.second = root / "key", root / "other", root / "second"
        self.by = ("--key-file", self.key)
        self.at = ("--repo", self.repo, *self.by)
        self.create(self.repo, self.key)

    def create(self, place: Path, key: Path) -> None:
        """Make a repository."""
        parity = ("--parity", "6%", "--pack-parity", 4)
        self.records(
            "repo", "init", place, "--encrypt", "--new-key-file", key, "--no-recovery-key", *parity
        )

    def store(self, edit: int) -> None:
        """Back up the source with one part of it replaced by something new."""
        content = bytearray(self.source.read_bytes())
        content[1 << 20 : 1 << 21] = disk(edit)
        self.source.write_bytes(content)
        self.records("backup", self.source, *self.at)

    def objects(self, kind: str) -> dict[str, Path]:
        """Return the objects below a name, by their names."""
        return {
            path.relative_to(self.repo).as_posix(): path
            for path in sorted((self.repo / kind).rglob("*"))
            if path.is_file()
        }

    def restores(self) -> bool:
        """Return whether the newest point comes back byte for byte."""
        target = self.root / "back.raw"
        code = self.run("restore", "latest", *self.at, "--to", target, "--overwrite")[0]
        return code == 0 and target.read_bytes() == self.source.read_bytes()


@pytest.fixture
def vault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Vault]:
    """Return a place where nobody can be asked."""
    with Path("/dev/null").open(encoding="ascii") as nobody:
        monkeypatch.setattr("sys.stdin", nobody)
        yield Vault(tmp_path, capsys)


def damaged(path: Path, *, at: int, length: int) -> bytes:
    """Return what an object was before a run of it became zeros."""
    content = path.read_bytes()
    path.write_bytes(content[:at] + bytes(length) + content[at + length :])
    assert path.read_bytes() != content
    return content


def test_a_prune_takes_parity_with_what_it_frees_and_leaves_the_rest(vault: Vault) -> None:
    """No parity is left without its pack, no pack without parity, no key is garbage."""
    for edit in range(3):
        vault.store(edit)
    keys = vault.objects("keys")
    before = sum(path.stat().st_size for path in vault.objects("packs").values())
    told = vault.records("repo", "prune", vault.repo, "--keep-last", 1, "--dry-run", *vault.by)[-1]
    assert len(vault.records("repo", "stats", vault.repo, *vault.by)) > 1

    done = vault.records("repo", "prune", vault.repo, "--keep-last", 1, *vault.by)[-1]

    packs = vault.objects("packs")
    assert done["removed"] == 2
    # A new pack has its own parity of groups, of which a plan does not speak.
    assert told["freed_bytes"] > done["freed_bytes"] > 0
    assert sum(path.stat().st_size for path in packs.values()) < before
    assert [*vault.objects("parity/packs")] == [f"parity/{name}" for name in packs]
    assert vault.objects("keys") == keys
    assert vault.records("repo", "check", vault.repo, "--read-data", *vault.by)[-1]["points"] == 1
    assert vault.restores()


def test_what_parity_restores_is_found_by_a_check_and_stored_anew_by_a_repair(
    vault: Vault,
) -> None:
    """A damaged pack, a lost one, and damaged copies are as they were written afterwards."""
    vault.store(0)
    vault.store(1)
    first, last = [*vault.objects("packs").values()]
    [slot] = vault.objects("copies/keys").values()
    [*_, entry] = vault.objects("log").values()
    [*_, pages] = vault.objects("maps").values()
    was = {first: damaged(first, at=100_000, length=50_000), last: last.read_bytes()}
    last.unlink()
    was |= {path: damaged(path, at=50, length=20) for path in (slot, entry, pages)}
    spare = vault.repo / "parity" / last.relative_to(vault.repo)
    was[spare] = spare.read_bytes()
    spare.unlink()
    names = {path.relative_to(vault.repo).as_posix() for path in was}

    code, out, _ = vault.run("repo", "check", vault.repo, "--read-data", *vault.by)
    assert code == 1
    assert all(name in out for name in names)
    assert "restored from parity" in out
    assert "LOST" not in out
    untouched = vault.files()
    vault.run("repo", "repair", vault.repo, "--dry-run", *vault.by)
    assert vault.files() == untouched
    done = vault.records("repo", "repair", vault.repo, *vault.by)

    assert {each["name"] for each in done if each["type"] == "replaced"} == names
    assert (done[-1]["damaged_points"], done[-1]["mended"]) == (0, 0)
    assert {path: path.read_bytes() for path in was} == was
    assert not vault.objects("parity/renewed")
    assert vault.records("repo", "check", vault.repo, "--read-data", *vault.by)[-1]["wanted"] == 0
    assert vault.restores()


def test_a_key_of_which_no_copy_is_sound_is_found_by_a_check(vault: Vault) -> None:
    """Its owner learns of it while another key still opens the repository."""
    spare = vault.root / "spare"
    told = vault.records("repo", "key", "add", vault.repo, *vault.by, "--new-key-file", spare)
    assert vault.run("repo", "check", vault.repo, *vault.by)[0] == 0
    names = (f"keys/{told[-1]['key']}", f"copies/keys/{told[-1]['key']}")
    for name in names:
        damaged(vault.repo / name, at=200, length=50)

    code, out, _ = vault.run("repo", "check", vault.repo, *vault.by)
    assert code == 1
    assert all(name in out for name in names)


def test_points_are_copied_between_repositories_of_different_keys(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has its own key; what is beyond parity comes back from the other."""
    vault.store(0)
    copy = ("repo", "copy", vault.repo, vault.second, *vault.by)
    assert "repo init --encrypt" in vault.refused(2, *copy)
    assert not vault.second.exists(), "nothing is written in clear unless somebody wants it"
    vault.create(vault.second, vault.other_key)
    assert "TWINSHOT_TO_KEY_FILE" in vault.refused(12, *copy)
    monkeypatch.setenv("TWINSHOT_TO_KEY_FILE", str(vault.key))
    assert "wrong key" in vault.refused(12, *copy)
    monkeypatch.setenv("TWINSHOT_TO_KEY_FILE", str(vault.other_key))
    assert vault.records(*copy)[-1]["copied"] == 1
    assert vault.records(*copy)[-1]["present"] == 1
    there = ("--repo", vault.second, "--key-file", vault.other_key)
    assert vault.run("verify", *there)[0] == 0

    for path in (*vault.objects("packs").values(), *vault.objects("parity").values()):
        damaged(path, at=0, length=path.stat().st_size)
    assert not vault.restores()
    repair = ("repo", "repair", vault.repo, "--from", vault.second, *vault.by)
    assert "TWINSHOT_FROM_KEY_FILE" in vault.refused(12, *repair)
    monkeypatch.setenv("TWINSHOT_FROM_KEY_FILE", str(vault.other_key))
    assert vault.records(*repair)[-1]["damaged_points"] == 0
    assert vault.restores()


def test_a_repository_says_what_it_has(vault: Vault) -> None:
    """Encryption with the number of keys, and parity with its share."""
    code, out, _ = vault.run("repo", "info", vault.repo, *vault.by)
    assert code == 0
    assert "AES-256-GCM, 1 key\n" in out
    assert "6.06% of packs, one pack more for 4" in out
    told = vault.records("repo", "info", vault.repo, *vault.by)[-1]
    assert (told["encrypted"], told["key_slots"], told["pack_parity"]) == (True, 1, 4)


def test_an_encrypted_repository_keeps_promises(vault: Vault) -> None:
    """What it was told when it was made holds for whoever has the key, too."""
    place, key = vault.root / "grows", vault.root / "growing"
    vault.records(
        *("repo", "init", place, "--append-only", "--encrypt", "--no-recovery-key"),
        *("--new-key-file", key),
    )
    assert vault.records("repo", "info", place, "--key-file", key)[-1]["append_only"]
    vault.refused(2, "repo", "prune", place, "--key-file", key)


def test_a_header_with_other_promises_is_refused() -> None:
    """The authenticator covers promises too."""

    async def scenario() -> None:
        store = await filled()
        for name in (HEADER_NAME, *HEADER_COPIES):
            store.objects[name] = forged(store.objects[name])
        with pytest.raises(RefusedError):
            await opened(store)

    asyncio.run(scenario())


def forged(content: bytes) -> bytes:
    """Return a header that promises something, with a right checksum."""
    header = decode_header(content)
    return encode_header(msgspec.structs.replace(header, settings=Settings(append_only=True)))
