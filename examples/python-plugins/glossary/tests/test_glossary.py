import pytest
from plugin import Glossary, abbreviations

from teammy.testing import ScriptedModel

TERMS = {"terms": {"tide table": "when the water is high", "GPS": "Global Positioning System"}}


def text(text: str) -> dict:
    return {"text": text}


def test_a_term_is_explained_once_whoever_names_it(plugin_test):
    meeting = plugin_test(Glossary, config=TERMS)
    assert meeting.publish("transcription", text("The Tide Table?")) == [
        {"tide table": "when the water is high"}
    ]
    assert meeting.publish("chat", text("tide table, please")) == []
    assert meeting.keys["seen"] == {"tide table": "when the water is high"}


def test_a_term_is_a_whole_word_and_abbreviations_are_in_capitals(plugin_test):
    meeting = plugin_test(Glossary, config=TERMS)
    assert meeting.publish("chat", text("All tide tables are gps-ready")) == []
    assert meeting.publish("chat", text("with GPS.")) == [{"GPS": "Global Positioning System"}]


def test_the_model_is_asked_about_an_unknown_abbreviation_once(plugin_test):
    model = ScriptedModel(["Low water springs\nIt is a tide."])
    meeting = plugin_test(Glossary, config=TERMS, model=model)
    assert meeting.publish("transcription", text("That is LWS, OK?")) == [{"LWS": "Low water springs"}]
    assert meeting.publish("transcription", text("And LWS again")) == []
    [prompt] = model.prompts
    assert prompt.fast
    assert prompt.messages[1]["content"] == "LWS, as in: That is LWS, OK?"


@pytest.mark.parametrize("answer", ["?", " ? ", "\n"])
def test_the_model_is_not_asked_again_about_what_it_does_not_know(plugin_test, answer):
    model = ScriptedModel([answer])
    meeting = plugin_test(Glossary, model=model)
    assert meeting.publish("chat", text("XKQ")) == []
    assert meeting.publish("chat", text("XKQ")) == []
    assert len(model.prompts) == 1
    assert meeting.keys["seen"] == {"XKQ": "?"}


def test_without_a_model_only_terms_are_explained(plugin_test):
    meeting = plugin_test(Glossary, config={**TERMS, "ask_model": False})
    assert meeting.publish("chat", text("GPS and LWS")) == [{"GPS": "Global Positioning System"}]


def test_partial_speech_is_left_out(plugin_test):
    meeting = plugin_test(Glossary, config=TERMS)
    assert meeting.publish("transcription", {"text": "GPS", "is_final": False}) == []
    assert meeting.keys == {}


def test_a_model_that_fails_changes_nothing(plugin_test):
    meeting = plugin_test(Glossary, config=TERMS, model=ScriptedModel([TimeoutError("busy")]))
    with pytest.raises(TimeoutError):
        meeting.publish("chat", text("GPS and LWS"))
    assert meeting.keys == {}


def test_another_configuration_has_other_terms(plugin_test):
    plugin_test(Glossary, config=TERMS).publish("chat", text("GPS"))
    meeting = plugin_test(Glossary, config={"terms": {"map": "a picture"}, "ask_model": False})
    assert meeting.publish("chat", text("a GPS map")) == [{"map": "a picture"}]


def test_abbreviations_are_found_once_each_in_their_order():
    assert abbreviations("The NATO and the EU, and NATO; no Us, no ABCDEFG, no I") == ("NATO", "EU")
