"""The host's end of the protocol, with a real guardian and a real host."""

from __future__ import annotations

import json
import os
import sys

import pytest
from node import frame


def test_load_and_start(start):
    node = start(
        config="Settings()",
        load=False,
        hook="""
        @dataclass
        class Settings(PluginConfig):
            limit: int = 3
        async def hook(packet, engine): return P.config.limit
    """,
    )
    loaded = node.load()
    about = {"name": "p", "version": "1.0", "sources": ["chat"], "config": {"limit": 3}, "class": "plugin.P"}
    assert loaded.head == {
        "type": "loaded",
        "protocol": 1,
        "python": ".".join(map(str, sys.version_info[:3])),
        "plugin": about,
    }
    assert node.request({"type": "install"}).head == {"type": "installed"}
    refused = node.request({"type": "startup", "config": {"limits": 1}})
    assert (refused["code"], refused["path"]) == ("config", "limits")
    assert "did you mean `limit`?" in refused["message"]
    assert node.request({"type": "startup", "config": {"limit": 4}}).head == {
        "type": "started",
        "hooks": {"chat": "0.2"},
    }
    assert node.result("x").blobs == [b"4"]


def test_methods_that_fail_refuse(start):
    node = start(
        methods="""
        @classmethod
        async def on_install(cls): raise KeyError("secret")
        @classmethod
        async def on_startup(cls, config): raise OSError("secret")
    """,
        load=False,
    )
    node.load()
    refused = node.request({"type": "install"})
    assert refused["code"] == "failed" and "KeyError at plugin/__init__.py:" in refused["message"]
    assert "secret" not in refused["message"]
    assert "on_startup failed: OSError at" in node.request({"type": "startup", "config": {}})["message"]


def test_another_protocol_is_refused(start):
    node = start(load=False)
    answer = node.request({"type": "load", "protocol": 2, "instance": "i", "path": str(node.folder)})
    assert answer["type"] == "refused"


def test_payloads_of_0_2_and_outputs(start):
    node = start("""
        async def hook(packet, engine):
            about = packet.meeting_metadata
            seen = [type(packet.data).__name__, about.meeting_id, about.plugin_name]
            if isinstance(packet.data, bytes) or packet.data == "text": return packet.data
            return None if packet.data == "nothing" else [*seen, packet.timestamp.isoformat()]
    """)
    ended = node.result({"a": 1}, "text", b"\xff\x00", "nothing", meeting="meeting é")
    assert ended["hooks"] == [{"output": "json"}, {"output": "text"}, {"output": "bytes"}, {}]
    assert json.loads(ended.blobs[0]) == ["str", "meeting é", "inst", "2023-11-14T22:13:20+00:00"]
    assert ended.blobs[1:] == [b"text", b"\xff\x00"]


def test_json_as_values(start):
    node = start("async def hook(packet, engine): return packet.data['a']", json="value")
    assert node.result({"a": [1]}).blobs == [b"[1]"]


STATEFUL = """
class Said(DataPacket):
    text: str
    n: int = 1
class Counted(PluginState):
    count: int = 0
async def hook(packet: Said, state: Counted, engine):
    assert packet.execution_metadata.source_name == "chat" and packet.timestamp is not None
    state.count += packet.n
    if packet.text == "fail":
        raise ValueError("secret")
    return (Said(text=packet.text.upper()) if packet.n else None), state
"""


def test_states_of_0_3(start):
    node = start(STATEFUL)
    ended = node.result({"text": "a"}, {"text": "b", "n": 0}, {"text": "c"}, state=None)
    assert ended["hooks"] == [{"output": "json", "state": True}, {}, {"output": "json", "state": True}]
    assert json.loads(ended.blobs[0]) == {"text": "A", "n": 1}
    assert [json.loads(blob)["count"] for blob in ended.blobs[1::2]] == [1, 2]
    assert json.loads(node.result({"text": "d"}, state={"count": 7}).blobs[1])["count"] == 8
    assert node.result({"text": "d", "n": 0}, state={"count": 7})["hooks"] == [{}]


