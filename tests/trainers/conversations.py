"""Conversations of every shape that data for fine-tuning has, to find out what trainers make of their packs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from attrs import frozen

Message = dict[str, Any]


@frozen
class Topic:
    """Texts of which conversations of all shapes are made."""

    asked: tuple[str, str, str]
    answers: tuple[str, str, str]
    thoughts: str
    system: str
    tool: str
    arguments: tuple[dict[str, Any], dict[str, Any]]
    results: tuple[str, str]


TOPICS = (
    Topic(
        asked=("How is the weather in Oslo?", "And tomorrow?", "Thank you."),
        answers=("It rains in Oslo.", "I cannot know that yet.", "You are welcome!"),
        thoughts="The question is about Oslo, so I look there.",
        system="Be brief and kind.",
        tool="weather",
        arguments=({"city": "Oslo"}, {"city": "Bergen", "days": 2}),
        results=("rain", "snow, 2 °C"),
    ),
    Topic(
        asked=("Which is larger, 9.11 or 9.9?", "Show me\nhow you got there.", "Is -3 larger?"),
        answers=(
            "9.9 is larger.",
            "9.9 is 9.90:\n\n1. 90 > 11\n2. so 9.90 > 9.11",
            " No: negative numbers are smaller.",
        ),
        thoughts="9.90 against 9.11.\n\nThe first is larger.",
        system="You are a tutor.\nShow your steps.",
        tool="compare",
        arguments=({"a": 9.11, "b": 9.9, "note": None}, {}),
        results=('{"larger": 9.9}', "an error: no arguments"),
    ),
    Topic(
        asked=("Übersetze «Boot» ins Englische.", "Und 船?", "Noch eins: ⛵"),
        answers=("»boat«", "船 heißt auf Englisch “ship”.", "```\n⛵ = sailboat\n```"),
        thoughts="Das ist „boat“.",
        system="Du bist ein Wörterbuch. 📖",
        tool="look_up",
        arguments=({"words": ["Boot", "Schiff"], "to": "en"}, {"words": ["船"]}),
        results=("boat, ship", "ship"),
    ),
)


def _system(text: str, role: str = "system") -> Message:
    return {"role": role, "content": text}


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _answer(text: str, **more: Any) -> Message:
    return {"role": "assistant", "content": text, **more}


def _calling(topic: Topic, count: int = 1, text: str = "", **more: Any) -> Message:
    calls = [
        {
            "id": f"call{place}",
            "type": "function",
            "function": {"name": topic.tool, "arguments": json.dumps(arguments, ensure_ascii=False)},
        }
        for place, arguments in enumerate(topic.arguments[:count])
    ]
    return _answer(text, tool_calls=calls, **more)


def _results(topic: Topic, count: int = 1) -> list[Message]:
    return [
        {"role": "tool", "content": text, "tool_call_id": f"call{place}", "name": topic.tool}
        for place, text in enumerate(topic.results[:count])
    ]


def _shapes(topic: Topic) -> Iterator[list[Message]]:
    """Yield a conversation of each shape."""
    one, two, three = (
        [_user(asked), _answer(answer)] for asked, answer in zip(topic.asked, topic.answers, strict=True)
    )
    system, developer = _system(topic.system), _system(topic.system, "developer")
    asked, answered = one
    apart, within = {"reasoning_content": topic.thoughts}, f"<think>\n{topic.thoughts}\n</think>\n\n"
    yield one
    yield [system, *one]
    yield [developer, *one]
    yield [*one, *two]
    yield [system, *one, *two, *three]
    yield [developer, *one, *two]
    yield [asked, _calling(topic), *_results(topic), answered]
    yield [system, *three, asked, _calling(topic), *_results(topic), answered]
    yield [asked, _calling(topic, 2), *_results(topic, 2), answered, *two]
    yield [asked, _calling(topic)]
    yield [*two, asked, _calling(topic, text="I look it up.")]
    yield [asked, _answer(topic.answers[0], **apart)]
    yield [*three, asked, _answer(topic.answers[0], **apart)]
    yield [asked, _answer(topic.answers[0], **apart), two[0], _answer(topic.answers[1], **apart)]
    yield [asked, _answer(within + topic.answers[0])]
    yield [system, asked, _answer(within + topic.answers[0]), *two]
    yield [asked, _calling(topic, **apart), *_results(topic), _answer(topic.answers[0], **apart)]
    yield [*one, two[0]]
    yield [_answer("Hello! What can I do for you?"), *one]
    yield [two[0], *one, *two]


def rows() -> Iterator[dict[str, Any]]:
    """Yield rows of the shape ``messages``, in which every second assistant turn is marked as trained."""
    for number, topic in enumerate(TOPICS):
        tool = {
            "name": topic.tool,
            "description": "A tool.",
            "parameters": {"type": "object", "properties": {name: {"type": "string"} for name in topic.arguments[0]}},
        }
        for shape, messages in enumerate(_shapes(topic)):
            marked, answers = list[Message](), 0
            for message in messages:
                is_answer = message["role"] == "assistant"
                train = bool(marked) and (number + shape + answers) % 2 == 0  # a greeting is never trained
                marked.append({**message, "train": train} if is_answer else message)
                answers += is_answer
            calls = any("tool_calls" in message for message in messages)
            yield {"messages": marked, **({"tools": [{"type": "function", "function": tool}]} if calls else {})}
