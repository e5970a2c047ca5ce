"""The host: answers the node's requests about the plugin, and runs its hooks."""

from __future__ import annotations

import asyncio
import atexit
import faulthandler
import logging
import os
import platform
import socket
import sys
import threading
from collections.abc import MutableSequence
from typing import Any, NoReturn

from teammy._host import errors, logs
from teammy._host.calls import Calls, Event, Run
from teammy._host.config import config_of
from teammy._host.connection import Connection
from teammy._host.driver import Driver
from teammy._host.errors import Places, Refused
from teammy._host.frames import ProtocolError
from teammy._host.hooks import Hook, checked_hooks
from teammy._host.loader import asked, class_name, config_json, load, metadata_of
from teammy._host.watch import ClassWatch
from teammy.api.plugin import InCallPlugin, InCallPluginMetadata

PROTOCOL = 1
OUT_OF_MEMORY = 71
_PROTOCOL_ERROR = 76
# How long a process that ends tries to write what waits.
_LAST_WRITE = 2.0


class Host:
    """One plugin's process."""

    def __init__(self, sock: socket.socket, mark: MutableSequence[int]) -> None:
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._thread = threading.get_ident()
        self._driver = Driver(mark, self._fatal)
        self._loop.set_task_factory(self._driver.task_factory)
        self._loop.set_exception_handler(self._lost_exception)
        self._connection = Connection(sock, self._loop, self._take, self._gone, self._misunderstood)
        self._places = Places(os.getcwd())
        self._calls: Calls | None = None
        self._plugin: type[InCallPlugin] | None = None
        self._metadata: InCallPluginMetadata | None = None
        self._hooks: dict[str, Hook] = {}
        self._dropped = 0
        self._told: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stdout = logs.LogStream("stdout", 1, self._log)
        self._stderr = logs.LogStream("stderr", 2, self._log)
        self._take_over_output()

    def _take_over_output(self) -> None:
        sys.stdout = self._stdout
        sys.stderr = self._stderr
        root = logging.getLogger()
        root.addHandler(logs.LogHandler(self._log))
        root.setLevel(logging.INFO)

    def run(self) -> None:
        self._loop.run_forever()

    # Frames

    def _take(self, head: dict[str, Any], blobs: list[bytes]) -> None:
        try:
            kind = head["type"]
            if kind == "run":
                self._run(head, blobs)
            elif kind == "answer":
                self._the_calls().asks.answer(head, blobs)
            elif kind == "ping":
                self._connection.send({"type": "pong", "at": head["at"]})
            elif kind == "cancel":
                self._the_calls().cancel(head["call"])
            elif kind == "meeting":
                self._meeting(head)
            elif kind in ("load", "install", "startup", "shutdown"):
                task = self._loop.create_task(self._request(kind, head))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            else:
                raise ProtocolError(f"a frame of the unknown type {kind!r}")
        except (KeyError, TypeError, ValueError, IndexError, ProtocolError) as error:
            self._misunderstood(f"{type(error).__name__} {error}")

    def _misunderstood(self, what: str) -> NoReturn:
        self._end(_PROTOCOL_ERROR, f"the host got a frame that it does not understand: {what}")

    def _the_calls(self) -> Calls:
        if self._calls is None:
            raise ProtocolError("a frame about a call before `load`")
        return self._calls

    def _run(self, head: dict[str, Any], blobs: list[bytes]) -> None:
        hook = self._hooks.get(head["hook"])
        if hook is None:
            raise ProtocolError("a call of a hook that the plugin does not have")
        calls = self._the_calls()
        calls.add(Run(head, blobs, hook, calls))

    def _meeting(self, head: dict[str, Any]) -> None:
        calls, plugin = self._the_calls(), self._plugin
        if plugin is None:
            raise ProtocolError("a frame about a meeting before `load`")
        function = {"start": plugin.on_meeting_start, "end": plugin.on_meeting_end}[head["event"]]
        calls.add(Event(head["call"], head["meeting"]["id"], function, calls))

    # Requests about the plugin

    async def _request(self, kind: str, head: dict[str, Any]) -> None:
        try:
            answer = await getattr(self, f"_{kind}")(head)
        except Refused as refused:
            answer = {"type": "refused", "code": refused.code, "message": errors.printable(refused.message)}
            if refused.path is not None:
                answer["path"] = errors.printable(refused.path)
        except MemoryError as error:
            self._fatal(error)
        except BaseException as error:
            answer = {"type": "refused", "code": "failed", "message": self._places.described(error)}
        self._finish_output()
        self._connection.send(answer)
        if kind == "shutdown":
            self._end(0)

    async def _load(self, head: dict[str, Any]) -> dict[str, Any]:
        if head["protocol"] != PROTOCOL:
            raise Refused(
                "failed", f"the host speaks version {PROTOCOL} of the protocol, not {head['protocol']}"
            )
        self._places = Places(head["path"])
        self._plugin = load(head["path"], self._places)
        self._metadata = await metadata_of(self._plugin, self._places)
        self._calls = Calls(
            self._connection,
            self._driver,
            head["instance"],
            head.get("json", "text"),
            self._places,
            errors.name_of,
            self._finish_output,
            self._hook_failed,
        )
        about = {
            "name": self._metadata.name,
            "version": self._metadata.version,
            "sources": list(self._metadata.sources),
            "config": config_json(self._metadata.config),
            "class": class_name(self._plugin),
        }
        return {"type": "loaded", "protocol": PROTOCOL, "python": platform.python_version(), "plugin": about}

    def _loaded(self) -> tuple[type[InCallPlugin], InCallPluginMetadata]:
        if self._plugin is None or self._metadata is None:
            raise Refused("failed", "the plugin is not loaded")
        return self._plugin, self._metadata

    async def _install(self, head: dict[str, Any]) -> dict[str, Any]:
        plugin, _ = self._loaded()
        await asked(plugin.on_install, self._places)
        return {"type": "installed"}

    async def _startup(self, head: dict[str, Any]) -> dict[str, Any]:
        plugin, metadata = self._loaded()
        config = config_of(metadata.config, head.get("config") or {}, self._places)
        await asked(plugin.on_startup, self._places, config)
        found = await asked(plugin.get_data_receive_hooks, self._places)
        self._hooks = checked_hooks(found, list(metadata.sources))
        self._the_calls().watch = ClassWatch(plugin, self._warn)
        return {"type": "started", "hooks": {source: hook.version for source, hook in self._hooks.items()}}

    async def _shutdown(self, head: dict[str, Any]) -> dict[str, Any]:
        plugin, _ = self._loaded()
        event = Event(head["call"], None, plugin.on_shutdown, self._the_calls())
        await event.effects()
        return {"type": "stopped"}

    # Logs

    def _log(self, level: str, meeting: str | None, logger: str, text: bytes) -> None:
        if threading.get_ident() != self._thread:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._log, level, meeting, logger, text)
            return
        if self._connection.is_full:
            self._dropped += 1
            return
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._log(
                "warning",
                None,
                "teammy",
                f"{dropped} lines of the log were dropped: the plugin logs too fast".encode(),
            )
        head = {"type": "log", "level": level, "meeting": meeting, "logger": errors.printable(logger)}
        self._connection.send(head, [text])

    def _warn(self, text: str) -> None:
        self._log("warning", None, "teammy", text.encode())

    def _finish_output(self, meeting: str | None = None) -> None:
        self._stdout.finish(meeting)
        self._stderr.finish(meeting)

    def _hook_failed(self, error: BaseException, meeting: str | None) -> None:
        # Errors of our own say what to do, and quote nothing of a meeting. Once each is enough.
        if (
            isinstance(error, errors.QUOTES_NOTHING)
            and str(error) not in self._told
            and len(self._told) < 100
        ):
            self._told.add(str(error))
            self._log("error", meeting, "teammy", errors.printable(str(error)).encode()[: logs.LONGEST])

    def _lost_exception(self, loop: asyncio.AbstractEventLoop, about: dict[str, Any]) -> None:
        # The error's own text may quote a packet.
        error = about.get("exception")
        where = f": {self._places.described(error)}" if error is not None else ""
        self._log(
            "error",
            logs.meeting(),
            "asyncio",
            f"{about.get('message', 'an error in a callback')}{where}".encode(),
        )

    # Ends

    def _gone(self) -> None:
        os._exit(0)

    def _fatal(self, error: BaseException) -> NoReturn:
        """Ends the process with the mark left, so that the node knows whose hook did it."""
        try:
            if self._calls is not None:
                self._calls.flush_marked()
            place = self._places.last(error.__traceback__)
            where = f" at {place}" if place else ""
            text = f"the process ends because of {errors.name_of(error)}{where}"
            self._log("error", logs.meeting(), "teammy", text.encode())
            self._stdout.finish_all()
            self._stderr.finish_all()
            self._connection.flush(_LAST_WRITE)
        finally:
            os._exit(_exit_code(error))

    def _end(self, code: int, why: str | None = None) -> NoReturn:
        if why is not None:
            self._log("error", None, "teammy", why.encode()[: logs.LONGEST])
        try:
            if code == 0:
                atexit._run_exitfuncs()
            self._stdout.finish_all()
            self._stderr.finish_all()
            self._connection.flush(_LAST_WRITE)
        finally:
            os._exit(code)


def _exit_code(error: BaseException) -> int:
    if isinstance(error, MemoryError):
        return OUT_OF_MEMORY
    if isinstance(error, SystemExit):
        if error.code is None:
            return 0
        return error.code & 0xFF if isinstance(error.code, int) else 1
    return 130


def main(descriptor: int, mark: MutableSequence[int]) -> None:
    """Runs the host on the protocol's socket until the node ends it."""
    faulthandler.enable(file=2)
    host = Host(socket.socket(fileno=descriptor), mark)
    try:
        host.run()
    except KeyboardInterrupt:
        os._exit(130)
    except SystemExit as error:
        os._exit(_exit_code(error))
