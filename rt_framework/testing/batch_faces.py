"""The batch APIs of five providers as they go over the wire, for the desk of the fault server."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from attrs import define, field

Line = dict[str, Any]
"""A requested line of a batch: ``custom_id`` and ``body``."""

_FORM = re.compile(rb'name="file".*?\r\n\r\n(.*?)\r\n--', re.DOTALL)
_RELATED = re.compile(rb"application/jsonl\r\n\r\n(.*?)\r\n--", re.DOTALL)

PAGE = 20
"""Batches on one page of a list, whatever number a client asks for."""


@define
class Batch:
    """A batch of one provider, of which every provider shows something else."""

    id: str
    face: Face
    asked: dict[str, Any]
    token: str
    lines: Sequence[Line]
    ending: str
    created: float = field(factory=time.time)
    polls: int = 0
    files: dict[str, str] = field(factory=dict)
    """Names of the files of results: ``output``, and ``error`` where a provider has one."""


class Face:
    """OpenAI's form, which the others change.

    Endpoints: ``upload``, ``create``, ``list``, ``retrieve``, ``content``, and ``check`` for the state of a file.
    """

    form: ClassVar[str] = "openai"
    """Form of the requests and answers in the lines, one of those of :mod:`rt_framework.testing.wire`."""
    root: ClassVar[str] = "/v1"
    batches: ClassVar[str] = "/batches"
    batch_names: ClassVar[str] = "batch_{}"
    file_names: ClassVar[str] = "file-{}"
    separate: ClassVar[bool] = True
    """True if failed lines have a file of their own."""

    def endpoint(self, method: str, path: str) -> str | None:
        """Return the endpoint that a request is for; ``None`` if it is for none of this provider."""
        path = path.partition("?")[0]
        places = {
            ("POST", f"{self.root}/files"): "upload",
            ("POST", self.root + self.batches): "create",
            ("GET", self.root + self.batches): "list",
            ("GET", f"{self.root}{self.batches}/ID"): "retrieve",
            ("GET", f"{self.root}/files/ID/content"): "content",
        }
        return places.get((method, path)) or next(
            (
                name
                for (verb, form), name in places.items()
                if verb == method and re.fullmatch(re.escape(form).replace("ID", r"[^/]+"), path)
            ),
            None,
        )

    def named(self, path: str) -> str:
        """Return the name of the batch or file in a path."""
        return path.partition("?")[0].removesuffix("/content").rpartition("/")[2]

    def file(self, sent: bytes) -> bytes:
        """Return the file in an upload."""
        match = _FORM.search(sent)
        assert match is not None, "a form without a file"
        return match[1]

    def uploaded(self, name: str, size: int) -> dict[str, Any]:
        """Return the answer to an upload."""
        return {"id": name, "object": "file", "bytes": size, "created_at": 0, "filename": "batch.jsonl"} | {
            "purpose": "batch",
            "status": "processed",
        }

    def source(self, asked: Mapping[str, Any]) -> str:
        """Return the name of the file in a request for a batch."""
        return str(asked["input_file_id"])

    def lines(self, asked: Mapping[str, Any], file: bytes) -> list[Line]:  # noqa: ARG002 - other forms need it
        """Return the lines that a batch is to answer."""
        return [json.loads(text) for text in file.splitlines()]

    def token(self, asked: Mapping[str, Any]) -> str:
        """Return the token in a request for a batch."""
        return str((asked.get("metadata") or {}).get("token", ""))

    def result(self, line: Line, status: int, body: Any, late: str | None) -> bytes:
        """Return a line of results.

        Args:
            line: the requested line.
            status: HTTP status of its answer.
            body: its answer.
            late: the ending of the batch, where this made the request go unanswered.
        """
        error = late and {"code": f"batch_{late}", "message": "This request was not executed in time."}
        response = None if late else {"status_code": status, "request_id": "", "body": body}
        return json.dumps({"id": "", "custom_id": line["custom_id"], "response": response, "error": error}).encode()

    def shown(self, batch: Batch, ended: bool) -> dict[str, Any]:
        """Return a batch as the provider describes it."""
        size = len(batch.lines)
        shown: dict[str, Any] = {
            "id": batch.id,
            "object": "batch",
            "endpoint": batch.asked["endpoint"],
            "input_file_id": batch.asked["input_file_id"],
            "completion_window": "24h",
            "created_at": 0,
            "metadata": batch.asked.get("metadata"),
            "status": batch.ending if ended else "in_progress",
            "request_counts": {"total": size, "completed": size if ended else 0, "failed": 0},
        }
        if ended and batch.ending == "failed":
            error = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached."}
            shown["errors"] = {"object": "list", "data": [error]}
        return shown | {f"{kind}_file_id": name for kind, name in batch.files.items() if ended}

    def page(self, query: str, names: Sequence[str], shown: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
        """Return the page of a list that a query asks for.

        Args:
            query: the query.
            names: names of all batches, newest first.
            shown: every batch as it is described, by name.
        """
        start = _after(query, names)
        page = names[start : start + PAGE]
        ends = {"first_id": page[0], "last_id": page[-1]} if page else {}
        return {"object": "list", "data": [shown[name] for name in page], "has_more": start + PAGE < len(names), **ends}


class AzureFace(Face):
    """Azure's form: other paths, and files that are checked."""

    root = "/openai"

    def endpoint(self, method: str, path: str) -> str | None:
        """Return the endpoint, if the request names a version."""
        if "api-version=" not in path:
            return None
        if method == "GET" and re.fullmatch(r"/openai/files/[^/]+", path.partition("?")[0]):
            return "check"
        return super().endpoint(method, path)

    def uploaded(self, name: str, size: int) -> dict[str, Any]:
        """Return the answer to an upload: the file is not checked yet."""
        return super().uploaded(name, size) | {"status": "pending"}


