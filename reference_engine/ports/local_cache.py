"""What a process keeps near itself and can do without: files that anybody may delete at any time.

Nothing depends on it but speed and memory. Whoever reads from it checks what comes, as it may be
damaged, half written or another one's; whoever writes to it goes on where that failed.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Range(NamedTuple):
    """A part of what is kept. A tuple and no struct: every block that is looked up makes one."""

    name: str
    offset: int
    length: int


class LocalCache(Protocol):
    """Named byte strings on this machine, in groups. Names are lower-case letters and digits.

    Nothing raises: what cannot be read is not there.
    """

    async def names(self, group: str, /) -> tuple[str, ...]:
        """Return what is kept in a group, ascending."""

    async def read(self, group: str, ranges: Sequence[Range], /) -> list[bytes]:
        """Return the bytes of each range: fewer or none where there are no more.

        Something that was read from once may be read from on, even if it is deleted meanwhile.
        """

    async def keep(self, group: str, name: str, content: bytes | bytearray, /) -> bool:
        """Keep `content`, in the place of what had the name; return whether that was possible.

        Whoever reads meanwhile finds all of it or nothing of it, unless the power is cut.
        """

    async def forget(self, group: str, name: str, /) -> None:
        """Delete it, as far as possible."""
