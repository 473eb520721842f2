"""What a disk holds so far at some blocks, and whether pieces may be laid over it."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from reference_engine.repository.block_map import (
    DIGEST_SIZE,
    OVERLAID_MAX,
    PIECES,
    BlockMap,
    Digests,
    Numbers,
)


class Standing(NamedTuple):
    """What a disk holds so far at some blocks."""

    digests: Digests
    stored: npt.NDArray[np.bool_]
    overlaid: npt.NDArray[np.uint16]


async def standing_of(blocks: BlockMap, numbers: Numbers, /) -> Standing:
    """Return what the disk holds at these blocks."""
    standing = Standing(
        digests=np.zeros((len(numbers), DIGEST_SIZE), np.uint8),
        stored=np.zeros(len(numbers), np.bool_),
        overlaid=np.zeros(len(numbers), np.uint16),
    )
    for number, part, inside in blocks.spans(numbers):
        page = await blocks.page(number)
        standing.digests[part] = page.digests[inside]
        standing.stored[part] = page.places[inside, 0] != 0
        standing.overlaid[part] = page.overlaid[inside]
    return standing


async def clear(blocks: BlockMap, numbers: Numbers, /) -> None:
    """Make holes of these blocks."""
    for number, _, inside in blocks.spans(numbers):
        page = await blocks.page(number)
        page.clear(inside)
        blocks.touch(number)


def may_be_overlaid(standing: Standing, masks: npt.NDArray[np.uint16], /) -> npt.NDArray[np.bool_]:
    """Return for each block whether the pieces of its mask may be laid over what stands there.

    What one run lays over a block comes out of one or two frames, however much it is; only pieces
    of earlier runs have to be few.
    """
    older = np.bitwise_count(standing.overlaid & ~masks) < OVERLAID_MAX
    partly = (masks | standing.overlaid) != (1 << PIECES) - 1
    may: npt.NDArray[np.bool_] = standing.stored & (masks != 0) & older & partly
    return may
