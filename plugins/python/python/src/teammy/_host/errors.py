"""Errors, and where in the plugin's own code they came from."""

from __future__ import annotations

import inspect
import os
import site
import sys
import sysconfig
from types import TracebackType
from typing import Any

from teammy._host.context import NoHook


class Refused(Exception):
    """The plugin cannot be used as it is.

    `message` says what to do; `path` is the key of the configuration that is at fault.
    """

    def __init__(self, code: str, message: str, path: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.path = path


class PacketRejected(Exception):
    """A packet is not what the hook takes. `at` names fields and kinds of problems, and quotes no value."""

    def __init__(self, kind: str, at: str) -> None:
        super().__init__(f"the packet is not what the hook takes: {at}")
        self.kind = kind
        self.at = at


class StateInvalid(Exception):
    """The stored state is not what the hook takes. `at` is as in `PacketRejected`."""

    def __init__(self, kind: str, at: str) -> None:
        super().__init__(f"the stored state is not what the hook takes: {at}")
        self.kind = kind
        self.at = at


class ResultTypeError(TypeError):
    """A hook gave Teammy an object of a type that it cannot take. The text names types only."""


class ResultValueError(ValueError):
    """A hook gave Teammy a value that it cannot take. The text quotes no value."""


# Their texts quote nothing of a meeting, so the log may have them.
QUOTES_NOTHING = (ResultTypeError, ResultValueError, NoHook)


def name_of(error: BaseException) -> str:
    """The name of an error's type, as its author would write it."""
    if isinstance(error, (PacketRejected, StateInvalid)):
        return error.kind
    if isinstance(error, ResultTypeError):
        return "TypeError"
    if isinstance(error, ResultValueError):
        return "ValueError"
    return printable(type(error).__name__)


def printable(text: str) -> str:
    """The text without what UTF-8 cannot hold."""
    return text.encode("utf-8", "backslashreplace").decode()


class Places:
    """Tells the plugin's own code from its dependencies'."""

    def __init__(self, folder: str) -> None:
        self.folder = os.path.realpath(folder)
        self._not_own = {os.path.realpath(path) for path in _library_folders()}
        self._not_own.discard(self.folder)
        self._known: dict[str, str | None] = {}

    def own(self, filename: str) -> str | None:
        """The path relative to the plugin's folder, or None for a file of somebody else."""
        if filename not in self._known:
            self._known[filename] = self._find(filename)
        return self._known[filename]

    def _find(self, filename: str) -> str | None:
        path = os.path.realpath(filename)
        if not _within(path, self.folder):
            return None
        if any(_within(path, folder) for folder in self._not_own if _within(folder, self.folder)):
            return None
        relative = os.path.relpath(path, self.folder)
        return None if "site-packages" in relative.split(os.sep) else printable(relative)

    def last(self, traceback: TracebackType | None) -> str | None:
        """The last place in the plugin's own code."""
        found = None
        while traceback is not None:
            code = traceback.tb_frame.f_code
            path = self.own(code.co_filename)
            if path is not None:
                found = f"{path}:{traceback.tb_lineno} in {printable(code.co_name)}"
            traceback = traceback.tb_next
        return found

    def of(self, function: Any) -> str | None:
        """Where a function is defined."""
        while hasattr(function, "func"):
            function = function.func
        function = inspect.unwrap(getattr(function, "__func__", function))
        if not inspect.isfunction(function):
            function = inspect.getattr_static(type(function), "__call__", None)
        code = getattr(function, "__code__", None)
        path = self.own(code.co_filename) if code else None
        return f"{path}:{code.co_firstlineno} in {printable(code.co_name)}" if code and path else None

    def at(self, error: BaseException, function: Any = None) -> str | None:
        """The last place of an error, or else where the function that raised it is defined."""
        if isinstance(error, PacketRejected):
            return error.at
        if isinstance(error, StateInvalid):
            return f"state: {error.at}"
        return self.last(error.__traceback__) or (self.of(function) if function else None)

    def described(self, error: BaseException, function: Any = None) -> str:
        """The type and the place of an error, for a message."""
        at = self.at(error, function)
        return f"{name_of(error)} at {at}" if at else name_of(error)


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + os.sep)


def _library_folders() -> set[str]:
    found = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    if sys.prefix != sys.base_prefix:
        found.add(sys.prefix)
    found.update(getattr(site, "getsitepackages", lambda: [])())
    return {path for path in found if path}
