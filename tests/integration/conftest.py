"""What tests against a real object store share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.fault_proxy import FaultProxy
from tests.servers.fault_site import Site
from tests.servers.object_server import ObjectServer


@pytest.fixture
def proxy(object_server: ObjectServer) -> Iterator[FaultProxy]:
    """Return a proxy before the server that spoils nothing yet."""
    with FaultProxy(object_server.port).running() as proxy:
        yield proxy


@pytest.fixture
def site(
    tmp_path: Path,
    object_server: ObjectServer,
    proxy: FaultProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> Site:
    """Return an empty place in the bucket."""
    return Site(tmp_path, object_server, proxy, monkeypatch)
