"""Drives a hook's coroutine step by step, and marks each step with the hook's call."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, MutableSequence
from typing import Any, NoReturn

from teammy._host import context
from teammy._host.running import Running

# These end the process: the plugin asked for it, or nothing can be relied on any more.
FATAL = (SystemExit, KeyboardInterrupt, MemoryError)


class Driver:
    """`mark[0]` is the number of the call whose hook has the thread, or 0.

    `fatal` gets an error of `FATAL` that left a hook, with the mark still there, and does not return.
    `waits` is called when a hook begins to wait.
    """

    def __init__(self, mark: MutableSequence[int], fatal: Callable[[BaseException], NoReturn]) -> None:
        self.mark = mark
        self.fatal = fatal
        self.waits: Callable[[Running], None] = lambda _: None

    @types.coroutine
    def drive(self, coroutine: Any, run: Running) -> Any:
        """Does what `await coroutine` does."""
        mark, send, throw = self.mark, coroutine.send, coroutine.throw
        value: Any = None
        error: BaseException | None = None
        while True:
            mark[0] = run.live
            try:
                yielded = send(value) if error is None else throw(error)
            except StopIteration as end:
                mark[0] = 0
                return end.value
            except FATAL as fatal:
                self.fatal(fatal)
            except BaseException:
                mark[0] = 0
                raise
            mark[0] = 0
            self.waits(run)
            value = error = None
            try:
                value = yield yielded
            except GeneratorExit:
                mark[0] = run.live
                try:
                    coroutine.close()
                finally:
                    mark[0] = 0
                raise
            except BaseException as thrown:
                error = thrown

    def task_factory(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task:
        """Makes tasks that a hook starts carry the hook's mark."""
        run = context.current.get()
        if run is not None and asyncio.iscoroutine(coroutine):
            coroutine = _Marked(coroutine, run, self)
        return asyncio.Task(coroutine, loop=loop, **options)


class _Marked(Coroutine):
    """The coroutine of a task that a hook started."""

    def __init__(self, coroutine: Any, run: Running, driver: Driver) -> None:
        self._coroutine, self._run, self._driver = coroutine, run, driver

    def _step(self, method: Callable[..., Any], *args: Any) -> Any:
        mark = self._driver.mark
        mark[0] = self._run.live
        try:
            return method(*args)
        except FATAL as fatal:
            self._driver.fatal(fatal)
        finally:
            mark[0] = 0

    def send(self, value: Any) -> Any:
        return self._step(self._coroutine.send, value)

    def throw(self, *error: Any) -> Any:
        return self._step(self._coroutine.throw, *error)

    def close(self) -> None:
        self._step(self._coroutine.close)

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def __getattr__(self, name: str) -> Any:
        # cr_frame and the like, for the representation of tasks.
        return getattr(self._coroutine, name)
