"""The plugin's hooks: which version of the API each follows, and what it takes and returns."""

from __future__ import annotations

import inspect
import json
import types
import typing
from collections.abc import Callable
from typing import Any

from teammy._host.errors import PacketRejected, Refused, ResultTypeError, StateInvalid
from teammy._host.model import fill, give, is_validation_error, problems
from teammy._host.running import Running, packet_of
from teammy._host.values import Packet, data_of, moment, to_json
from teammy.api.data import DataPacket, ExecutionMetadata, PluginState
from teammy.api.engine import MeetingEngine

_ENGINE = MeetingEngine()


class Hook:
    """A hook of a source. `version` is `0.2` or `0.3`."""

    def __init__(self, source: str, function: Callable[..., Any]) -> None:
        self.source = source
        self.function = function
        self.version = version_of(source, function)
        self.is_async = inspect.iscoroutinefunction(function)
        self.packets: list[type] = [DataPacket]
        self.state: Any = PluginState
        # The state that came last, and its JSON as the state's class writes it.
        self._normal: tuple[bytes | None, bytes | None] = (b"", None)
        if self.version == "0.3":
            first, second = _annotations(function)
            self.packets = [each for each in _choices(first) if hasattr(each, "model_validate")] or [
                DataPacket
            ]
            states = [each for each in _choices(second) if hasattr(each, "model_validate") or each is dict]
            self.state = states[0] if states else PluginState

    def arguments(self, run: Running, packet: Packet, state: bytes | None) -> tuple[tuple, bytes | None]:
        """The hook's arguments, and the JSON of the state that is among them."""
        if self.version == "0.2":
            return (packet_of(packet, run), _ENGINE), None
        made = self._state(state)
        if state is not self._normal[0]:
            self._normal = (state, to_json(made, "the state"))
        before = self._normal[1]
        return (self._packet(run, packet), made, _ENGINE), before

    def split(self, result: Any, before: bytes | None) -> tuple[Any, bytes | None]:
        """The output, and the state's JSON if it changed. A state of None says that it did not."""
        if not isinstance(result, tuple) or len(result) != 2:
            got = f"a tuple of {len(result)}" if isinstance(result, tuple) else type(result).__name__
            raise ResultTypeError(
                f"the hook for {self.source!r} takes a state, so it returns a tuple (output, state), not "
                f"{got}: use `return output, state`, or `return None, state` for no output"
            )
        output, state = result
        if state is None:
            return output, None
        if isinstance(state, (str, bytes, int, float, list, tuple)):
            raise ResultTypeError(
                f"the hook for {self.source!r} returned {type(state).__name__} as its state: the second "
                "item of the tuple is the PluginState"
            )
        after = to_json(state, "the state")
        if after == before:
            return output, None
        self._normal = (after, after)
        return output, after

    def _state(self, state: bytes | None) -> Any:
        if self.state is dict:
            return json.loads(state) if state and state != b"null" else {}
        try:
            if state is None or state == b"null":
                return self.state()
            return self.state.model_validate(json.loads(state))
        except ValueError as error:
            if is_validation_error(error):
                raise StateInvalid("ValidationError", problems(error)) from error
            raise

    def _packet(self, run: Running, packet: Packet) -> Any:
        value: Any = None
        if packet.kind == "json":
            try:
                value = json.loads(packet.payload)
            except ValueError as error:
                raise PacketRejected("ValidationError", "payload: not JSON") from error
        elif packet.kind == "text":
            value = packet.payload.decode()
        else:
            value = packet.payload
        failed = None
        for kind in self.packets:
            if kind is DataPacket:
                return self._bare(run, packet, value)
            try:
                return self._typed(kind, run, packet, value)
            except PacketRejected as error:
                failed = failed or error
        raise failed  # type: ignore[misc]

    def _typed(self, kind: Any, run: Running, packet: Packet, value: Any) -> Any:
        if not isinstance(value, dict) or packet.kind != "json":
            if "data" not in getattr(kind, "model_fields", {}):
                takes = f"{kind.__name__} takes a JSON object, and has no field data for other payloads"
                raise PacketRejected("ValidationError", f"payload: {packet.kind}; {takes}")
            value = {"data": value}
        if issubclass(kind, DataPacket):
            value["timestamp"] = moment(packet.timestamp)
            value["execution_metadata"] = ExecutionMetadata(meeting_id=run.meeting, source_name=self.source)
        try:
            return kind.model_validate(value)
        except ValueError as error:
            if is_validation_error(error):
                raise PacketRejected("ValidationError", problems(error)) from error
            raise

    def _bare(self, run: Running, packet: Packet, value: Any) -> DataPacket:
        about = ExecutionMetadata(meeting_id=run.meeting, source_name=self.source)
        envelope = {"timestamp": moment(packet.timestamp), "execution_metadata": about}
        extras = value if isinstance(value, dict) and packet.kind == "json" else {}
        extras = {name: each for name, each in extras.items() if name not in envelope}
        made = DataPacket.__new__(DataPacket)
        fill(made, envelope, extras)
        if "data" not in extras:
            give(made, data_of(packet, run.mode))
        return made


