"""Forbids what would make a run more than a function of its scenario, at the very call."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pkgutil import resolve_name
from typing import Any, Final

_OURS: Final = ("reference_engine", "simulator")
_PATCHED: Final = {
    "time": (
        "monotonic",
        "monotonic_ns",
        "perf_counter",
        "perf_counter_ns",
        "sleep",
        "time",
        "time_ns",
    ),
    "random": ("choice", "getrandbits", "randint", "random", "randrange", "sample", "shuffle"),
    "os": ("getpid", "urandom", "getenv", "listdir", "scandir"),
    "uuid": ("uuid1", "uuid4"),
    "threading.Thread": ("start",),
    "numpy.random": ("default_rng", "rand", "randint", "randn", "random", "shuffle"),
}
"""What nothing may call while a run is guarded, by module or class."""

_AUDITED: Final = ("builtins.id", "socket.", "subprocess.", "os.system")
"""Events of the interpreter that our own code may not cause."""


class ForbiddenSourceError(BaseException):
    """Something reached outside a run; not an Exception, so that no handler hides it."""

    def __init__(self, source: str, /) -> None:
        super().__init__(source)
        self.source = source

    def __str__(self) -> str:
        return f"{self.source} makes a run more than a function of its scenario"


class _Watch:
    """The audit hook of this process; hooks cannot be taken away, so it is turned on and off."""

    def __init__(self) -> None:
        self.on = False
        self._set = False

    def start(self) -> None:
        """Look at events from now on."""
        if not self._set:
            sys.addaudithook(self._look)
            self._set = True
        self.on = True

    def _look(self, event: str, _: tuple[Any, ...]) -> None:
        if not self.on or not event.startswith(_AUDITED):
            return
        frame = sys._getframe(1)  # noqa: SLF001 - whoever caused the event
        if _is_ours(frame.f_globals.get("__name__", "")):
            self.on = False  # what is raised may be told with the help of what is forbidden
            raise ForbiddenSourceError(event)


def _is_ours(module: str) -> bool:
    return module.split(".", maxsplit=1)[0] in (*_OURS, "__main__")


_WATCH: Final = _Watch()


@contextmanager
def guarded() -> Iterator[None]:
    """Raise ForbiddenSourceError in the block at a call that no run may make."""
    kept: list[tuple[Any, str, Any]] = []
    for module, names in _PATCHED.items():
        owner = resolve_name(module)
        for name in names:
            kept.append((owner, name, getattr(owner, name)))
            setattr(owner, name, _refusing(f"{module}.{name}"))
    _WATCH.start()
    try:
        yield
    finally:
        _WATCH.on = False
        for owner, name, original in kept:
            setattr(owner, name, original)


def _refusing(name: str) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise ForbiddenSourceError(name)

    return refuse
