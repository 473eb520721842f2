"""LZNT1, the compression of NTFS. Source: [MS-XCA] 2.5."""

from typing import Final

from reference_engine.items.errors import TreeDamagedError

_CHUNK: Final = 4096


def decompressed(packed: bytes, /, *, size: int) -> bytes:
    """Return `size` bytes: what `packed` holds, and zeros behind that.

    Raises:
        TreeDamagedError: it is not LZNT1.
    """
    found = bytearray()
    at = 0
    while len(found) < size and at + 2 <= len(packed):
        header = int.from_bytes(packed[at : at + 2], "little")
        if not header:
            break
        end = at + 3 + (header & 0xFFF)
        if end > len(packed) or header >> 12 & 7 != 3:
            raise TreeDamagedError("compressed content makes no sense")
        if header & 0x8000:
            found += _chunk(packed[at + 2 : end])
        else:
            found += packed[at + 2 : end]
        # Every chunk but the last stands for as much as a chunk can.
        found += bytes(-len(found) % _CHUNK)
        at = end
    if len(found) > size + _CHUNK:
        raise TreeDamagedError("compressed content is longer than its file")
    return bytes(found[:size]) + bytes(max(0, size - len(found)))


def _chunk(packed: bytes) -> bytes:
    """Return what one compressed chunk holds."""
    found = bytearray()
    at, end = 0, len(packed)
    while at < end:
        flags = packed[at]
        at += 1
        if not flags and at + 8 <= end:  # eight bytes as they are: most of what does not compress
            found += packed[at : at + 8]
            at += 8
            continue
        for bit in range(8):
            if at >= end:
                break
            if not flags >> bit & 1:
                found.append(packed[at])
                at += 1
                continue
            if at + 2 > end:
                raise TreeDamagedError("compressed content ends too early")
            pair = packed[at] | packed[at + 1] << 8
            at += 2
            # The further in, the more of the pair's bits are the distance.
            wide = max(4, (len(found) - 1).bit_length()) if found else 4
            back = (pair >> (16 - wide)) + 1
            length = (pair & ((1 << (16 - wide)) - 1)) + 3
            if back > len(found) or len(found) + length > _CHUNK:
                raise TreeDamagedError("compressed content makes no sense")
            if back >= length:
                start = len(found) - back
                found += found[start : start + length]
            else:
                again = bytes(found[-back:])
                found += (again * (length // back + 1))[:length]
    if len(found) > _CHUNK:
        raise TreeDamagedError("compressed content makes no sense")
    return bytes(found)
