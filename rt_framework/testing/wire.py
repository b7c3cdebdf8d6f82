"""One HTTP answer as it goes over the wire: every part of it can be wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

from attrs import frozen

Framing = Literal["length", "chunked", "unfinished", "close"]
"""How the end of a body is told: a ``Content-Length``, chunks, chunks without the last one, or a closed connection."""

JSON = (("Content-Type", "application/json"),)


@frozen
class RawAnswer:
    """Status, headers and body of an answer, and how they are sent."""

    body: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = JSON
    framing: Framing = "length"
    length: int | None = None
    """The ``Content-Length`` that is told, where it is not the body's."""
    before: bytes = b""
    """Sent first, as interim answers are."""
    after: bytes = b""
    """Sent after the body, on a connection that stays open."""
    pace: float = 0.0
    """Seconds between two bytes of the body; 0 sends it at once."""

    @property
    def ends(self) -> bool:
        """Whether the connection is closed after it: nobody could tell where a next answer begins."""
        return self.framing in {"unfinished", "close"} or self.length not in {None, len(self.body)}

    def head(self) -> bytes:
        """Everything before the body, interim answers too."""
        version = "1.0" if self.framing == "close" else "1.1"
        lines = [f"HTTP/{version} {self.status} Told", *(f"{name}: {value}" for name, value in self.headers)]
        if self.framing == "length":
            lines.append(f"Content-Length: {len(self.body) if self.length is None else self.length}")
        elif self.framing != "close":
            lines.append("Transfer-Encoding: chunked")
        return self.before + "\r\n".join([*lines, "", ""]).encode("latin-1")

    def pieces(self) -> Iterator[bytes]:
        """The body as it is sent, and what follows it."""
        step = 1 if self.pace else 1 << 16
        for start in range(0, len(self.body), step):
            piece = self.body[start : start + step]
            yield b"%x\r\n%s\r\n" % (len(piece), piece) if self.framing in {"chunked", "unfinished"} else piece
        if self.framing == "chunked":
            yield b"0\r\n\r\n"
        if self.after:
            yield self.after


def told(value: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> RawAnswer:
    """A JSON value as an answer."""
    return RawAnswer(json.dumps(value).encode(), status, (*JSON, *headers))


def refused(
    status: int, message: str = "refused", code: str | None = None, retry_after: str | None = None
) -> RawAnswer:
    """An error as OpenAI's API tells it."""
    headers = () if retry_after is None else (("Retry-After", retry_after),)
    return told({"error": {"message": message, "type": code, "param": None, "code": code}}, status, headers)


def completion(body: dict[str, Any], text: str, odd: str | None = None) -> dict[str, Any]:
    """A chat completion; tokens are counted as blocks of four bytes, never more than ``max_tokens``.

    Args:
        body: the request.
        text: of the answer.
        odd: ``empty``, ``null``, ``no_choices``, ``length`` or ``content_filter``: what is of no use about it.
    """
    content = {"empty": "", "null": None, "length": text[: len(text) // 2]}.get(odd or "", text)
    finish = odd if odd in {"length", "content_filter"} else "stop"
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish}
    asked = sum(tokens(message["content"]) for message in body["messages"])
    made = min(tokens(content or ""), body.get("max_tokens", 1 << 30))
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [] if odd == "no_choices" else [choice],
        "usage": {"prompt_tokens": asked, "completion_tokens": made, "total_tokens": asked + made},
    }


def message(body: dict[str, Any], text: str) -> dict[str, Any]:
    """The same answer in the form of Anthropic's API."""
    used = completion({**body, "messages": [{"content": _plain(turn["content"])} for turn in body["messages"]]}, text)
    return {
        "id": "msg_fake",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": used["usage"]["prompt_tokens"],
            "output_tokens": used["usage"]["completion_tokens"],
        },
    }


def tokens(text: str) -> int:
    """Tokens of a text: blocks of four bytes."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // 4)


def _plain(content: Any) -> str:
    """The text of a message, which Anthropic's API takes in parts too."""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
