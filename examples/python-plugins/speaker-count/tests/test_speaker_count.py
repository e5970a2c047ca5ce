import pytest
from plugin import SpeakerCount

from teammy.testing import Refused

JOINED, LEFT = {"event": "joined"}, {"event": "left"}


@pytest.fixture(autouse=True)
def fresh_class(monkeypatch):
    """A test does what no meeting does: it gives the class back as it was."""
    monkeypatch.setattr(SpeakerCount, "present", 0)


@pytest.mark.parametrize("keep", ["class", "datastore"])
def test_both_count_alike_in_one_meeting_of_one_process(plugin_test, keep):
    meeting = plugin_test(SpeakerCount, config={"keep": keep})
    counts = [meeting.publish("participant", event) for event in (JOINED, JOINED, LEFT)]
    assert counts == [[{"present": 1}], [{"present": 2}], [{"present": 1}]]
    assert meeting.publish("participant", {"event": "renamed", "to": "Mira"}) == []


def test_the_class_mixes_up_meetings(plugin_test):
    one = plugin_test(SpeakerCount, config={"keep": "class"}, meeting="one")
    two = plugin_test(SpeakerCount, config={"keep": "class"}, meeting="two")
    one.publish("participant", JOINED)
    assert two.publish("participant", JOINED) == [{"present": 2}]


def test_the_datastore_keeps_meetings_apart(plugin_test):
    one = plugin_test(SpeakerCount, config={"keep": "datastore"}, meeting="one")
    two = plugin_test(SpeakerCount, config={"keep": "datastore"}, meeting="two")
    one.publish("participant", JOINED)
    assert two.publish("participant", JOINED) == [{"present": 1}]


@pytest.mark.parametrize(("keep", "warnings"), [("class", 1), ("datastore", 0)])
def test_there_is_one_warning_of_the_class_variable(plugin_test, keep, warnings):
    meeting = plugin_test(SpeakerCount, config={"keep": keep})
    for event in (JOINED, JOINED, LEFT):
        meeting.publish("participant", event)
    warned = [line.text for line in meeting.log if line.level == "warning"]
    assert len(warned) == warnings
    assert all("the class variable SpeakerCount.present changes" in text for text in warned)


def test_a_new_process_has_lost_what_the_class_counted(plugin_test, monkeypatch):
    in_class = plugin_test(SpeakerCount, config={"keep": "class"})
    in_class.publish("participant", JOINED)
    monkeypatch.setattr(SpeakerCount, "present", 0)  # As the import in a new process does.
    assert in_class.publish("participant", JOINED) == [{"present": 1}]

    in_datastore = plugin_test(SpeakerCount, config={"keep": "datastore"})
    in_datastore.publish("participant", JOINED)
    monkeypatch.setattr(SpeakerCount, "present", 0)
    assert in_datastore.publish("participant", JOINED) == [{"present": 2}]
    assert in_datastore.keys == {"present": 2}


def test_it_is_kept_in_one_of_two_places(plugin_test):
    with pytest.raises(Refused) as refused:
        plugin_test(SpeakerCount, config={"keep": "global"})
    assert "`keep` is 'global'" in str(refused.value.__cause__)
