"""Pieces of work over processes: what joblib says of its own housekeeping is nobody's business."""

import importlib
import inspect
import warnings

from simulator.campaign.processes import renewal_untold


def test_a_renewed_process_is_no_news() -> None:
    """Joblib's own sentence is kept back, and only that one."""
    executor = importlib.import_module("joblib.externals.loky.process_executor")
    begin = "A worker stopped while some jobs were given"
    assert begin in inspect.getsource(executor)

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with renewal_untold():
            warnings.warn(f"{begin} to the executor.", UserWarning, stacklevel=1)
            warnings.warn("something else", UserWarning, stacklevel=1)

    assert [str(each.message) for each in told] == ["something else"]
