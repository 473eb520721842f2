"""Host snapshot + guest copy-on-write -> the image at Tg, and R."""

import msgspec

from reference_engine.model.extents import EMPTY, ExtentSet
from reference_engine.ports.consistency import PreImages
from reference_engine.ports.disk_io import Content


class Overlay(msgspec.Struct, frozen=True, kw_only=True):
    """What has to be laid over one disk of a host snapshot to get the guest's image.

    Applying it twice is the same as applying it once. Nothing of it touches the production disk,
    nor the snapshot: bytes are patched on their way to the repository.
    """

    pre_images: ExtentSet
    """A: bytes that the guest overwrote between Tg and Th, minus the mask."""

    content: bytes
    """What `pre_images` held at Tg, one range after the other."""

    mask: ExtentSet
    """The guest's diff area: free space at Tg, so its bytes have no content and become zero."""

    recovered: ExtentSet
    """What writers changed inside the snapshot itself; already part of it, not of the live disk."""

    @property
    def skew(self) -> ExtentSet:
        """R: every byte in which the image may differ from the live disk at the switch."""
        return self.pre_images | self.mask | self.recovered

    def applied(self, window: ExtentSet, raw: Content, /) -> Content:
        """Return the image's bytes of `window`, given the host snapshot's."""
        touched = window & (self.pre_images | self.mask)
        if not touched:
            return raw
        patched = bytearray(raw)
        view = memoryview(patched)
        for start, end in (touched & self.mask).bounds.tolist():
            at = _place(window, start)
            view[at : at + end - start] = bytes(end - start)
        for start, end in (touched & self.pre_images).bounds.tolist():
            at, kept = _place(window, start), _place(self.pre_images, start)
            view[at : at + end - start] = self.content[kept : kept + end - start]
        return bytes(patched)


NOTHING = Overlay(pre_images=EMPTY, content=b"", mask=EMPTY, recovered=EMPTY)


def _place(extents: ExtentSet, offset: int) -> int:
    """Return how many bytes of `extents` lie before `offset`, which is one of them."""
    bounds = extents.bounds
    before = bounds[:, 0] <= offset
    inside = bounds[before]
    assert len(inside), offset
    assert inside[-1, 1] > offset, offset
    return int((inside[:-1, 1] - inside[:-1, 0]).sum()) + offset - int(inside[-1, 0])


def lay_over(kept: PreImages, /) -> Overlay:
    """Return the overlay of a guest that went on writing after its snapshot.

    A piece that lies in the diff area is masked even where the guest also kept a pre-image of it:
    the area was free space at Tg.
    """
    bare = kept.extents - kept.diff_area
    if bare == kept.extents:
        content = kept.content
    else:
        view = memoryview(kept.content)
        content = b"".join(
            bytes(view[_place(kept.extents, start) :][: end - start])
            for start, end in bare.bounds.tolist()
        )
    return Overlay(pre_images=bare, content=content, mask=kept.diff_area, recovered=EMPTY)


def inside_snapshot(recovered: ExtentSet, /) -> Overlay:
    """Return the overlay of a checkpoint: nothing to lay over it, but R is not empty."""
    return Overlay(pre_images=EMPTY, content=b"", mask=EMPTY, recovered=recovered)
