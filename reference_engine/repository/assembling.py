"""Putting blocks together from frames, each checked before anybody sees it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from reference_engine.repository.block_map import DIGEST_SIZE, PIECES, Digests
from reference_engine.repository.fetching import Frame, Unread, Wanted


class Stretch(NamedTuple):
    """Checked content of neighbouring blocks of a disk."""

    offset: int
    content: memoryview


class Failed(NamedTuple):
    """A block that has to be put together in some other way."""

    block: Wanted
    cause: str


class Assembler:
    """Knows the repository's key and block size."""

    def __init__(self, key: bytes, /, *, block_size: int) -> None:
        self._key, self._block_size = key, block_size

    def checked(
        self, batch: Sequence[Wanted], frames: Mapping[Frame, bytes | Unread], /
    ) -> list[Stretch | Failed]:
        """Return the batch's content, neighbours joined, and the blocks that are not right."""
        return self.joined(self.contents(batch, frames), frames)

    def contents(
        self, batch: Iterable[Wanted], frames: Mapping[Frame, bytes | Unread], /
    ) -> list[tuple[Wanted, memoryview | Failed]]:
        """Return each block of the batch with its content, if that is right."""
        found: list[tuple[Wanted, memoryview | Failed]] = []
        for each in batch:
            content, cause = self._content(each, frames)
            if not cause and self._digest(content) != each.digest:
                cause = "its digest is wrong"
            found.append((each, Failed(each, cause) if cause else content))
        return found

    def joined(
        self,
        checked: Iterable[tuple[Wanted, memoryview | Failed]],
        frames: Mapping[Frame, bytes | Unread],
        /,
    ) -> list[Stretch | Failed]:
        """Return what `contents` returned of blocks in ascending order, neighbours joined."""
        found: list[Stretch | Failed] = []
        start: Wanted | None = None
        last: Wanted | None = None

        def close() -> None:
            if start is not None and last is not None:
                raw = frames[start.base]
                assert not isinstance(raw, str), start
                view = memoryview(raw)[start.at : last.at + last.length]
                found.append(Stretch(start.number * self._block_size, view))

        for each, content in checked:
            joins = (
                last is not None
                and not each.pieces
                and each.base == last.base
                and each.number == last.number + 1
                and each.at == last.at + last.length
            )
            if isinstance(content, Failed) or not joins:
                close()
                start = last = None
            if isinstance(content, Failed):
                found.append(content)
            elif each.pieces:
                found.append(Stretch(each.number * self._block_size, content))
            else:
                start, last = start or each, each
        close()
        return found

    def wrong(
        self, batch: Sequence[Wanted], frames: Mapping[Frame, bytes | Unread], /
    ) -> list[Wanted]:
        """Return the blocks of the batch that are not right."""
        found: list[Wanted] = []
        for each in batch:
            content, cause = self._content(each, frames)
            if cause or self._digest(content) != each.digest:
                found.append(each)
        return found

    def differing(self, view: memoryview, standing: Digests, /) -> npt.NDArray[np.bool_]:
        """Return for each block of `view` whether its digest is not the one that stands there.

        What has no digest is a hole, from which everything differs but zeros.
        """
        size = self._block_size
        parts = [view[at : at + size] for at in range(0, len(view), size)]
        none = bytes(DIGEST_SIZE)
        found = [
            bool(np.frombuffer(part, np.uint8).any())
            if expected == none
            else self._digest(part) != expected
            for part, expected in zip(parts, map(bytes, standing), strict=True)
        ]
        return np.array(found, np.bool_)

    def _digest(self, content: memoryview) -> bytes:
        return blake3(content, key=self._key).digest(length=DIGEST_SIZE)

    def _content(
        self, each: Wanted, frames: Mapping[Frame, bytes | Unread]
    ) -> tuple[memoryview, str]:
        """Return the block as it is put together, and why it cannot be."""
        base = frames[each.base]
        if isinstance(base, str):
            return memoryview(b""), base
        view = memoryview(base)[each.at : each.at + each.length]
        if not each.pieces:
            return view, ""
        size = self._block_size // PIECES
        patched = bytearray(view)
        for piece, frame, at in each.pieces:
            raw = frames[frame]
            if isinstance(raw, str):
                return memoryview(b""), raw
            patched[piece * size : (piece + 1) * size] = raw[at : at + size]
        return memoryview(patched), ""
