"""The commands keep repositories in buckets, or say in one sentence why they cannot."""

import asyncio  # noqa: TID251 - the store is awaited on asyncio
import datetime as dt
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from reference_engine.app.repositories import open_store
from reference_engine.model.identity import RecoveryPointId
from reference_engine.model.units import Instant
from reference_engine.repository.repository import Repository
from tests.servers.fault_proxy import Exchange, Fault, FaultProxy
from tests.servers.object_server import BUCKET, LOCKED_BUCKET, READER, ObjectServer, variables
from tests.strategies.command_line import CommandLine

MIB = 1 << 20


class Client(CommandLine):
    """The command line, with a disk to back up and an address in a bucket."""

    def __init__(
        self, root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        super().__init__(capsys)
        self.source = root / "web.raw"
        noise = np.random.default_rng(1).bytes(MIB)
        self.content = noise[:446] + bytes(64) + b"\x55\xaa" + noise[512:]
        self.source.write_bytes(self.content)
        self.address = f"s3://{BUCKET}/{root.name}"
        self.monkeypatch = monkeypatch

    def set(self, **values: str) -> None:
        """Set variables of the environment."""
        for name, value in values.items():
            self.monkeypatch.setenv(name, value)

    def backup(self) -> tuple[object, ...]:
        """Return the command line of a backup."""
        return ("backup", self.source, "--repo", self.address)


@pytest.fixture
def client(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Client:
    """Return a command line whose variables name no server that answers."""
    for name, value in variables(9).items():
        monkeypatch.setenv(name, value)
    return Client(tmp_path, capsys, monkeypatch)


@pytest.fixture
def served(client: Client, object_server: ObjectServer) -> Client:
    """Return a command line that knows the server."""
    client.set(**object_server.variables)
    return client


@pytest.fixture
def proxy(object_server: ObjectServer) -> Iterator[FaultProxy]:
    """Return a proxy before the server that spoils nothing yet."""
    with FaultProxy(object_server.port).running() as proxy:
        yield proxy


@pytest.mark.s3
def test_what_was_backed_up_into_a_bucket_is_restored(served: Client, tmp_path: Path) -> None:
    """Every command takes the address of a bucket in place of a directory."""
    assert "no repository" in served.refused(10, "points", "--repo", served.address)
    point = served.records(*served.backup())[-1]["point"]

    assert served.records("points", "--repo", served.address)[0]["id"] == point
    assert served.records("verify", "--repo", served.address)[-1]["intact"] == 1
    target = tmp_path / "back.raw"
    assert served.run("restore", "latest", "--repo", served.address, "--to", target)[0] == 0
    assert target.read_bytes() == served.content
    assert served.records(*served.backup())[-1]["bytes_sent"] == 0


@pytest.mark.s3
def test_a_bucket_holds_the_second_copy_and_is_mended_from_the_first(
    served: Client, tmp_path: Path
) -> None:
    """Points go from a directory into a bucket and back; what a bucket lost is mended there."""
    first = tmp_path / "first"
    served.records("backup", served.source, "--repo", first)
    assert served.records("repo", "copy", first, served.address)[-1]["copied"] == 1
    assert served.records("repo", "copy", first, served.address)[-1]["present"] == 1
    assert served.records("repo", "check", served.address, "--read-data")[-1]["wanted"] == 0

    store = open_store(served.address)
    [pack] = asyncio.run(store.names("packs/"))
    for name in (pack, "repository.json", "log/0000000001"):
        asyncio.run(open_store(served.address).delete(name))
    assert served.run("repo", "check", served.address)[0] == 1
    done = served.records("repo", "repair", served.address, "--from", first)[-1]
    assert done["mended"] > 0
    target = tmp_path / "back.raw"
    assert served.run("restore", "latest", "--repo", served.address, "--to", target)[0] == 0
    assert target.read_bytes() == served.content


@pytest.mark.s3
def test_an_encrypted_repository_with_parity_may_be_in_a_bucket(
    served: Client, tmp_path: Path
) -> None:
    """Keys and parity are objects like others; a wrong key is told there as anywhere."""
    (tmp_path / "words").write_text("open sesame\n")
    at = ("--repo", served.address)
    key = ("--password-file", tmp_path / "words")
    options = ("--encrypt", "--no-recovery-key", "--parity", "6%", "--pack-parity", 4)
    assert served.run("repo", "init", served.address, *options, *key)[0] == 0
    assert "already" in served.refused(2, "repo", "init", served.address, *options, *key)
    served.records(*served.backup(), *key)
    assert served.run("verify", *at, *key)[0] == 0
    served.records("repo", "key", "add", served.address, *key, "--new-key-file", tmp_path / "key")
    target = tmp_path / "back.raw"

    by_file = ("--key-file", tmp_path / "key")
    assert served.run("restore", "latest", *at, *by_file, "--to", target)[0] == 0
    assert target.read_bytes() == served.content
    (tmp_path / "words").write_text("open barley\n")
    served.refused(12, "points", *at, *key)


@pytest.mark.s3
def test_a_bucket_must_exist(served: Client) -> None:
    """A bucket is made by people; a mistyped one is no empty repository."""
    served.address = "s3://no-such-bucket/web"

    assert "create the bucket" in served.refused(4, *served.backup())
    assert "create the bucket" in served.refused(4, "points", "--repo", served.address)


@pytest.mark.s3
def test_credentials_that_may_only_read(served: Client) -> None:
    """Points can be listed and verified, and a backup is refused."""
    served.run(*served.backup())
    served.set(AWS_ACCESS_KEY_ID=READER)

    assert "grant these credentials" in served.refused(4, *served.backup())
    assert served.run("verify", "--repo", served.address)[0] == 0


@pytest.mark.s3
def test_a_wrong_secret_is_said_to_be_wrong(served: Client) -> None:
    """Of two credentials the sentence names the one to correct."""
    served.set(AWS_SECRET_ACCESS_KEY="mistyped")  # noqa: S106 - it is wrong

    assert "AWS_SECRET_ACCESS_KEY" in served.refused(4, *served.backup())
    assert "cannot be used" in served.refused(4, "points", "--repo", served.address)


@pytest.mark.s3
def test_what_is_below_the_prefix_is_left_alone(served: Client, tmp_path: Path) -> None:
    """A prefix that holds another one is somebody else's, as a directory would be."""
    served.run(*served.backup())
    served.address = served.address.rpartition("/")[0]

    assert "choose an empty one" in served.refused(2, *served.backup())
    served.address += f"/{tmp_path.name}"
    assert served.run("verify", "--repo", served.address)[0] == 0


@pytest.mark.s3
def test_a_service_without_conditions_is_refused(served: Client, proxy: FaultProxy) -> None:
    """Where a second put of a name succeeds, two engines could overwrite each other's objects."""

    def plan(exchange: Exchange) -> Fault:
        return Fault.AGREE if exchange.method == "PUT" else Fault.NONE

    proxy.plan = plan
    served.set(**variables(proxy.port))

    assert "If-None-Match" in served.refused(4, *served.backup())
    assert {exchange.target.rpartition("/")[2] for exchange, _ in proxy.spoiled} == {
        "~conditional-put"
    }


@pytest.mark.s3
def test_nobody_there_is_said_soon(served: Client, object_server: ObjectServer) -> None:
    """An address at which nothing answers ends the command in seconds."""
    unused = object_server.variables | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    served.set(**unused)

    assert "connection refused" in served.refused(4, "points", "--repo", served.address)


@pytest.mark.s3
def test_without_credentials_the_variables_are_named(served: Client) -> None:
    """Nothing is asked of the bucket without credentials."""
    served.monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert "AWS_ACCESS_KEY_ID" in served.refused(4, *served.backup())

    served.monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    served.set(AWS_METADATA_ENDPOINT="http://127.0.0.1:9")
    assert "AWS_ACCESS_KEY_ID" in served.refused(4, *served.backup())


@pytest.mark.s3
@pytest.mark.parametrize(
    ("address", "endpoint", "words"),
    [
        ("s3://", "https://127.0.0.1:9", "write s3://bucket/prefix"),
        ("s3:///web", "https://127.0.0.1:9", "write s3://bucket/prefix"),
        ("s3://bucket/a/../b", "https://127.0.0.1:9", "write s3://bucket/prefix"),
        ("s3://bucket/a//b", "https://127.0.0.1:9", "write s3://bucket/prefix"),
        ("s3://key:secret@bucket/a", "https://127.0.0.1:9", "AWS_*"),
        ("s3://bucket/a", "nonsense", "https://host"),
        ("s3://bucket/a", "https://host:port", "https://host"),
        ("s3://bucket/a", "http://127.0.0.1:9", "AWS_ALLOW_HTTP"),
    ],
)
def test_an_address_that_cannot_be_is_refused(
    served: Client, address: str, endpoint: str, words: str
) -> None:
    """What is wrong with an address is said before anybody is asked."""
    served.address = address
    served.set(AWS_ENDPOINT_URL=endpoint, AWS_ALLOW_HTTP="false")

    sentence = served.refused(2, *served.backup())

    assert words in sentence
    assert "secret" not in sentence
    assert served.refused(2, "points", "--repo", address).count("secret") == 0


def test_a_missing_package_is_named(client: Client) -> None:
    """Without the extra, a bucket is refused with the command that installs it."""
    client.monkeypatch.setitem(sys.modules, "obstore", None)
    for name in ("object_store", "object_answers", "bucket_locks", "patience"):
        client.monkeypatch.delitem(sys.modules, f"reference_engine.adapters.{name}", raising=False)
        client.monkeypatch.delattr(f"reference_engine.adapters.{name}", raising=False)

    assert "twinshot[s3]" in client.refused(2, *client.backup())


def test_other_addresses_are_not_directories(client: Client) -> None:
    """A directory called `https:` is nobody's wish."""
    client.address = "https://example.org/backups"

    assert "s3://bucket/prefix" in client.refused(2, *client.backup())


@pytest.mark.s3
def test_a_bucket_is_pruned(served: Client) -> None:
    """Points go, their objects go with them, and what is kept restores."""
    served.records("repo", "init", served.address)
    first = served.records(*served.backup())[-1]["point"]
    served.source.write_bytes(served.content[: MIB // 2] + served.content[: MIB // 2])
    second = served.records(*served.backup())[-1]["point"]
    before = served.records("repo", "stats", served.address)[-1]
    prune = ("repo", "prune", served.address, "--keep-last", 1)
    pruned = served.records(*prune, "--max-unused", "unlimited")[-1]

    assert pruned["freed_bytes"] > 0
    after = served.records("repo", "stats", served.address)[-1]
    # The entries by which objects go are new themselves.
    assert after["objects"] == before["objects"] - pruned["objects"] + 8
    assert [p["id"] for p in served.records("points", "--repo", served.address)[:-1]] == [second]
    assert first != second
    assert served.records("verify", "--repo", served.address)[-1]["intact"] == 1

    # Half of what is stored belonged to the first point only, and its pack is repacked.
    repacked = served.records(*prune, "--max-unused", "0")[-1]
    assert repacked["freed_bytes"] > 0
    assert served.records("verify", "--repo", served.address)[-1]["intact"] == 1


@pytest.fixture
def locked(served: Client, object_server: ObjectServer, tmp_path: Path) -> Client:
    """Return a command line that works in a bucket with object lock."""
    object_server.make_locked_bucket()
    served.address = f"s3://{LOCKED_BUCKET}/{tmp_path.name}"
    return served


LOCKS = ("--immutable-for", "1h", "--object-lock", "compliance")


@pytest.mark.s3
def test_every_object_of_a_backup_is_locked(locked: Client, object_server: ObjectServer) -> None:
    """The service itself refuses to delete any of them, and the points restore."""
    init = locked.records("repo", "init", locked.address, *LOCKS)[-1]
    assert init["object_lock"] == "compliance"
    locked.records(*locked.backup())
    assert locked.records("repo", "info", locked.address)[-1]["object_lock"] == "compliance"

    client, ours = object_server.client(), locked.address.removeprefix(f"s3://{LOCKED_BUCKET}/")
    found = client.list_object_versions(Bucket=LOCKED_BUCKET, Prefix=f"{ours}/")["Versions"]
    put = [each for each in found if "~conditional" not in each["Key"]]
    assert len(put) > 10
    for each in put:
        with pytest.raises(client.exceptions.ClientError, match="AccessDenied"):
            client.delete_object(Bucket=LOCKED_BUCKET, Key=each["Key"], VersionId=each["VersionId"])
    assert locked.records("verify", "--repo", locked.address)[-1]["intact"] == 1


@pytest.mark.s3
def test_a_prune_says_what_the_bucket_keeps(locked: Client) -> None:
    """What is locked waits for a later prune; the prune is no failure, and the rest restores."""
    locked.run("repo", "init", locked.address, *LOCKS)
    point = locked.records(*locked.backup())[-1]["point"]
    locked.source.write_bytes(2 * locked.content[: MIB // 2])
    locked.records(*locked.backup())
    # Time passes for the points and not for the bucket: as where its locks are the longer ones.
    asyncio.run(expired(locked.address, point))
    pruned = locked.records("repo", "prune", locked.address)[-1]

    assert pruned["locked_objects"] > 0
    assert pruned["locked_bytes"] > MIB // 2
    assert "locked by the store" in locked.run("repo", "prune", locked.address)[1]
    assert locked.records("repo", "check", locked.address, "--read-data")[-1]["wanted"] == 0


async def expired(address: str, point: str) -> None:
    """Have a point removed by a clock that is two days ahead."""
    repository = await Repository.open(open_store(address))
    later = Instant(int(dt.datetime.now(dt.UTC).timestamp() + 2 * 86400) * 1_000_000)
    await repository.reclaim.expire((RecoveryPointId(point),), at=later, allow_last=False)


@pytest.mark.s3
def test_locks_are_refused_where_there_are_none(served: Client, tmp_path: Path) -> None:
    """In a directory, in a bucket without them, or without a period, nothing is made."""
    assert "--immutable-for" in served.refused(
        2, "repo", "init", served.address, "--object-lock", "governance"
    )
    directory = tmp_path / "here"
    assert "no locks" in served.refused(2, "repo", "init", directory, *LOCKS)
    assert not directory.exists()
    assert "object lock" in served.refused(4, "repo", "init", served.address, *LOCKS)
    assert "no repository" in served.refused(10, "points", "--repo", served.address)


@pytest.mark.s3
def test_a_missing_package_for_locks_is_named(locked: Client) -> None:
    """It is needed only where objects are locked."""
    locked.monkeypatch.setitem(sys.modules, "botocore.session", None)

    assert "twinshot[s3-lock]" in locked.refused(2, "repo", "init", locked.address, *LOCKS)
