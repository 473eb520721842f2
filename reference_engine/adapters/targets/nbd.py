"""A disk behind the network block device protocol: a client for writing one.

Fixed newstyle handshake with `NBD_OPT_GO`, simple replies, one request at a time. No library does
this without a C compiler or a kernel module.

Source: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
"""

import re
import socket
import struct
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from reference_engine.formats.target import DiskTarget
from reference_engine.model.errors import InputRefusedError, OperationFailedError
from reference_engine.model.units import MIB, ByteCount

SCHEMES: Final = ("nbd", "nbd+unix")
PORT: Final = 10809
_ANSWER_S: Final = 60.0
"""A server that says nothing for so long is taken to be gone."""

_REQUEST_MAX: Final = 2 * MIB
"""Every server takes 32 MiB, by the protocol; more than this gains nothing."""

_MAGIC: Final = 0x4E42444D41474943
_OPTION: Final = 0x49484156454F5054
_OPTION_REPLY: Final = 0x3E889045565A9
_REQUEST: Final = 0x25609513
_REPLY: Final = 0x67446698
_OPT_GO: Final = 7
_REP_ACK: Final = 1
_REP_INFO: Final = 3
_REP_ERROR: Final = 1 << 31
_INFO_EXPORT: Final = 0
_READ, _WRITE, _DISCONNECT, _FLUSH, _WRITE_ZEROES = 0, 1, 2, 3, 6
_READ_ONLY: Final = 1 << 1
_SENDS_FLUSH: Final = 1 << 2
_SENDS_ZEROES: Final = 1 << 6


class NbdPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where an export is: a host and port, or a socket of this machine."""

    host: str
    port: int
    path: str
    export: str

    @classmethod
    def parse(cls, text: str, /) -> "NbdPlace":
        """Return the place that `nbd://host[:port][/export]` or `nbd+unix:///...` names.

        Raises:
            InputRefusedError: it names none.
        """
        remedy = "write nbd://host:port/export, or nbd+unix:///export?socket=/path"
        try:
            parts = urlsplit(text)
            port = parts.port or PORT
        except ValueError as error:
            raise InputRefusedError(f"{text} is no address", remedy) from error
        path = parse_qs(parts.query).get("socket", [""])[0]
        usable = bool(parts.hostname) if parts.scheme == "nbd" else bool(path)
        if parts.scheme not in SCHEMES or not usable:
            raise InputRefusedError(f"{text} is no address of an export", remedy)
        export = unquote(parts.path.removeprefix("/"))
        return cls(host=parts.hostname or "", port=port, path=path, export=export)


def is_nbd(text: str, /) -> bool:
    """Return whether `text` is meant as the address of an export."""
    return re.match(r"nbds?(\+[a-z]+)?://", text) is not None


class NbdTarget(DiskTarget):
    """One connection to one export."""

    def __init__(self, text: str, /) -> None:
        """Connect to the export that the address `text` names.

        Raises:
            InputRefusedError: it is no address, there is no such export, or it is read-only.
            OperationFailedError: nobody answers there, or no NBD server.
        """
        place = NbdPlace.parse(text)
        self.name = text
        self._cookie = 0
        self._socket = self._connected(place)
        try:
            self.size, self._flags = self._handshake(place.export)
        except BaseException:
            self._socket.close()
            raise
        if self._flags & _READ_ONLY:
            self.close()
            raise InputRefusedError(f"{text} may only be read", "export it for writing")

    def _connected(self, place: NbdPlace) -> socket.socket:
        try:
            if not place.path:
                connection = socket.create_connection((place.host, place.port), _ANSWER_S)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return connection
            local = socket.socket(socket.AF_UNIX)
            try:
                local.settimeout(_ANSWER_S)
                local.connect(str(Path(place.path)))
            except BaseException:
                local.close()
                raise
        except OSError as error:
            self._fail(error)
        return local

    def _handshake(self, export: str) -> tuple[ByteCount, int]:
        """Return size and flags of the export."""
        magic, kind, offered = struct.unpack(">QQH", self._received(18))
        if (magic, kind) != (_MAGIC, _OPTION) or not offered & 1:
            self._fail("it speaks no NBD of this century")
        # Fixed newstyle, and no padding where the server leaves it out as well.
        self._send(struct.pack(">I", 1 | (offered & 2)))
        name = export.encode()
        data = struct.pack(">I", len(name)) + name + struct.pack(">H", 0)
        self._send(struct.pack(">QII", _OPTION, _OPT_GO, len(data)) + data)
        found: tuple[ByteCount, int] | None = None
        while True:
            magic, _, answer, length = struct.unpack(">QIII", self._received(20))
            if magic != _OPTION_REPLY or length > _REQUEST_MAX:
                self._fail("its answer is no NBD")
            data = self._received(length)
            if answer & _REP_ERROR:
                words = data.decode(errors="replace") or "it refuses"
                raise InputRefusedError(
                    f"{self.name} has no export {export!r}: {words}", "name one that it has"
                )
            if answer == _REP_INFO and length >= 12 and data[:2] == bytes(2):
                size, flags = struct.unpack(">QH", data[2:12])
                found = (ByteCount(size), flags)
            if answer == _REP_ACK:
                if found is None:
                    self._fail("it does not say how large the export is")
                return found

    def read(self, offset: int, length: int, /) -> bytes:
        """Return exactly the `length` bytes at `offset`."""
        parts: list[bytes] = []
        for at in range(offset, offset + length, _REQUEST_MAX):
            size = min(_REQUEST_MAX, offset + length - at)
            self._ask(_READ, at, size)
            parts.append(self._received(size))
        return b"".join(parts)

    def write(self, offset: int, data: bytes | memoryview, /) -> None:
        """Put all of `data` at `offset`."""
        view = memoryview(data)
        for at in range(0, len(view), _REQUEST_MAX):
            part = view[at : at + _REQUEST_MAX]
            self._ask(_WRITE, offset + at, len(part), part)

    def zero(self, offset: int, length: int, /) -> None:
        """Let the server write zeros where it can; send them where it cannot."""
        for at in range(offset, offset + length, _REQUEST_MAX):
            size = min(_REQUEST_MAX, offset + length - at)
            if self._flags & _SENDS_ZEROES:
                self._ask(_WRITE_ZEROES, at, size)
            else:
                self._ask(_WRITE, at, size, bytes(size))

    def sync(self) -> None:
        """Make durable what has been written, where the server knows how."""
        if self._flags & _SENDS_FLUSH:
            self._ask(_FLUSH, 0, 0)

    def close(self) -> None:
        """Say goodbye."""
        try:
            self._socket.sendall(struct.pack(">IHHQQI", _REQUEST, 0, _DISCONNECT, 0, 0, 0))
        except OSError:
            # Whoever does not listen any more needs no goodbye.
            pass
        finally:
            self._socket.close()

    def _ask(self, kind: int, offset: int, length: int, data: bytes | memoryview = b"") -> None:
        """Send one request and return when it was answered, but for what is read."""
        self._cookie += 1
        self._send(struct.pack(">IHHQQI", _REQUEST, 0, kind, self._cookie, offset, length))
        if data:
            self._send(data)
        magic, error, cookie = struct.unpack(">IIQ", self._received(16))
        if (magic, cookie) != (_REPLY, self._cookie):
            self._fail("its answer belongs to no question")
        if error:
            self._fail(f"the server reports error {error}")

    def _send(self, data: bytes | memoryview) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            self._fail(error)

    def _received(self, length: int) -> bytes:
        content = bytearray(length)
        view = memoryview(content)
        try:
            while view:
                count = self._socket.recv_into(view)
                if not count:
                    self._fail("it ended the connection")
                view = view[count:]
        except OSError as error:
            self._fail(error)
        return bytes(content)

    def _fail(self, cause: OSError | str) -> NoReturn:
        words = cause if isinstance(cause, str) else (cause.strerror or str(cause)).lower()
        raise OperationFailedError(f"talking to {self.name}", words)
