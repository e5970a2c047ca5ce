"""Warns about class variables of the plugin that change while hooks run."""

from __future__ import annotations

import dataclasses
import types
from collections import deque
from collections.abc import Callable
from typing import Any

from teammy._host.model import is_model

_NOT_DATA = (
    types.FunctionType,
    classmethod,
    staticmethod,
    property,
    type,
    types.ModuleType,
    types.BuiltinFunctionType,
)
_SCALARS = (str, int, float, bool, bytes, type(None))
_FIRST = 100
_EVERY = 1000
_MOST_NODES = 512


class ClassWatch:
    """Compares the plugin's class variables with what they were after `on_startup`; warns once about each."""

    def __init__(self, cls: type, warn: Callable[[str], None]) -> None:
        own = cls.__module__.partition(".")[0]
        self._classes = [each for each in cls.__mro__ if each.__module__.partition(".")[0] == own]
        self._module = own
        self._warn = warn
        self._warned: set[tuple[type, str]] = set()
        self._hooks = 0
        self._before = self._look()

    def hook_ended(self) -> None:
        self._hooks += 1
        if self._hooks <= _FIRST or self._hooks % _EVERY == 0:
            self.check()

    def check(self) -> None:
        now = self._look()
        if now == self._before:
            return
        for name in {*now, *self._before}:
            if now.get(name) != self._before.get(name) and name not in self._warned:
                self._warned.add(name)
                self._warn(
                    f"the class variable {name[0].__name__}.{name[1]} changes while hooks run: all "
                    "meetings of this instance share it, it is lost when the process restarts, and it "
                    "keeps what a failed hook did. Use the datastore or a PluginState instead; for a "
                    "cache it is fine"
                )
        self._before = now

    def _look(self) -> dict[tuple[type, str], Any]:
        found = {}
        for cls in self._classes:
            for name, value in list(vars(cls).items()):
                if name.startswith(("__", "_abc_")) or isinstance(value, _NOT_DATA):
                    continue
                found[cls, name] = self._print(value, 4, [_MOST_NODES])
        return found

    def _print(self, value: Any, depth: int, left: list[int]) -> Any:
        """What tells a value from a changed one. What has no plain data in it counts by its identity."""
        if isinstance(value, _SCALARS):
            return value
        left[0] -= 1
        if depth == 0 or left[0] <= 0:
            return id(value)
        if isinstance(value, dict):
            items = list(value.items())[-left[0] :]
            return (
                "dict",
                len(value),
                [(id(key), self._print(each, depth - 1, left)) for key, each in items],
            )
        if isinstance(value, (list, tuple, deque)):
            items = list(value)[-left[0] :]
            return (type(value), len(value), [self._print(each, depth - 1, left) for each in items])
        if isinstance(value, (set, frozenset)):
            return ("set", hash(frozenset(value)))
        if isinstance(value, bytearray):
            return bytes(value)
        own = type(value).__module__.partition(".")[0] == self._module
        if (own or is_model(value) or dataclasses.is_dataclass(value)) and hasattr(value, "__dict__"):
            return (id(value), self._print(dict(vars(value)), depth - 1, left))
        return id(value)
