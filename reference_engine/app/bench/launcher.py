"""A small process that starts one program and says what it and all its children cost.

It is run by its path with `python -I -S`, and imports next to nothing: a child inherits the peak
memory of the process that starts it, so a large parent would hide what a small program needs.
"""

import os
import sys
import time  # noqa: TID251 - what a benchmark measures is real time


def main() -> None:
    """Run `argv[2:]`; write wall µs, CPU µs, peak KiB and exit code to descriptor `argv[1]`."""
    results = int(sys.argv[1])
    # A service that the program leaves behind must not hold the descriptor open.
    os.set_inheritable(results, False)  # noqa: FBT003 - the signature is Python's
    began = time.monotonic_ns()
    child = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
    _, status, usage = os.wait4(child, 0)
    wall = (time.monotonic_ns() - began) // 1000
    cpu = round((usage.ru_utime + usage.ru_stime) * 1e6)
    code = os.waitstatus_to_exitcode(status)
    os.write(results, f"{wall} {cpu} {usage.ru_maxrss} {code}\n".encode())


if __name__ == "__main__":
    main()
