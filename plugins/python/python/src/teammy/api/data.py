"""The data that hooks take and return.

One set of classes serves both versions of the API. In 0.2 they are dataclasses: positional arguments, and
`dataclasses.asdict`, `replace` and `is_dataclass` work. In 0.3 they are pydantic models, and plugins declare
subclasses of `DataPacket` and `PluginState`.
"""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

from teammy._host import context
from teammy._host.model import Model, fill, given

__all__ = ["DataPacket", "ExecutionMetadata", "MeetingMetadata", "PluginState"]


class MeetingMetadata(Model):
    """The meeting that a hook runs in, and the instance of the plugin, as the configuration names it."""

    meeting_id: str
    plugin_name: str

    def __init__(self, meeting_id: Any, plugin_name: Any) -> None:
        fill(self, {"meeting_id": meeting_id, "plugin_name": plugin_name}, {})

    # pydantic then validates without calling __init__.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]


class ExecutionMetadata(Model):
    """The meeting of a packet, and the source that published it (0.3)."""

    meeting_id: str
    source_name: str


class DataPacket(Model, extra="allow"):
    """A packet of a meeting.

    In 0.2: `DataPacket(timestamp, meeting_metadata, data)`. In 0.3, a subclass names the fields of the JSON
    object that a packet has; `DataPacket` itself keeps them all.
    """

    timestamp: datetime.datetime | None = None
    execution_metadata: ExecutionMetadata | None = None

    def __init__(self, *args: Any, **fields: Any) -> None:
        if type(self) is DataPacket and (args or "meeting_metadata" in fields or "data" in fields):
            _fill_packet(self, args, fields)
        else:
            super().__init__(*args, **fields)

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> Any:
        if name == "meeting_metadata":
            execution = self.__dict__.get("execution_metadata")
            if execution is not None:
                hook = context.current.get()
                return MeetingMetadata(execution.meeting_id, hook.instance if hook else "")
        if name == "data":
            for data in given(self):
                return data
        return super().__getattr__(name)  # type: ignore[misc]


class PluginState(Model, extra="allow"):
    """The state of an instance in a meeting (0.3).

    A subclass names the fields; `PluginState` itself keeps them all.
    """

    timestamp: datetime.datetime | None = None


_POSITIONAL = ("timestamp", "meeting_metadata", "data")


def _fill_packet(packet: DataPacket, args: tuple, fields: dict[str, Any]) -> None:
    if len(args) > 3:
        raise TypeError(f"DataPacket takes 3 positional arguments: {', '.join(_POSITIONAL)}")
    for name, value in zip(_POSITIONAL, args):
        if name in fields:
            raise TypeError(f"DataPacket got two values for {name}")
        fields[name] = value
    missing = [name for name in _POSITIONAL if name not in fields]
    if missing and "execution_metadata" not in fields:
        raise TypeError(f"DataPacket lacks {', '.join(missing)}")
    envelope = {
        "timestamp": fields.pop("timestamp", None),
        "execution_metadata": fields.pop("execution_metadata", None),
    }
    fill(packet, envelope, fields)


class _OfOne:
    """A class attribute that subclasses do not have: a subclass is a model, not a dataclass."""

    def __init__(self, owner: type, value: Any) -> None:
        self.owner, self.value = owner, value

    def __get__(self, instance: Any, owner: type) -> Any:
        if owner is not self.owner:
            raise AttributeError("not a dataclass")
        return self.value


def _dataclass_like(cls: type, fields: list[tuple[str, Any]]) -> None:
    like = dataclasses.make_dataclass(cls.__name__, fields)
    for name in ("__dataclass_fields__", "__dataclass_params__", "__match_args__"):
        type.__setattr__(cls, name, _OfOne(cls, getattr(like, name)))


_dataclass_like(MeetingMetadata, [("meeting_id", str), ("plugin_name", str)])
_dataclass_like(
    DataPacket, [("timestamp", datetime.datetime), ("meeting_metadata", MeetingMetadata), ("data", object)]
)
