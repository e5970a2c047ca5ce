"""One run of a hook: what it has set and asked for, and what it takes and leaves."""

from __future__ import annotations

import datetime
import json
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol

from teammy._host import context
from teammy._host.errors import ResultTypeError, ResultValueError
from teammy._host.model import fill
from teammy._host.values import LARGEST, Output, Packet, data_of, microseconds, moment, to_json, to_output
from teammy.api.data import DataPacket, MeetingMetadata


class Asker(Protocol):
    """Who answers what a hook asks for: the node, or a test."""

    def flush(self) -> None:
        """Called when the hook begins to wait."""

    async def get(self, key: str) -> bytes | None: ...

    async def history(self, last: int, within: int | None) -> list[Packet]: ...

    async def prompt(self, op: str, messages: bytes, temperature: float) -> str: ...


class Effects(NamedTuple):
    """What a hook leaves that ended well: keys and their JSON, an output, the state's JSON if it changed."""

    keys: dict[str, bytes]
    output: Output | None = None
    state: bytes | None = None

    def size(self) -> int:
        size = sum(map(len, self.keys.values())) + sum(map(len, self.keys))
        if self.output is not None:
            size += len(self.output.payload)
        return size + len(self.state or b"")


class Running:
    """The engine of one hook while it runs. `known` are the keys that its call has read or set so far."""

    __slots__ = ("about", "asker", "instance", "known", "live", "meeting", "mode", "over", "sets", "_token")

    def __init__(
        self,
        asker: Asker,
        meeting: str | None,
        about: MeetingMetadata,
        mode: str,
        known: dict[str, bytes | None],
        live: int = 0,
    ) -> None:
        self.asker = asker
        self.meeting = meeting
        self.about = about
        self.instance = about.plugin_name
        self.mode = mode
        self.known = known
        self.sets: dict[str, bytes] = {}
        self.over = False
        # The call's number while the hook runs, and 0 afterwards.
        self.live = live

    def __enter__(self) -> Running:
        self._token = context.current.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.over = True
        self.live = 0
        context.current.reset(self._token)

    def set(self, info: Any, key: str, data: object) -> None:
        self._check(info, key)
        self.sets[key] = to_json(data, "the value for a key")

    async def get(self, info: Any, key: str) -> Any:
        self._check(info, key)
        if key in self.sets:
            return json.loads(self.sets[key])
        if key not in self.known:
            value = await self.asker.get(key)
            self.known.setdefault(key, value)
            if key in self.sets:
                value = self.sets[key]
        else:
            value = self.known[key]
        return None if value is None else json.loads(value)

    async def history(self, info: Any, last: int, within: datetime.timedelta | None) -> list[DataPacket]:
        self._check(info, "")
        if isinstance(last, bool) or not isinstance(last, int) or last < 0:
            raise ValueError("num_packets is the number of packets, or 0 for all")
        duration = None if within is None else max(0, microseconds(within))
        packets = await self.asker.history(last, duration)
        return [packet_of(each, self) for each in packets]

    async def prompt(self, op: str, messages: Any, temperature: float) -> str:
        if not isinstance(messages, (list, tuple)) or not messages:
            raise TypeError(f"{op} takes a list of messages, each a dict with role and content")
        return await self.asker.prompt(op, to_json(messages, "the list of messages"), float(temperature))

    def _check(self, info: Any, key: str) -> None:
        if self.meeting is None:
            raise context.NoHook("the datastore belongs to a meeting, and on_shutdown runs in none")
        meeting = info.get("meeting_id") if isinstance(info, dict) else getattr(info, "meeting_id", None)
        if meeting is not None and meeting != self.meeting:
            raise ResultValueError(
                "the hook gave the datastore the metadata of another meeting than its own: pass the metadata "
                "of its packet"
            )
        if not isinstance(key, str):
            raise TypeError(f"a key is a str, not {type(key).__name__}")
        try:
            key.encode()
        except UnicodeEncodeError:
            raise ValueError("a key is text that UTF-8 can hold, without lone surrogates") from None


def packet_of(packet: Packet, run: Running) -> DataPacket:
    """A packet in the form of 0.2."""
    made = DataPacket.__new__(DataPacket)
    envelope = {"timestamp": moment(packet.timestamp), "execution_metadata": None}
    fill(made, envelope, {"meeting_metadata": run.about, "data": data_of(packet, run.mode)})
    return made


Drive = Callable[[Any, Running], Awaitable[Any]]


async def undisturbed(awaitable: Any, run: Running) -> Any:
    """The plain way to drive a hook."""
    return await awaitable


async def run_hook(
    hook: Any, run: Running, packet: Packet, state: bytes | None, drive: Drive = undisturbed
) -> Effects:
    """Runs a data receive hook over a packet. Raises what the hook raises; nothing is left of it then."""
    with run:
        args, before = hook.arguments(run, packet, state)
        result = (
            await drive(hook.function(*args), run)
            if hook.is_async
            else await drive(_started(hook, args), run)
        )
        run.over = True
        if hook.version == "0.2":
            effects = Effects(run.sets, to_output(result))
        else:
            output, after = hook.split(result, before)
            effects = Effects(run.sets, to_output(output), after)
        if effects.keys or effects.output is not None or effects.state is not None:
            check_size(effects)
        return effects


async def run_event(
    function: Callable[..., Any], run: Running, args: tuple, drive: Drive = undisturbed
) -> Effects:
    """Runs on_meeting_start, on_meeting_end or on_shutdown; their results are not outputs."""
    with run:
        await drive(_awaited(function, args), run)
        run.over = True
        effects = Effects(run.sets)
        check_size(effects)
        return effects


async def _started(hook: Any, args: tuple) -> Any:
    made = hook.function(*args)
    if not hasattr(made, "__await__"):
        raise ResultTypeError(f"the hook for {hook.source!r} is not async: define it with `async def`")
    return await made


async def _awaited(function: Callable[..., Any], args: tuple) -> Any:
    made = function(*args)
    return await made if hasattr(made, "__await__") else made


def check_size(effects: Effects) -> None:
    if effects.size() > LARGEST:
        raise ResultValueError(
            f"the hook's output, state and keys take more than {LARGEST >> 20} MiB: return less, or set "
            "fewer keys"
        )
