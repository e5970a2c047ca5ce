import struct

import numpy as np
import pytest
from plugin import SILENCE_DB, Loudness

from teammy.testing import Refused


def frame(samples, rate: int = 16_000, channels: int = 1, version: int = 1) -> bytes:
    data = np.asarray(samples, dtype="<i2").tobytes()
    return struct.pack("<BIHQ", version, rate, channels, len(data)) + data


def test_one_output_for_so_many_packets(plugin_test):
    meeting = plugin_test(Loudness, config={"every": 3})
    half = frame([16_384, -16_384] * 160)
    outputs = [meeting.publish("audio", half) for _ in range(6)]
    expected = {"packets": 3, "seconds": 0.06, "rms_db": -6.02, "peak_db": -6.02}
    assert outputs == [[], [], [expected], [], [], [expected]]


def test_without_a_configuration_there_is_an_output_each_second(plugin_test):
    meeting = plugin_test(Loudness)
    outputs = [meeting.publish("audio", frame([0] * 320)) for _ in range(50)]
    assert outputs[:49] == [[]] * 49
    assert outputs[49] == [{"packets": 50, "seconds": 1.0, "rms_db": SILENCE_DB, "peak_db": SILENCE_DB}]


def test_the_mean_is_over_samples_and_the_peak_over_all(plugin_test):
    meeting = plugin_test(Loudness, config={"every": 2})
    meeting.publish("audio", frame([-32_768] * 100))
    [output] = meeting.publish("audio", frame([0] * 300))
    assert (output["rms_db"], output["peak_db"]) == (-6.02, 0.0)


def test_channels_are_heard_at_once(plugin_test):
    meeting = plugin_test(Loudness, config={"every": 1})
    [output] = meeting.publish("audio", frame([1_000, 0] * 480, rate=48_000, channels=2))
    assert output["seconds"] == 0.01


def test_an_empty_frame_is_silence(plugin_test):
    meeting = plugin_test(Loudness, config={"every": 1})
    [output] = meeting.publish("audio", frame([]))
    assert output == {"packets": 1, "seconds": 0.0, "rms_db": SILENCE_DB, "peak_db": SILENCE_DB}


def test_the_sums_are_in_the_datastore(plugin_test):
    meeting = plugin_test(Loudness, config={"every": 10})
    meeting.publish("audio", frame([3, -4]))
    assert meeting.keys["sums"] == {"packets": 1, "samples": 2, "squares": 25, "peak": 4, "seconds": 0.000125}


@pytest.mark.parametrize(
    "data",
    [
        frame([1], version=2),
        frame([1], channels=0),
        frame([1], rate=0),
        frame([1, 2])[:-2],
        frame([1, 2]) + b"\x00\x00",
        b"\x01",
    ],
)
def test_what_is_no_frame_changes_nothing(plugin_test, data):
    meeting = plugin_test(Loudness, config={"every": 10})
    meeting.publish("audio", frame([3, -4]))
    before = meeting.keys["sums"]
    with pytest.raises((ValueError, struct.error)):
        meeting.publish("audio", data)
    assert meeting.keys["sums"] == before


def test_a_configuration_that_makes_no_sense_is_refused(plugin_test):
    with pytest.raises(Refused) as refused:
        plugin_test(Loudness, config={"every": 0})
    assert "`every` is 0" in str(refused.value.__cause__)
