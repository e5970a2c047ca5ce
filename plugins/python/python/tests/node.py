"""A node for tests: starts the plugin's process as the real one does, and speaks the protocol."""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).resolve().parent.parent / "src"
BOOTSTRAP = "import sys; sys.path[0] = sys.argv[1]; from teammy._host.bootstrap import main; main()"
# Only a failing test waits this long.
PATIENCE = 60.0

PLUGIN = """
import os, sys, asyncio, signal, subprocess, logging, dataclasses
from dataclasses import dataclass
from teammy.api.plugin import *
from teammy.api.data import *
from teammy.api.engine import MeetingEngine, LLMProvider
{top}

class P(InCallPlugin):
    @classmethod
    async def get_metadata(cls):
        return InCallPluginMetadata(name="p", version="1.0", sources={sources!r}, config={config})
    @classmethod
    async def on_install(cls): pass
    @classmethod
    async def on_startup(cls, config): cls.config = config
    @classmethod
    async def get_data_receive_hooks(cls): return {{source: hook for source in {sources!r}}}
    @classmethod
    async def on_meeting_start(cls, meeting_info, engine): pass
    @classmethod
    async def on_meeting_end(cls, meeting_info, engine): pass
    @classmethod
    async def on_shutdown(cls, engine): pass
{methods}
"""


def plugin_text(
    hook: str, *, methods: str = "", sources: list[str] | None = None, config: str = "None"
) -> str:
    """A plugin whose hook, and what that needs, is `hook`; `methods` replace some of its methods."""
    return PLUGIN.format(
        top=textwrap.dedent(hook),
        methods=textwrap.indent(textwrap.dedent(methods), "    "),
        sources=sources or ["chat"],
        config=config,
    )


class Frame:
    def __init__(self, head: dict[str, Any], blobs: list[bytes]) -> None:
        self.head, self.blobs = head, blobs

    def __getitem__(self, name: str) -> Any:
        return self.head[name]

    def __repr__(self) -> str:
        return f"Frame({self.head}, {self.blobs})"


class Node:
    """The node's ends of the control socket, of the protocol's socket and of the log."""

    def __init__(self, folder: Path, *, limit: int = 0, python: str = sys.executable) -> None:
        self.control, control = socket.socketpair()
        self.socket, protocol = socket.socketpair()
        self.log, log = os.pipe()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TEAMMY_")}
        self.process = subprocess.Popen(
            [python, "-u", "-X", "utf8", "-c", BOOTSTRAP, str(SOURCES), str(limit)],
            stdin=control,
            stdout=protocol,
            stderr=log,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        self.folder = folder
        control.close()
        protocol.close()
        os.close(log)
        self.control.settimeout(PATIENCE)
        self.socket.settimeout(PATIENCE)
        self._rest = b""
        self.logs: list[Frame] = []
        self.call = 0

    def send(self, head: dict[str, Any], *blobs: bytes) -> None:
        self.socket.sendall(frame(head, *blobs))

    def read(self) -> Frame:
        """The next frame that is no log line; those are kept in `logs`."""
        while True:
            while len(self._rest) < 4 or len(self._rest) < 4 + struct.unpack_from("<I", self._rest)[0]:
                more = self.socket.recv(1 << 20)
                if not more:
                    raise EOFError("the host has closed its socket; its log: " + self.log_text())
                self._rest += more
            rest, head_size = struct.unpack_from("<II", self._rest)
            body, self._rest = self._rest[8 : 4 + rest], self._rest[4 + rest :]
            head = json.loads(body[:head_size])
            at, blobs = head_size, []
            for length in head.pop("blobs", []):
                blobs.append(body[at : at + length])
                at += length
            assert at == len(body)
            if head["type"] != "log":
                return Frame(head, blobs)
            self.logs.append(Frame(head, blobs))

    def request(self, head: dict[str, Any], *blobs: bytes) -> Frame:
        self.send(head, *blobs)
        return self.read()

    def load(self, json: str = "text") -> Frame:
        path = str(self.folder)
        return self.request({"type": "load", "protocol": 1, "instance": "inst", "path": path, "json": json})

    def start(self, json: str = "text", config: dict[str, Any] | None = None) -> Frame:
        loaded = self.load(json)
        assert loaded["type"] == "loaded", loaded
        started = self.request({"type": "startup", "config": config or {}})
        assert started["type"] == "started", started
        return started

    def run(self, *payloads: Any, meeting: str = "m", state: Any = ..., hook: str = "chat") -> int:
        """Starts a call; a payload is text, bytes or JSON."""
        self.call += 1
        packets, blobs = [], []
        for seq, payload in enumerate(payloads):
            kind = "text" if isinstance(payload, str) else "bytes" if isinstance(payload, bytes) else "json"
            packets.append([seq, 1_700_000_000_000_000 + seq, None, kind])
            raw = (
                payload.encode()
                if kind == "text"
                else payload
                if kind == "bytes"
                else json.dumps(payload).encode()
            )
            blobs.append(raw)
        if state is not ...:
            blobs.insert(0, json.dumps(state).encode())
        head = {"type": "run", "call": self.call, "meeting": {"id": meeting}, "hook": hook, "attempt": 1}
        self.send({**head, "state": state is not ..., "packets": packets}, *blobs)
        return self.call

    def event(self, event: str, meeting: str = "m") -> int:
        self.call += 1
        self.send({"type": "meeting", "call": self.call, "meeting": {"id": meeting}, "event": event})
        return self.call

    def result(self, *payloads: Any, **options: Any) -> Frame:
        """Runs a call, and gives all its results as one frame."""
        self.run(*payloads, **options)
        return self.ended(len(payloads))

    def ended(self, count: int) -> Frame:
        """The next so many results as one frame, or another frame that comes first.

        The host may send them in several: it does so when the machine is slow.
        """
        first = self.read()
        while first["type"] == "ended" and len(first["hooks"]) < count:
            more = self.read()
            assert more["type"] == "ended" and more["call"] == first["call"], more
            first["hooks"].extend(more["hooks"])
            first.blobs.extend(more.blobs)
        return first

    def report(self) -> dict[str, Any]:
        """What the guardian reports of the host's end."""
        line = b""
        while not line.endswith(b"\n"):
            more = self.control.recv(4096)
            if not more:
                raise EOFError("the guardian ended without a report; the log: " + self.log_text())
            line += more
        return json.loads(line)

    def log_text(self) -> str:
        """What came through the log's pipe so far."""
        text = b""
        while select.select([self.log], [], [], 0)[0]:
            more = os.read(self.log, 65536)
            if not more:
                break
            text += more
        return text.decode()

    def log_lines(self) -> list[str]:
        return [each.blobs[0].decode() for each in self.logs]

    def wait(self) -> int:
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        for sock in (self.control, self.socket):
            sock.close()
        self.process.wait(PATIENCE)
        os.close(self.log)


def frame(head: dict[str, Any], *blobs: bytes) -> bytes:
    if blobs:
        head = {**head, "blobs": [len(blob) for blob in blobs]}
    text = json.dumps(head).encode()
    return struct.pack("<II", 4 + len(text) + sum(map(len, blobs)), len(text)) + text + b"".join(blobs)


def until_gone(pid: int) -> None:
    """Waits until a process that is not ours has ended."""
    until = time.monotonic() + PATIENCE
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], until - time.monotonic())[0], f"process {pid} still runs"
    finally:
        os.close(descriptor)
