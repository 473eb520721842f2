"""The commands for encrypted repositories do what they say, and never say what is secret."""

import json
import os
import pty
import select
import subprocess
import sys

import pytest

from tests.strategies.vaults import CANARY, Vault, vault

__all__ = ["vault"]

OTHER = "canary-77ab-successor"
COMMAND = (sys.executable, "-m", "reference_engine.app.command_line")


def test_an_encrypted_repository_is_used_like_any_other(vault: Vault) -> None:
    """Every command takes the same options, and the image comes back byte for byte."""
    vault.create()
    vault.records("backup", vault.source, *vault.by)
    assert len(vault.records("points", *vault.by)) == 2
    assert vault.run("verify", *vault.by)[0] == 0
    target = vault.root / "back.raw"

    assert vault.run("restore", "latest", *vault.by, "--to", target)[0] == 0
    assert target.read_bytes() == vault.source.read_bytes()


def test_a_key_comes_from_wherever_it_is_kept(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file, a command, a variable, a key file, or the recovery key in place of a passphrase."""
    vault.create()
    vault.records("repo", "key", "add", *vault.own, "--new-key-file", vault.key)
    command = f"{sys.executable} -c 'print(\"{CANARY}\")'"
    for options in (
        ("--password-command", command),
        ("--key-file", vault.key),
        ("--password-file", vault.paper),
    ):
        assert vault.run("points", *vault.at, *options)[0] == 0, options
    for name, value in (
        ("PASSWORD", CANARY),
        ("PASSWORD", vault.paper.read_text().lower()),
        ("PASSWORD_FILE", str(vault.words)),
        ("PASSWORD_COMMAND", command),
        ("KEY_FILE", str(vault.key)),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(f"TWINSHOT_{name}", value)
            assert vault.run("points", *vault.at)[0] == 0, name
            # An option is nearer than a variable.
            vault.refused(12, "points", *vault.at, "--password-file", vault.wrong)


@pytest.mark.parametrize(
    "command", [("points",), ("verify",), ("restore", "latest", "--to", "o.raw")]
)
def test_without_its_key_nothing_is_read(vault: Vault, command: tuple[str, ...]) -> None:
    """One sentence and one exit code, with no key or the wrong one, and nothing is changed."""
    vault.create()
    vault.records("backup", vault.source, *vault.by)
    before = vault.files()

    assert "--password-file" in vault.refused(12, *command, *vault.at)
    wrong = (*vault.at, "--password-file", vault.wrong)
    assert "wrong key" in vault.refused(12, *command, *wrong)
    vault.refused(12, "backup", vault.source, *wrong)
    vault.refused(12, "repo", "key", "add", vault.repo, *wrong[2:], "--new-key-file", vault.key)
    assert vault.files() == before


def test_keys_are_listed_added_removed_and_rotated(vault: Vault) -> None:
    """What is listed opens, what was removed does not, and the last one stays."""
    vault.create()
    vault.records("backup", vault.source, *vault.by)
    new = vault.root / "new"
    new.write_text(OTHER)
    added = vault.records(
        "repo", "key", "add", *vault.own, "--new-password-file", new, "--label", "Grace"
    )[-1]["key"]
    listed = vault.records("repo", "key", "list", *vault.own)
    by_label = {each["label"]: each for each in listed if each["type"] == "key"}

    assert {label: each["kind"] for label, each in by_label.items()} == {
        "first": "passphrase",
        "recovery": "recovery",
        "Grace": "passphrase",
    }
    assert by_label["Grace"]["id"] == added
    assert [label for label, each in by_label.items() if each["opened"]] == ["first"]
    options = ("--password-file", new)
    remove = ("repo", "key", "remove", vault.repo)
    for label in ("first", "recovery"):
        vault.records(*remove, by_label[label]["id"][:8], *options)
    vault.refused(12, "points", *vault.by)
    assert "last key" in vault.refused(2, *remove, added, *options)
    assert "no key 'zz'" in vault.refused(2, *remove, "zz", *options)
    vault.records("repo", "key", "rotate", vault.repo, *options, "--new-key-file", vault.key)
    vault.refused(12, "points", *vault.at, *options)
    held = ("--key-file", vault.key)
    vault.records(
        "repo", "key", "rotate", vault.repo, "--master", *held, "--new-password-file", vault.words
    )
    vault.refused(12, "points", *vault.at, *held)
    assert len(vault.records("repo", "key", "list", *vault.own)) == 2
    vault.records("backup", vault.source, *vault.by)
    assert vault.run("verify", *vault.by)[0] == 0


def test_a_plain_repository_in_the_place_of_an_encrypted_one_is_refused(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever gives a key expects encryption: nothing is written in clear, or created."""
    assert "repo init --encrypt" in vault.refused(2, "backup", vault.source, *vault.by)
    assert not vault.repo.exists()
    vault.back_up()
    before = vault.files()

    assert "not encrypted" in vault.refused(2, "backup", vault.source, *vault.by)
    assert "no keys" in vault.refused(2, "repo", "key", "list", vault.repo)
    monkeypatch.setenv("TWINSHOT_PASSWORD", CANARY)
    assert "without --encrypt" in vault.refused(2, "repo", "init", vault.root / "new")
    assert "not encrypted" in vault.refused(2, "backup", vault.source, *vault.at)
    assert vault.files() == before


ADD = ("repo", "key", "add", "repository", "--password-file", "words")


BAD = (
    (("points", "--password-file", "absent"), "cannot be read"),
    (("points", "--password-file", "."), "cannot be read"),
    (("points", "--password-file", "empty"), "passphrase is empty"),
    (("points", "--password-file", "binary"), "is not text"),
    (("points", "--password-file", "huge"), "longer than 4096 bytes"),
    (("points", "--key-file", "words"), "is no key file"),
    (("points", "--key-file", "absent"), "cannot be read"),
    (("points", "--password-command", ""), "cannot be started"),
    (("points", "--password-command", "no-such-program-anywhere"), "cannot be started"),
    (("points", "--password-command", "'"), "cannot be started"),
    (("points", "--password-command", "false"), "ended with 1"),
    (("points", "--password-file", "words", "--key-file", "k"), "two keys"),
    ((*ADD, "--new-key-file", "words"), "words exists"),
    ((*ADD, "--new-key-file", "a/b"), "cannot be written"),
    ((*ADD, "--new-key-file", "k", "--new-recovery-key", "r"), "two new keys"),
    ((*ADD, "--new-key-file", "k", "--label", "x" * 65), "label"),
    ((*ADD, "--new-password-file", "empty"), "empty"),
)


@pytest.mark.parametrize(("tokens", "said"), BAD)
def test_unusable_keys_are_named_in_one_sentence(
    vault: Vault, tokens: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what was wrong and what to do, and no word of what was in the file."""
    vault.create()
    (vault.root / "empty").write_text("\n")
    (vault.root / "binary").write_bytes(b"\xff\xfe\xff")
    (vault.root / "huge").write_bytes(b"canary-huge" * 9000)
    monkeypatch.chdir(vault.root)
    before = vault.files()

    sentence = vault.refused(2, *tokens, *(vault.at if tokens[0] == "points" else ()))
    assert said in sentence
    assert "canary" not in sentence
    assert vault.files() == before


def test_key_files_are_for_their_owner_only(vault: Vault) -> None:
    """Nobody else on the machine can read what opens the repository."""
    vault.create()
    vault.records("repo", "key", "add", *vault.own, "--new-key-file", vault.key)

    assert vault.key.stat().st_mode & 0o777 == 0o600
    assert vault.paper.stat().st_mode & 0o777 == 0o600


def test_no_command_ever_writes_a_secret(vault: Vault) -> None:
    """Whatever is said, in either form, and whatever is stored holds no passphrase and no key."""
    new = vault.root / "new"
    new.write_text(OTHER)
    tokens: list[tuple[object, ...]] = [
        ("repo", "init", *vault.own, "--encrypt", "--recovery-key", vault.paper, "--parity", "6%"),
        ("backup", vault.source, *vault.by),
        ("repo", "key", "add", *vault.own, "--new-key-file", vault.key),
        ("repo", "key", "add", *vault.own, "--new-password-file", new),
        ("repo", "key", "list", *vault.own),
        *(("repo", word, *vault.own) for word in ("info", "stats", "check", "repair", "prune")),
        ("repo", "check", vault.repo, "--password-file", vault.wrong),
        ("repo", "copy", *vault.own, vault.root / "second"),
        ("points", *vault.by),
        ("points", *vault.at, "--password-file", vault.wrong),
        ("points", *vault.at, "--key-file", vault.words),
        (
            "points",
            *vault.at,
            "--password-command",
            f'{sys.executable} -c \'exit("{CANARY}" > "")\'',
        ),
        ("verify", *vault.at, "--key-file", vault.key),
        ("restore", "latest", *vault.at, "--password-file", vault.paper, "--to", "/no/where.raw"),
        ("repo", "key", "rotate", vault.repo, "--key-file", vault.key, "--new-key-file", "/no/key"),
        ("repo", "key", "rotate", "--master", *vault.own, "--new-password-file", new),
        ("points", *vault.by),
    ]
    said = []
    for each in tokens:
        said += [*vault.run(*each)[1:], *vault.run("--json", *each)[1:]]
    printed = [path.read_text().split("\n")[-2] for path in (vault.key, vault.paper)]
    secrets = [CANARY, OTHER, "nonsense", *printed]
    texts = "\n".join(said)
    stored = b"\n".join(path.read_bytes() for path in vault.repo.rglob("*") if path.is_file())

    assert [len(each) for each in printed] == [69, 69]
    for secret in secrets:
        assert secret not in texts
        assert secret.encode() not in stored
    for word in (b"web.raw", b"web", vault.source.read_bytes()[1000:1016]):
        assert word not in stored


def typed(tokens: list[object], answers: list[str]) -> tuple[int, str]:
    """Return exit code and what a terminal showed while a person answered; `=` repeats the key."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *map(str, tokens)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    shown = ""
    asked = 0
    while True:
        ready, _, _ = select.select([master], [], [], 60)
        try:
            part = os.read(master, 4096) if ready else b""
        except OSError:
            part = b""
        if not part:
            break
        shown += part.decode()
        if shown.endswith(": ") and shown.count(": ") > asked and answers:
            asked = shown.count(": ")
            answer = answers.pop(0)
            keys = [line.strip() for line in shown.splitlines() if line.count("-") == 13]
            os.write(master, ((keys[0] if answer == "=" else answer) + "\n").encode())
    os.close(master)
    return process.wait(timeout=60), shown


def test_at_a_terminal_a_person_is_asked(vault: Vault) -> None:
    """The passphrase twice and unseen, the recovery key shown once and typed back."""
    init = ["repo", "init", vault.repo, "--encrypt"]
    code, shown = typed(init, [CANARY, CANARY, "not that", "="])
    assert code == 0, shown
    assert CANARY not in shown
    assert "that is not it" in shown
    assert typed(["points", *vault.at], [CANARY])[0] == 0
    assert typed(["points", *vault.at], ["wrong"])[0] == 12
    recovery = next(line.strip() for line in shown.splitlines() if line.count("-") == 13)
    assert typed(["points", *vault.at], [recovery])[0] == 0
    code, shown = typed(["repo", "init", vault.root / "x", "--encrypt"], ["one", "two"])
    assert code == 2
    assert "differ" in shown


def test_errors_are_records_for_programs(vault: Vault) -> None:
    """With --json the last line says why, with the exit code."""
    vault.create()
    code, out, _ = vault.run("points", *vault.at, "--json")

    assert code == 12
    assert json.loads(out)["exit_code"] == 12
