"""Portions of the index, and lists that are laid out like them: anchors, mends, wanted blocks.

Each is written once and sealed. What cannot be read back costs space only, so it is passed over;
`check` tells of the damage.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Executor
from reference_engine.repository.block_map import Digests, NameTable, Places
from reference_engine.repository.pages import decode_segment

ASKED_AT_ONCE: Final = 32
"""Portions that are in memory, undecoded, at the same time: some megabytes."""


class Portion(NamedTuple):
    """What one portion says: where blocks, or pieces of them, are stored."""

    name: str
    digests: Digests
    places: Places


def batches(names: Sequence[str], /) -> Iterator[Sequence[str]]:
    """Yield as many names as `read_portions` should be asked for at once."""
    for start in range(0, len(names), ASKED_AT_ONCE):
        yield names[start : start + ASKED_AT_ONCE]


async def read_portions(
    store: BlobStore,
    key: bytes,
    names: Sequence[str],
    packs: NameTable,
    /,
    *,
    executor: Executor,
) -> Iterator[Portion]:
    """Return the sound ones of these portions, in order, each decoded when its turn comes.

    Their places have packs as numbers in `packs`.

    Raises:
        TransientError: the store failed.
    """
    contents = await executor.ask_all(
        [lambda name=name: store.read(name) for name in names]  # type: ignore[misc]
    )
    return _sound(key, names, contents, packs)


def _sound(
    key: bytes, names: Sequence[str], contents: Sequence[bytes | None], packs: NameTable
) -> Iterator[Portion]:
    for name, content in zip(names, contents, strict=True):
        try:
            digests, places = decode_segment(key, content or b"", packs)
        except ValueError:
            continue
        yield Portion(name, digests, places)
