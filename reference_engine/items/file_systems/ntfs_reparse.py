"""Reparse points: what a tag means, and where a link leads. Source: [MS-FSCC] 2.1.2."""

import struct
from typing import Final, NamedTuple

from reference_engine.items.errors import TreeDamagedError

_JUNCTION: Final = 0xA0000003
_SYMLINK: Final = 0xA000000C
_WSL_LINK: Final = 0xA000001D

_SPECIAL: Final = {
    0x80000023: "socket",
    0x80000024: "pipe",
    0x80000025: "device",
    0x80000026: "device",
}
_NAMED: Final = {
    0x80000013: "data deduplication (0x80000013)",
    0x80000017: "compressed by the system, WOF (0x80000017)",
    0x80000007: "single instance storage (0x80000007)",
    0x80000008: "part of a WIM image (0x80000008)",
    0x80000014: "a placeholder of NFS (0x80000014)",
    0xC0000004: "hierarchical storage (0xc0000004)",
    0xA0000010: "a name of WSL (0xa0000010)",
    0x80000018: "a container's layer (0x80000018)",
}
_CLOUD: Final = 0x9000001A
_CLOUD_MASK: Final = 0xFFFF0FFF


class Reparse(NamedTuple):
    """What a reparse point makes of its item."""

    is_link: bool = False
    target: str = ""
    note: str = ""
    unsupported: str = ""
    is_special: bool = False


def parse_reparse(content: bytes, /) -> Reparse:
    """Return what the content of a reparse point means.

    Raises:
        TreeDamagedError: it contradicts itself.
    """
    if len(content) < 8:
        raise TreeDamagedError("a reparse point makes no sense")
    tag, length = struct.unpack_from("<IH", content)
    if tag in {_JUNCTION, _SYMLINK}:
        head = 16 if tag == _JUNCTION else 20
        if len(content) < head or 8 + length > len(content):
            raise TreeDamagedError("a reparse point makes no sense")
        places = struct.unpack_from("<HHHH", content, 8)
        texts = [_text(content, head + at, size) for at, size in (places[2:], places[:2])]
        target = texts[0] or texts[1].removeprefix("\\??\\")
        return Reparse(is_link=True, target=target, note="junction" if tag == _JUNCTION else "")
    if tag == _WSL_LINK:
        return Reparse(is_link=True, target=content[12:].decode("utf-8", "surrogateescape"))
    if tag in _SPECIAL:
        return Reparse(is_special=True, note=_SPECIAL[tag])
    if tag & _CLOUD_MASK == _CLOUD:
        return Reparse(unsupported=f"a file of a cloud ({tag:#x})")
    return Reparse(unsupported=_NAMED.get(tag, f"a reparse point ({tag:#x})"))


def _text(content: bytes, at: int, size: int) -> str:
    if at + size > len(content) or size % 2:
        raise TreeDamagedError("a reparse point makes no sense")
    return content[at : at + size].decode("utf-16-le", "surrogatepass")
