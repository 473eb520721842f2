"""Compressing one thing after the other with tables that are made once."""

from collections.abc import Mapping

from backports.zstd import CompressionParameter, ZstdCompressor


class Compressor:
    """Makes frames of Zstandard; any number of threads may use it at once."""

    def __init__(self, options: Mapping[int, int], /) -> None:
        """`options`: compression parameters and their values."""
        self._options = dict(options)
        self._idle: list[ZstdCompressor] = []

    def compressed(self, content: bytes | memoryview, /) -> bytes:
        """Return `content` as one frame that states its size; equal bytes make equal frames."""
        # A list's pop and append are atomic, and a compressor's tables are worth keeping: to make
        # them costs several times as much as to compress what is small.
        try:
            compressor = self._idle.pop()
        except IndexError:
            compressor = ZstdCompressor(options=self._options)
        compressor.set_pledged_input_size(len(content))
        frame = compressor.compress(content, ZstdCompressor.FLUSH_FRAME)
        self._idle.append(compressor)
        return frame


METADATA = Compressor({CompressionParameter.compression_level: 1})
"""For manifests, pages of block maps and the index: they are small, and read more than stored."""
