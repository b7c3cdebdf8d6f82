"""Named attacks on the client of a batch API: hostile lines of a result file, and false responses of its endpoints.

Give lines to :class:`rt_framework.testing.batch_desk.BatchDesk` as its *poison*, false responses as its *lie*.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from attrs import evolve, frozen

from rt_framework.testing.attacks import ATTACKS, DEEP, DIGITS, End, placed
from rt_framework.testing.wire import RawAnswer, refused, told

Result = dict[str, Any]
"""The honest line of a result file, as a JSON object."""


@frozen
class LineAttack:
    """A hostile way to write the result of a line that was answered, and billed."""

    name: str
    line: Callable[[Result], bytes]
    """Function from the honest line to the line, or several lines, written instead."""
    end: End
    kept: bool = False
    """True if the line still names its request, so that the client can keep the body with that request."""


def odd_results(place: str, texts: Mapping[str, str | None], end: End, kept: bool = False) -> list[LineAttack]:
    """Return an attack for each of the JSON texts, put at *place* of the line."""

    def line(text: str | None, honest: Result) -> bytes:
        return placed(honest, place, text)

    return [LineAttack(f"{place}: {name}", partial(line, text), end, kept) for name, text in texts.items()]


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _as_whole(make: Callable[[bytes], bytes]) -> Callable[[Result], bytes]:
    return lambda honest: make(_json(honest))


def _of_text(honest: Result, text: str) -> Result:
    """Return the same line with another answer."""
    other: Result = json.loads(json.dumps(honest))
    other["response"]["body"]["choices"][0]["message"]["content"] = text
    return other


def _failed(honest: Result, status: int | None = 500) -> Result:
    """Return a line that says that the same request failed."""
    error = {"message": "The server had an error", "code": "server_error"}
    response = None if status is None else {"status_code": status, "request_id": "", "body": {"error": error}}
    return {**honest, "response": response, "error": error if status is None else None}


_ODD_IDS = {
    "left out": None,
    "null": "null",
    "a number": "7",
    "a list": '["a"]',
    "an object": "{}",
    "of another batch": '"0123456789abcdef0123456789abcdef"',
    "empty": '""',
    "a lone surrogate": '"\\ud83d"',
    "digits without end": "9" * DIGITS,
}
_ODD_STATUSES = {
    "left out": None,
    "null": "null",
    "a word": '"many"',
    "negative": "-1",
    "zero": "0",
    "true": "true",
    "a float": "200.5",
    "a list": "[200]",
    "10 to the 30": "1" + "0" * 30,
    "999": "999",
    "a redirect": "307",
}
_ODD_BODIES = {
    "left out": None,
    "null": "null",
    "a list": "[]",
    "a word": '"many"',
    "a number": "7",
    "an empty object": "{}",
    "an error": '{"error": {"message": "Upstream failed", "code": 502}}',
}
_ODD_RESPONSES = {"a list": "[]", "a number": "7", "a word": '"many"', "an empty object": "{}", "left out": None}
_EMBEDDED = (
    *("choices: null", "choices: an object", "choices: a list of null", "choices.0.message: left out"),
    *("choices.0.message.content: a number", "choices.0.message.content: a list of parts"),
    *("choices.0.message.content: an object", "usage: a word", "usage: null", "model: left out", "id: null"),
)
"""Attacks on live answers that also work inside a line of a result file."""


def _embedded(name: str, honest: Result) -> bytes:
    return placed(honest, "response.body", ATTACKS[name].answer(honest["response"]["body"]).body.decode())


_LINES = [
    *odd_results("custom_id", _ODD_IDS, "unreadable"),
    *odd_results("response.status_code", _ODD_STATUSES, "either"),
    *odd_results("response.body", _ODD_BODIES, "unreadable", kept=True),
    *odd_results("response", {**_ODD_RESPONSES, "null, and so the error": "null"}, "either"),
    *odd_results("error", {"a word": '"many"', "a list": "[7]", "an empty object": "{}"}, "answer"),
    *(LineAttack(f"body: {name}", partial(_embedded, name), "either", kept=True) for name in _EMBEDDED),
    LineAttack("line: nested deep", lambda honest: placed(honest, "id", "[" * DEEP + "]" * DEEP), "either"),
    LineAttack("line: only brackets", lambda _: b"[" * DEEP, "unreadable"),
    LineAttack("line: a number without end", lambda honest: placed(honest, "id", "9" * DIGITS), "either"),
    LineAttack("line: one invalid byte", _as_whole(lambda line: line.replace(b"hello", b"\xffhello", 1)), "either"),
    LineAttack("line: not JSON", lambda _: b"upstream connect error", "unreadable"),
    LineAttack("line: a list", lambda _: b"[]", "unreadable"),
    LineAttack("line: null", lambda _: b"null", "unreadable"),
    LineAttack("line: a number", lambda _: b"7", "unreadable"),
    LineAttack("line: cut", _as_whole(lambda line: line[: len(line) // 2]), "unreadable"),
    LineAttack("line: left out", lambda _: b"", "unreadable"),
    LineAttack("line: NUL bytes", lambda _: b"\0" * 1_000, "unreadable"),
    LineAttack("line: a byte order mark", _as_whole(lambda line: b"\xef\xbb\xbf" + line), "either"),
    LineAttack("line: blank ones around it", _as_whole(lambda line: b"\n \n" + line + b"\n\t\n"), "answer"),
    LineAttack("line: a huge one beside it", _as_whole(lambda line: b"x" * (20 << 20) + b"\n" + line), "answer"),
    LineAttack("line: a huge one", _as_whole(lambda line: line[:-1] + b" " * (20 << 20) + b"}"), "either"),
    LineAttack("line: ends with CR LF", _as_whole(lambda line: line + b"\r"), "answer"),
    LineAttack(
        "line: twice, with another answer",
        lambda honest: _json(honest) + b"\n" + _json(_of_text(honest, "no")),
        "answer",
    ),
    LineAttack("line: good, then an error", lambda honest: _json(honest) + b"\n" + _json(_failed(honest)), "answer"),
    LineAttack("line: an error, then good", lambda honest: _json(_failed(honest)) + b"\n" + _json(honest), "answer"),
    LineAttack(
        "line: no answer, then good", lambda honest: _json(_failed(honest, None)) + b"\n" + _json(honest), "answer"
    ),
    LineAttack(
        "line: unreadable, then good",
        lambda honest: placed(honest, "response.body", "[]") + b"\n" + _json(honest),
        "either",
    ),
]

LINE_ATTACKS: dict[str, LineAttack] = {attack.name: attack for attack in _LINES}
"""Every attack on the reader of a result file, by name."""


# --- lies -------------------------------------------------------------------------------------

Lying = Callable[[RawAnswer], RawAnswer]


def changed(**parts: Any) -> Lying:
    """Return a lie that replaces values of the true response; ``...`` leaves a key out."""

    def lie(truth: RawAnswer) -> RawAnswer:
        value = {**json.loads(truth.body), **parts}
        return told({name: part for name, part in value.items() if part is not ...})

    return lie


def moved(place: str) -> Lying:
    """Return a lie that redirects to another place, with the true response as its body."""
    return lambda truth: evolve(truth, status=307, headers=(*truth.headers, ("Location", place)))


HTML: Lying = lambda _: RawAnswer(b"<html><body>Just a moment</body></html>", headers=(("Content-Type", "text/html"),))  # noqa: E731
"""A lie: an HTML page with the status 200, as some gateways send it."""


def gone(status: int = 404) -> Lying:
    """Return a lie that refuses the request because the file or batch does not exist any more."""
    return lambda _: refused(status, "It is not there any more.")
