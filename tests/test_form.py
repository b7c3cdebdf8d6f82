"""Question forms: what a teacher is asked for, and how strictly numbers and texts are read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rt_framework.errors import PluginError
from rt_framework.kit.form import Answer, Form, Part, Wording, sampling
from rt_framework.model import Reply, Unparsed

TOKEN = "0a1b2c3d"
FORM = Form({"reason": Part("why, in one sentence"), "mark": Part("the mark", range(1, 11))})
BOTH = pytest.mark.parametrize("structured", [True, False], ids=["json", "markers"])


def written(values, structured):
    """An answer with these values."""
    if structured:
        return json.dumps(values)
    return "".join(f"[[{name} {TOKEN}]]\n{value}\n" for name, value in values.items()) + f"[[end {TOKEN}]]"


def answered(form, values, structured):
    """Outcome of reading an answer with these values."""
    return form.read(Reply(written(values, structured)), TOKEN, structured)


# --- asking -----------------------------------------------------------------------------------


def test_the_schema_is_closed_and_in_the_order_of_the_parts():
    """Numbers are listed, so that a small model cannot write digits until its tokens run out."""
    schema = FORM.schema()
    assert list(schema["properties"]) == schema["required"] == ["reason", "mark"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["reason"] == {"type": "string", "minLength": 1}
    assert schema["properties"]["mark"] == {"type": "number", "enum": list(range(1, 11))}


def test_both_ways_of_asking_show_each_part_with_its_meaning():
    """As keys, or as markers with the token of the request and an end."""
    form = Form(FORM.parts, Wording("JSON, please.", "Markers, please.", "Attempt {attempt}."))
    assert form.ask(TOKEN, 0, True) == ['JSON, please.\n"reason": why, in one sentence\n"mark": the mark']
    marked = f"[[reason {TOKEN}]]\n<why, in one sentence>\n[[mark {TOKEN}]]\n<the mark>\n[[end {TOKEN}]]"
    assert form.ask(TOKEN, 2, False) == [f"Markers, please.\n{marked}", "Attempt 3."]


@BOTH
def test_a_later_request_differs(structured):
    """The same request would get the same unusable answer again."""
    requests = [(FORM.ask(TOKEN, index, structured), sampling(index)) for index in range(3)]
    assert len({str(request) for request in requests}) == 3
    first, second = sampling(0, 77, 0.1, 0.9), sampling(1, 77, 0.1, 0.9)
    assert (first.temperature, first.max_tokens, first.seed) == (0.1, 77, None)
    assert (second.temperature, second.max_tokens, second.seed) == (0.9, 77, 1)


@pytest.mark.parametrize("name", ["end", "Mark", "the mark", "mark1", ""])
def test_a_name_that_no_marker_can_carry_is_refused_at_once(name):
    """Else a teacher without a schema would be paid for answers that can never be read."""
    with pytest.raises(PluginError, match="cannot name a part"):
        Form({name: Part("anything")})


@pytest.mark.parametrize("number", [float("nan"), float("inf"), "4", True, 10**400])
def test_numbers_that_cannot_be_compared_are_refused_at_once(number):
    """The line names the part."""
    with pytest.raises(PluginError, match=r"numbers of mark must be a (finite )?number"):
        Form({"mark": Part("the mark", [1, number])})


# --- reading ----------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("mark", [1, 10, 7.5])
def test_texts_and_numbers_are_read_apart(structured, mark):
    """Numbers between the extremes are taken, since a teacher without a schema gives halves."""
    values = {"reason": "  Short words. ", "mark": mark}
    assert answered(FORM, values, structured) == Answer({"reason": "Short words."}, {"mark": mark})


@BOTH
@pytest.mark.parametrize(
    "mark", ["0", "11", "-1", "+4", "5e0", "4/5", "٤", "four", "", "nan", "010", "1_0", "0x4", ".5"]
)
def test_anything_but_a_plain_number_on_the_scale_is_refused(structured, mark):
    """In JSON a number in quotes is no number either."""
    outcome = answered(FORM, {"reason": "Short.", "mark": mark}, structured)
    assert isinstance(outcome, Unparsed) and outcome.kind == "format" and "mark" in outcome.reason


@pytest.mark.parametrize("mark", [True, None, [4], 0, 10.01, float("nan"), float("inf"), 10**400])
def test_other_json_values_are_no_number(mark):
    """``true`` counts as 1 in Python, and must not here."""
    assert answered(FORM, {"reason": "Short.", "mark": mark}, True).kind == "format"


@BOTH
def test_a_scale_may_reach_below_zero(structured):
    """The sign is read only where the scale has one."""
    form = Form({"mark": Part("the mark", (-2, -1, 0, 1, 2))})
    assert answered(form, {"mark": -1.5}, structured) == Answer({}, {"mark": -1.5})
    assert answered(form, {"mark": -3}, structured).kind == "format"


@BOTH
@pytest.mark.parametrize("reason", ["", "\u200b", "<reason>", "<why, in one sentence>", "the mark", "<any words here>"])
def test_blank_texts_and_echoes_of_the_form_lose_the_whole_answer(structured, reason):
    """Whichever part's meaning is echoed."""
    assert answered(FORM, {"reason": reason, "mark": 4}, structured).kind == "format"


@BOTH
def test_a_refusal_is_told_apart_from_a_malformed_answer(structured):
    """A refusal is not asked again. One that is told inside the form is a text like any other."""
    refusal = "I'm sorry, but I can't assist with that request."
    assert FORM.read(Reply(refusal), TOKEN, structured).kind == "refused"
    assert FORM.read(Reply("It is a 4."), TOKEN, structured).kind == "format"
    assert answered(FORM, {"reason": refusal, "mark": 4}, structured).texts == {"reason": refusal}


@given(st.text(max_size=40), st.one_of(st.text(max_size=8), st.floats(), st.integers()), st.booleans())
def test_every_reply_is_read_or_refused(reason, mark, structured):
    """Nothing raises, and a mark that is read is on the scale."""
    outcome = answered(FORM, {"reason": reason, "mark": mark}, structured)
    assert isinstance(outcome, Unparsed) or 1 <= outcome.numbers["mark"] <= 10
