"""A server on 127.0.0.1 that gives losses of token ids as vLLM and SGLang do, fails on demand, and counts its work.

A loss is a hash of the tokens up to its own, as that of the fake student. The server can be stopped and started again
at the same address, as one that is killed.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any, Self

from attrs import field, frozen

from rt_framework.testing.fakes import nats, rank
from rt_framework.testing.http_server import BreakableServer, QuietHandler
from rt_framework.testing.wire import RawAnswer, completion, refused, told

FAULTS: dict[str, str] = {
    "short_list": "fewer entries than the prompt has tokens",
    "missing_id": "an entry without the token that stands there",
    "other_ids": "entries about another prompt",
    "no_list": "no losses of the prompt's tokens",
    "minus_9999": "a target token of probability 0, as vLLM writes it",
    "order": "losses that depend on the requests before",
    "too_long": "HTTP 400, since the sequence does not fit",
    "bad_request": "HTTP 400 for another reason",
    "rate_limited": "HTTP 429",
    "overloaded": "HTTP 503",
    "auth": "HTTP 401",
    "half_json": "an answer that ends in the middle",
    "dropped": "a connection that is reset",
    "slow": "an answer that does not come while the server runs",
}
"""Every fault, and what it is."""


def _known(_: object, __: object, name: str) -> None:
    if name not in FAULTS:
        raise ValueError(f"unknown fault {name!r}; known: {', '.join(FAULTS)}")


@frozen
class LossFault:
    """The fault that one request is to meet.

    Raises:
        ValueError: no fault has that name.
    """

    name: str = field(validator=_known)
    """Name of the fault, one of :data:`FAULTS`."""
    retry_after: str | None = None
    """Value of the ``Retry-After`` header of a refusal."""


LossFaults = Callable[[int, tuple[int, ...]], LossFault | None]
"""Function from a request's number (from 0, in order of arrival) and token ids to its fault."""

_REFUSALS = {
    "too_long": (400, "This model's maximum context length is 8 tokens"),
    "bad_request": (400, "Token id 99999 is out of vocabulary"),
    "rate_limited": (429, "Rate limit reached"),
    "overloaded": (503, "The engine is loading"),
    "auth": (401, "Unauthorized: {key}"),
}


class LossServer:
    """The server; use it as a context manager.

    Args:
        faults: chooses the fault of a request, if any.
        answer: returns the text of the answer to a chat, from the parsed body of its request.
        model: name of the model, which is also its tokenizer's.
        window: longest sequence in tokens.
        weights: text on which all losses depend, as on a model's weights.
    """

    def __init__(
        self,
        faults: LossFaults = lambda _n, _i: None,
        answer: Callable[[dict[str, Any]], str] = lambda _: "Yes.",
        model: str = "fake",
        window: int = 4096,
        weights: str = "",
    ) -> None:
        self.faults = faults
        self.answer = answer
        self.model = model
        self.window = window
        self.weights = weights
        self.scored: list[tuple[int, ...]] = []
        """Token ids of every request for losses that was answered with them, in order."""
        self.asked = 0
        """Number of requests for losses."""
        self.chats = 0
        """Number of chats."""
        self.keys: set[str] = set()
        """Values of the header ``Authorization`` of the requests for losses."""
        self._lock = threading.Lock()
        self.closing = threading.Event()
        self._port = 0
        self._http: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Address of the server, without a path."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to listen, at the address of before if the server was stopped."""
        self.closing.clear()
        self._http = _Server(self, _Handler, self._port)
        self._port = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Break every connection and stop listening, as a server that is killed."""
        if self._http is None or self._thread is None:
            return
        self.closing.set()
        self._http.shutdown()
        self._thread.join()
        self._http.hang_up()
        self._http.server_close()
        self._http = None

    # --- what it says -----------------------------------------------------------------------

    def models(self) -> dict[str, Any]:
        """Return the list of models, which has one."""
        entry = {"id": self.model, "object": "model", "root": self.model, "max_model_len": self.window}
        return {"object": "list", "data": [entry]}

    def losses(self, ids: tuple[int, ...], fault: str | None) -> list[dict[str, Any] | None]:
        """Return vLLM's entry of each token of a prompt: null for the first."""
        shown = tuple(id_ + 1 for id_ in ids) if fault == "other_ids" else ids
        extra = self.asked / 10 if fault == "order" else 0.0
        found: list[dict[str, Any] | None] = [None]
        for at in range(1, len(ids)):
            loss = nats(ids[: at + 1], self.weights)
            logprob = -9999.0 if fault == "minus_9999" else -loss - extra
            found.append({str(shown[at]): {"logprob": logprob, "rank": rank(loss), "decoded_token": "x"}})
        if fault == "missing_id":
            found[1:] = [{"0" * 7: {"logprob": -1.0, "rank": 1}} for _ in found[1:]]
        return found[:-1] if fault == "short_list" else found

    def take(self, ids: tuple[int, ...]) -> LossFault | None:
        """Record a request for losses, and choose its fault."""
        with self._lock:
            fault = self.faults(self.asked, ids)
            self.asked += 1
        return fault

    def gave(self, ids: tuple[int, ...]) -> None:
        """Record that the losses of a sequence were sent."""
        with self._lock:
            self.scored.append(ids)


