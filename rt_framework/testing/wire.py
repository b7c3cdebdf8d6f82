"""One HTTP answer as it goes over the wire, any part of which can be made wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

from attrs import frozen

Framing = Literal["length", "chunked", "unfinished", "close"]
"""Ways to mark the end of a body: ``Content-Length``, chunks, chunks without the last one, or a closed connection."""

JSON = (("Content-Type", "application/json"),)


@frozen
class RawAnswer:
    """Status, headers and body of an answer, and how they are sent."""

    body: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = JSON
    framing: Framing = "length"
    length: int | None = None
    """The ``Content-Length`` to send if it shall differ from the length of the body."""
    before: bytes = b""
    """Bytes sent before the answer, such as interim answers."""
    after: bytes = b""
    """Bytes sent after the body, on a connection that stays open."""
    pace: float = 0.0
    """Seconds between two bytes of the body; 0 sends it at once."""

    @property
    def ends(self) -> bool:
        """True if the connection is closed after the answer: a client could not tell where the next one begins."""
        return self.framing in {"unfinished", "close"} or self.length not in {None, len(self.body)}

    def head(self) -> bytes:
        """Return all bytes before the body, interim answers included."""
        version = "1.0" if self.framing == "close" else "1.1"
        lines = [f"HTTP/{version} {self.status} Told", *(f"{name}: {value}" for name, value in self.headers)]
        if self.framing == "length":
            lines.append(f"Content-Length: {len(self.body) if self.length is None else self.length}")
        elif self.framing != "close":
            lines.append("Transfer-Encoding: chunked")
        return self.before + "\r\n".join([*lines, "", ""]).encode("latin-1")

    def pieces(self) -> Iterator[bytes]:
        """Yield the body in the pieces in which it is sent, and the bytes that follow it."""
        step = 1 if self.pace else 1 << 16
        for start in range(0, len(self.body), step):
            piece = self.body[start : start + step]
            yield b"%x\r\n%s\r\n" % (len(piece), piece) if self.framing in {"chunked", "unfinished"} else piece
        if self.framing == "chunked":
            yield b"0\r\n\r\n"
        if self.after:
            yield self.after


def told(value: Any, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> RawAnswer:
    """Return an answer with a JSON value as its body."""
    return RawAnswer(json.dumps(value).encode(), status, (*JSON, *headers))


def refused(
    status: int, message: str = "refused", code: str | None = None, retry_after: str | None = None
) -> RawAnswer:
    """Return an error answer in the form of OpenAI's API."""
    headers = () if retry_after is None else (("Retry-After", retry_after),)
    return told(refusal("openai", status, message, code), status, headers)


