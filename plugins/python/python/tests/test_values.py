from __future__ import annotations

import datetime
from dataclasses import dataclass

import pytest
from teammy._host.errors import ResultTypeError, ResultValueError
from teammy._host.values import Packet, data_of, microseconds, moment, to_json, to_output
from teammy.api.data import DataPacket, PluginState


class Answer(DataPacket):
    text: str


class Part(PluginState):
    n: int = 1


@dataclass
class Plain:
    parts: list


@pytest.mark.parametrize(
    ("value", "kind", "payload"),
    [
        ("é", "text", "é".encode()),
        ("", "text", b""),
        (b"\xff", "bytes", b"\xff"),
        (bytearray(b"a"), "bytes", b"a"),
        (memoryview(b"ab")[1:], "bytes", b"b"),
        ({"é": [1, None, True]}, "json", '{"é":[1,null,true]}'.encode()),
        ([], "json", b"[]"),
        (0, "json", b"0"),
        (False, "json", b"false"),
        (Answer(text="x"), "json", b'{"text":"x"}'),
        (Plain([Answer(text="x")]), "json", b'{"parts":[{"text":"x"}]}'),
        ({"a": Part()}, "json", b'{"a":{"timestamp":null,"n":1}}'),
    ],
)
def test_outputs(value, kind, payload):
    output = to_output(value)
    assert (output.kind, output.payload) == (kind, payload)


def test_no_output():
    assert to_output(None) is None


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        ({"a": {1, 2}}, ResultTypeError, "type set, which is not JSON"),
        (object(), ResultTypeError, "type object"),
        ([datetime.datetime.now()], ResultTypeError, "datetime.datetime"),
        ({"a": float("nan")}, ResultValueError, "NaN"),
        ({(1, 2): 3}, ResultTypeError, "keys"),
        ("\ud800", ResultValueError, "lone surrogate"),
        (["\ud800"], ResultValueError, "lone surrogate"),
    ],
)
def test_what_is_no_output(value, error, text):
    with pytest.raises(error, match=text):
        to_output(value)


def test_what_contains_itself():
    value: list = []
    value.append(value)
    with pytest.raises(ResultValueError, match="contains itself"):
        to_json(value, "it")


def test_payloads_of_0_2():
    packet = Packet(1, 0, None, "json", b'{"a":1}')
    assert data_of(packet, "text") == '{"a":1}' and data_of(packet, "value") == {"a": 1}
    assert data_of(packet._replace(kind="text"), "value") == '{"a":1}'
    assert data_of(packet._replace(kind="bytes"), "text") == b'{"a":1}'


def test_times_are_exact():
    for value in (0, -1, 1_700_000_000_123_457, 253_402_300_799_999_999):
        assert microseconds(moment(value)) == value and moment(value).utcoffset() == datetime.timedelta(0)
