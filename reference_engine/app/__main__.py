"""The `twinshot` command: what has to be settled before anything large is loaded.

`reference_engine.app.command_line` is the command line itself.
"""

import gc
import os
from typing import Final, NoReturn

_OBJECTS_MOST: Final = 100_000
"""Loading makes tens of thousands of objects that stay; looking through them again and again for
garbage is a tenth of the start. So much garbage more is a few megabytes."""


def main() -> NoReturn:
    """Run the command line of this process and end it with the command's exit code."""
    gc.set_threshold(_OBJECTS_MOST)
    # Numpy's linear algebra, of which nothing is used, would start a thread a core.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from reference_engine.app.command_line import main  # noqa: PLC0415 - only now

    main()


if __name__ == "__main__":
    main()
