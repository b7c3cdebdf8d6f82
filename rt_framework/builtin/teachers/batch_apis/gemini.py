"""Gemini's batch API: a file of requests, a batch with a display name, one file of responses.

Requests could be sent inside the batch too. Its answers would then come inside the description of the batch, which is
read whole; those of a file come in a file, which is read line by line.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import evolve

from rt_framework.builtin.teachers.batch_apis.api import PAGE, BatchApi, Page, count, usable
from rt_framework.builtin.teachers.batch_apis.door import GONE, Door, Draft
from rt_framework.builtin.teachers.batch_apis.results import End, Line
from rt_framework.builtin.teachers.litellm_errors import line_error
from rt_framework.errors import TeacherError
from rt_framework.model import Pending

_BATCH = re.compile(r"batches/[\w.-]{1,200}", re.ASCII)
_FILE = re.compile(r"files/[\w.-]{1,200}", re.ASCII)
_LINES = "application/jsonl"
_VERSION = re.compile(r"(/v\d\w*)?$", re.ASCII)
"""Version of the API at the end of its address."""

_UNREAD = {"EXPIRED": "expired", "CANCELLED": "batch_failed", "FAILED": "batch_failed"}
"""Error kinds of requests without an answer, by the end of the batch's state; after ``SUCCEEDED`` they may have been
answered."""

_NO_QUOTA = 8
"""Code by which Google says that a resource is exhausted."""

_STATUSES = {3: 400, 5: 404, 7: 403, 8: 429, 9: 400, 11: 400, 16: 401}
"""HTTP statuses of the codes that Google gives for errors; any other is an error of the server, 503. So is 1, by which
single requests of a batch that succeeded are said to be cancelled: they are sent again."""


class GeminiBatches(BatchApi):
    """The batches of Google's Gemini API, not those of Vertex AI."""

    chats = re.compile(r"/models/[^/]+:generateContent$")
    login = frozenset({"x-goog-api-key", "authorization"})
    field = "key"
    # Google says of a file that is gone that one may not read it. The batch was read with the same key just before.
    gone = GONE | {403}

    async def submit(self, door: Door, drafts: Mapping[str, Draft], token: str) -> str:
        """Upload a file of requests, and make a batch of it, whose display name is the token."""
        batch = {"displayName": token, "inputConfig": {"fileName": await self._upload(door, drafts)}}
        path = f"/models/{self._model}:batchGenerateContent"
        return self._name(await door.asked("POST", path, json={"batch": batch}))

    async def _upload(self, door: Door, drafts: Mapping[str, Draft]) -> str:
        """Upload a file of requests in one request, and return Google's name of it."""
        lines = (
            json.dumps({"key": key, "request": json.loads(draft.body)}, ensure_ascii=False) + "\n"
            for key, draft in drafts.items()
        )
        mark = secrets.token_hex(16)
        parts = {"application/json": json.dumps({"file": {"mimeType": _LINES}}), _LINES: "".join(lines)}
        body = "".join(f"--{mark}\r\nContent-Type: {kind}\r\n\r\n{text}\r\n" for kind, text in parts.items())
        headers = {"X-Goog-Upload-Protocol": "multipart", "Content-Type": f"multipart/related; boundary={mark}"}
        # Files are uploaded to an address that has a word before the version of the API.
        upload = evolve(door, address=_VERSION.sub(r"/upload\1/files", door.address, count=1))
        answer = await upload.asked("POST", "", content=f"{body}--{mark}--\r\n".encode(), headers=headers)
        file = answer.get("file")
        return usable(file.get("name") if isinstance(file, Mapping) else None, _FILE)

    def _first(self) -> Mapping[str, Any]:
        # Without the choice of fields a page would hold the answers to batches whose requests were not sent in a file.
        return {"pageSize": PAGE, "fields": "operations(name,metadata),nextPageToken"}

    def _further(self, page: Page) -> Mapping[str, Any] | None:
        further = page.answer.get("nextPageToken")
        return {**page.query, "pageToken": further} if isinstance(further, str) and further else None

    def _listed(self, answer: Mapping[str, Any]) -> Any:
        # Google leaves out what is empty.
        return answer.get("operations", [] if set(answer) <= {"nextPageToken"} else None)

    def _mark(self, batch: Mapping[str, Any]) -> Any:
        return _metadata(batch).get("displayName")

    def _name(self, answer: Mapping[str, Any]) -> str:
        return usable(answer.get("name"), _BATCH)

    def _place(self, batch: str) -> str:
        return f"/{batch}"

    def _progress(self, state: Mapping[str, Any]) -> Pending | None:
        if _ended(state) is not None:
            return None
        counts = _metadata(state).get("batchStats")
        done = count(counts, "successfulRequestCount") + count(counts, "failedRequestCount")
        return Pending(done, count(counts, "requestCount"))

    def _files(self, state: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        response = state.get("response")
        file = response.get("responsesFile") if isinstance(response, Mapping) else None
        if isinstance(file, str) and _FILE.fullmatch(file):
            yield f"/{file}:download?alt=media", f"{file}, with the answers of a batch,"

    def _unread(self, state: Mapping[str, Any]) -> TeacherError:
        ended, error = _ended(state), state.get("error")
        if ended == "FAILED" and isinstance(error, Mapping):
            code = "token_limit_exceeded" if error.get("code") == _NO_QUOTA else None
            return line_error(code, error.get("message"), "batch_failed")
        kind = _UNREAD.get(ended or "", "paid_unreadable")
        return TeacherError(kind, f"the batch is {ended}, without an answer to this question")

    def _end(self, line: Mapping[str, Any]) -> End | None:
        response, error = line.get("response"), line.get("error")
        if isinstance(response, Mapping):
            return Line(200, json.dumps(response).encode())
        if isinstance(error, Mapping):
            code = error.get("code")
            status = _STATUSES.get(code, 503) if isinstance(code, int) and code < 400 else code
            # Only a real error status is free of charge.
            return Line(status if isinstance(status, int) and 400 <= status < 600 else 503, json.dumps(line).encode())
        return None


def _metadata(batch: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = batch.get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}


def _ended(state: Mapping[str, Any]) -> str | None:
    """Return the end of the name of a final state; ``None`` for a batch that has not ended."""
    # The documentation names states both as BATCH_STATE_… and as JOB_STATE_….
    name = str(_metadata(state).get("state")).rpartition("STATE_")[2]
    return name if name == "SUCCEEDED" or name in _UNREAD else None
