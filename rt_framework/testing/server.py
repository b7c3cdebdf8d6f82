"""A server of chats and batches on 127.0.0.1 that fails on demand and counts the answers it bills.

It is compatible with OpenAI, Azure, Mistral, Anthropic and Gemini.

Tests judge a paid teacher by this server: its counts, never the client's, say what a run has cost.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Self

from attrs import field, frozen

from rt_framework.testing.attacks import Attack
from rt_framework.testing.batch_desk import LOST, BatchDesk
from rt_framework.testing.http_server import BreakableServer, QuietHandler
from rt_framework.testing.wire import RawAnswer, answered, chat_of, refusal, refused, told

PATH = "/v1/chat/completions"

_CHATS = (
    (re.compile(r"/v1/chat/completions|/openai/deployments/[^/]+/chat/completions\?api-version=.+"), "openai"),
    (re.compile(r"/v1/messages"), "anthropic"),
    (re.compile(r"/v1beta/models/[^/]+:generateContent"), "gemini"),
)
"""Paths at which chats are taken, with their form: those of OpenAI and Mistral, Azure, Anthropic, and Gemini."""

_ERRORS = {
    "server_error": (500, "server_error", "The server had an error"),
    "rate_limit": (429, "rate_limit_exceeded", "Rate limit reached"),
    "quota": (429, "insufficient_quota", "You exceeded your current quota"),
    "auth": (401, "invalid_api_key", "Incorrect API key provided: {key}"),
    "forbidden": (403, "unsupported_country", "Not allowed for {key}"),
    "no_model": (404, "model_not_found", "The model does not exist"),
    "too_long": (400, "context_length_exceeded", "This model's maximum context length is 8 tokens"),
    "policy": (400, "content_policy_violation", "Rejected by our safety system"),
    "bad_request": (400, "invalid_value", "Invalid value for a parameter"),
}
"""Refusals by fault name: status, error code, message. ``{key}`` is the caller's key, which some providers repeat."""

_BROKEN = ("bad_gateway", "hang", "reset", "truncated", "bad_json")
_ODD = ("empty", "null", "no_choices", "length", "content_filter")

_DONE = frozenset({"truncated", "bad_json"})
"""Faults of a transfer that happen after the request was carried out."""

_FREE = frozenset({*_ERRORS, "bad_gateway", "hang", "reset"})

FAULTS: tuple[str, ...] = (*_ERRORS, *_BROKEN, *_ODD)
"""Names of all faults: refusals, broken transfers, and answers that arrive but are of no use."""


def _known(_: object, __: object, name: str) -> None:
    if name not in FAULTS:
        raise ValueError(f"unknown fault {name!r}; known: {', '.join(FAULTS)}")


@frozen
class Fault:
    """The fault that one request is to meet.

    Raises:
        ValueError: no fault has that name.
    """

    name: str = field(validator=_known)
    """Name of the fault, one of :data:`FAULTS`."""
    retry_after: str | None = None
    """Value of the ``Retry-After`` header of a refusal: seconds, or an HTTP date."""


Faults = Callable[[int, dict[str, Any]], Fault | Attack | None]
"""Function from a request's number (from 0, in order of arrival) and body to its fault, or an attack on its client."""


@frozen
class Received:
    """A request that arrived at the server."""

    body: dict[str, Any]
    fault: str | None
    billed: bool
    """True if an answer was made for it: providers then charge, whether or not the answer arrives whole."""
    in_batch: bool = False
    """True if the request was a line of a batch."""

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages of the request, whatever its form, as OpenAI's API takes them."""
        found: list[dict[str, Any]] = chat_of(self.body)["messages"]
        return found


def scattered(seed: int, share: float, names: Sequence[str]) -> Faults:
    """Return faults for a *share* (0 … 1) of requests, drawn by the seed, the body and how often that body has arrived.

    The order of arrival plays no part, so a failure with some seed can be replayed under any concurrency.
    """
    seen: Counter[str] = Counter()
    lock = threading.Lock()

    def fault(_: int, body: dict[str, Any]) -> Fault | None:
        key = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        with lock:
            seen[key] += 1
            draw = random.Random(f"{seed}/{key}/{seen[key]}")  # noqa: S311 - repeatable, not secret
        return Fault(draw.choice(names)) if draw.random() < share else None

    return fault


