"""The guardian: forks the host, and leaves nothing of it behind.

It runs no code of the plugin, and imports little, so that it survives whatever the plugin does.
"""

from __future__ import annotations

import mmap
import os
import resource
import select
import signal
import sys
import time

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
# How long the guardian tries to kill what does not die, such as a process in an uninterruptible wait.
_LONGEST_KILL = 10.0

_LINUX = sys.platform.startswith("linux")
_CONTROL = 0
_PROTOCOL = 1
_LOG = 2


def main(arguments: list[str]) -> None:
    """`arguments` are the folder of the package `teammy`, and the limit of memory in bytes or 0."""
    limit = int(arguments[1]) if len(arguments) > 1 else 0
    shared = mmap.mmap(-1, 8)
    if _LINUX:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    wakeup = _watch_signals()
    guardian = os.getpid()
    host = os.fork()
    if host == 0:
        _become_host(shared, guardian, limit, wakeup)
    _drop(_PROTOCOL)
    Guardian(host, shared, wakeup[0]).run()


def _prctl(option: int, value: int) -> None:
    try:
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        # A Python or a libc without it: a process that leaves its parent is then not found.
        pass


def _watch_signals() -> tuple[int, int]:
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return read, write


def _drop(descriptor: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, descriptor)
    os.close(null)


def _become_host(shared: mmap.mmap, guardian: int, limit: int, wakeup: tuple[int, int]) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for descriptor in wakeup:
        os.close(descriptor)
    if _LINUX:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guardian:
            os._exit(0)
    protocol = os.dup(_PROTOCOL)
    os.dup2(_LOG, 1)
    _drop(_CONTROL)
    if limit:
        kind = resource.RLIMIT_DATA if _LINUX else resource.RLIMIT_AS
        resource.setrlimit(kind, (limit, limit))
    try:
        from teammy._host.host import main as run_host

        run_host(protocol, memoryview(shared).cast("Q"))  # type: ignore[arg-type]
    except MemoryError:
        os._exit(71)
    os._exit(0)


class Guardian:
    """The process that waits."""

    def __init__(self, host: int, shared: mmap.mmap, wakeup: int) -> None:
        self._host = host
        self._shared = shared
        self._wakeup = wakeup
        self._status: int | None = None

    def run(self) -> None:
        poll = select.poll()
        poll.register(_CONTROL, select.POLLIN)
        poll.register(self._wakeup, select.POLLIN)
        while True:
            self._reap()
            if self._status is not None:
                self._kill_all()
                self._report()
                return self._leave()
            ready = dict(poll.poll())
            if self._wakeup in ready and signal.SIGTERM in os.read(self._wakeup, 512):
                self._kill_all()
                return self._leave()
            if _CONTROL in ready:
                self._take_control()

    def _take_control(self) -> None:
        try:
            asked = os.read(_CONTROL, 64)
        except OSError:
            asked = b""
        if not asked:
            self._kill_all()
            self._leave()
        if b"k" in asked:
            self._kill_all()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._host:
                self._status = status

    def _kill_all(self) -> None:
        """Kills all descendants, and those that they make meanwhile."""
        until = time.monotonic() + _LONGEST_KILL
        while True:
            self._reap()
            found = descendants(os.getpid())
            if found is None:
                # Without /proc only the host is known; its process group follows when the guardian leaves.
                found = [self._host] if self._status is None else []
            killed = [pid for pid in found if _kill(pid)]
            if not killed or time.monotonic() > until:
                return
            select.select([], [], [], 0.001)

    def _report(self) -> None:
        call = memoryview(self._shared).cast("Q")[0]
        status = self._status or 0
        if os.WIFSIGNALED(status):
            end = f'"signal": {os.WTERMSIG(status)}'
        else:
            end = f'"exited": {os.WEXITSTATUS(status)}'
        try:
            os.write(_CONTROL, f'{{{end}, "call": {call}}}\n'.encode())
        except OSError:
            pass

    def _leave(self) -> None:
        if descendants(os.getpid()) is None and os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(0)


def _kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        # Ended, or of another user.
        return False
    return True


def descendants(root: int) -> list[int] | None:
    """All descendants of a process that it has not reaped, or None where there is no /proc."""
    if not os.path.exists("/proc/self/stat"):
        return None
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                parent = file.read().rpartition(b")")[2].split()[1]
        except (OSError, IndexError):
            continue
        children.setdefault(int(parent), []).append(int(name))
    found, queue = [], [root]
    while queue:
        for child in children.get(queue.pop(), ()):
            queue.append(child)
            found.append(child)
    return found
