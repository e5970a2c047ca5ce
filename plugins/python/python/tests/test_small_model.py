from __future__ import annotations

import datetime
import enum
from typing import Any, Literal, Optional, Union

import pytest
from teammy._host.small_model import SmallModel, ValidationError


class Colour(str, enum.Enum):
    RED = "red"


class Inner(SmallModel):
    number: int


class Outer(SmallModel):
    text: str
    inner: Optional[Inner] = None
    many: list[Inner] = []
    table: dict[str, float] = {}
    pair: tuple[int, str] = (0, "")
    colour: Colour = Colour.RED
    choice: Literal["a", "b"] = "a"
    either: Union[int, str] = 0
    when: datetime.datetime | None = None
    anything: Any = None


def test_it_reads_and_writes_json():
    text = (
        '{"text":"x","inner":{"number":1},"many":[{"number":2}],"table":{"a":1},"pair":[1,"b"],'
        '"when":"2026-01-01T00:00:00Z"}'
    )
    made = Outer.model_validate_json(text)
    assert made.inner == Inner(number=1) and made.many == [Inner(2)] and made.pair == (1, "b")
    assert made.when.tzinfo is not None
    again = Outer.model_validate_json(made.model_dump_json())
    assert again == made
    assert made.model_dump(mode="json")["when"] == "2026-01-01T00:00:00Z"
    assert made.model_dump(exclude={"text"}).get("text") is None


@pytest.mark.parametrize(
    ("value", "loc", "kind"),
    [
        ({}, ("text",), "missing"),
        ({"text": 1}, ("text",), "string_type"),
        ({"text": "", "inner": {"number": "x"}}, ("inner", "number"), "int_parsing"),
        ({"text": "", "many": [{}]}, ("many", 0, "number"), "missing"),
        ({"text": "", "table": {"k": "y"}}, ("table", "k"), "float_parsing"),
        ({"text": "", "table": []}, ("table",), "dict_type"),
        ({"text": "", "pair": [1]}, ("pair",), "too_short"),
        ({"text": "", "colour": "blue"}, ("colour",), "enum"),
        ({"text": "", "choice": "c"}, ("choice",), "literal_error"),
        ({"text": "", "when": "soon"}, ("when",), "datetime_parsing"),
        ([], (), "model_type"),
    ],
)
def test_it_names_what_is_wrong_without_the_value(value, loc, kind):
    with pytest.raises(ValidationError) as error:
        Outer.model_validate(value)
    assert error.value.errors() == [{"loc": loc, "type": kind}]


def test_it_converts_where_nothing_is_lost():
    assert Inner.model_validate({"number": "12"}).number == 12
    assert Inner.model_validate({"number": 2.0}).number == 2
    for bad in (True, 2.5, float("nan"), None):
        with pytest.raises(ValidationError):
            Inner.model_validate({"number": bad})
    assert Outer(text="", either="a").either == "a"


def test_construction_and_copies():
    assert Outer("x").text == "x"
    with pytest.raises(TypeError):
        Inner(1, 2)
    with pytest.raises(TypeError):
        Inner(1, number=2)
    first = Outer("x", many=[Inner(1)])
    assert first.model_copy(update={"text": "y"}).text == "y" and first.text == "x"
    assert first.model_copy(deep=True).many[0] is not first.many[0]
    assert Inner.model_construct(number="no").number == "no"
    assert Inner(1) != Inner(2) and repr(Inner(1)) == "Inner(number=1)"
    with pytest.raises(AttributeError):
        first.nothing
