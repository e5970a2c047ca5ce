"""What the plugin prints and logs, as lines of the node's log."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Callable
from typing import Any

from teammy._host import context

# Of a line in UTF-8.
LONGEST = 8 << 10

Sink = Callable[[str, "str | None", str, bytes], None]


def meeting() -> str | None:
    """The meeting whose hook runs."""
    hook = context.current.get()
    return hook.meeting if hook is not None else None


def cut(text: str) -> list[bytes]:
    """A line in parts of at most `LONGEST` bytes, none of which ends within a character."""
    rest = text.encode("utf-8", "backslashreplace")
    parts = []
    while len(rest) > LONGEST:
        end = LONGEST
        while rest[end] & 0xC0 == 0x80:
            end -= 1
        parts.append(rest[:end])
        rest = rest[end:]
    parts.append(rest)
    return parts


class LogStream(io.TextIOBase):
    """Stands for `sys.stdout` or `sys.stderr`: each line becomes one of the log."""

    def __init__(self, name: str, descriptor: int, sink: Sink, echo: Any = None) -> None:
        self._name = name
        self._descriptor = descriptor
        self._sink = sink
        self._echo = echo
        self._partial: dict[tuple[str | None, int], str] = {}
        self._lock = threading.RLock()

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if self._echo is not None:
            self._echo.write(text)
        about = meeting()
        # Threads of a hook print at the same time, and print writes a line in parts.
        key = (about, threading.get_ident())
        with self._lock:
            *lines, rest = (self._partial.pop(key, "") + text).split("\n")
            if len(rest) > LONGEST:
                lines.append(rest)
            elif rest:
                self._partial[key] = rest
        for line in lines:
            self._emit(about, line)
        return len(text)

    def _emit(self, about: str | None, line: str) -> None:
        line = line.rstrip("\r")
        if line.strip():
            for part in cut(line):
                self._sink("info", about, self._name, part)

    def finish(self, about: str | None) -> None:
        """Logs the last lines of a meeting that have no end."""
        if self._partial:
            with self._lock:
                lines = [self._partial.pop(key) for key in list(self._partial) if key[0] == about]
            for line in lines:
                self._emit(about, line)

    def finish_all(self) -> None:
        for about in {key[0] for key in self._partial}:
            self.finish(about)

    def flush(self) -> None:
        if self._echo is not None:
            self._echo.flush()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        # Child processes write to the node's log directly.
        return self._descriptor

    @property
    def buffer(self) -> Any:
        return open(self._descriptor, "wb", buffering=0, closefd=False)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        return "backslashreplace"

    @property
    def name(self) -> str:
        return f"<{self._name}>"


class LogHandler(logging.Handler):
    """Sends the records of `logging` to the node's log."""

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record).encode("utf-8", "backslashreplace")
            if len(text) > LONGEST:
                text = cut(text[: LONGEST - 3].decode("utf-8", "ignore"))[0] + "…".encode()
            self._sink(level_of(record.levelno), meeting(), record.name, text)
        except Exception:
            self.handleError(record)


def level_of(number: int) -> str:
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warning"
    return "info" if number >= logging.INFO else "debug"