def test_a_packet_that_does_not_validate_is_rejected(start):
    node = start(STATEFUL)
    for payload in ({"n": 1}, {"text": 5}, "text", b"bytes", [1]):
        call = node.run({"text": "a"}, payload, state=None)
        assert node.read()["type"] == "ended"
        failed = node.read()
        assert failed["call"] == call and failed["error"]["reject"] is True
        assert failed["error"]["type"] == "ValidationError"
        assert ("text: " if isinstance(payload, dict) else "payload: ") in failed["error"]["at"]
    failed = node.result({"text": "a"}, state={"count": "many"})
    assert failed["error"]["at"].startswith("state: count") and failed["error"]["reject"] is False


def test_a_bare_packet_has_all_fields(start):
    node = start("""
        async def hook(packet: DataPacket, state: PluginState, engine):
            assert packet.meeting_metadata.plugin_name == "inst"
            state.seen = [packet.data, getattr(packet, "text", None)]
            return packet, state
    """)
    ended = node.result({"text": "a"}, "plain", state=None)
    assert json.loads(ended.blobs[0]) == {"text": "a"}
    assert [json.loads(blob)["seen"] for blob in ended.blobs[1::2]] == [
        ['{"text": "a"}', "a"],
        ["plain", None],
    ]


def test_what_a_hook_raises(start):
    node = start("""
        class Custom(Exception): pass
        def inner(): raise Custom("secret")
        async def hook(packet, engine):
            if packet.data == "ok": return 1
            if packet.data == "set": return {1, 2}
            import json
            if packet.data == "json": json.loads("{")
            inner()
    """)
    node.run("ok", "custom", "ok")
    ended, failed = node.read(), node.read()
    assert ended["hooks"] == [{"output": "json"}]
    assert failed["error"]["type"] == "Custom" and failed["error"]["reject"] is False
    assert failed["error"]["at"].startswith("plugin/__init__.py:") and failed["error"]["at"].endswith(
        " in inner"
    )
    assert node.result("json")["error"]["at"].endswith(" in hook")
    failed = node.result("set")
    assert failed["error"]["type"] == "TypeError" and failed["error"]["at"].endswith(" in hook")
    assert any("type set, which is not JSON" in line for line in node.log_lines())
    assert not any("secret" in line for line in node.log_lines())


def test_keys_are_set_with_the_hook(start):
    node = start("""
        async def hook(packet, engine):
            store, info = engine.datastore(), packet.meeting_metadata
            seen = await store.get(info, "a")
            await store.set(info, "a", (seen or []) + [packet.data])
            assert (await store.get(info, "a"))[-1] == packet.data
            if packet.data == "fail": raise ValueError
            return seen
    """)
    call = node.run("1", "2", "fail")
    ask = node.read()
    assert ask.head == {"type": "ask", "call": call, "ask": ask["ask"], "op": "get", "key": "a"}
    node.send({"type": "answer", "ask": ask["ask"], "found": True}, b'["0"]')
    ended, failed = node.ended(2), node.read()
    assert ended["hooks"] == [{"keys": ["a"], "output": "json"}] * 2
    assert ended.blobs == [b'["0","1"]', b'["0"]', b'["0","1","2"]', b'["0","1"]']
    assert failed["type"] == "failed"
    node.run("x")
    ask = node.read()
    node.send({"type": "answer", "ask": ask["ask"], "found": False})
    assert node.read().blobs == [b'["x"]']


def test_another_meetings_keys_are_refused(start):
    node = start("""
        async def hook(packet, engine):
            await engine.datastore().set(MeetingMetadata("other", "p"), "a", 1)
    """)
    assert node.result("x")["error"]["type"] == "ValueError"
    assert "another meeting" in node.log_lines()[0] and "'other'" not in node.log_lines()[0]


