"""Numbers in order are what numpy's functions for sets say, and nobody loads masked arrays."""

import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reference_engine.repository.ordered import absent, distinct, without

NUMBERS = st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 8), max_size=40)


def _array(values: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, np.int64)


@given(NUMBERS)
def test_every_value_is_there_once_in_order(values: list[int]) -> None:
    """Repetitions go, and what is left ascends."""
    assert distinct(_array(values)).tolist() == sorted(set(values))


@given(NUMBERS, NUMBERS)
def test_what_others_have_is_left_out(values: list[int], others: list[int]) -> None:
    """Values in any order, repeated or not, stay where they are none of the others."""
    known = sorted(set(others))

    assert absent(_array(values), _array(known)).tolist() == [v not in known for v in values]
    assert without(_array(values), _array(known)).tolist() == [v for v in values if v not in known]


def test_masked_arrays_and_chance_are_not_loaded() -> None:
    """A backup and a check need neither, and loading them takes longer than a small backup."""
    modules = (
        "reference_engine.app.backup_command",
        "reference_engine.app.restore_command",
        "reference_engine.app.repo.check_command",
    )
    program = (
        f"import sys, {', '.join(modules)}\n"
        "import numpy as np\n"
        "from reference_engine.repository.ordered import absent, distinct\n"
        "distinct(np.arange(3)), absent(np.arange(3), np.arange(2))\n"
        "print([name for name in ('numpy.ma', 'numpy.random') if name in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"