class MistralFace(Face):
    """Mistral's form: jobs, numbered pages, other states."""

    batches = "/batch/jobs"
    states: ClassVar[Mapping[str, str]] = {
        "completed": "SUCCESS",
        "failed": "FAILED",
        "expired": "TIMEOUT_EXCEEDED",
        "cancelled": "CANCELLED",
    }

    def source(self, asked: Mapping[str, Any]) -> str:
        """Return the name of the only file."""
        (name,) = asked["input_files"]
        return str(name)

    def lines(self, asked: Mapping[str, Any], file: bytes) -> list[Line]:
        """Return the lines, with the model of the job."""
        lines = super().lines(asked, file)
        return [{**line, "body": {**line["body"], "model": asked["model"]}} for line in lines]

    def shown(self, batch: Batch, ended: bool) -> dict[str, Any]:
        """Return a job."""
        size = len(batch.lines)
        failed = ended and batch.ending == "failed"
        return {
            "id": batch.id,
            "object": "batch",
            "input_files": batch.asked["input_files"],
            "metadata": batch.asked["metadata"],
            "endpoint": batch.asked["endpoint"],
            "model": batch.asked["model"],
            "status": self.states[batch.ending] if ended else "RUNNING",
            "created_at": int(batch.created),
            "total_requests": size,
            "completed_requests": size if ended else 0,
            "errors": [{"message": "The file is not valid.", "count": 1}] if failed else [],
        } | {f"{kind}_file": name for kind, name in batch.files.items() if ended}

    def page(self, query: str, names: Sequence[str], shown: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
        """Return a page by its number."""
        start = int(re.findall(r"\bpage=(\d+)", query)[0]) * PAGE
        return {"object": "list", "data": [shown[name] for name in names[start : start + PAGE]], "total": len(names)}


class AnthropicFace(Face):
    """Anthropic's form: no files, no marks, results under the name of the batch."""

    form = "anthropic"
    batches = "/messages/batches"
    batch_names = "msgbatch_{}"
    separate = False
    types: ClassVar[Mapping[int, str]] = {400: "invalid_request_error", 401: "authentication_error"} | {
        429: "rate_limit_error",
        500: "api_error",
    }

    def endpoint(self, method: str, path: str) -> str | None:
        """Return the endpoint."""
        place = path.partition("?")[0]
        if method == "GET" and re.fullmatch(r"/v1/messages/batches/[^/]+/results", place):
            return "content"
        found = super().endpoint(method, path)
        return found if place.startswith("/v1/messages/") else None

    def named(self, path: str) -> str:
        """Return the name of a batch, and of its results."""
        return path.partition("?")[0].removesuffix("/results").rpartition("/")[2]

    def lines(self, asked: Mapping[str, Any], file: bytes) -> list[Line]:  # noqa: ARG002 - there is no file
        """Return the requests, whose ids have the only form that is allowed."""
        assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", one["custom_id"]) for one in asked["requests"])
        return [{"custom_id": one["custom_id"], "body": one["params"]} for one in asked["requests"]]

    def token(self, asked: Mapping[str, Any]) -> str:
        """Return the beginning of the ids."""
        return str(asked["requests"][0]["custom_id"].rpartition("-")[0])

    def result(self, line: Line, status: int, body: Any, late: str | None) -> bytes:
        """Return a line of results."""
        result = {"type": "succeeded", "message": body}
        if status != 200:
            result = {"type": "errored", "error": body}
        if late:
            result = {"type": "canceled" if late == "cancelled" else late}
        return json.dumps({"custom_id": line["custom_id"], "result": result}).encode()

    def shown(self, batch: Batch, ended: bool) -> dict[str, Any]:
        """Return a message batch, whose results are said to be on another host."""
        size = len(batch.lines)
        counts = dict.fromkeys(("succeeded", "errored", "canceled", "expired"), 0)
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": "ended" if ended else "in_progress",
            "request_counts": {**counts, "succeeded": size if ended else 0, "processing": 0 if ended else size},
            "created_at": datetime.fromtimestamp(batch.created, UTC).isoformat().replace("+00:00", "Z"),
            "results_url": "http://127.0.0.1:9/results" if ended else None,
        }

    def page(self, query: str, names: Sequence[str], shown: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
        """Return a page as OpenAI does."""
        return super().page(query.replace("after_id", "after"), names, shown)


class GeminiFace(Face):
    """Gemini's form: operations with a display name, one file of responses with keys."""

    form = "gemini"
    batch_names = "batches/batch-{}"
    file_names = "files/file-{}"
    separate = False

    def endpoint(self, method: str, path: str) -> str | None:
        """Return the endpoint."""
        for verb, form, name in (
            ("POST", r"/upload/v1beta/files", "upload"),
            ("POST", r"/v1beta/models/[^/]+:batchGenerateContent", "create"),
            ("GET", r"/v1beta/batches", "list"),
            ("GET", r"/v1beta/batches/[^/]+", "retrieve"),
            ("GET", r"/v1beta/files/[^/]+:download\?alt=media", "content"),
        ):
            if verb == method and re.fullmatch(form, path if "\\?" in form else path.partition("?")[0]):
                return name
        return None

    def named(self, path: str) -> str:
        """Return the name of a batch or file."""
        return path.partition("?")[0].removeprefix("/v1beta/").removesuffix(":download")

    def file(self, sent: bytes) -> bytes:
        """Return the file in an upload of two parts."""
        match = _RELATED.search(sent)
        assert match is not None, "an upload without a file"
        return match[1]

    def uploaded(self, name: str, size: int) -> dict[str, Any]:
        """Return the answer to an upload."""
        return {"file": {"name": name, "sizeBytes": str(size), "state": "ACTIVE"}}

    def source(self, asked: Mapping[str, Any]) -> str:
        """Return the name of the file."""
        return str(asked["batch"]["inputConfig"]["fileName"])

    def lines(self, asked: Mapping[str, Any], file: bytes) -> list[Line]:  # noqa: ARG002 - the file has all
        """Return the requests."""
        lines = (json.loads(text) for text in file.splitlines())
        return [{"custom_id": line["key"], "body": line["request"]} for line in lines]

    def token(self, asked: Mapping[str, Any]) -> str:
        """Return the display name."""
        return str(asked["batch"]["displayName"])

    def result(self, line: Line, status: int, body: Any, late: str | None) -> bytes:  # noqa: ARG002 - the body says it
        """Return a line of results; requests that were not answered have none."""
        if late:
            return b""
        error = body.get("error")
        return json.dumps({"key": line["custom_id"], **({"error": error} if error else {"response": body})}).encode()

    def shown(self, batch: Batch, ended: bool) -> dict[str, Any]:
        """Return an operation."""
        size, state = str(len(batch.lines)), batch.ending.upper().replace("COMPLETED", "SUCCEEDED")
        metadata = {
            "displayName": batch.token,
            "state": f"BATCH_STATE_{state if ended else 'RUNNING'}",
            "batchStats": {"requestCount": size, "successfulRequestCount": size if ended else "0"},
        }
        shown: dict[str, Any] = {"name": batch.id, "metadata": metadata, "done": ended}
        if ended and batch.ending == "failed":
            shown["error"] = {"code": 8, "message": "Enqueued token limit reached."}
        elif ended and batch.files:
            shown["response"] = {"responsesFile": batch.files["output"]}
        return shown

    def page(self, query: str, names: Sequence[str], shown: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
        """Return a page, without what is empty."""
        token = re.search(r"pageToken=(\d+)", query)
        start = int(token[1]) if token else 0
        page = {"operations": [shown[name] for name in names[start : start + PAGE]]} if names[start:] else {}
        return page | ({"nextPageToken": str(start + PAGE)} if names[start + PAGE :] else {})


FACES: tuple[Face, ...] = (Face(), AzureFace(), MistralFace(), AnthropicFace(), GeminiFace())
"""Forms of all providers. OpenAI and Mistral have their files in the same place, in the same form."""


def _after(query: str, names: Sequence[str]) -> int:
    after = re.search(r"after=(\w+)", query)
    return names.index(after[1]) + 1 if after else 0
