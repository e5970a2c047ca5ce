import json

import pytest
from plugin import CONTEXT_CHARS, VALIDATION_ERROR, LLMActionPlugin, last_json_list

from teammy.testing import PacketRejected, ScriptedModel

CALL = {"action": "web-search", "parameters": {"query": "tides [Brack]"}}
ANSWER = f"They ask about tides.\n```json\n[{json.dumps(CALL)}]\n```"


def said(text: str) -> dict:
    return {"text": text, "start_ms": 0, "end_ms": 900, "is_final": True}


def test_the_raw_answer_is_put_out_and_its_action_is_kept(plugin_test):
    meeting = plugin_test(LLMActionPlugin, model=ScriptedModel([ANSWER]))
    assert meeting.publish("transcription", said("When is high tide in Brack?")) == [{"answer": ANSWER}]
    assert meeting.state["running_transcription"] == "When is high tide in Brack?\n"
    assert meeting.state["used_actions"] == [CALL]


def test_the_prompt_has_the_actions_what_was_used_and_the_words(plugin_test):
    model = ScriptedModel([ANSWER, "[]"])
    actions = [{"action": "ring-bell", "description": "Somebody asks for the bell", "parameters": {}}]
    meeting = plugin_test(LLMActionPlugin, config={"possible_actions": actions}, model=model)
    meeting.publish("transcription", said("When is high tide?"))
    meeting.publish("transcription", said("Never mind."))

    first, second = (prompt.messages for prompt in model.prompts)
    assert [message["role"] for message in first] == ["user", "user"]
    assert '"ring-bell"' in first[0]["content"] and "web-search" not in first[0]["content"]
    assert "tides [Brack]" in second[0]["content"]
    assert second[1]["content"] == "When is high tide?\nNever mind.\n"
    assert [prompt.temperature for prompt in model.prompts] == [0.0, 0.0]


def test_actions_are_remembered_in_their_order(plugin_test):
    bell = '[{"action": "ring-bell"}]'
    meeting = plugin_test(LLMActionPlugin, model=ScriptedModel([ANSWER, "[]", bell]))
    for _ in range(3):
        meeting.publish("transcription", said("Go on."))
    assert meeting.state["used_actions"] == [CALL, {"action": "ring-bell", "parameters": {}}]


def test_the_context_is_limited(plugin_test):
    model = ScriptedModel(["[]", "[]"])
    meeting = plugin_test(LLMActionPlugin, model=model)
    meeting.publish("transcription", said("x" * 5_000))
    meeting.publish("transcription", said("Bye."))
    assert model.prompts[1].messages[1]["content"] == "x" * (CONTEXT_CHARS - 1) + "\nBye.\n"


@pytest.mark.parametrize("answer", ["I don't know.", '[{"do": "search"}]', "[1, 2]"])
def test_an_answer_without_actions_is_a_validation_error(plugin_test, answer):
    meeting = plugin_test(LLMActionPlugin, model=ScriptedModel([answer]))
    assert meeting.publish("transcription", said("Hello.")) == [{"answer": VALIDATION_ERROR}]
    assert meeting.state["running_transcription"] == "Hello.\n"
    assert meeting.state["used_actions"] == []


def test_a_packet_without_text_changes_nothing(plugin_test):
    meeting = plugin_test(LLMActionPlugin, model=ScriptedModel([]))
    with pytest.raises(PacketRejected, match="text"):
        meeting.publish("transcription", {"txt": "Hello."})
    assert meeting.state is None


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("[]", []),
        ("first [1], then [2, [3]].", [2, [3]]),
        ("an [unclosed and then [4]", [4]),
        ("[5] and [no list]", [5]),
        ("nothing", None),
    ],
)
def test_the_last_list_is_found(answer, found):
    assert last_json_list(answer) == found
