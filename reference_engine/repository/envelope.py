"""Objects in segments, each under its own tag; `FORMAT.md` in code.

An object is found wrong a segment at a time, and any range of it can be read without the rest. In
an encrypted repository segments are sealed with AES-256-GCM under a key of the object's own, which
follows from its name, its length and its content: writing the same object again gives the same
bytes, and no two different objects ever share a key, whatever chance did. So segments need no
random nonce and no counter: the nonce is the segment's number.
"""

from typing import Final, Protocol

import msgspec
import numpy as np
from blake3 import blake3

from reference_engine.model.units import KIB

SEGMENT: Final = 64 * KIB
"""What a reader of one byte has to fetch; 16 bytes of tag are 0.02 percent of it."""

TAG: Final = 16
HEAD_SIZE: Final = 88
_MAGIC: Final = b"TWINSEG2"
_LENGTH_MAX: Final = 1 << 46
"""Nonces have room for far more; this keeps arithmetic on a damaged head within reason."""


class SegmentDamagedError(ValueError):
    """Segment `index` is not what was stored; -1: the head is not."""

    def __init__(self, index: int, /) -> None:
        super().__init__(index)
        self.index = index

    def __str__(self) -> str:
        return "its head is damaged" if self.index < 0 else f"segment {self.index} is damaged"


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What an object's first 88 bytes say: all of it is covered by `commitment`."""

    method: int
    """1: AES-256-GCM. 2: keyed BLAKE3, nothing is hidden."""

    generation: int
    """Which master key; 0 where there is none."""

    length: int
    """Bytes of content."""

    salt: bytes
    commitment: bytes
    """Tells a wrong key from damage, and that there is but one key for these bytes."""

    @property
    def segments(self) -> int:
        """How many segments the object has."""
        return -(-self.length // SEGMENT)

    @property
    def stored(self) -> int:
        """How long the object is as it is stored."""
        return HEAD_SIZE + self.length + TAG * self.segments


def content_length(stored: int, /) -> int:
    """Return how much content an object of this stored length has; 0 where it is none."""
    sealed_length = max(stored - HEAD_SIZE, 0)
    return max(sealed_length - TAG * -(-sealed_length // (SEGMENT + TAG)), 0)


def encode_head(head: Head, /) -> bytes:
    """Return the first 88 bytes of an object."""
    numbers = (head.method, 4), (head.generation, 4), (head.length, 8)
    return b"".join(
        [_MAGIC, *(n.to_bytes(size, "little") for n, size in numbers), head.salt, head.commitment]
    )


def decode_head(content: bytes, /) -> Head:
    """Return what an object's head says, of which nothing is checked yet.

    Raises:
        SegmentDamagedError: it is no head.
    """
    head = Head(
        method=int.from_bytes(content[8:12], "little"),
        generation=int.from_bytes(content[12:16], "little"),
        length=int.from_bytes(content[16:24], "little"),
        salt=content[24:56],
        commitment=content[56:88],
    )
    if content[:8] != _MAGIC or len(content) < HEAD_SIZE or head.length > _LENGTH_MAX:
        raise SegmentDamagedError(-1)
    return head


class ObjectCipher(Protocol):
    """Seals and opens the segments of one object."""

    def seal(self, number: int, plain: memoryview, sealed: memoryview, /) -> None:
        """Fill `sealed`, 16 bytes longer than `plain`, with the segment and its tag."""

    def open(self, number: int, sealed: memoryview, plain: memoryview, /) -> bool:
        """Fill `plain` with the segment's content; return whether it is what was sealed."""


class Sealing(Protocol):
    """How the objects of one repository are sealed."""

    def begin(self, name: str, content: bytes | bytearray, /) -> tuple[Head, ObjectCipher]:
        """Return the head of an object that is to be written, and what seals it."""

    def resume(self, name: str, head: Head, /) -> ObjectCipher:
        """Return what opens an object that was written.

        Raises:
            SegmentDamagedError: the head is not what was written under this name.
        """


def sealed(sealing: Sealing, name: str, content: bytes | bytearray, /) -> bytearray:
    """Return the stored form of an object; the same for the same name and content."""
    head, cipher = sealing.begin(name, content)
    stored = bytearray(head.stored)
    stored[:HEAD_SIZE] = encode_head(head)
    source, target = memoryview(content), memoryview(stored)
    for number in range(head.segments):
        plain = source[number * SEGMENT : (number + 1) * SEGMENT]
        at = HEAD_SIZE + number * (SEGMENT + TAG)
        cipher.seal(number, plain, target[at : at + len(plain) + TAG])
    return stored


def opened(cipher: ObjectCipher, first: int, stored: bytes | memoryview, /) -> memoryview:
    """Return the content of neighbouring segments, of which `first` is the number of the first.

    Raises:
        SegmentDamagedError: one of them is not what was sealed.
    """
    source = memoryview(stored)
    count = -(-len(source) // (SEGMENT + TAG))
    if len(source) < count * TAG:
        raise SegmentDamagedError(first + count - 1)
    # A bytearray would be filled with zeros first, which costs as much as opening half of it.
    plain = np.empty(len(source) - count * TAG, np.uint8).data
    for index in range(count):
        segment = source[index * (SEGMENT + TAG) : (index + 1) * (SEGMENT + TAG)]
        at = index * SEGMENT
        if len(segment) < TAG:
            raise SegmentDamagedError(first + index)
        if not cipher.open(first + index, segment, plain[at : at + len(segment) - TAG]):
            raise SegmentDamagedError(first + index)
    return plain


class _TagCipher(ObjectCipher):
    """Content in clear, each segment followed by a keyed digest of it and of its place."""

    def __init__(self, key: bytes, bound_to: bytes, /) -> None:
        self._key, self._bound_to = key, bound_to

    def _tag(self, number: int, plain: memoryview) -> bytes:
        digest = blake3(self._bound_to + number.to_bytes(8, "little"), key=self._key)
        return digest.update(plain).digest(length=TAG)

    def seal(self, number: int, plain: memoryview, sealed: memoryview, /) -> None:
        """Fill `sealed`."""
        sealed[:-TAG] = plain
        sealed[-TAG:] = self._tag(number, plain)

    def open(self, number: int, sealed: memoryview, plain: memoryview, /) -> bool:
        """Fill `plain`."""
        plain[:] = sealed[:-TAG]
        return self._tag(number, plain) == bytes(sealed[-TAG:])


class Tagging(Sealing):
    """Segments in clear under keyed digests: damage shows, nothing is hidden."""

    def __init__(self, key: bytes, /) -> None:
        self._key = key

    def begin(self, name: str, content: bytes | bytearray, /) -> tuple[Head, ObjectCipher]:
        """Return the head of an object that is to be written, and what seals it."""
        bare = Head(
            method=2, generation=0, length=len(content), salt=bytes(32), commitment=bytes(32)
        )
        commitment = self._commitment(name, bare)
        head = msgspec.structs.replace(bare, commitment=commitment)
        return head, _TagCipher(self._key, commitment)

    def _commitment(self, name: str, head: Head) -> bytes:
        said = msgspec.structs.replace(head, commitment=bytes(32))
        return blake3(encode_head(said) + name.encode(), key=self._key).digest()

    def resume(self, name: str, head: Head, /) -> ObjectCipher:
        """Return what opens an object that was written."""
        if head.method != 2 or head.commitment != self._commitment(name, head):
            raise SegmentDamagedError(-1)
        return _TagCipher(self._key, head.commitment)
