"""`repo init` makes a repository as it is asked for, or says what that lacks and makes nothing."""

import subprocess
import sys

import pytest

from tests.strategies.disk_places import disk
from tests.strategies.vaults import Vault, vault

__all__ = ["vault"]

BAD_INITS = (
    (("--password-file", "words"), "without --encrypt"),
    (("--encrypt", "--password-file", "words"), "--recovery-key"),
    (("--encrypt", "--no-recovery-key"), "--password-file"),
    (("--encrypt", "--password-file", "words", "--new-key-file", "k"), "a key file were given"),
    (("--encrypt", "--recovery-key", "r", "--no-recovery-key"), "both wanted and not"),
    (("--encrypt", "--password-file", "words", "--recovery-key", "words"), "words exists"),
    (("--encrypt", "--password-file", "words", "--recovery-key", "a/b"), "cannot be written"),
    (("--encrypt", "--password-file", "empty", "--recovery-key", "r"), "empty"),
    (("--parity", "6"), "no share"),
    (("--parity", "0%"), "no share"),
    (("--parity", "nan%"), "no share"),
    (("--parity", "many%"), "no share"),
    (("--parity", "6%", "--pack-parity", "1"), "no group"),
    (("--parity", "6%", "--pack-parity", "256"), "no group"),
    (("--pack-parity", "16"), "needs --parity"),
)


@pytest.mark.parametrize(("tokens", "said"), BAD_INITS)
def test_a_repository_that_cannot_be_made_as_asked_is_not_made(
    vault: Vault, tokens: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left behind, no key file either."""
    (vault.root / "empty").write_text("\n")
    monkeypatch.chdir(vault.root)
    before = vault.files()

    assert said in vault.refused(
        12 if "no-recovery" in tokens[1] else 2, "repo", "init", vault.repo, *tokens
    )
    assert vault.files() == before


def test_a_place_that_is_taken_is_no_place_for_a_new_repository(vault: Vault) -> None:
    """Neither over a repository nor beside somebody's documents; and no key file is left."""
    vault.create()
    options = ("--encrypt", "--new-key-file", vault.key, "--no-recovery-key")
    assert "already" in vault.refused(2, "repo", "init", vault.repo, *options)
    (vault.root / "file").write_text("")
    assert vault.run("repo", "init", vault.root / "file", *options)[0] == 4
    documents = vault.root / "documents"
    documents.mkdir()
    (documents / "Thesis final.doc").write_text("")

    assert "Thesis" in vault.refused(2, "repo", "init", documents, *options)
    assert not vault.key.exists()


def test_a_lost_run_of_sectors_is_restored_from_parity(vault: Vault) -> None:
    """`verify` says what was mended, and a restore is right without anybody's help."""
    vault.source.write_bytes(disk(3, 8 << 20))
    vault.records("repo", "init", vault.repo, "--parity", "6%")
    vault.records("backup", vault.source, *vault.at)
    [pack] = (vault.repo / "packs").iterdir()
    content = bytearray(pack.read_bytes())
    content[1_000_000:1_200_000] = bytes(200_000)
    pack.write_bytes(content)

    code, out, _ = vault.run("verify", *vault.at)
    assert code == 1
    assert "intact" in out
    assert f"packs/{pack.name}: 13 damaged sectors, restored from parity" in out
    target = vault.root / "back.raw"
    assert vault.run("restore", "latest", *vault.at, "--to", target)[0] == 0
    assert target.read_bytes() == vault.source.read_bytes()


WITHOUT = """
import sys
for name in sys.argv.pop(1).split(","):
    sys.modules[name] = None
from reference_engine.app.command_line import main
main()
"""


def without(packages: str, *tokens: object) -> subprocess.CompletedProcess[str]:
    """Return what a command comes to where these packages are not installed."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, packages, *map(str, tokens)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )


def test_a_light_installation_says_what_it_lacks(vault: Vault) -> None:
    """Plain repositories need neither package; the others name the extra to install."""
    assert without("cryptography,zfec", "backup", vault.source, *vault.at).returncode == 0
    for extra, package, options in (
        ("crypto", "cryptography", ("--encrypt", "--no-recovery-key", *vault.by[2:])),
        ("parity", "zfec", ("--parity", "6%")),
    ):
        place = vault.root / extra
        done = without(package, "repo", "init", place, *options)
        assert (done.returncode, done.stdout) == (2, "")
        assert f"pip install 'twinshot[{extra}]'" in done.stderr
        assert not place.exists()
        assert vault.run("repo", "init", place, *options)[0] == 0
        done = without(
            package, "points", "--repo", place, *vault.by[2:] if extra == "crypto" else ()
        )
        assert done.returncode == 2
        assert f"pip install 'twinshot[{extra}]'" in done.stderr
