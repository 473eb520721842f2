"""A proxy that spoils chosen exchanges between a client and an HTTP server of this machine."""

import asyncio  # noqa: TID251 - the proxy stands between real sockets
import contextlib
import enum
import threading  # noqa: TID251 - it works while the test runs its own event loop
from collections.abc import Callable, Iterator
from typing import NamedTuple


class Fault(enum.Enum):
    """What becomes of one exchange."""

    NONE = "none"
    SLOW = "slow"
    """The answer comes after a second."""

    HANG = "hang"
    """The request is carried out, and no answer ever comes."""

    REFUSE_409 = "409, not carried out"
    REFUSE_500 = "500, not carried out"
    REFUSE_503 = "503, not carried out"
    LOSE_500 = "500, though carried out"
    RESET_BEFORE = "connection reset, not carried out"
    RESET_AFTER = "connection reset, though carried out"
    CUT = "the answer ends in its middle"
    AGREE = "200, whatever the server says"
    """As a service answers a put that knows no conditions, and overwrites."""


class Exchange(NamedTuple):
    """One request, as it is told apart by tests."""

    number: int
    method: str
    target: str
    sent: int


Plan = Callable[[Exchange], Fault]


class FaultProxy:
    """Listens on a port of this machine; `plan` decides, `seen` tells what came."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self.plan: Plan = lambda _: Fault.NONE
        self.seen: list[Exchange] = []
        self.spoiled: list[tuple[Exchange, Fault]] = []
        self.received = 0
        self.port = 0

    @contextlib.contextmanager
    def running(self) -> Iterator["FaultProxy"]:
        """Have the proxy listen while the block runs."""
        thread = threading.Thread(target=self._loop.run_forever)
        thread.start()
        server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._accept, "127.0.0.1", 0), self._loop
        ).result()
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self._end(server), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    async def _end(self, server: asyncio.Server) -> None:
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a connection is a task"
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            while await self._exchange(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # Either side left: for the other one, that is what happened.
            writer.transport.abort()
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Pass on one request and its answer; return whether another one may follow."""
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        body = await reader.readexactly(int(_header(head, b"content-length") or 0))
        exchange = Exchange(len(self.seen), method, target, len(body))
        self.seen.append(exchange)
        fault = self.plan(exchange)
        if fault is not Fault.NONE:
            self.spoiled.append((exchange, fault))
        match fault:
            case Fault.RESET_BEFORE:
                writer.transport.abort()
                return False
            case Fault.REFUSE_409 | Fault.REFUSE_500 | Fault.REFUSE_503:
                return await _send(writer, _refusal(fault.value[:3]))
            case _:
                answer = await self._carry_out(head + body, method)
        match fault:
            case Fault.HANG:
                await asyncio.Event().wait()
            case Fault.SLOW:
                await asyncio.sleep(1)
            case Fault.RESET_AFTER:
                writer.transport.abort()
                return False
            case Fault.LOSE_500:
                answer = _refusal("500")
            case Fault.AGREE:
                answer = b'HTTP/1.1 200 OK\r\nETag: "0"\r\nContent-Length: 0\r\n\r\n'
            case Fault.CUT:
                # The head promises more than comes, unless there is no body: then it is cut itself.
                start = answer.index(b"\r\n\r\n") + 4
                whole = len(answer) - start
                writer.write(answer[: start + whole // 2] if whole else answer[: start // 2])
                await writer.drain()
                return False
            case _:
                pass
        self.received += len(answer)
        return await _send(writer, answer)

    async def _carry_out(self, request: bytes, method: str) -> bytes:
        """Return the server's whole answer to a request."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        try:
            writer.write(request)
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            if method == "HEAD" or status in {204, 304}:
                return head
            if b"chunked" in (_header(head, b"transfer-encoding") or b""):
                return head + await _chunks(reader)
            return head + await reader.readexactly(int(_header(head, b"content-length") or 0))
        finally:
            writer.close()


def _header(head: bytes, name: bytes) -> bytes | None:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip()
    return None


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        parts += [line, await reader.readexactly(size + 2)]
        if size == 0:
            return b"".join(parts)


def _refusal(status: str) -> bytes:
    body = "<Error><Code>Planned</Code><Message>The test wants it so.</Message></Error>"
    return f"HTTP/1.1 {status} Planned\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


async def _send(writer: asyncio.StreamWriter, answer: bytes) -> bool:
    writer.write(answer)
    await writer.drain()
    return True
