"""OpenAI's batch API: a file of requests, a batch with metadata, files of answers and of errors."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from rt_framework.builtin.teachers.batch_apis.api import BatchApi, Page, after, contents, count
from rt_framework.builtin.teachers.batch_apis.door import Door, Draft
from rt_framework.builtin.teachers.batch_apis.results import End, Line
from rt_framework.builtin.teachers.litellm_errors import line_error
from rt_framework.errors import TeacherError
from rt_framework.model import Pending

_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})

_UNREAD = {"expired": "expired", "cancelled": "batch_failed"}
"""Error kinds of requests without an answer, by the batch's status; after any other status they may have been
answered."""


class OpenAIBatches(BatchApi):
    """The batches of OpenAI, and of servers that have its API."""

    chats = re.compile(r"/chat/completions$")
    login = frozenset({"authorization", "openai-organization", "openai-project"})
    endpoint: ClassVar[str] = "/v1/chat/completions"
    """The API that answers the lines, as the provider names it."""

    async def submit(self, door: Door, drafts: Mapping[str, Draft], token: str) -> str:
        """Upload a file of requests, and make a batch of it."""
        line = {"method": "POST", "url": self.endpoint}
        file = await self._upload(door, drafts, lambda body: {**line, "body": body})
        request = {"input_file_id": file, "endpoint": self.endpoint, "completion_window": "24h"}
        return self._name(await door.asked("POST", self.path, json={**request, "metadata": {"token": token}}))

    async def _upload(self, door: Door, drafts: Mapping[str, Draft], line: Callable[[Any], Mapping[str, Any]]) -> str:
        """Upload a file of requests, and return the provider's name of it."""
        lines = [
            json.dumps({"custom_id": key, **line(json.loads(draft.body))}, ensure_ascii=False) + "\n"
            for key, draft in drafts.items()
        ]
        file = {"file": ("batch.jsonl", "".join(lines).encode(), "application/jsonl")}
        return self._name(await door.asked("POST", "/files", data={"purpose": "batch"}, files=file))

    def _further(self, page: Page) -> Mapping[str, Any] | None:
        return after(page, "after")

    def _progress(self, state: Mapping[str, Any]) -> Pending | None:
        status = state.get("status")
        if isinstance(status, str) and status in _ENDED:
            return None
        counts = state.get("request_counts")
        return Pending(count(counts, "completed") + count(counts, "failed"), count(counts, "total"))

    def _files(self, state: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        return contents(state, ("output_file_id", "error_file_id"))

    def _unread(self, state: Mapping[str, Any]) -> TeacherError:
        status = str(state["status"])
        if status == "failed":
            errors = state.get("errors")
            data = errors.get("data") if isinstance(errors, Mapping) else None
            first = data[0] if isinstance(data, list) and data and isinstance(data[0], Mapping) else None
            if first is None:
                return TeacherError("batch_failed", "the provider does not say why")
            return line_error(first.get("code"), first.get("message"), "batch_failed")
        kind = _UNREAD.get(status, "paid_unreadable")
        return TeacherError(kind, f"the batch is {status}, without an answer to this question")

    def _end(self, line: Mapping[str, Any]) -> End | None:
        response, error = line.get("response"), line.get("error")
        if isinstance(response, Mapping):
            status = response.get("status_code")
            # Only a real error status is free of charge; any other value counts as an answer that was paid for.
            if not isinstance(status, int) or not 400 <= status < 600:
                status = 200
            return Line(status, json.dumps(response.get("body")).encode())
        if isinstance(error, Mapping):
            return line_error(error.get("code"), error.get("message"), "overloaded")
        return None