def test_prompts_and_history(start):
    node = start("""
        from datetime import timedelta
        async def hook(packet, engine):
            store = engine.datastore()
            old = await store.get_stream_history(packet.meeting_metadata, 2, timedelta(seconds=1.5))
            try:
                await engine.llm().fast_prompt(messages=[{"role": "user", "content": "é"}], temperature=1)
            except RuntimeError as error:
                answer = await engine.llm().prompt([{"role": "user"}], 0.5)
                return [[each.data for each in old], error.code, answer]
    """)
    node.run("x")
    ask = node.read()
    assert (ask["op"], ask["last"], ask["within"]) == ("history", 2, 1_500_000)
    packets = [[1, 0, None, "text"], [2, 0, "Ada", "json"]]
    node.send({"type": "answer", "ask": ask["ask"], "packets": packets}, b"one", b'{"a":2}')
    ask = node.read()
    assert (ask["op"], ask["temperature"]) == ("fast_prompt", 1.0)
    assert ask.blobs == ['[{"role":"user","content":"é"}]'.encode()]
    node.send({"type": "answer", "ask": ask["ask"], "error": {"code": "busy", "message": "later"}})
    ask = node.read()
    node.send({"type": "answer", "ask": ask["ask"]}, "antwort ü".encode())
    assert json.loads(node.read().blobs[0]) == [["one", '{"a":2}'], "busy", "antwort ü"]


def test_what_has_ended_is_sent_before_an_ask(start):
    node = start("""
        async def hook(packet, engine):
            if packet.data == "ask": await engine.datastore().get(packet.meeting_metadata, "k")
            return packet.data
    """)
    call = node.run("1", "ask", "3")
    assert node.read().head == {"type": "ended", "call": call, "hooks": [{"output": "text"}]}
    ask = node.read()
    node.send({"type": "answer", "ask": ask["ask"], "found": False})
    assert node.ended(2).blobs == [b"ask", b"3"]


def test_results_are_sent_when_a_hook_waits(start):
    node = start("""
        gate = asyncio.Event()
        async def hook(packet, engine):
            if packet.data == "wait": await gate.wait()
            if packet.data == "open": gate.set()
            return packet.data
    """)
    node.run("1", "wait", meeting="a")
    assert node.read().blobs == [b"1"]
    node.run("open", meeting="b")
    assert sorted([node.read().blobs, node.read().blobs]) == [[b"open"], [b"wait"]]


def test_many_results_are_sent_in_parts(start):
    node = start(
        "async def hook(packet, engine): return packet.data * (20000 if len(packet.data) > 1 else 1)"
    )
    node.run(*["x"] * 150)
    counts = []
    while sum(counts) < 150:
        counts.append(len(node.read()["hooks"]))
    assert max(counts) <= 64
    node.run(*["0123456789"] * 10)
    frames = []
    while sum(map(len, frames)) < 10:
        frames.append(node.read()["hooks"])
    assert len(frames) >= 5


def test_calls_of_a_meeting_run_in_order_and_meetings_at_once(start):
    node = start("""
        gates = {}
        async def hook(packet, engine):
            if packet.data.startswith("wait"):
                await engine.llm().prompt([{"content": packet.data}], 0)
            return packet.data
    """)
    first = node.run("wait a", meeting="a")
    second = node.run("next a", meeting="a")
    other = node.run("b", meeting="b")
    frames = [node.read(), node.read()]
    assert {(each["type"], each["call"]) for each in frames} == {("ask", first), ("ended", other)}
    node.send({"type": "answer", "ask": 1}, b"")
    assert [node.read()["call"], node.read()["call"]] == [first, second]


def test_cancel(start):
    node = start("""
        async def hook(packet, engine):
            try:
                await engine.llm().prompt([{"content": ""}], 0)
            except asyncio.CancelledError:
                if packet.data == "swallow": return "done"
                raise
    """)
    for payload in ("plain", "swallow"):
        running, queued = node.run(payload, "second"), node.run("later")
        assert node.read()["call"] == running
        node.send({"type": "cancel", "call": queued})
        assert node.read().head == {"type": "cancelled", "call": queued}
        node.send({"type": "cancel", "call": running})
        assert node.read().head == {"type": "cancelled", "call": running}
        node.send({"type": "cancel", "call": running})
    assert node.request({"type": "ping", "at": 5}).head == {"type": "pong", "at": 5}


def test_a_call_may_be_cancelled_before_it_starts(start):
    node = start("async def hook(packet, engine): return 1")
    run = {"type": "run", "call": 900, "meeting": {"id": "z"}, "hook": "chat", "attempt": 1, "state": False}
    packets = {"packets": [[0, 0, None, "text"]]}
    node.socket.sendall(frame({**run, **packets}, b"") + frame({"type": "cancel", "call": 900}))
    assert node.read().head == {"type": "cancelled", "call": 900}


