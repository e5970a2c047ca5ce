"""Calls: runs of a hook over packets of a meeting. One at a time of a meeting, and many meetings at once."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from teammy._host.driver import Driver
from teammy._host.errors import PacketRejected
from teammy._host.hooks import Hook
from teammy._host.running import Effects, Running, run_event, run_hook
from teammy._host.values import Packet
from teammy.api.data import MeetingMetadata
from teammy.api.engine import DatastoreError, LLMError, MeetingEngine

_MOST_RESULTS = 64
_MOST_BYTES = 256 << 10
# How long the hooks of a call may keep the event loop before others get a turn.
_TURN = 0.005


class Channel(Protocol):
    """Where frames go."""

    @property
    def is_full(self) -> bool: ...

    def send(self, head: dict[str, Any], blobs: list[bytes] | tuple[bytes, ...] = ()) -> None: ...

    async def drained(self) -> None: ...


class Asks:
    """What hooks have asked the node and wait for."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._last = 0
        self._waiting: dict[int, asyncio.Future[tuple[dict[str, Any], list[bytes]]]] = {}

    async def ask(
        self, call: int, head: dict[str, Any], blobs: tuple[bytes, ...] = ()
    ) -> tuple[dict[str, Any], list[bytes]]:
        self._last += 1
        number = self._last
        future = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self._channel.send({"type": "ask", "call": call, "ask": number, **head}, blobs)
            return await future
        finally:
            self._waiting.pop(number, None)

    def answer(self, head: dict[str, Any], blobs: list[bytes]) -> None:
        future = self._waiting.get(head["ask"])
        if future is not None and not future.done():
            future.set_result((head, blobs))


class Call:
    """A call, from its frame to its end."""

    def __init__(self, number: int, meeting: str | None, calls: Calls) -> None:
        self.number = number
        self.meeting = meeting
        self.about = MeetingMetadata(meeting, calls.instance)
        self.started = False
        self.cancelled = False
        self.task: asyncio.Task[None] | None = None
        self.known: dict[str, bytes | None] = {}
        self._calls = calls
        self._heads: list[dict[str, Any]] = []
        self._blobs: list[bytes] = []
        self._bytes = 0

    def running(self) -> Running:
        calls = self._calls
        return Running(self, self.meeting, self.about, calls.mode, self.known, self.number)

    async def work(self) -> None:
        """Runs the hooks. Each one's end is added; what it raises ends the call."""
        raise NotImplementedError

    @property
    def function(self) -> Any:
        raise NotImplementedError

    async def run(self) -> None:
        self.started = True
        calls = self._calls
        error: BaseException | None = None
        try:
            if not self.cancelled:
                await self.work()
        except asyncio.CancelledError as cancelled:
            error = cancelled
        except MemoryError as error_of_memory:
            calls.driver.mark[0] = self.number
            calls.driver.fatal(error_of_memory)
        except BaseException as raised:
            error = raised
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        calls = self._calls
        calls.finish_output(self.meeting)
        self.flush()
        if self.cancelled:
            calls.channel.send({"type": "cancelled", "call": self.number})
        elif error is not None:
            places = calls.places
            about = {
                "type": calls.name_of(error),
                "at": places.at(error, self.function) or "",
                "reject": isinstance(error, PacketRejected),
            }
            calls.hook_failed(error, self.meeting)
            calls.channel.send({"type": "failed", "call": self.number, "error": about})
        calls.ended(self)

    def add(self, effects: Effects) -> None:
        """Adds the end of a hook, which is sent with others."""
        head: dict[str, Any] = {}
        blobs = self._blobs
        if effects.keys:
            self.known.update(effects.keys)
            head["keys"] = list(effects.keys)
            blobs.extend(effects.keys.values())
        if effects.output is not None:
            head["output"] = effects.output.kind
            blobs.append(effects.output.payload)
        if effects.state is not None:
            head["state"] = True
            blobs.append(effects.state)
        if head:
            size = effects.size()
            if self._bytes + size > _MOST_BYTES and self._heads:
                kept = blobs[len(blobs) - _count(effects) :]
                del blobs[len(blobs) - _count(effects) :]
                self.flush()
                self._blobs = kept
            self._bytes += size
        self._heads.append(head)
        if len(self._heads) >= _MOST_RESULTS or self._bytes >= _MOST_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._heads:
            heads, blobs = self._heads, self._blobs
            self._heads, self._blobs, self._bytes = [], [], 0
            self._calls.channel.send({"type": "ended", "call": self.number, "hooks": heads}, blobs)

    async def get(self, key: str) -> bytes | None:
        self.flush()
        head, blobs = await self._calls.asks.ask(self.number, {"op": "get", "key": key})
        _check(head, DatastoreError)
        return blobs[0] if head.get("found") else None

    async def history(self, last: int, within: int | None) -> list[Packet]:
        self.flush()
        head, blobs = await self._calls.asks.ask(
            self.number, {"op": "history", "last": last, "within": within}
        )
        _check(head, DatastoreError)
        return packets_of(head, blobs)

    async def prompt(self, op: str, messages: bytes, temperature: float) -> str:
        self.flush()
        head, blobs = await self._calls.asks.ask(
            self.number, {"op": op, "temperature": temperature}, (messages,)
        )
        _check(head, LLMError)
        return blobs[0].decode()


