"""Arrays one behind the other, as manifests, pages and index segments hold them."""

from typing import Any

import numpy as np
import numpy.typing as npt


class Columns:
    """Takes one array after the other out of a byte string."""

    def __init__(self, plain: bytes, /) -> None:
        self._plain, self._at = plain, 0

    def take(self, kind: str, count: int, width: int = 1, /) -> npt.NDArray[Any]:
        """Return the next `count` entries of `width` items each.

        Raises:
            ValueError: there are not so many.
        """
        found = np.frombuffer(self._plain, kind, count * width, self._at)
        self._at += found.nbytes
        return found.reshape(-1, width) if width > 1 else found
