"""What was written to a small disk, in order, and what a copy-on-write guest kept of it."""

import msgspec
from hypothesis import strategies as st

from reference_engine.model.extents import ExtentSet
from reference_engine.model.identity import NodeName
from reference_engine.model.units import ByteCount
from reference_engine.ports.consistency import PreImages
from tests.strategies.byte_ranges import disk_sizes, extent_sets, piece_sizes

NODES = (NodeName("A"), NodeName("B"), NodeName("C"))


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """The bytes `[start, end)` took the value `fill`, through a node."""

    start: int
    end: int
    fill: int
    node: NodeName


class History(msgspec.Struct, frozen=True, kw_only=True):
    """A disk's first content and all writes to it."""

    first: bytes
    writes: tuple[Write, ...]

    @property
    def size(self) -> ByteCount:
        """How large the disk is."""
        return ByteCount(len(self.first))

    def after(self, count: int) -> bytes:
        """Return the disk after so many writes."""
        disk = bytearray(self.first)
        for write in self.writes[:count]:
            disk[write.start : write.end] = bytes([write.fill]) * (write.end - write.start)
        return bytes(disk)

    def written(self, first: int, last: int, node: NodeName | None = None) -> ExtentSet:
        """Return where the writes from `first` up to `last` went, all or those of one node."""
        return ExtentSet.of(
            (write.start, write.end)
            for write in self.writes[first:last]
            if node is None or write.node == node
        )

    def kept(self, *, at_rest: int, cut: int, piece: ByteCount, diff_area: ExtentSet) -> PreImages:
        """Return what a guest that came to rest after `at_rest` writes has kept by the `cut`."""
        extents = self.written(at_rest, cut).aligned(piece, size=self.size)
        image = self.after(at_rest)
        return PreImages(
            extents=extents,
            content=b"".join(image[part.offset : part.end] for part in extents),
            diff_area=diff_area,
            piece=piece,
        )


class Skew(msgspec.Struct, frozen=True, kw_only=True):
    """A disk at Tg and at Th, and what the guest kept in between."""

    at_rest: bytes
    host: bytes
    kept: PreImages

    @property
    def size(self) -> ByteCount:
        """How large the disk is."""
        return ByteCount(len(self.host))


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Disks of odd sizes with a few writes, some of which change nothing."""
    size = draw(disk_sizes(96))
    spans = st.tuples(st.integers(0, size), st.integers(0, size)).map(sorted)
    writes = st.builds(
        lambda span, fill, node: Write(start=span[0], end=span[1], fill=fill, node=node),
        spans,
        st.integers(1, 5),
        st.sampled_from(NODES),
    )
    fills = st.integers(0, 5).map(lambda fill: bytes([fill]) * size)
    return History(first=draw(fills), writes=tuple(draw(st.lists(writes, max_size=10))))


@st.composite
def instants(draw: st.DrawFn, history: History, count: int) -> tuple[int, ...]:
    """So many instants of a history, ascending: after how many writes each of them lies."""
    drawn = [draw(st.integers(0, len(history.writes))) for _ in range(count)]
    return tuple(sorted(drawn))


@st.composite
def skews(draw: st.DrawFn) -> Skew:
    """Every way in which a disk can change between Tg and Th; the diff area lies anywhere."""
    history = draw(histories())
    at_rest, cut = draw(instants(history, 2))
    kept = history.kept(
        at_rest=at_rest,
        cut=cut,
        piece=draw(piece_sizes()),
        diff_area=draw(extent_sets(history.size)),
    )
    return Skew(at_rest=history.after(at_rest), host=history.after(cut), kept=kept)
