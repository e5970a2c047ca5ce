from __future__ import annotations

import copy
import dataclasses
import datetime
import inspect
import pickle
import sys

import pytest
from teammy.api import data, engine, plugin
from teammy.api.data import DataPacket, ExecutionMetadata, MeetingMetadata, PluginState
from teammy.api.engine import MeetingEngine

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)


class Said(DataPacket):
    text: str
    final: bool = True


class Counted(PluginState):
    count: int = 0
    names: list[str] = []


def test_a_packet_of_0_2_is_a_dataclass():
    about = MeetingMetadata("m", "p")
    packet = DataPacket(NOW, about, {"a": [1]})
    assert (packet.timestamp, packet.meeting_metadata, packet.data) == (NOW, about, {"a": [1]})
    assert packet == DataPacket(timestamp=NOW, meeting_metadata=MeetingMetadata("m", "p"), data={"a": [1]})
    assert packet != DataPacket(NOW, about, "other")
    assert dataclasses.is_dataclass(packet) and dataclasses.is_dataclass(DataPacket)
    expected = {
        "timestamp": NOW,
        "meeting_metadata": {"meeting_id": "m", "plugin_name": "p"},
        "data": {"a": [1]},
    }
    assert dataclasses.asdict(packet) == expected
    assert dataclasses.replace(packet, data="x").data == "x"
    assert dataclasses.asdict(about) == {"meeting_id": "m", "plugin_name": "p"}
    assert dataclasses.replace(about, meeting_id="n") == MeetingMetadata(meeting_id="n", plugin_name="p")
    assert [field.name for field in dataclasses.fields(DataPacket)] == [
        "timestamp",
        "meeting_metadata",
        "data",
    ]
    assert "data={'a': [1]}" in repr(packet)


def test_a_packet_of_0_2_is_not_validated():
    marker = object()
    packet = DataPacket("yesterday", None, marker)
    assert packet.timestamp == "yesterday" and packet.data is marker
    packet.data = 5
    assert packet.data == 5
    with pytest.raises(TypeError, match="lacks data"):
        DataPacket(NOW, None)
    with pytest.raises(TypeError, match="two values"):
        DataPacket(NOW, None, 1, data=2)
    with pytest.raises(TypeError):
        MeetingMetadata("m")


def test_packets_can_be_copied_and_pickled():
    packet = DataPacket(NOW, MeetingMetadata("m", "p"), "x")
    assert copy.deepcopy(packet) == packet
    assert pickle.loads(pickle.dumps(packet)) == packet
    assert pickle.loads(pickle.dumps(Said(text="a"))).text == "a"


def test_a_subclass_is_a_model():
    said = Said.model_validate({"text": "hello", "unknown": 1})
    assert said == Said(text="hello") and said.final is True and said.timestamp is None
    assert not hasattr(said, "unknown") and not hasattr(said, "data")
    assert Said.model_validate_json('{"text":"x","final":false}').final is False
    assert said.model_dump(exclude={"timestamp", "execution_metadata"}) == {"text": "hello", "final": True}
    assert '"text":"hello"' in said.model_dump_json()
    assert not dataclasses.is_dataclass(Said)
    assert "text='hello'" in repr(said)
    for bad in ({}, {"text": 5}, {"text": None}):
        with pytest.raises(ValueError) as error:
            Said.model_validate(bad)
        assert error.value.errors()[0]["loc"] == ("text",)
    with pytest.raises(ValueError):
        Said(final=True)


def test_a_subclass_may_have_data_and_say_what_extra_fields_do():
    class WithData(DataPacket):
        data: list[int]

    class Forbids(DataPacket):
        model_config = {"extra": "forbid"}
        text: str = ""

    class Inherits(Forbids):
        more: int = 0

    assert WithData.model_validate({"data": [1, 2]}).data == [1, 2]
    for cls in (Forbids, Inherits):
        with pytest.raises(ValueError):
            cls.model_validate({"other": 1})


def test_the_envelope_of_0_3():
    about = ExecutionMetadata(meeting_id="m", source_name="chat")
    said = Said.model_validate({"text": "x", "timestamp": NOW, "execution_metadata": about})
    assert said.timestamp == NOW and said.execution_metadata.source_name == "chat"
    assert said.meeting_metadata.meeting_id == "m"
    bare = DataPacket.model_validate({"anything": 1, "timestamp": NOW})
    assert bare.anything == 1


def test_states():
    assert Counted() == Counted(count=0) and Counted().names is not Counted().names
    assert Counted.model_validate({"count": 3}).count == 3
    bare = PluginState.model_validate({"anything": [1]})
    assert bare.anything == [1]
    bare.more = 2
    assert bare.model_dump()["more"] == 2


def test_the_engine_is_a_singleton():
    assert MeetingEngine() is MeetingEngine(1, a=2)
    assert MeetingEngine().llm() is MeetingEngine().llm()
    assert MeetingEngine().datastore() is MeetingEngine().datastore()
    assert engine.LLMProvider.client is None and engine.PersistenceProvider._store == {}


def test_the_engine_needs_a_running_hook():
    import asyncio

    store, llm = MeetingEngine().datastore(), MeetingEngine().llm()
    info = MeetingMetadata("m", "p")
    for wanted in (
        lambda: store.set(info, "a", 1),
        lambda: store.get(info, "a"),
        lambda: llm.prompt([{}], 0.0),
    ):
        with pytest.raises(RuntimeError, match="needs a running hook"):
            asyncio.run(wanted())


def test_names_that_old_code_imports():
    for name in (
        "DataPacket",
        "MeetingMetadata",
        "MeetingEngine",
        "PluginState",
        "InCallPlugin",
        "PluginConfig",
    ):
        assert hasattr(plugin, name)
    assert engine.DataPacket is data.DataPacket and engine.MeetingMetadata is data.MeetingMetadata
    assert engine.timedelta is datetime.timedelta
    assert plugin.InCallPlugin.HookFunction
    order = [
        "get_metadata",
        "on_install",
        "on_startup",
        "get_data_receive_hooks",
        "on_meeting_start",
        "on_meeting_end",
        "on_shutdown",
    ]
    assert [
        name for name in vars(plugin.InCallPlugin) if name in plugin.InCallPlugin.__abstractmethods__
    ] == order
    assert all(inspect.iscoroutinefunction(getattr(plugin.InCallPlugin, name)) for name in order)


def test_openai_is_imported_on_request(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", sys)
    assert engine.openai is sys
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ImportError, match="needs the package openai"):
        engine.openai


def test_metadata_is_frozen():
    made = plugin.InCallPluginMetadata("n", "1", ["chat"], None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.name = "x"
