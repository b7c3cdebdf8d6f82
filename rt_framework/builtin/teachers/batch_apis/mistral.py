"""Mistral's batch API: a file of requests, a job with metadata for one model, files of answers and of errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rt_framework.builtin.teachers.batch_apis.api import PAGE, Page, contents, count, unreadable_list
from rt_framework.builtin.teachers.batch_apis.door import Door, Draft
from rt_framework.builtin.teachers.batch_apis.openai import OpenAIBatches
from rt_framework.builtin.teachers.litellm_errors import line_error
from rt_framework.errors import TeacherError
from rt_framework.model import Pending

_ENDED = frozenset({"SUCCESS", "FAILED", "TIMEOUT_EXCEEDED", "CANCELLED"})

_UNREAD = {"TIMEOUT_EXCEEDED": "expired", "CANCELLED": "batch_failed"}
"""Error kinds of requests without an answer, by the job's status; after ``SUCCESS`` they may have been answered."""


class MistralBatches(OpenAIBatches):
    """The batch jobs of Mistral; its files and the lines in them have OpenAI's form."""

    login = frozenset({"authorization"})
    path = "/batch/jobs"

    async def submit(self, door: Door, drafts: Mapping[str, Draft], token: str) -> str:
        """Upload a file of requests, and make a job of it. The job names the model, so the lines do not."""
        file = await self._upload(
            door, drafts, lambda body: {"body": {name: body[name] for name in body if name != "model"}}
        )
        job = {"input_files": [file], "model": self._model, "endpoint": self.endpoint, "timeout_hours": 24}
        return self._name(await door.asked("POST", self.path, json={**job, "metadata": {"token": token}}))

    def _first(self) -> Mapping[str, Any]:
        return {"page": 0, "page_size": PAGE}

    def _further(self, page: Page) -> Mapping[str, Any] | None:
        total = page.answer.get("total")
        if not isinstance(total, int) or (page.seen < total and not page.batches):
            raise unreadable_list()
        # A job that is made meanwhile moves others to later pages, never to earlier ones.
        return {**page.query, "page": page.query["page"] + 1} if page.seen < total else None

    def _progress(self, state: Mapping[str, Any]) -> Pending | None:
        status = state.get("status")
        if isinstance(status, str) and status in _ENDED:
            return None
        return Pending(count(state, "completed_requests"), count(state, "total_requests"))

    def _files(self, state: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        return contents(state, ("output_file", "error_file"))

    def _unread(self, state: Mapping[str, Any]) -> TeacherError:
        status = str(state["status"])
        if status == "FAILED":
            errors = state.get("errors")
            first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], Mapping) else {}
            return line_error(first.get("code"), first.get("message", "the provider does not say why"), "batch_failed")
        kind = _UNREAD.get(status, "paid_unreadable")
        return TeacherError(kind, f"the batch is {status}, without an answer to this question")