def test_a_hook_that_raises_cancelled_error_fails(start):
    node = start("async def hook(packet, engine): raise asyncio.CancelledError")
    assert node.result("x")["error"]["type"] == "CancelledError"


def test_timeouts_and_subtasks_work(start):
    node = start("""
        async def child(n):
            await asyncio.sleep(0)
            return n
        async def hook(packet, engine):
            await engine.datastore().set(packet.meeting_metadata, "k", 1)
            third = asyncio.create_task(child(3))
            got = await asyncio.gather(child(1), asyncio.wait_for(child(2), 300), third)
            try:
                await asyncio.wait_for(asyncio.Event().wait(), 0.001)
            except asyncio.TimeoutError:
                got.append("timeout")
            never = asyncio.create_task(child(4))
            never.cancel()
            return got
    """)
    ended = node.result("x")
    assert ended["hooks"] == [{"keys": ["k"], "output": "json"}] and ended.blobs[1] == b'[1,2,3,"timeout"]'
    assert node.request({"type": "ping", "at": 1})["type"] == "pong"
    assert node.log_lines() == []


def test_a_task_that_outlives_its_hook_cannot_set(start):
    node = start("""
        raised = []
        async def late(packet, engine, gate):
            await gate.wait()
            store = engine.datastore()
            for attempt in (store.set(packet.meeting_metadata, "k", 1), engine.llm().prompt([{}], 0)):
                try: await attempt
                except RuntimeError as error: raised.append("after its hook had ended" in str(error))
        gate = asyncio.Event()
        async def hook(packet, engine):
            if packet.data == "begin":
                hook.task = asyncio.create_task(late(packet, engine, gate))
            else:
                gate.set()
                await hook.task
                return raised
    """)
    assert node.result("begin")["hooks"] == [{}]
    assert node.result("end").blobs == [b"[true,true]"]


def test_meetings_start_and_end(start):
    node = start(
        methods="""
        @classmethod
        async def on_meeting_start(cls, info, engine):
            await engine.datastore().set(info, "started", info.plugin_name)
            return "no output"
        @classmethod
        async def on_meeting_end(cls, info, engine): raise ValueError
    """
    )
    node.event("start")
    assert node.read()["hooks"] == [{"keys": ["started"]}]
    node.event("end")
    assert node.read()["error"]["at"].endswith("in on_meeting_end")


def test_shutdown_may_prompt(start):
    node = start(
        methods="""
        @classmethod
        async def on_shutdown(cls, engine):
            try: await engine.datastore().get(None, "k")
            except RuntimeError as error: print(error)
            print(await engine.llm().prompt([{"content": "bye"}], 0))
    """
    )
    ask = node.request({"type": "shutdown", "call": 77})
    assert (ask["call"], ask["op"]) == (77, "prompt")
    node.send({"type": "answer", "ask": ask["ask"]}, b"the answer")
    assert node.read().head == {"type": "stopped"}
    assert node.report() == {"exited": 0, "call": 0}
    assert node.log_lines() == [
        "the datastore belongs to a meeting, and on_shutdown runs in none",
        "the answer",
    ]


def test_prints_and_logging_become_log_frames(start):
    node = start("""
        import logging, warnings
        async def hook(packet, engine):
            print("one\\ntwo", end="")
            print("é" * 5000, file=sys.stderr)
            logging.getLogger("mine").debug("hidden")
            logging.getLogger("mine").warning("careful %s", 1)
            await asyncio.to_thread(print, "from a thread")
            os.write(1, b"raw one\\n")
            subprocess.run(["echo", "raw two"], stdout=sys.stdout)
    """)
    node.result("x", meeting="m é")
    logs = [(each["level"], each["meeting"], each["logger"]) for each in node.logs]
    assert logs == [
        ("info", "m é", "stdout"),
        ("info", "m é", "stderr"),
        ("info", "m é", "stderr"),
        ("warning", "m é", "mine"),
        ("info", "m é", "stdout"),
        ("info", "m é", "stdout"),
    ]
    lines = node.log_lines()
    assert lines[0] == "one" and lines[1] + lines[2] == "é" * 5000 and len(lines[1].encode()) <= 8192
    assert lines[3:] == ["careful 1", "from a thread", "two"]
    node.socket.close()
    assert node.wait() == 0
    assert node.log_text() == "raw one\nraw two\n"


