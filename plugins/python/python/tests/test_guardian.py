"""What becomes of processes when one of them ends. Linux only."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from node import Node, until_gone

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc and pidfd_open")

# The child leaves the process group and its parent, so that only the subreaper finds it.
ORPHAN = """
SCRIPT = "; ".join([
    "import os",
    "os.fork() and os._exit(0)",
    "os.setsid()",
    "print(os.getpid(), flush=True)",
    "os.execlp('sleep', 'sleep', '1000')",
])
def orphan():
    child = subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE)
    return int(child.stdout.readline())
async def hook(packet, engine):
    if packet.data == "pids": return [os.getpid(), orphan()]
    if packet.data == "segv": os.kill(os.getpid(), signal.SIGSEGV)
    if packet.data == "exit": sys.exit(3)
    if packet.data == "_exit": os._exit(4)
    if packet.data == "interrupt": raise KeyboardInterrupt
    if packet.data == "memory": raise MemoryError
    if packet.data == "allocate": return bytes(8 << 30)
    if packet.data == "subtask": await asyncio.gather(crash())
    if packet.data == "hang":
        print("hanging", flush=True)
        while True: pass
    return "ok"
async def crash():
    await asyncio.sleep(0)
    os._exit(5)
"""


def pids(node: Node) -> tuple[int, int]:
    import json

    host, orphan = json.loads(node.result("pids").blobs[0])
    return host, orphan


def test_the_control_socket_closes(start):
    node = start(ORPHAN)
    host, orphan = pids(node)
    node.control.close()
    assert node.wait() == 0
    until_gone(host)
    until_gone(orphan)


def test_the_node_asks_to_kill(start):
    node = start(ORPHAN)
    host, orphan = pids(node)
    call = node.run("hang")
    while not node.logs:
        # The host prints, and then answers nothing any more.
        node.send({"type": "ping", "at": 0})
        _read_log(node)
    node.control.send(b"k")
    assert node.report() == {"signal": signal.SIGKILL, "call": call}
    assert node.wait() == 0
    until_gone(orphan)


def _read_log(node: Node) -> None:
    import struct

    need = 4
    while len(node._rest) < need:
        node._rest += node.socket.recv(65536)
        if len(node._rest) >= 4:
            need = 4 + struct.unpack_from("<I", node._rest)[0]
    node.logs.append(node._rest)


@pytest.mark.parametrize(
    ("payload", "end"),
    [
        ("segv", {"signal": signal.SIGSEGV}),
        ("exit", {"exited": 3}),
        ("_exit", {"exited": 4}),
        ("subtask", {"exited": 5}),
        ("interrupt", {"exited": 130}),
        ("memory", {"exited": 71}),
    ],
)
def test_the_report_names_the_call(start, payload, end):
    node = start(ORPHAN)
    _, orphan = pids(node)
    call = node.run("ok", payload)
    assert node.report() == {**end, "call": call}
    assert node.wait() == 0
    until_gone(orphan)
    if payload in ("exit", "memory"):
        # What had ended before is sent.
        assert node.read()["hooks"] == [{"output": "text"}]
    with pytest.raises(EOFError):
        while node.read():
            pass


def test_the_limit_of_memory(start):
    node = start(ORPHAN, limit=1 << 30)
    assert node.result("ok").blobs == [b"ok"]
    call = node.run("allocate")
    assert node.report() == {"exited": 71, "call": call}


def test_a_host_that_is_killed_between_hooks_names_no_call(start):
    node = start(ORPHAN)
    host, orphan = pids(node)
    os.kill(host, signal.SIGKILL)
    assert node.report() == {"signal": signal.SIGKILL, "call": 0}
    until_gone(orphan)


def test_the_guardian_is_killed(start):
    node = start(ORPHAN)
    host, orphan = pids(node)
    os.kill(node.process.pid, signal.SIGKILL)
    until_gone(host)
    # Nobody is left who knows of this one.
    os.kill(orphan, signal.SIGKILL)


def test_the_guardian_gets_sigterm(start):
    node = start(ORPHAN)
    host, orphan = pids(node)
    node.process.send_signal(signal.SIGINT)
    assert node.result("ok").blobs == [b"ok"]
    node.process.terminate()
    assert node.wait() == 0
    until_gone(host)
    until_gone(orphan)


def test_the_protocols_socket_is_not_inherited(start):
    node = start(
        """
        async def hook(packet, engine):
            listed = "import os; os.system(f'ls -l /proc/{os.getpid()}/fd')"
            seen = subprocess.run([sys.executable, "-c", listed], stdout=subprocess.PIPE, text=True).stdout
            same = os.path.samestat(os.fstat(1), os.fstat(2))
            return ["socket:" in seen, os.readlink("/proc/self/fd/0"), same]
        """
    )
    assert node.result("x").blobs == [b'[false,"/dev/null",true]']


def test_the_environment_of_the_host(start):
    node = start("async def hook(packet, engine): return [os.getcwd(), sys.flags.utf8_mode, sys.path[0:2]]")
    import json

    folder, utf8, path = json.loads(node.result("x").blobs[0])
    assert folder == os.path.realpath(node.folder) and utf8 == 1 and path[0] == str(node.folder)


OLD = [os.path.expanduser(f"~/.pyenv/versions/{each}/bin/python") for each in ("3.6.15", "3.9.18")]


@pytest.mark.parametrize("python", [each for each in OLD if os.path.exists(each)] or [None])
def test_an_old_python_says_so(tmp_path, python):
    if python is None:
        pytest.skip("no Python older than 3.10 here")
    node = Node(tmp_path, python=python)
    refused = node.load()
    assert refused["code"] == "python-version" and "3.10 or newer" in refused["message"]
    assert node.report() == {"exited": 0, "call": 0}
    node.close()
