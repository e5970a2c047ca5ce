"""The socket to the node: frames in, frames out, without ever blocking the event loop."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from teammy._host.frames import Decoder, ProtocolError, encode

_READ = 256 << 10
# Above the first the host reads no more, and drops log lines; below the second it reads again.
_MOST_WAITING = 16 << 20
_READ_AGAIN = 8 << 20


class Connection:
    """Frames to and from the node.

    `take` gets each frame. `closed` is called when the node has gone, `broken` when it sent what is no frame.
    """

    def __init__(
        self,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
        take: Callable[[dict[str, Any], list[bytes]], None],
        closed: Callable[[], None],
        broken: Callable[[str], None],
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._loop = loop
        self._take = take
        self._closed = closed
        self._broken = broken
        self._decoder = Decoder()
        self._queue: deque[memoryview] = deque()
        self._waiting = 0
        self._reading = False
        self._drained: asyncio.Future[None] | None = None
        self._resume_reading()

    def _resume_reading(self) -> None:
        if not self._reading:
            self._reading = True
            self._loop.add_reader(self._sock.fileno(), self._readable)

    def _readable(self) -> None:
        try:
            data = self._sock.recv(_READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._closed()
            return
        try:
            frames = self._decoder.feed(data)
        except ProtocolError as error:
            self._broken(str(error))
            return
        for head, blobs in frames:
            self._take(head, blobs)

    @property
    def is_full(self) -> bool:
        return self._waiting > _MOST_WAITING

    async def drained(self) -> None:
        """Returns when little waits to be written."""
        while self.is_full:
            if self._drained is None:
                self._drained = self._loop.create_future()
            await asyncio.shield(self._drained)

    def send(self, head: dict[str, Any], blobs: list[bytes] | tuple[bytes, ...] = ()) -> None:
        frame = encode(head, blobs)
        if self._queue:
            self._enqueue(memoryview(frame))
            return
        try:
            sent = self._sock.send(frame)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            # The reader sees the end as well, and ends the process.
            return
        if sent < len(frame):
            self._loop.add_writer(self._sock.fileno(), self._writable)
            self._enqueue(memoryview(frame)[sent:])

    def _enqueue(self, rest: memoryview) -> None:
        self._queue.append(rest)
        self._waiting += len(rest)
        if self.is_full and self._reading:
            self._reading = False
            self._loop.remove_reader(self._sock.fileno())

    def _writable(self) -> None:
        while self._queue:
            first = self._queue[0]
            try:
                sent = self._sock.send(first)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self._queue.clear()
                self._closed()
                return
            self._waiting -= sent
            if sent < len(first):
                self._queue[0] = first[sent:]
                return
            self._queue.popleft()
            if self._waiting < _READ_AGAIN:
                self._resume_reading()
                if self._drained is not None:
                    self._drained.set_result(None)
                    self._drained = None
        self._loop.remove_writer(self._sock.fileno())

    def flush(self, seconds: float) -> None:
        """Writes what waits, and blocks for at most so long at a time."""
        try:
            self._sock.settimeout(seconds)
            while self._queue:
                self._sock.sendall(self._queue.popleft())
        except OSError:
            pass
