"""The part of the fault server that takes files and batches, as OpenAI's batch API does."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from attrs import define, field

from rt_framework.testing.wire import RawAnswer, refused, told

ENDPOINTS = ("upload", "create", "list", "retrieve", "content")
"""Endpoints of the desk."""

ENDINGS = ("completed", "failed", "expired", "cancelled")
"""Final states of a batch: ``failed`` answers no line, ``expired`` and ``cancelled`` every second line."""

LOST = "lost"
"""Name of a trouble besides the server's faults: the request is carried out, and the response to it is lost."""

Trouble = Callable[[str, int], str | None]
"""Function that chooses a fault's name or :data:`LOST`, from the endpoint and the number of earlier requests to it."""

Line = Callable[[dict[str, Any]], tuple[int, dict[str, Any]]]
"""Function from the request body of one line to status and body of its answer."""

Poison = Callable[[dict[str, Any], bytes], bytes]
"""Function that makes the line of a result file from the requested line and its honest result."""

Lie = Callable[[str, int, RawAnswer], RawAnswer]
"""Function that makes a false response from the endpoint, the number of earlier requests to it, and the true one."""

_FORM = re.compile(rb'name="file".*?\r\n\r\n(.*?)\r\n--', re.DOTALL)
_PAGE = 20


@define
class _Batch:
    id: str
    file: str
    asked: dict[str, Any]
    ending: str
    polls: int = 0
    output: dict[str, str] = field(factory=dict)