def completion(body: dict[str, Any], text: str, odd: str | None = None, reasoning: int = 0) -> dict[str, Any]:
    """Return a chat completion; its tokens are counted as blocks of four bytes, never more than ``max_tokens``.

    Args:
        body: body of the request.
        text: text of the answer.
        odd: defect that makes the answer useless: ``empty``, ``null``, ``no_choices``, ``length``, ``content_filter``.
        reasoning: tokens that the model thinks before the answer, which gets those that are left of ``max_tokens``.
    """
    content = {"empty": "", "null": None, "length": text[: len(text) // 2]}.get(odd or "", text)
    finish = odd if odd in {"length", "content_filter"} else "stop"
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish}
    prompt_tokens = sum(tokens(message["content"]) for message in body["messages"])
    most = body.get("max_completion_tokens", body.get("max_tokens", 1 << 30))
    completion_tokens = min(tokens(content or ""), most)
    made = {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [] if odd == "no_choices" else [choice],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }
    return _thinking(made, choice, min(reasoning, most), most) if reasoning else made


def _thinking(made: dict[str, Any], choice: dict[str, Any], thought: int, most: int) -> dict[str, Any]:
    """Return a completion with tokens of reasoning before its answer, which is cut off where *most* are reached."""
    message, used = choice["message"], made["usage"]
    cut = used["completion_tokens"] > most - thought
    if cut:
        message["content"] = (message["content"] or "")[: 4 * (most - thought)]
        choice["finish_reason"] = "length"
    message["reasoning_content"] = "The question has two sides." * (thought > 0)
    used["completion_tokens"] = thought + min(used["completion_tokens"], most - thought)
    used["total_tokens"] = used["prompt_tokens"] + used["completion_tokens"]
    used["completion_tokens_details"] = {"reasoning_tokens": thought}
    return made


def message(body: dict[str, Any], text: str) -> dict[str, Any]:
    """Return the answer of :func:`completion` in the form of Anthropic's API: a call, if the request names its tool."""
    used = completion(chat_of(body), text)["usage"]
    tool = body.get("tool_choice", {}).get("name")
    call = {"type": "tool_use", "id": "toolu_fake", "name": tool, "input": json.loads(text) if tool else None}
    return {
        "id": "msg_fake",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [call if tool else {"type": "text", "text": text}],
        "stop_reason": "tool_use" if tool else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": used["prompt_tokens"], "output_tokens": used["completion_tokens"]},
    }


def generated(body: dict[str, Any], text: str) -> dict[str, Any]:
    """Return the answer of :func:`completion` in the form of Gemini's API."""
    used = completion(chat_of(body), text)["usage"]
    return {
        "candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {
            "promptTokenCount": used["prompt_tokens"],
            "candidatesTokenCount": used["completion_tokens"],
            "totalTokenCount": used["total_tokens"],
        },
    }


def answered(form: str, body: dict[str, Any], text: str, odd: str | None = None, reasoning: int = 0) -> dict[str, Any]:
    """Return an answer in the form ``openai``, ``anthropic`` or ``gemini``.

    Only the first can be *odd* or have tokens of *reasoning*; see :func:`completion`.
    """
    if form == "openai":
        return completion(body, text, odd, reasoning)
    return message(body, text) if form == "anthropic" else generated(body, text)


def refusal(form: str, status: int, text: str, code: str | None) -> dict[str, Any]:
    """Return the body of a refusal in the form ``openai``, ``anthropic`` or ``gemini``."""
    types = {400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_error"}
    if form == "anthropic":
        return {"type": "error", "error": {"type": types.get(status, "api_error"), "message": text}}
    if form == "gemini":
        return {"error": {"code": status, "message": text, "status": "FAKE"}}
    return {"error": {"message": text, "type": code, "param": None, "code": code}}


def chat_of(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body of a request of any form in OpenAI's: texts of the messages, limit, and the schema if any."""
    system, limit, schema = body.get("system"), body.get("max_tokens"), None
    turns = body.get("messages", [])
    if "contents" in body:
        options = body.get("generationConfig", {})
        system = body.get("systemInstruction", body.get("system_instruction", {})).get("parts")
        limit, schema = options.get("max_output_tokens"), options.get("response_json_schema")
        turns = [{"role": turn.get("role", "user"), "content": turn["parts"]} for turn in body["contents"]]
    elif "tools" in body:
        schema = body["tools"][0].get("input_schema")
    told = [{"role": "system", "content": system}] if system else []
    chat: dict[str, Any] = {
        "model": body.get("model", ""),
        "messages": [{**turn, "content": _plain(turn["content"])} for turn in (*told, *turns)],
    }
    if limit is not None:
        chat["max_tokens"] = limit
    if schema is not None:
        chat["response_format"] = {"json_schema": {"name": "", "schema": schema}}
    return {**body, **chat} if "messages" in body else chat


def tokens(text: str) -> int:
    """Return the number of tokens of a text, counted as blocks of four bytes."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // 4)


def _plain(content: Any) -> str:
    """Return the text of a message, which Anthropic and Gemini also take in parts."""
    return "".join(part.get("text", "") for part in content) if isinstance(content, list) else content
