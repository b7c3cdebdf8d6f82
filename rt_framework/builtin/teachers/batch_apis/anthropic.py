"""Anthropic's Message Batches: requests with ids, and results under the batch's own name.

These batches carry no mark, and their requests are named in their results only. So the ids of the requests begin with
the token, and a batch is recognised by its results; one that is still being processed cannot be told apart from others
of the same size and time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from attrs import evolve

from rt_framework.builtin.teachers.batch_apis.api import BatchApi, Page, after, count
from rt_framework.builtin.teachers.batch_apis.door import Door, Draft
from rt_framework.builtin.teachers.batch_apis.results import End, Ends, Line, id_in
from rt_framework.errors import TeacherError
from rt_framework.kit.batch_tokens import BatchToken
from rt_framework.model import Pending

_COUNTS = ("processing", "succeeded", "errored", "canceled", "expired")

_SKEW = 86_400.0
"""Most seconds by which the clock of this machine is assumed to be wrong."""

_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""HTTP statuses of Anthropic's types of errors; any other is an error of the server, 500."""

_UNREAD = {"expired": "expired", "canceled": "batch_failed"}
"""Error kinds of requests that were not answered, by the type of their results. Neither is billed."""


class AnthropicBatches(BatchApi):
    """The message batches of one workspace of Anthropic."""

    chats = re.compile(r"/messages$")
    login = frozenset({"x-api-key", "authorization", "anthropic-version", "anthropic-beta"})
    path = "/messages/batches"

    def __init__(self, model: str) -> None:
        super().__init__(model)
        self._known: set[str] = set()

    async def submit(self, door: Door, drafts: Mapping[str, Draft], token: str) -> str:
        """Make a batch of requests, whose ids begin with the token."""
        lines = [{"custom_id": f"{token}-{key}", "params": json.loads(draft.body)} for key, draft in drafts.items()]
        announced = ",".join({draft.features: None for draft in drafts.values() if draft.features})
        features = dict.fromkeys(feature.strip() for feature in announced.split(","))
        if announced:
            door = evolve(door, headers={**door.headers, "anthropic-beta": ",".join(features)})
        body = json.dumps({"requests": lines}, ensure_ascii=False).encode()
        name = self._name(
            await door.asked("POST", self.path, content=body, headers={"Content-Type": "application/json"})
        )
        self._known.add(name)
        return name

    async def find(self, door: Door, token: str) -> str | None:
        """Return the name of the batch whose ids begin with *token*; ``None`` if there is certainly none.

        Batches of another size or another time are passed over, and so are those that this run knows by name.

        Raises:
            TeacherError: with the kind of failure; ``overloaded``: a batch that is being processed may be the one, and
                will show when it has ended; ``batch_lost``: the results of a batch that may be the one are gone.
        """
        ours, undecided = BatchToken.of(token), None
        async for batch in self._batches(door):
            created = _seconds(batch.get("created_at"))
            # The list is sorted, newest first.
            if ours and created is not None and created < ours.created - _SKEW:
                break
            name = self._name(batch)
            if name in self._known or (ours and not _may_be(batch, created, ours)):
                continue
            if batch.get("processing_status") != "ended":
                undecided = TeacherError(
                    "overloaded",
                    f"batch {name} is being processed, and only its results will say whether it is this run's",
                )
                continue
            try:
                if await self._holds(door, name, token):
                    return name
            except TeacherError as error:
                if error.kind.name != "batch_lost":
                    raise
                undecided = undecided or error
        if undecided is not None:
            raise undecided
        return None

    async def collect(self, door: Door, batch: str, keys: Iterable[str]) -> Pending | Ends:
        """Return the result of each key's request, or the progress of a batch that has not ended."""
        self._known.add(batch)
        return await super().collect(door, batch, keys)

    async def _holds(self, door: Door, batch: str, token: str) -> bool:
        """Return whether the results of a batch that has ended name a request with the token."""
        found: list[bool] = []

        def take(text: bytes) -> None:
            if not found and (id_in(text, self.field) or "").startswith(f"{token}-"):
                found.append(True)

        await door.read(*self._results(batch), take)
        return bool(found)

    def _further(self, page: Page) -> Mapping[str, Any] | None:
        return after(page, "after_id")

    def _progress(self, state: Mapping[str, Any]) -> Pending | None:
        if state.get("processing_status") == "ended":
            return None
        total = _total(state)
        return Pending(total - count(state.get("request_counts"), "processing"), total)

    def _files(self, state: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        yield self._results(self._name(state))

    def _results(self, batch: str) -> tuple[str, str]:
        """Return path and description of the results of a batch."""
        # The address that the batch names is not used, since the key must go to no other host.
        return f"{self.path}/{batch}/results", f"batch {batch}, with its answers,"

    def _unread(self, state: Mapping[str, Any]) -> TeacherError:
        status = state["processing_status"]
        return TeacherError("paid_unreadable", f"the batch is {status}, without an answer to this question")

    def _end(self, line: Mapping[str, Any]) -> End | None:
        result = line["result"]
        kind = result.get("type")
        if kind == "succeeded":
            return Line(200, json.dumps(result.get("message")).encode())
        if kind == "errored":
            error = result.get("error")
            inner = error.get("error") if isinstance(error, Mapping) else None
            named = inner.get("type") if isinstance(inner, Mapping) else None
            return Line(_STATUSES.get(named, 500) if isinstance(named, str) else 500, json.dumps(error).encode())
        if kind in ("canceled", "expired"):
            return TeacherError(_UNREAD[kind], f"the request was {kind}, without an answer")
        return None

    def _key(self, name: str) -> str:
        return name.rpartition("-")[2]


def _may_be(batch: Mapping[str, Any], created: float | None, ours: BatchToken) -> bool:
    """Return whether size and time of a batch are those of ours, as far as the list states them."""
    total = _total(batch)
    return (not total or total == ours.questions) and (created is None or created < ours.created + _SKEW)


def _total(batch: Mapping[str, Any]) -> int:
    counts = batch.get("request_counts")
    return sum(count(counts, name) for name in _COUNTS)


def _seconds(time: object) -> float | None:
    try:
        return datetime.fromisoformat(str(time)).timestamp()
    except (ValueError, OverflowError):
        return None