class BatchDesk:
    """Files and batches of one server.

    Args:
        polls: number of status requests that a batch answers as in progress before it has ended.
        endings: gives the final state of a batch from its number (from 0).
        trouble: chooses the fault of a request to an endpoint.
        poison: changes the lines of the result files.
        lie: changes the responses of the desk.
    """

    def __init__(
        self,
        polls: int = 1,
        endings: Callable[[int], str] = lambda _: "completed",
        trouble: Trouble = lambda _endpoint, _number: None,
        poison: Poison = lambda _asked, result: result,
        lie: Lie = lambda _endpoint, _number, truth: truth,
    ) -> None:
        self.polls = polls
        self.trouble = trouble
        self.asked: Counter[str] = Counter()
        """Number of requests to each endpoint."""
        self.sizes: list[int] = []
        """Number of lines of each batch, in order of creation."""
        self.tokens: list[str] = []
        """The ``token`` in the metadata of each batch."""
        self._endings = endings
        self._poison = poison
        self._lie = lie
        self._files: dict[str, bytes] = {}
        self._batches: dict[str, _Batch] = {}
        self._lock = threading.RLock()

    def endpoint(self, method: str, path: str) -> str | None:
        """Return the one of :data:`ENDPOINTS` that a request is for; ``None`` if it is for none of them."""
        parts = path.partition("?")[0].removeprefix("/v1/").split("/")
        match (method, *parts):
            case ("POST", "files"):
                return "upload"
            case ("POST", "batches"):
                return "create"
            case ("GET", "batches"):
                return "list"
            case ("GET", "batches", _):
                return "retrieve"
            case ("GET", "files", _, "content"):
                return "content"
        return None

    def difficulty(self, endpoint: str) -> str | None:
        """Count a request; return the fault that it is to meet, if any."""
        with self._lock:
            number = self.asked[endpoint]
            self.asked[endpoint] += 1
        return self.trouble(endpoint, number)

    def tell(self, endpoint: str, path: str, body: bytes, line: Line) -> RawAnswer:
        """Carry out a request and return the response; the lines of a new batch are answered, and billed, at once."""
        with self._lock:
            return self._lie(endpoint, self.asked[endpoint] - 1, self._truth(endpoint, path, body, line))

    def _truth(self, endpoint: str, path: str, body: bytes, line: Line) -> RawAnswer:
        if endpoint == "upload":
            return self._upload(body)
        if endpoint == "create":
            return self._create(json.loads(body), line)
        if endpoint == "list":
            return self._list(path)
        name = path.split("/")[3]
        return self._retrieve(name) if endpoint == "retrieve" else self._content(name)

    def _upload(self, form: bytes) -> RawAnswer:
        match = _FORM.search(form)
        assert match is not None, "a form without a file"
        name = f"file-{len(self._files)}"
        self._files[name] = match[1]
        return told(
            {"id": name, "object": "file", "bytes": len(match[1]), "created_at": 0, "filename": "batch.jsonl"}
            | {"purpose": "batch", "status": "processed"}
        )

    def _create(self, request: dict[str, Any], line: Line) -> RawAnswer:
        number = len(self._batches)
        batch = _Batch(f"batch_{number}", request["input_file_id"], request, self._endings(number))
        self._batches[batch.id] = batch
        lines = [json.loads(text) for text in self._files[batch.file].splitlines()]
        self.sizes.append(len(lines))
        self.tokens.append((request.get("metadata") or {}).get("token", ""))
        if batch.ending != "failed":
            self._answer(batch, lines, line)
        return told(self._shown(batch))

    def _answer(self, batch: _Batch, lines: list[dict[str, Any]], line: Line) -> None:
        done: list[bytes] = []
        wrong: list[bytes] = []
        for number, request in enumerate(lines):
            if batch.ending != "completed" and number % 2:
                error = {"code": f"batch_{batch.ending}", "message": "This request was not executed in time."}
                wrong.append(self._poison(request, _line(request, None, error)))
                continue
            status, body = line(request["body"])
            response = {"status_code": status, "request_id": "", "body": body}
            (done if status == 200 else wrong).append(self._poison(request, _line(request, response, None)))
        for kind, texts in (("output", done), ("error", wrong)):
            if texts:
                name = f"file-{len(self._files)}"
                # Reversed, since the API promises no order of the lines.
                self._files[name] = b"\n".join(reversed(texts))
                batch.output[f"{kind}_file_id"] = name

    def _list(self, path: str) -> RawAnswer:
        """Return a page of batches, newest first."""
        newest = list(reversed(self._batches))
        after = re.search(r"after=(\w+)", path)
        start = newest.index(after[1]) + 1 if after else 0
        page = newest[start : start + _PAGE]
        has_more = start + _PAGE < len(newest)
        data = [self._shown(self._batches[name]) for name in page]
        ends = {"first_id": page[0], "last_id": page[-1]} if page else {}
        return told({"object": "list", "data": data, "has_more": has_more, **ends})

    def _retrieve(self, name: str) -> RawAnswer:
        if name not in self._batches:
            return refused(404, f"No batch found with id '{name}'.")
        batch = self._batches[name]
        shown = self._shown(batch)
        batch.polls += 1
        return told(shown)

    def _content(self, name: str) -> RawAnswer:
        return RawAnswer(self._files[name]) if name in self._files else refused(404, f"No such File object: {name}")

    def _shown(self, batch: _Batch) -> dict[str, Any]:
        ended = batch.polls >= self.polls
        size = self.sizes[int(batch.id.removeprefix("batch_"))]
        shown: dict[str, Any] = {
            "id": batch.id,
            "object": "batch",
            "endpoint": batch.asked["endpoint"],
            "input_file_id": batch.file,
            "completion_window": "24h",
            "created_at": 0,
            "metadata": batch.asked.get("metadata"),
            "status": batch.ending if ended else "in_progress",
            "request_counts": {"total": size, "completed": size if ended else 0, "failed": 0},
        }
        if ended and batch.ending == "failed":
            error = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached."}
            shown["errors"] = {"object": "list", "data": [error]}
        return shown | (batch.output if ended else {})


def _line(request: dict[str, Any], response: dict[str, Any] | None, error: dict[str, Any] | None) -> bytes:
    return json.dumps({"id": "", "custom_id": request["custom_id"], "response": response, "error": error}).encode()