class _Server(BreakableServer):
    daemon_threads = True  # A server that nobody stops ends with the process.


class _Handler(QuietHandler):
    def do_GET(self) -> None:  # noqa: N802 - the name that http.server looks up
        owner = self.server.owner
        known = {"/v1/models": owner.models(), "/version": {"version": "1.0"}, "/get_server_info": {"version": "1.0"}}
        self.send_raw(told(known[self.path]) if self.path in known else refused(404, "no such path"))

    def do_POST(self) -> None:  # noqa: N802 - the name that http.server looks up
        owner = self.server.owner
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v1/chat/completions":
            owner.chats += 1
            return self.send_raw(told(completion(body, owner.answer(body))))
        if self.path not in ("/v1/completions", "/generate"):
            return self.send_raw(refused(404, "no such path"))
        ids = tuple(body["prompt"][0] if self.path == "/v1/completions" else body["input_ids"])
        owner.keys.add(self.headers.get("Authorization", ""))
        fault = owner.take(ids)
        name = fault.name if fault else None
        if fault is not None and fault.name in _REFUSALS:
            status, message = _REFUSALS[fault.name]
            # Some servers repeat the key that they do not accept.
            message = message.format(key=self.headers.get("Authorization", "").removeprefix("Bearer "))
            return self.send_raw(refused(status, message, retry_after=fault.retry_after))
        if name == "dropped":
            return self.reset()
        if name == "slow":
            owner.closing.wait()
            self.close_connection = True
            return None
        entries = owner.losses(ids, name)
        value = _vllm(entries, name) if self.path == "/v1/completions" else _sglang(entries, name, body)
        answer = told(value)
        if name == "half_json":
            return self.send_raw(RawAnswer(answer.body[: len(answer.body) // 2]))
        if owner.closing.is_set():  # a killed server answers nothing more
            return self.reset()
        owner.gave(ids)
        return self.send_raw(answer)


def _vllm(entries: list[dict[str, Any] | None], fault: str | None) -> dict[str, Any]:
    listed = None if fault == "no_list" else entries
    return {"choices": [{"index": 0, "text": "x", "finish_reason": "length", "prompt_logprobs": listed}]}


def _sglang(entries: list[dict[str, Any] | None], fault: str | None, body: dict[str, Any]) -> dict[str, Any]:
    start = body["logprob_start_len"]
    first = [None, body["input_ids"][start], None]
    pairs = [next(iter(entry.items())) for entry in entries[start + 1 :] if entry is not None]
    listed = [first, *([one["logprob"], int(id_), None] for id_, one in pairs)]
    return {"text": "x", "meta_info": {} if fault == "no_list" else {"input_token_logprobs": listed}}