def _count(effects: Effects) -> int:
    return len(effects.keys) + (effects.output is not None) + (effects.state is not None)


def _check(head: dict[str, Any], kind: type[LLMError] | type[DatastoreError]) -> None:
    error = head.get("error")
    if error is not None:
        raise kind(error.get("code", ""), error.get("message", ""))


def packets_of(head: dict[str, Any], blobs: list[bytes]) -> list[Packet]:
    """The packets of a frame, whose payloads are its last blobs."""
    packets = head["packets"]
    return [
        Packet(*about[:4], payload) for about, payload in zip(packets, blobs[len(blobs) - len(packets) :])
    ]


class Run(Call):
    """A run of a data receive hook over packets."""

    def __init__(self, head: dict[str, Any], blobs: list[bytes], hook: Hook, calls: Calls) -> None:
        super().__init__(head["call"], head["meeting"]["id"], calls)
        self._hook = hook
        self._packets = deque(packets_of(head, blobs))
        self._state = blobs[0] if head.get("state") else None

    @property
    def function(self) -> Any:
        return self._hook.function

    async def work(self) -> None:
        calls, hook, packets = self._calls, self._hook, self._packets
        drive, channel, watch = calls.driver.drive, calls.channel, calls.watch
        turn = time.monotonic()
        while packets:
            effects = await run_hook(hook, self.running(), packets.popleft(), self._state, drive)
            if self.cancelled:
                return
            if effects.state is not None:
                self._state = effects.state
            self.add(effects)
            if watch is not None:
                watch.hook_ended()
            if packets:
                if channel.is_full:
                    await channel.drained()
                if time.monotonic() - turn > _TURN:
                    self.flush()
                    await asyncio.sleep(0)
                    turn = time.monotonic()


class Event(Call):
    """A run of on_meeting_start or on_meeting_end; or of on_shutdown, which has no meeting."""

    def __init__(self, number: int, meeting: str | None, function: Any, calls: Calls) -> None:
        super().__init__(number, meeting, calls)
        self._function = function

    @property
    def function(self) -> Any:
        return self._function

    async def effects(self) -> Effects:
        calls, engine = self._calls, MeetingEngine()
        args: tuple = (engine,) if self.meeting is None else (self.about, engine)
        return await run_event(self._function, self.running(), args, calls.driver.drive)

    async def work(self) -> None:
        self.add(await self.effects())
        if self._calls.watch is not None:
            self._calls.watch.hook_ended()


class Calls:
    """All calls of the host. Each meeting has a queue; the first call of a queue runs."""

    def __init__(
        self,
        channel: Channel,
        driver: Driver,
        instance: str,
        mode: str,
        places: Any,
        name_of: Callable[[BaseException], str],
        finish_output: Callable[[str | None], None],
        hook_failed: Callable[[BaseException, str | None], None],
    ) -> None:
        self.channel = channel
        self.driver = driver
        self.instance = instance
        self.mode = mode
        self.places = places
        self.name_of = name_of
        self.finish_output = finish_output
        self.hook_failed = hook_failed
        self.asks = Asks(channel)
        self.watch: Any = None
        self._context = contextvars.copy_context()
        self._by_number: dict[int, Call] = {}
        self._meetings: dict[str | None, deque[Call]] = {}
        driver.waits = self._waits

    def _waits(self, run: Running) -> None:
        run.asker.flush()

    def add(self, call: Call) -> None:
        self._by_number[call.number] = call
        queue = self._meetings.get(call.meeting)
        if queue is None:
            self._meetings[call.meeting] = deque((call,))
            self._start(call)
        else:
            queue.append(call)

    def _start(self, call: Call) -> None:
        # In a context without a running hook, even if it is started when another call ends.
        loop = asyncio.get_running_loop()
        call.task = self._context.copy().run(loop.create_task, call.run())

    def ended(self, call: Call) -> None:
        self._by_number.pop(call.number, None)
        queue = self._meetings[call.meeting]
        queue.popleft()
        if queue:
            self._start(queue[0])
        else:
            del self._meetings[call.meeting]

    def cancel(self, number: int) -> None:
        call = self._by_number.get(number)
        if call is None or call.cancelled:
            return
        call.cancelled = True
        if call.task is None:
            self._meetings[call.meeting].remove(call)
            del self._by_number[number]
            self.channel.send({"type": "cancelled", "call": number})
        elif call.started:
            call.task.cancel()

    def flush_marked(self) -> None:
        """Sends what has ended of the call that has the thread."""
        call = self._by_number.get(self.driver.mark[0])
        if call is not None:
            call.flush()
