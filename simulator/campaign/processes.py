"""Pieces of work over the processes of one machine, in this one where one is asked for."""

import importlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from reference_engine.model.errors import InputRefusedError

Task = TypeVar("Task")
Done = TypeVar("Done")


def spread(work: Callable[[Task], Done], tasks: Sequence[Task], /, *, jobs: int) -> Iterator[Done]:
    """Yield what `work` makes of each task, in the order in which it comes.

    `work` is a module's own function, and its arguments and results are values.

    Raises:
        InputRefusedError: several processes are asked for, and joblib is not installed.
    """
    if jobs == 1:
        for task in tasks:
            yield work(task)
        return
    try:
        joblib: Any = importlib.import_module("joblib")
    except ImportError:
        raise InputRefusedError(
            "joblib is not installed", "pip install 'twinshot[campaign]', or use -j 1"
        ) from None
    with renewal_untold():
        parallel = joblib.Parallel(n_jobs=jobs, batch_size=1, return_as="generator_unordered")
        yield from parallel(joblib.delayed(work)(task) for task in tasks)


@contextmanager
def renewal_untold() -> Iterator[None]:
    """Let nobody be told that joblib has put a fresh process in the place of one that had grown.

    It loses nothing: the process ends between two pieces of work. One that dies is an error.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "A worker stopped while some jobs were given")
        yield
