"""Payloads to what a hook gets, and what a hook returns to payloads."""

from __future__ import annotations

import dataclasses
import datetime
import json
from typing import Any, NamedTuple

from teammy._host.errors import ResultTypeError, ResultValueError
from teammy._host.model import is_model
from teammy.api.data import DataPacket

# As in a frame; what is larger cannot be sent.
LARGEST = 63 << 20

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_MICROSECOND = datetime.timedelta(microseconds=1)
_ENVELOPE = {"timestamp", "execution_metadata", "meeting_metadata"}


class Packet(NamedTuple):
    """A packet as the node sends it; `timestamp` is in microseconds since 1970."""

    seq: int
    timestamp: int
    participant: str | None
    kind: str
    payload: bytes


class Output(NamedTuple):
    """An output: `kind` is `json`, `text` or `bytes`."""

    kind: str
    payload: bytes


def moment(microseconds: int) -> datetime.datetime:
    return _EPOCH + datetime.timedelta(microseconds=microseconds)


def microseconds(value: datetime.datetime | datetime.timedelta) -> int:
    """Of a duration, or since 1970 of a moment; a moment without a time zone is local time."""
    if isinstance(value, datetime.datetime):
        value = value.astimezone(datetime.timezone.utc) - _EPOCH
    return value // _MICROSECOND


def data_of(packet: Packet, mode: str) -> Any:
    """A payload as 0.2 has it: JSON is its text, or what it parses to if `mode` is `value`."""
    if packet.kind == "bytes":
        return packet.payload
    text = packet.payload.decode()
    return json.loads(text) if packet.kind == "json" and mode == "value" else text


def to_output(value: Any) -> Output | None:
    """What a hook returned, as an output."""
    if value is None:
        return None
    if isinstance(value, str):
        return Output("text", _utf8(value, "the hook's output"))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return Output("bytes", bytes(value))
    return Output("json", to_json(value, "the hook's output"))


def to_json(value: Any, what: str) -> bytes:
    """A value as JSON. Raises an error that says what `what` is to be instead."""
    try:
        return _utf8(_ENCODER.encode(value), what)
    except (ResultTypeError, ResultValueError):
        raise
    except _NotJson as error:
        raise ResultTypeError(
            f"{what} has an object of type {error}, which is not JSON: convert it to a str, a number, a "
            "list or a dict, or return a pydantic object or a dataclass"
        ) from None
    except TypeError:
        raise ResultTypeError(
            f"{what} has a dict with keys that are not strings: convert the keys to str"
        ) from None
    except ValueError:
        raise ResultValueError(
            f"{what} is not JSON, because it has NaN or an infinite number, or contains itself: use None "
            "or a string in its place"
        ) from None


class _NotJson(TypeError):
    pass


def _plain(value: Any) -> Any:
    """What the JSON encoder does not know by itself."""
    if is_model(value):
        return _dumped(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise _NotJson(f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins."))


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)


def _dumped(model: Any) -> Any:
    try:
        # The envelope says when and where: the node has that of each output.
        return model.model_dump(mode="json", exclude=_ENVELOPE if isinstance(model, DataPacket) else None)
    except (TypeError, ValueError) as error:
        raise ResultTypeError(
            f"an object of type {type(model).__qualname__} has a field that is not JSON "
            f"({type(error).__name__}): give the field a type that JSON has, or a serializer"
        ) from None


def _utf8(text: str, what: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise ResultValueError(
            f"{what} has text that UTF-8 cannot hold (a lone surrogate): replace it, for example with "
            "text.encode('utf-8', 'replace').decode()"
        ) from None
