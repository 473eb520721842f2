"""The `twinshot` command: what has to be settled before anything large is loaded.

`reference_engine.app.command_line` is the command line itself.
"""

import atexit
import gc
import os
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line of this process and end it with the command's exit code."""
    # Loading makes tens of thousands of objects that stay; looking through them for garbage again
    # and again is a tenth of the start. The command line goes on collecting when all is loaded.
    gc.disable()
    # What is left at the end goes with the process.
    atexit.register(gc.freeze)
    # Numpy's linear algebra, of which nothing is used, would start a thread a core.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from reference_engine.app.command_line import main  # noqa: PLC0415 - only now

    main()


if __name__ == "__main__":
    main()
