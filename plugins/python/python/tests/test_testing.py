"""The kit for tests of plugins."""

from __future__ import annotations

import asyncio
import datetime
import logging
import unittest
from dataclasses import dataclass
from datetime import timedelta

import pytest
from teammy.api.engine import LLMError
from teammy.api.plugin import (
    DataPacket,
    InCallPlugin,
    InCallPluginMetadata,
    PluginConfig,
    PluginState,
)
from teammy.testing import NoAnswerLeft, PacketRejected, PluginTest, Prompt, Refused, ScriptedModel


@dataclass(frozen=True)
class Settings(PluginConfig):
    loud: bool = False


class Said(DataPacket):
    text: str


class Counted(PluginState):
    count: int = 0


async def on_chat(packet, engine):
    store, info = engine.datastore(), packet.meeting_metadata
    await store.set(info, "last", packet.data)
    if packet.data == "fail":
        raise KeyError("the plugin's own")
    if packet.data == "ask":
        return await engine.llm().prompt([{"role": "user", "content": "why"}], 0.5)
    if packet.data == "hide":
        try:
            return await engine.llm().fast_prompt([{"role": "user", "content": "why"}], 0.0)
        except Exception:
            return "hidden"
    if packet.data == "history":
        old = await store.get_stream_history(info, 1)
        recent = await store.get_stream_history(info, not_before=timedelta(seconds=1))
        return [[each.data for each in old], [each.data for each in recent]]
    if packet.data == "print":
        print("printed")
        logging.getLogger("mine").warning("logged")
        return None
    return packet.data.upper() if Plugin.config.loud else packet.data


async def on_speech(packet: Said, state: Counted, engine):
    state.count += 1
    return Said(text=f"{packet.text} {state.count}"), state


class Plugin(InCallPlugin):
    @classmethod
    async def get_metadata(cls):
        return InCallPluginMetadata("example", "1", ["chat", "speech"], Settings())

    @classmethod
    async def on_install(cls):
        pass

    @classmethod
    async def on_startup(cls, config):
        cls.config = config

    @classmethod
    async def get_data_receive_hooks(cls):
        return {"chat": on_chat, "speech": on_speech}

    @classmethod
    async def on_meeting_start(cls, meeting_info, engine):
        await engine.datastore().set(meeting_info, "started", meeting_info.plugin_name)

    @classmethod
    async def on_meeting_end(cls, meeting_info, engine):
        store = engine.datastore()
        await store.set(meeting_info, "ended", await store.get(meeting_info, "last"))

    @classmethod
    async def on_shutdown(cls, engine):
        print("bye")


def test_a_meeting(plugin_test):
    test = plugin_test(Plugin, config={"loud": True}, name="mine")
    assert test.keys == {} and test.state is None
    assert test.publish("chat", "hello") == ["HELLO"]
    assert test.keys == {"started": "mine", "last": "hello"}
    assert test.publish("speech", {"text": "a"}) == [{"text": "a 1"}]
    assert test.publish("speech", Said(text="b")) == [{"text": "b 2"}]
    assert test.state["count"] == 2
    test.end()
    assert test.keys["ended"] == "hello"
    assert test.outputs == ["HELLO", {"text": "a 1"}, {"text": "b 2"}]


def test_a_hook_that_fails_leaves_nothing(plugin_test):
    test = plugin_test(Plugin)
    test.publish("chat", "first")
    with pytest.raises(KeyError, match="the plugin's own"):
        test.publish("chat", "fail")
    assert test.publish("chat", "fail", catch=True) == []
    assert test.keys["last"] == "first" and test.outputs == ["first"] and len(test.errors) == 2
    with pytest.raises(PacketRejected, match="text: missing"):
        test.publish("speech", {})


def test_models(plugin_test):
    model = ScriptedModel(["because", LLMError("busy", "later"), {"a": 1}])
    test = plugin_test(Plugin, model=model)
    assert test.publish("chat", "ask") == ["because"]
    with pytest.raises(LLMError, match="busy"):
        test.publish("chat", "ask")
    assert test.publish("chat", "hide") == ['{"a":1}']
    assert model.prompts[0] == Prompt([{"role": "user", "content": "why"}], 0.5, fast=False)
    assert model.prompts[2].fast and model.answers_left == 0
    with pytest.raises(NoAnswerLeft, match="prompt number 4: 'why'"):
        test.publish("chat", "ask")
    with pytest.raises(NoAnswerLeft):
        test.publish("chat", "hide")


def test_a_model_may_be_a_function(plugin_test):
    async def later(prompt):
        await asyncio.sleep(0)
        return prompt.text * 2

    assert plugin_test(Plugin, model=later).publish("chat", "ask") == ["whywhy"]
    assert plugin_test(Plugin, model=lambda prompt: prompt.text).publish("chat", "ask") == ["why"]
    with pytest.raises(LLMError, match="pass model="):
        plugin_test(Plugin).publish("chat", "ask")


def test_history(plugin_test):
    test = plugin_test(Plugin)
    start = datetime.datetime(2026, 5, 1, tzinfo=datetime.timezone.utc)
    for second, text in enumerate(["a", "b"]):
        test.publish("chat", text, timestamp=start + timedelta(seconds=second))
    assert test.publish("chat", "history", timestamp=start + timedelta(seconds=2)) == [[["b"], ["b"]]]


def test_the_log(plugin_test, capsys):
    test = plugin_test(Plugin)
    test.publish("chat", "print")
    lines = [(line.level, line.logger, line.text) for line in test.log]
    assert lines == [("info", "stdout", "printed"), ("warning", "mine", "logged")]
    assert capsys.readouterr().out == "printed\n"


def test_what_a_node_refuses_is_refused():
    class Incomplete(InCallPlugin):
        pass

    with pytest.raises(Refused, match="lacks get_metadata"):
        PluginTest(Incomplete)
    with pytest.raises(Refused, match="did you mean `loud`"):
        PluginTest(Plugin, config={"lout": True})


def test_misuse(plugin_test):
    test = plugin_test(Plugin)
    with pytest.raises(ValueError, match="no hook for 'voice'; it has 'chat', 'speech'"):
        test.publish("voice", "x")

    async def inside():
        test.publish("chat", "x")

    with pytest.raises(RuntimeError, match="not async"):
        asyncio.run(inside())
    test.close()
    test.close()
    assert test.log[-1].text == "bye"
    with pytest.raises(RuntimeError, match="closed"):
        test.publish("chat", "x")


def test_prepared_keys_and_state(plugin_test):
    test = plugin_test(Plugin, config=Settings(loud=True))
    test.set_state({"count": 4})
    test.set_key("other", [1])
    assert test.publish("speech", {"text": "a"}) == [{"text": "a 5"}]
    assert test.keys["other"] == [1]


class WithUnittest(unittest.TestCase):
    def test_it_works_without_pytest(self):
        with PluginTest(Plugin) as test:
            self.assertEqual(test.publish("chat", "x"), ["x"])
