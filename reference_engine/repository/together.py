"""Whole objects, some at a time: a store that answers slowly answers several requests at once."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

from reference_engine.ports.blob_store import BlobStore
from reference_engine.ports.runtime import Executor

AT_ONCE: Final = 64
"""So many objects are in memory at the same time."""


async def read_together(
    store: BlobStore, names: Sequence[str], /, *, executor: Executor
) -> AsyncIterator[tuple[str, bytes | None]]:
    """Yield each name with its object, None where there is none, in this order.

    Raises:
        TransientError: the store failed.
    """
    for start in range(0, len(names), AT_ONCE):
        part = names[start : start + AT_ONCE]
        contents = await executor.ask_all(
            [lambda name=name: store.read(name) for name in part]  # type: ignore[misc]
        )
        for name, content in zip(part, contents, strict=True):
            yield name, content
