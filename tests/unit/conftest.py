"""Places for commands."""

import os
from pathlib import Path

import pytest

from tests.strategies.tenants import Tenants


@pytest.fixture
def bare_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Tenants:
    """Return a place without a repository, where no variable gives a key."""
    for name in [name for name in os.environ if name.startswith("TWINSHOT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TWINSHOT_CACHE_DIR", str(tmp_path / "cache"))
    return Tenants(tmp_path, capsys)


@pytest.fixture
def tenants(bare_place: Tenants) -> Tenants:
    """Return a place with two domains and no point."""
    bare_place.create()
    bare_place.add("red", "blue")
    return bare_place