def test_a_changed_class_variable_is_told_once(start):
    node = start(
        """
        async def hook(packet, engine):
            P.seen.append(packet.data)
            P.count += 1
    """,
        methods="seen = []\ncount = 0\nstill = {'a': 1}",
    )
    node.result("x", "y")
    node.result("z")
    about = [line for line in node.log_lines() if "class variable" in line]
    assert sorted(line.split()[3] for line in about) == ["P.count", "P.seen"]
    assert all("all meetings of this instance share it" in line for line in about)


def test_the_event_loop_answers_between_hooks_that_take_long(start):
    node = start("""
        import time
        async def hook(packet, engine):
            until = time.monotonic() + 0.01
            while time.monotonic() < until: pass
    """)
    node.run(*["x"] * 64)
    node.send({"type": "ping", "at": 9})
    kinds = [node.read()["type"] for _ in range(5)]
    assert "pong" in kinds


def test_a_host_whose_node_does_not_read_stops_reading(start):
    node = start("async def hook(packet, engine): return bytes(1 << 20)")
    for meeting in range(40):
        node.run(*["x"], meeting=str(meeting))
    assert sum(len(node.read()["hooks"]) for _ in range(40)) == 40
    assert node.result("y").blobs == [bytes(1 << 20)]


def test_large_frames(start):
    node = start("async def hook(packet, engine): return packet.data")
    payload = os.urandom(20 << 20)
    assert node.result(payload).blobs == [payload]


def test_an_output_that_is_too_large_fails(start):
    node = start("async def hook(packet, engine): return bytes(64 << 20)")
    assert node.result("x")["error"]["type"] == "ValueError"


def test_a_frame_of_an_unknown_type_ends_the_host(start):
    node = start()
    node.send({"type": "dance"})
    with pytest.raises(EOFError):
        node.read()
    assert node.report() == {"exited": 76, "call": 0}
    assert "unknown type" in node.log_lines()[0]


def test_kinds_of_hooks(start):
    node = start(
        sources=["a", "b", "c", "d", "e"],
        hook="""
        import functools
        def wrapped(function):
            @functools.wraps(function)
            async def wrapper(*args): return await function(*args)
            return wrapper
        @wrapped
        async def decorated(packet, state, engine): return "decorated", state
        async def three(first, packet, engine): return first
        class Callable_:
            async def __call__(self, packet, engine): return "callable"
        async def later(): return "lambda"
    """,
        methods="""
        @classmethod
        async def bound(cls, packet, state, engine): return "bound", state
        @classmethod
        async def get_data_receive_hooks(cls):
            partial = functools.partial(three, "partial")
            other = lambda packet, engine: later()
            return {"a": decorated, "b": partial, "c": Callable_(), "d": cls.bound, "e": other}
    """,
        load=False,
    )
    node.load()
    hooks = node.request({"type": "startup", "config": {}})["hooks"]
    assert hooks == {"a": "0.3", "b": "0.2", "c": "0.2", "d": "0.3", "e": "0.2"}
    for hook, version in hooks.items():
        state = {} if version == "0.2" else {"state": None}
        expected = {"a": b"decorated", "b": b"partial", "c": b"callable", "d": b"bound", "e": b"lambda"}[hook]
        assert node.result("x", hook=hook, **state).blobs == [expected]


def test_hooks_that_return_the_wrong_thing_say_so(start):
    node = start(
        sources=["a", "b"],
        hook="""
        async def a(packet, state, engine): return packet
        def b(packet, engine): return 1
    """,
        methods="""
        @classmethod
        async def get_data_receive_hooks(cls): return {"a": a, "b": b}
    """,
    )
    assert node.result("x", hook="a", state=None)["error"]["type"] == "TypeError"
    assert node.result("x", hook="b")["error"]["type"] == "TypeError"
    assert "returns a tuple (output, state), not DataPacket" in node.log_lines()[0]
    assert "define it with `async def`" in node.log_lines()[1]
