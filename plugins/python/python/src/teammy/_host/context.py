"""Which hook runs: what `MeetingEngine`, a singleton of the whole process, looks up.

A contextvar carries it, so each task that a hook starts belongs to that hook.
"""

from __future__ import annotations

import contextvars
from typing import Any, Protocol


class Running(Protocol):
    """A hook that runs, as whoever looks it up needs it; `_host.running` has the one there is."""

    instance: str
    meeting: str | None
    over: bool

    def set(self, info: Any, key: str, data: object) -> None: ...

    async def get(self, info: Any, key: str) -> Any: ...

    async def history(self, info: Any, last: int, within: Any) -> list[Any]: ...

    async def prompt(self, op: str, messages: Any, temperature: float) -> str: ...


current: contextvars.ContextVar[Any] = contextvars.ContextVar("teammy_hook", default=None)


class NoHook(RuntimeError):
    """The engine was used where no hook runs."""


def running(what: str) -> Running:
    """The running hook, for `what`, which is named in the error if there is none."""
    found = current.get()
    if found is None:
        raise NoHook(
            f"{what} needs a running hook: call it in a data receive hook, on_meeting_start or "
            "on_meeting_end, or in a task that one of them started"
        )
    if found.over:
        raise NoHook(
            f"{what} came after its hook had ended, when everything the hook did was already committed: "
            "await what a hook starts before it returns"
        )
    return found
