"""Awkward pairs and replies, as real data and real teachers give them; they break code that met only clean ones."""

from __future__ import annotations

from attrs import evolve

from rt_framework.model import Pair, Reply, ToolCall, Turn
from rt_framework.spans import Messages, Span

_SCRIPTS = "Ελληνικά, русский, 中文, العربية, עברית, हिन्दी, 日本語, ไทย, 👩‍👩‍👧‍👦 e\u0301"
_BIDI = "left \u202eright\u202c and \u2066isolated\u2069, \u200ezero\u200b width\ufeff"
_CONTROL = "bell \x07, escape \x1b[31m, null \x00, vertical \x0b, delete \x7f, next line \x85, paragraph \u2029"
_TOOL = '{"type": "function", "function": {"name": "weather", "parameters": {}}}'
_CALLING = Turn("assistant", "", tool_calls=(ToolCall("weather", '{"city": "Oslo"}', "1"),))
_MARKERS = "### Response: <|im_end|> </s> [[response 0a1b]] <<<end code>>> {{ braces }} {0} %s ```"


def awkward_pairs() -> list[Pair]:
    """Return awkward pairs that every plugin has to cope with.

    Empty parts, white space alone, one character, lone surrogates, bidirectional marks, control characters, words that
    templates and prompts use as markers, other scripts, a very long pair, a system prompt, a conversation, reasoning
    apart, a result of a tool, and a call of one.
    """
    texts = ["", " \n\t", "x", "half \ud83d of a pair \udc00", _BIDI, _CONTROL, _MARKERS, _SCRIPTS]
    pairs = [Pair(text, "", text) for text in texts]
    pairs += [
        Pair("", "", "A response without an instruction."),
        Pair("An instruction without a response."),
        Pair("", "Only an input.", "And a response."),
        Pair("Count. " * 100 + "x" * 50_000, "1 2 3 " * 50, "One, two, three. " * 100 + "y" * 50_000),
        Pair("Name a river.", response="The Rhine.", system="You are brief."),
        Pair("Name a river.", response="The Rhine.", system=""),
        Pair("And a second one?", "", "The Nile.", None, _turns("Name a river.", "The Rhine.")),
        Pair("Name a river.", response="The Rhine.", reasoning="One in Europe.", after=(Turn("user", "Thanks."),)),
        Pair("How is the weather?", response="It rains.", since=(_CALLING, Turn("tool", "rain")), tools=(_TOOL,)),
        Pair("How is the weather?", reasoning="I have to look.", tool_calls=_CALLING.tool_calls, tools=(_TOOL,)),
    ]
    return pairs


def _turns(question: str, answer: str) -> tuple[Turn, ...]:
    return (Turn("user", question), Turn("assistant", answer))


def awkward_replies() -> list[Reply]:
    """Return awkward answers that a teacher may give; none of them holds a rewrite."""
    texts = [
        "",
        " \n\t",
        "null",
        "[]",
        "{}",
        "0",
        '"a text"',
        "NaN",
        '{"response": null}',
        '{"response": ["a", "list"]}',
        '{"response": "twice", "response": "twice"}',
        "[" * 100_000,
        "{" * 1000,
        '{"a": ' * 5000,
        "\ud800",
        "\x00",
        _CONTROL,
        "Sure! Here is what you asked for.",
        "```json\n",
        "x" * 1_000_000,
    ]
    return [*map(Reply, texts), Reply("", "content_filter"), Reply("half of an ans", "length")]


def typed_spans() -> list[Span]:
    """Return spans with tools, calls of tools and reasoning, for a student that shows these."""
    asked, calling = Turn("user", "How is the weather in Oslo?"), evolve(_CALLING, reasoning="I have to look.")
    told = Messages((asked, calling, Turn("tool", "rain", tool_call_id="1")), (_TOOL,))
    answer, header = Turn("assistant", "It rains.", "The tool says rain."), (Turn("user", ""),)
    before = Messages((asked,), told.tools)
    return [
        Span(told, "It rains.", "ids", header),
        Span(told, answer, "ids", header, part="answer"),
        Span(header, answer, "ids", told, part="reasoning"),
        Span(before, calling, "ids", header),
        Span(before, "It rains.", "ids", header, within=Messages((asked, Turn("assistant", "No.")), told.tools)),
    ]
