"""What holds for every run of the tests: Hypothesis profiles, and that CI leaves nothing out."""

import os
from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import settings

from reference_engine.app.local_cache import DIRECTORY
from tests.servers.object_server import ObjectServer

IN_CI: Final = os.environ.get("CI", "").lower() == "true"

settings.register_profile("dev", deadline=None)
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("soak", derandomize=False, deadline=None, max_examples=5_000)
settings.register_profile("fuzz", derandomize=False, deadline=None, max_examples=100_000)
# `pytest --hypothesis-profile=soak` has the last word.
settings.load_profile("ci" if IN_CI else "dev")


class SkipsAreFailures:
    """Turns a run red in which a test was skipped, and says which one and why."""

    def __init__(self) -> None:
        self._skipped: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test that was skipped; an expected failure is not one."""
        if report.skipped and not hasattr(report, "wasxfail"):
            self._skipped[report.nodeid] = _reason(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a whole module that was skipped while it was collected."""
        if report.skipped:
            self._skipped[report.nodeid] = _reason(report)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Have the run fail if anything was left out."""
        if self._skipped and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say on one line for each what was left out."""
        for test, reason in sorted(self._skipped.items()):
            terminalreporter.write_line(f"SKIPPED IN CI: {test}: {reason}", red=True)


def pytest_configure(config: pytest.Config) -> None:
    """Watch for skipped tests where the run's result is known: not in a worker of xdist."""
    if IN_CI and not hasattr(config, "workerinput"):
        config.pluginmanager.register(SkipsAreFailures(), "skips-are-failures")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what commands cache out of the home of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(DIRECTORY, str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def object_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    """Run an object store for as long as the tests run; a test that kills it starts it again."""
    server = ObjectServer(tmp_path_factory.mktemp("object-server"))
    try:
        server.start()
        yield server
    finally:
        server.kill()


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return why a test was skipped, as it says itself."""
    match report.longrepr:
        case (_, _, reason):
            return str(reason).removeprefix("Skipped: ")
        case other:
            return str(other)
