import pytest
from plugin import DecisionLog

from teammy.testing import PacketRejected


def said(text: str, start_ms: int = 0, is_final: bool = True) -> dict:
    return {"text": text, "start_ms": start_ms, "end_ms": start_ms + 900, "is_final": is_final}


def decision(number: int, text: str, at_ms: int = 0) -> dict:
    return {"number": number, "text": text, "at_ms": at_ms}


@pytest.fixture
def meeting(plugin_test):
    return plugin_test(DecisionLog)


def test_decisions_are_numbered(meeting):
    assert meeting.publish("transcription", said("Shall we paint it?")) == []
    [first] = meeting.publish("transcription", said(" Let's go with blue. ", start_ms=1_200))
    assert first == {"event": "made", "decision": decision(1, "Let's go with blue.", 1_200), "standing": 1}
    [second] = meeting.publish("transcription", said("And we DECIDED on Friday."))
    assert second == {"event": "made", "decision": decision(2, "And we DECIDED on Friday."), "standing": 2}


def test_the_newest_decision_is_withdrawn_and_its_number_not_used_again(meeting):
    meeting.publish("transcription", said("Decision: blue."))
    meeting.publish("transcription", said("Decision: red."))
    [event] = meeting.publish("transcription", said("No, scratch that."))
    assert event == {"event": "withdrawn", "decision": decision(2, "Decision: red."), "standing": 1}
    [event] = meeting.publish("transcription", said("Decision: green."))
    assert event["decision"]["number"] == 3
    assert [kept["text"] for kept in meeting.state["standing"]] == ["Decision: blue.", "Decision: green."]


def test_nothing_is_withdrawn_before_the_first_decision(meeting):
    assert meeting.publish("transcription", said("Scratch that.")) == []


def test_what_is_not_final_is_no_decision(meeting):
    assert meeting.publish("transcription", said("We decided", is_final=False)) == []
    assert meeting.state is None


def test_the_phrases_are_configured(plugin_test):
    meeting = plugin_test(DecisionLog, config={"phrases": ["so be it"]})
    assert meeting.publish("transcription", said("We decided nothing.")) == []
    [event] = meeting.publish("transcription", said("So be it!"))
    assert event["event"] == "made"


def test_one_meeting_does_not_see_the_decisions_of_another(plugin_test):
    plugin_test(DecisionLog, meeting="one").publish("transcription", said("Decision: blue."))
    [event] = plugin_test(DecisionLog, meeting="two").publish("transcription", said("Decision: red."))
    assert event["decision"]["number"] == 1


def test_a_packet_without_text_is_an_error(meeting):
    with pytest.raises(PacketRejected, match="text"):
        meeting.publish("transcription", {"txt": "Decision: blue."})