class FaultServer:
    """The fault server; use it as a context manager.

    Args:
        answer: returns the text of the answer to a request body, in OpenAI's form. Runs in the request's thread, so it
            may sleep.
        faults: chooses the fault of a request, if any, or an attack; also called for the lines of a batch.
        desk: the part of the server that takes batches.
    """

    def __init__(
        self,
        answer: Callable[[dict[str, Any]], str],
        faults: Faults = lambda _n, _b: None,
        desk: BatchDesk | None = None,
    ) -> None:
        self.desk = desk or BatchDesk()
        self._answer = answer
        self._faults = faults
        self._received: list[Received] = []
        self.requests = 0
        """Number of all HTTP requests that arrived, for any path."""
        self.headers: tuple[tuple[str, str], ...] = ()
        """Further headers of every answer and refusal to a chat, such as those that state quotas."""
        self.reasoning_tokens = 0
        """Tokens that the model thinks before each answer, as its usage says; they count within ``max_tokens``."""
        self._lock = threading.Lock()
        self.closing = threading.Event()
        self._http = _Server(self, _Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        """Base address, in the form that the option ``api_base`` takes."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    @property
    def received(self) -> list[Received]:
        """All chat requests so far, those in batches too, in order of arrival."""
        with self._lock:
            return list(self._received)

    @property
    def billed(self) -> int:
        """Number of billed requests so far: those for which an answer was made."""
        return sum(request.billed for request in self.received)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._thread.join()
        self._http.hang_up()
        self._http.server_close()

    def answer_line(self, body: dict[str, Any], form: str) -> tuple[int, dict[str, Any]]:
        """Return status and body for a line of a batch; a transfer fault, which no line can have, becomes a 500."""
        fault = self._take(body, in_batch=True)
        if fault is None or isinstance(fault, Attack) or fault.name in _ODD:
            return 200, self._answered(body, form, fault.name if isinstance(fault, Fault) else None)
        status, code, text = _ERRORS.get(fault.name, _ERRORS["server_error"])
        return status, refusal(form, status, text.format(key=""), code)

    def _answered(self, body: dict[str, Any], form: str, odd: str | None = None) -> dict[str, Any]:
        return answered(form, body, self._answer(chat_of(body)), odd, self.reasoning_tokens)

    def _take(self, body: dict[str, Any], in_batch: bool = False) -> Fault | Attack | None:
        """Record a request and choose its fault. An attack spares the lines of a batch, whose files are attacked."""
        with self._lock:
            fault = self._faults(len(self._received), body)
            name = fault.name if fault else None
            free = _FREE | set(_BROKEN) if in_batch else _FREE
            billed = name not in free if not isinstance(fault, Attack) else fault.billed or in_batch
            self._received.append(Received(body, name, billed, in_batch))
        return fault

    def _arrived(self) -> None:
        with self._lock:
            self.requests += 1


class _Server(BreakableServer):
    daemon_threads = False  # So that server_close() joins the threads.


class _Handler(QuietHandler):
    def do_GET(self) -> None:  # noqa: N802 - the name that http.server looks up
        self.server.owner._arrived()
        self._desk("GET", b"")

    def do_POST(self) -> None:  # noqa: N802 - the name that http.server looks up
        owner = self.server.owner
        owner._arrived()
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        form = next((form for path, form in _CHATS if path.fullmatch(self.path)), None)
        if form is None:
            return self._desk("POST", sent)
        body = json.loads(sent)
        fault = owner._take(body)
        if isinstance(fault, Attack):
            return self.send_raw(fault.answer(owner._answered(body, form)))
        if fault is None:
            return self.send_raw(told(owner._answered(body, form), headers=owner.headers))
        if fault.name in _ERRORS:
            return self._refuse(fault, form)
        return self._break(fault.name, lambda odd: told(owner._answered(body, form, odd)))

    def _desk(self, method: str, sent: bytes) -> None:
        owner = self.server.owner
        endpoint = owner.desk.endpoint(method, self.path)
        if endpoint is None:
            return self.send_raw(refused(404, f"no such path: {self.path}", "not_found"))
        name = owner.desk.difficulty(endpoint)
        if name in _ERRORS:
            return self._refuse(Fault(name))
        if name is not None and name != LOST and name not in _DONE:
            return self._break(name, lambda _: RawAnswer(b""))
        answer = owner.desk.tell(method, self.path, sent, owner.answer_line)
        if name == LOST:
            return self.reset()
        if name is not None:
            return self._break(name, lambda _: answer)
        return self.send_raw(answer)

    def _refuse(self, fault: Fault, form: str = "openai") -> None:
        status, code, text = _ERRORS[fault.name]
        keys = (self.headers.get(name, "") for name in ("Authorization", "api-key", "x-api-key", "x-goog-api-key"))
        key = "".join(keys).removeprefix("Bearer ")
        pause = () if fault.retry_after is None else (("Retry-After", fault.retry_after),)
        body = refusal(form, status, text.format(key=key), code)
        self.send_raw(told(body, status, (*pause, *self.server.owner.headers)))

    def _break(self, name: str, answered: Callable[[str | None], RawAnswer]) -> None:
        if name == "bad_gateway":
            self.send_raw(RawAnswer(b"<html><body><h1>502 Bad Gateway</h1></body></html>", 502))
        elif name == "hang":
            self.server.owner.closing.wait()
            self.close_connection = True
        elif name == "reset":
            self.reset()
        elif name == "truncated":
            data = answered(None).body
            self.send_raw(RawAnswer(data[: len(data) // 2], length=len(data)))
        elif name == "bad_json":
            self.send_raw(RawAnswer(b'{"choices": [{"message"'))
        else:
            self.send_raw(answered(name))
