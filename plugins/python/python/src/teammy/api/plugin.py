"""The class that a plugin derives from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from teammy.api.data import DataPacket, ExecutionMetadata, MeetingMetadata, PluginState
from teammy.api.engine import MeetingEngine

__all__ = [
    "DataPacket",
    "ExecutionMetadata",
    "InCallPlugin",
    "InCallPluginMetadata",
    "MeetingEngine",
    "MeetingMetadata",
    "PluginConfig",
    "PluginState",
]


class PluginConfig(ABC):
    """The settings of a plugin. A plugin derives a dataclass or another class from it."""


@dataclass(frozen=True)
class InCallPluginMetadata:
    """What a plugin is: its name and version, the sources that it has hooks for, and its default settings."""

    name: str
    version: str
    sources: list[str]
    config: PluginConfig


class InCallPlugin(ABC):
    """A plugin. Its class is never instantiated: all methods are class methods."""

    # 0.2: (packet, engine) -> output; 0.3: (packet, state, engine) -> (output, state).
    HookFunction = Callable[..., Awaitable[Any]]

    @classmethod
    @abstractmethod
    async def get_metadata(cls) -> InCallPluginMetadata:
        """What the plugin is."""

    @classmethod
    @abstractmethod
    async def on_install(cls) -> None:
        """Runs once after installation, for example to download what the plugin needs."""

    @classmethod
    @abstractmethod
    async def on_startup(cls, config: PluginConfig) -> None:
        """Runs when a process starts, before any meeting, with the operator's settings."""

    @classmethod
    @abstractmethod
    async def get_data_receive_hooks(cls) -> dict[str, HookFunction]:
        """The hook for each source of the metadata."""

    @classmethod
    @abstractmethod
    async def on_meeting_start(cls, meeting_info: MeetingMetadata, engine: MeetingEngine) -> None:
        """Runs before the first hook of a meeting."""

    @classmethod
    @abstractmethod
    async def on_meeting_end(cls, meeting_info: MeetingMetadata, engine: MeetingEngine) -> None:
        """Runs after the last hook of a meeting."""

    @classmethod
    @abstractmethod
    async def on_shutdown(cls, engine: MeetingEngine) -> None:
        """Runs before the process ends. It may prompt, but it has no datastore, because no meeting runs."""