def version_of(source: str, function: Any) -> str:
    """`0.2` for a hook of two parameters, `0.3` for one of three."""
    if not callable(function):
        raise Refused("hooks", f"the hook for {source!r} is {type(function).__name__}, not an async function")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        raise Refused(
            "hooks", f"the hook for {source!r} has no signature: make it an async function"
        ) from None
    two, three = _takes(signature, 2), _takes(signature, 3)
    if two != three:
        return "0.2" if two else "0.3"
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [each for each in signature.parameters.values() if each.kind in positional]
    if two:
        required = sum(each.default is inspect.Parameter.empty for each in parameters)
        if required in (2, 3):
            return "0.2" if required == 2 else "0.3"
        names = [each.name for each in parameters]
        if names[1:2] == ["engine"]:
            return "0.2"
        if names[2:3] == ["engine"]:
            return "0.3"
        raise Refused(
            "hooks",
            f"the hook for {source!r} takes both two and three arguments: name its parameters (packet, "
            "engine) or (packet, state, engine), and use functools.wraps in decorators",
        )
    raise Refused(
        "hooks",
        f"the hook for {source!r} takes {signature}: its parameters are (packet, engine) or (packet, "
        "state, engine)",
    )


def _takes(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def _annotations(function: Any) -> tuple[Any, Any]:
    """The annotations of the first two positional parameters that are still to be given."""
    names = list(inspect.signature(function).parameters)[:2]
    inner = function
    while hasattr(inner, "func"):
        inner = inner.func
    inner = getattr(inner, "__func__", inner)
    if not inspect.isfunction(inspect.unwrap(inner)):
        inner = type(inner).__call__
    inner = inspect.unwrap(inner)
    try:
        hints = typing.get_type_hints(inner)
    except Exception:
        # One name may exist for type checkers only; the others count nevertheless.
        hints = {
            name: _evaluated(inner, hint) for name, hint in getattr(inner, "__annotations__", {}).items()
        }
    found = [hints.get(name) for name in names]
    return tuple(found + [None, None])[:2]  # type: ignore[return-value]


def _evaluated(function: Any, hint: Any) -> Any:
    if not isinstance(hint, str):
        return hint
    try:
        return eval(hint, getattr(function, "__globals__", {}))
    except Exception:
        return None


def _choices(hint: Any) -> list[Any]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [choice for each in typing.get_args(hint) for choice in _choices(each)]
    if typing.get_origin(hint) is dict:
        return [dict]
    return [hint] if isinstance(hint, type) else []


def checked_hooks(found: Any, sources: list[str]) -> dict[str, Hook]:
    """The plugin's hooks, one for each source of its metadata."""
    if not isinstance(found, dict):
        raise Refused(
            "hooks",
            f"get_data_receive_hooks returned {type(found).__name__}: return a dict of hooks by source",
        )
    without = [source for source in sources if source not in found]
    if without:
        raise Refused(
            "hooks",
            f"the metadata's sources name {_listed(without)}, and get_data_receive_hooks has no hook for "
            "that: add the hook, or take the source out of the metadata",
        )
    unknown = [source for source in found if source not in sources]
    if unknown:
        raise Refused(
            "hooks",
            f"get_data_receive_hooks has a hook for {_listed(unknown)}, which is not among the "
            "metadata's sources: add the source to the metadata, or take out the hook",
        )
    return {source: Hook(source, function) for source, function in found.items()}


def _listed(names: list[Any]) -> str:
    return " and ".join(repr(name) for name in names)
