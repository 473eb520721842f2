"""Writing a raw image: a sparse file that is the disk, byte for byte."""

import os
from types import TracebackType
from typing import Self

from reference_engine.formats.output_file import Existing, OutputFile
from reference_engine.formats.writer import data_runs
from reference_engine.model.units import ByteCount


class RawWriter:
    """A `DiskWriter` of raw images."""

    __slots__ = ("_file", "_reach", "size")

    def __init__(self, file: OutputFile, /, *, size: ByteCount) -> None:
        """Take over the empty `file`."""
        self._file, self.size = file, size
        self._reach = 0
        file.extend(size)

    @classmethod
    def create(
        cls,
        target: str | os.PathLike[str] | int,
        size: ByteCount,
        /,
        *,
        existing: Existing = Existing.REFUSE,
    ) -> Self:
        """Start an image of `size` bytes that will be at `target`."""
        return cls(OutputFile(target, existing=existing), size=size)

    def write(self, offset: ByteCount, data: bytes | memoryview, /) -> None:
        """Put `data` at `offset`."""
        assert 0 <= offset <= offset + len(data) <= self.size, (offset, len(data), self.size)
        view = memoryview(data)
        # Behind everything written so far zeros are there already.
        runs = data_runs(data) if offset >= self._reach else [(0, len(data))]
        for start, end in runs:
            self._file.write(view[start:end], offset + start)
        self._reach = max(self._reach, offset + len(data))

    def finish(self) -> None:
        """Make the image durable, then give it its name."""
        self._file.publish()

    def abandon(self) -> None:
        """Leave nothing of the image behind."""
        self._file.abandon()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        self.abandon()
