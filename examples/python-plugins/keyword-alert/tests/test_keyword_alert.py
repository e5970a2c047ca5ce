import pytest
from plugin import KeywordAlert


@pytest.fixture
def meeting(plugin_test):
    return plugin_test(KeywordAlert)


def test_what_is_said_and_what_is_written_is_counted_together(meeting):
    assert meeting.publish("transcription", {"text": "Good morning."}) == []
    assert meeting.publish("transcription", {"text": "The Deadline is near."}) == [
        "said: deadline (1): The Deadline is near."
    ]
    assert meeting.publish("chat", {"text": "which deadline? "}) == ["written: deadline (2): which deadline?"]
    assert meeting.keys == {"counts": {"deadline": 2}}


def test_one_alert_names_all_keywords_in_the_order_of_the_configuration(meeting):
    [alert] = meeting.publish("chat", {"text": "An action item with a blocker"})
    assert alert == "written: blocker (1), action item (1): An action item with a blocker"


def test_partial_speech_and_private_messages_are_left_out(meeting):
    assert meeting.publish("transcription", {"text": "a blocker", "is_final": False}) == []
    assert meeting.publish("chat", {"text": "a blocker", "to": "Mira"}) == []
    assert meeting.keys == {}


def test_the_keywords_are_configured(plugin_test):
    meeting = plugin_test(KeywordAlert, config={"keywords": ["Straße"]})
    assert meeting.publish("transcription", {"text": "a deadline"}) == []
    assert meeting.publish("transcription", {"text": "STRASSE"}) == ["said: Straße (1): STRASSE"]


def test_the_counts_are_logged_at_the_end(meeting):
    meeting.publish("chat", {"text": "blocker"})
    meeting.end()
    assert [line.text for line in meeting.log] == ["keywords: blocker 1"]


def test_a_message_without_text_is_an_error(meeting):
    with pytest.raises(KeyError, match="text"):
        meeting.publish("chat", {"txt": "a blocker"})
