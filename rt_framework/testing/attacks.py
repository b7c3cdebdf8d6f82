"""Named attacks of a hostile server on the client of a chat API, each with the result that a sound client must reach.

An attack takes the honest answer, a JSON object, and returns the bytes to send over the wire instead. Give an attack to
:class:`rt_framework.testing.FaultServer` in place of a fault.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, Literal

from attrs import evolve, frozen

from rt_framework.testing.wire import JSON, Framing, RawAnswer, refused

Honest = dict[str, Any]
"""The honest answer of the server: a chat completion."""

End = Literal["answer", "unreadable", "either", "broken", "refused"]
"""Result that a client must reach: an answer that it reads; an unreadable answer, kept with its body; either of these
two; a broken call, which may be billed; or a refused call, which costs nothing."""

DEEP = 100_000
"""Depth of nested brackets that no recursive parser survives."""

DIGITS = 5_000
"""Number of digits that Python refuses to convert to an integer."""

BOMB = 3 << 30
"""Bytes to which a small compressed body unpacks."""


@frozen
class Attack:
    """An attack: one hostile way to answer a chat request."""

    name: str
    answer: Callable[[Honest], RawAnswer]
    """Function from the honest answer to the answer that is sent."""
    end: End
    billed: bool = True
    """True if an answer was made for the request: providers then charge, even if the client cannot read the answer."""


# --- JSON values in the wrong places ----------------------------------------------------------


def placed(honest: Honest, place: str, text: str | None) -> bytes:
    """Return the honest answer as JSON, with *text* at a *place* such as ``choices.0.message``.

    The text need not be valid JSON; ``None`` leaves the place out.
    """
    changed = json.loads(json.dumps(honest))
    *path, last = [int(step) if step.isdigit() else step for step in place.split(".")]
    inner = changed
    for step in path:
        inner = inner[step]
    if text is None:
        del inner[last]
        return json.dumps(changed).encode()
    inner[last] = "@placed@"
    return json.dumps(changed).encode().replace(b'"@placed@"', text.encode("utf-8", "surrogatepass"))


def odd_values(place: str, texts: Mapping[str, str | None], end: End = "either") -> list[Attack]:
    """Return an attack for each of the JSON texts, put at *place* of the answer."""

    def answer(text: str | None, honest: Honest) -> RawAnswer:
        return RawAnswer(placed(honest, place, text))

    return [Attack(f"{place}: {name}", partial(answer, text), end) for name, text in texts.items()]


_LEFT_OUT: Mapping[str, str | None] = {"left out": None, "null": "null"}
_SCALARS = {"a number": "7", "true": "true", "a word": '"many"', "a float": "1.5"}
_CONTAINERS = {"a list": "[]", "a list of null": "[null]", "a list in a list": "[[]]", "an object": "{}"}
_NUMBERS = {
    "negative": "-100000",
    "a negative float": "-0.5",
    "10 to the 30": "1" + "0" * 30,
    "beyond 64 bits": str(2**63),
    "1e400": "1e400",
    "NaN": "NaN",
    "-Infinity": "-Infinity",
    "digits without end": "9" * DIGITS,
    "digits in quotes": '"12"',
}
_DEEP = {"nested deep": "[" * DEEP + "]" * DEEP, "objects nested deep": '{"a":' * DEEP + "1" + "}" * DEEP}
_ANY = {**_LEFT_OUT, **_SCALARS, **_CONTAINERS}
_PARTS = {
    "a list of parts": '[{"type": "text", "text": "hello"}]',
    "a list of odd parts": '[{"type": 7, "text": null}, null, 3]',
    "NUL, escaped": '"a\\u0000b"',
    "NUL, raw": '"a\x00b"',
    "a lone surrogate": '"\\ud83d"',
}
_WORDS = {"a lone surrogate": '"\\ud83d"', "long": json.dumps("x" * 100_000)}
_TOOLS = '{"role": "assistant", "content": null, "tool_calls": %s}'
_MESSAGES = {
    "a tool call": _TOOLS % '[{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]',
    "odd tool calls": _TOOLS % '[null, 7, {"function": {"name": 7, "arguments": []}}]',
    "a function call": '{"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": 7}}',
    "a refusal": '{"role": "assistant", "content": null, "refusal": "I cannot."}',
    "an odd refusal": '{"role": "assistant", "content": null, "refusal": [7]}',
    "another role": '{"role": 7, "content": "hello"}',
    "odd reasoning": '{"role": "assistant", "content": "hello", "reasoning_content": [7], "thinking_blocks": 7}',
}

_VALUES = [
    *odd_values("choices.0.message.content", {**_ANY, **_PARTS, **_DEEP}),
    *odd_values("choices.0.message", {**_ANY, **_MESSAGES}),
    *odd_values(
        "choices.0.finish_reason", {**_ANY, "a lone surrogate": '"\\ud83d"', "long": json.dumps("x" * 100_000)}
    ),
    *odd_values("choices.0.index", {"left out": None, **_SCALARS, "negative": "-1"}),
    *odd_values("choices.0", {"null": "null", **_SCALARS, **_CONTAINERS}),
    *odd_values("choices", {**_ANY, "nested deep": _DEEP["nested deep"]}),
    *odd_values("usage", {**_ANY, **_NUMBERS, **_DEEP}),
    *(
        attack
        for part in ("prompt_tokens", "completion_tokens", "total_tokens")
        for attack in odd_values(f"usage.{part}", {**_ANY, **_NUMBERS})
    ),
    *odd_values("model", {**_ANY, **_WORDS}),
    *odd_values("id", _ANY),
    *odd_values("created", {**_ANY, **_NUMBERS}),
    *odd_values("object", _ANY),
]


# --- bodies that are no chat completion -------------------------------------------------------


def _is(body: bytes) -> Callable[[Honest], RawAnswer]:
    return lambda _: RawAnswer(body)


def _made(make: Callable[[bytes], bytes], **fields: Any) -> Callable[[Honest], RawAnswer]:
    """Return the answer function of an attack whose body is made from the honest body."""
    return lambda honest: RawAnswer(make(json.dumps(honest).encode()), **fields)


def _type(kind: str) -> tuple[tuple[str, str], ...]:
    return (("Content-Type", kind),)


def _compressed(name: str) -> tuple[tuple[str, str], ...]:
    return (*JSON, ("Content-Encoding", name))


def _stream(body: bytes) -> bytes:
    return b"data: " + body + b"\n\ndata: [DONE]\n\n"


_ERROR = b'{"error": {"message": "Upstream failed", "type": "server_error", "code": 502}}'
_WHOLE = {
    "an empty object": b"{}",
    "null": b"null",
    "a list": b"[]",
    "a string": b'""',
    "zero": b"0",
    "true": b"true",
    "nothing": b"",
    "white space": b" \r\n\t ",
    "plain text": b"upstream connect error",
    "HTML": b"<!doctype html><html><body><h1>Just a moment</h1></body></html>",
    "an error": _ERROR,
    "an error in words": b'{"error": "Upstream failed"}',
    "a detail": b'{"detail": [{"loc": ["body"], "msg": "field required"}]}',
    "NUL bytes": b"\0" * 1_000,
    "random bytes": bytes(range(256)) * 4,
    "lists nested deep": _DEEP["nested deep"].encode(),
    "objects nested deep": _DEEP["objects nested deep"].encode(),
    "lists nested deep and left open": b"[" * DEEP,
    "a number without end": b"9" * DIGITS,
}

_BODIES = [
    *(Attack(f"body: {name}", _is(body), "unreadable") for name, body in _WHOLE.items()),
    Attack("body: cut in the middle", _made(lambda body: body[: len(body) // 2]), "unreadable"),
    Attack("body: two objects", _made(lambda body: body + b"\n" + body), "either"),
    Attack("body: one invalid byte", _made(lambda body: body.replace(b'"content": "', b'"content": "\xff')), "either"),
    Attack("body: a key twice", _made(lambda body: b'{"usage": 7, "choices": 7, ' + body[1:]), "either"),
    Attack("body: a byte order mark", _made(lambda body: b"\xef\xbb\xbf" + body), "either"),
    Attack("body: UTF-16", _made(lambda body: body.decode().encode("utf-16")), "either"),
    Attack("body: UTF-32", _made(lambda body: body.decode().encode("utf-32")), "either"),
    Attack("body: a stream", _made(_stream, headers=_type("text/event-stream")), "either"),
    Attack("body: a stream that says that it is JSON", _made(_stream), "either"),
    Attack("body: HTML that says so", lambda _: RawAnswer(_WHOLE["HTML"], headers=_type("text/html")), "unreadable"),
    Attack("body: JSON that says that it is HTML", _made(bytes, headers=_type("text/html")), "either"),
    Attack(
        "body: JSON of an unknown charset", _made(bytes, headers=_type("application/json; charset=x\u00e9")), "either"
    ),
    Attack("body: without a type", _made(bytes, headers=()), "either"),
    Attack("body: too long", _made(lambda body: body + b" " * (20 << 20)), "unreadable"),
]


# --- transfers --------------------------------------------------------------------------------


def squeezed(total: int = BOMB) -> bytes:
    """Return *total* zero bytes as gzip, in a thousandth of their size; the check sum at the end is wrong."""
    block = 16 << 20
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    head = packer.compress(b"\0") + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(block)) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + again * (total // block) + packer.flush()


@cache
def _bomb() -> bytes:
    return squeezed()


def _framed(framing: Framing, cut: bool = False) -> Callable[[Honest], RawAnswer]:
    return _made(lambda body: body[: len(body) // 2] if cut else body, framing=framing)


_EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"
_STRAY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

_TRANSFERS = [
    Attack("transfer: in chunks", _framed("chunked"), "answer"),
    Attack("transfer: until the connection is closed", _framed("close"), "answer"),
    Attack("transfer: closed in the middle", _framed("close", cut=True), "unreadable"),
    Attack("transfer: shorter than stated", _made(bytes, length=1 << 20), "unreadable"),
    Attack("transfer: longer than stated", _made(bytes, length=20), "broken"),
    Attack("transfer: chunks without the last one", _framed("unfinished"), "unreadable"),
    Attack("transfer: half of the chunks", _framed("unfinished", cut=True), "unreadable"),
    Attack("transfer: a length that is none", _made(bytes, headers=(*JSON, ("Content-Length", "many"))), "broken"),
    Attack("transfer: a byte at a time", _made(bytes, pace=0.2), "broken"),
    Attack("transfer: an answer behind the answer", _made(bytes, after=_STRAY), "answer"),
    Attack("transfer: early hints", _made(bytes, before=_EARLY), "answer"),
    Attack("transfer: a thousand early hints", _made(bytes, before=_EARLY * 1_000), "broken"),
    Attack("transfer: 100 first", _made(bytes, before=b"HTTP/1.1 100 Continue\r\n\r\n"), "answer"),
    Attack("transfer: 101", _made(bytes, before=b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), "broken"),
    Attack("transfer: compressed", _made(gzip.compress, headers=_compressed("gzip")), "answer"),
    Attack(
        "transfer: compressed and cut",
        _made(lambda body: gzip.compress(body)[:-20], headers=_compressed("gzip")),
        "unreadable",
    ),
    Attack("transfer: a bomb", lambda _: RawAnswer(_bomb(), headers=_compressed("gzip")), "unreadable"),
    Attack("transfer: compressed in an unknown way", _made(bytes, headers=_compressed("x-odd")), "either"),
    *(
        Attack(f"transfer: says {name} and is not", _made(bytes, headers=_compressed(name)), "either")
        for name in ("gzip", "deflate", "br", "zstd", "gzip, gzip")
    ),
    *(Attack(f"status: {status}", _made(bytes, status=status), "either") for status in (201, 202, 203, 206, 299)),
    Attack("status: 204", _made(bytes, status=204), "broken"),
    Attack("status: 204 without a body", lambda _: RawAnswer(b"", 204), "unreadable"),
    Attack("status: 999", _made(bytes, status=999), "broken"),
    Attack("header: a megabyte", _made(bytes, headers=(*JSON, ("X-Odd", "x" * (1 << 20)))), "broken"),
    Attack("header: ten thousand", _made(bytes, headers=(*JSON, *[("X-Odd", "x")] * 10_000)), "broken"),
    Attack("header: another in it", _made(bytes, headers=(*JSON, ("X-Odd", "x\r\nContent-Length: 3"))), "broken"),
    Attack("header: control characters", _made(bytes, headers=(*JSON, ("X-Odd", "a\x00b\x1b[2J"))), "broken"),
    Attack("header: not ASCII", _made(bytes, headers=(*JSON, ("X-Odd", "\u00e9"))), "answer"),
    Attack("header: a cookie", _made(bytes, headers=(*JSON, ("Set-Cookie", "a=b; Domain=example.org"))), "answer"),
]


# --- refusals and pauses ----------------------------------------------------------------------


def retry_after(status: int, value: str) -> Attack:
    """Return an attack by a refusal, or with a status below 400 an answer, that asks for a pause."""
    name = f"Retry-After: {value[:40]} with {status}"
    if status < 400:
        return Attack(name, _made(bytes, headers=(*JSON, ("Retry-After", value))), "answer")
    return Attack(name, lambda _: refused(status, retry_after=value), "refused", billed=False)


def redirect(status: int, place: str) -> Attack:
    """Return an attack by a redirect to *place* whose body looks like an answer, though no model was asked."""

    def answer(honest: Honest) -> RawAnswer:
        return evolve(_made(bytes)(honest), status=status, headers=(*JSON, ("Location", place)))

    return Attack(f"redirect: {status} to {place}", answer, "refused", billed=False)


PAUSES = (
    *("999999999", "3601", "1" + "0" * 30, "nan", "-5", "inf", "-inf", "1e9", "0x10", "9" * DIGITS, "", " ", "soon"),
    *("Fri, 31 Dec 9999 23:59:59 GMT", "Fri, 31 Dec 99999 23:59:59 GMT", "Mon, 01 Jan 1900 00:00:00 GMT", "\u00b2"),
)
"""Bad values of ``Retry-After``: pauses that are too long, and texts that are neither numbers nor dates."""

ATTACKS: dict[str, Attack] = {attack.name: attack for attack in (*_VALUES, *_BODIES, *_TRANSFERS)}
"""Every attack on a chat client that needs no second server, by name."""
