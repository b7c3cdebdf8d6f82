"""OpenAI's batch API: upload of a file of requests, creation of a batch, download of the files of answers.

A line of the request file is exactly the body that the live path would send, and an answer is read as the live path
reads it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import httpx
from attrs import frozen

from rt_framework.builtin.teachers.litellm_errors import answer_error, line_error, teacher_error
from rt_framework.builtin.teachers.transport import MOST_BYTES, Exchange, RecordingClient, exchanging
from rt_framework.errors import TeacherError
from rt_framework.model import Pending

_ADDRESS = "https://api.openai.com/v1"
_CHAT = "/v1/chat/completions"
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})

_UNREAD = {"expired": "expired", "cancelled": "batch_failed"}
"""Error kinds of requests without an answer, by the batch's status; after any other status they may have been
answered."""

_PAGE, _MOST_PAGES = 100, 200
"""Batches on one page of the provider's list, and most pages that are searched."""

_GONE = (404, 410)
"""HTTP statuses by which the provider says that it no longer has something."""

_CUSTOM_ID = re.compile(rb'"custom_id"\s*:\s*"([^"\\]{1,64})"')


@frozen
class Line:
    """The provider's answer to one request of a batch."""

    status: int
    """HTTP status of the answer."""
    body: bytes


Ends = dict[str, Line | TeacherError]


class OpenAIBatches:
    """The batches of one account, whose key is in the environment.

    Args:
        client: returns the HTTP client.
        api_base: address of the server, where it is not OpenAI's own.
    """

    def __init__(self, client: Callable[[], RecordingClient], api_base: str | None) -> None:
        self._client = client
        named = (api_base, os.environ.get("OPENAI_BASE_URL"), os.environ.get("OPENAI_API_BASE"))
        self._address = next(filter(None, named), _ADDRESS).rstrip("/")

    async def submit(self, requests: Mapping[str, Any], token: str) -> str:
        """Upload a file of requests, given as JSON bodies by key, and make a batch of it.

        Raises:
            TeacherError: with the kind of failure.
        """
        lines = [
            json.dumps({"custom_id": key, "method": "POST", "url": _CHAT, "body": body}, ensure_ascii=False) + "\n"
            for key, body in requests.items()
        ]
        file = {"file": ("batch.jsonl", "".join(lines).encode(), "application/jsonl")}
        uploaded = await self._asked("POST", "/files", data={"purpose": "batch"}, files=file)
        request = {"input_file_id": _named(uploaded), "endpoint": _CHAT, "completion_window": "24h"}
        return _named(await self._asked("POST", "/batches", json={**request, "metadata": {"token": token}}))

    async def find(self, token: str) -> str | None:
        """Return the id of the batch with *token* in its metadata; ``None`` if there is none.

        Raises:
            TeacherError: with the kind of failure; ``batch_lost``: the list is longer than the pages that are searched.
        """
        after: str | None = None
        for _ in range(_MOST_PAGES):
            query = {"limit": _PAGE} if after is None else {"limit": _PAGE, "after": after}
            page = await self._asked("GET", "/batches", params=query)
            batches, has_more = page.get("data"), page.get("has_more") is True
            # An unreadable list must not count as one without our batch, which would then be submitted, and paid for,
            # again.
            if not isinstance(batches, list) or (has_more and not batches) or not all(map(_is_object, batches)):
                raise TeacherError("paid_unreadable", "the provider's list of batches cannot be read")
            for batch in batches:
                metadata = batch.get("metadata")
                if isinstance(metadata, Mapping) and metadata.get("token") == token:
                    return _named(batch)
            if not has_more:
                return None
            after = _named(batches[-1])
        raise TeacherError(
            "batch_lost",
            f"the batch of this run is not among the first {_MOST_PAGES * _PAGE} batches that the provider lists",
        )

    async def collect(self, batch: str, keys: Iterable[str]) -> Pending | Ends:
        """Return the result of each key's request, or the progress of a batch that has not ended.

        Raises:
            TeacherError: with the kind of failure; ``batch_lost``: the batch or a file of it is not there.
        """
        state = await self._asked("GET", f"/batches/{batch}", resource=f"batch {batch}")
        status = state.get("status")
        if not isinstance(status, str) or status not in _ENDED:
            counts = state.get("request_counts")
            done, failed, total = (_count(counts, name) for name in ("completed", "failed", "total"))
            return Pending(done + failed, total)
        ends: Ends = {}
        wanted = frozenset(keys)
        for name in ("output_file_id", "error_file_id"):
            file = state.get(name)
            if isinstance(file, str) and file:
                await self._read(file, wanted, ends)
        unread = _whole(state)
        return {key: ends.get(key, unread) for key in wanted}

    async def _read(self, file: str, keys: frozenset[str], ends: Ends) -> None:
        """Read the results of these keys from a file, line by line. A line that cannot be read spoils no other."""
        request = self._request("GET", f"/files/{file}/content")
        with exchanging() as exchange:
            try:
                async for text in self._client().lines(request, MOST_BYTES):
                    _take(text, keys, ends)
            except httpx.RequestError as error:
                raise teacher_error(error, exchange) from None
        _check(exchange, f"file {file}, with the answers of a batch,")

    async def _asked(self, method: str, path: str, resource: str | None = None, **content: Any) -> Mapping[str, Any]:
        """Return the JSON object of the provider's answer.

        Args:
            method: the HTTP method.
            path: path below the address.
            resource: name of the requested object, if it may have been lost.
            content: arguments of ``httpx.Client.build_request``.

        Raises:
            TeacherError: with the kind of failure.
        """
        request = self._request(method, path, **content)
        with exchanging() as exchange:
            try:
                await self._client().send(request)
            except httpx.RequestError as error:
                raise teacher_error(error, exchange) from None
        _check(exchange, resource)
        try:
            answer = json.loads(exchange.body)
        except (ValueError, RecursionError) as error:
            raise answer_error(exchange, ValueError(f"the response is not JSON: {error}")) from None
        if not isinstance(answer, Mapping):
            raise answer_error(exchange, ValueError("the response is not a JSON object"))
        return answer

    def _request(self, method: str, path: str, **content: Any) -> httpx.Request:
        key = os.environ.get("OPENAI_API_KEY")
        if not key:
            raise TeacherError("auth", "OPENAI_API_KEY is not set in the environment")
        headers = {"Authorization": f"Bearer {key}"}
        for header, name in (("OpenAI-Organization", "OPENAI_ORG_ID"), ("OpenAI-Project", "OPENAI_PROJECT_ID")):
            if os.environ.get(name):
                headers[header] = os.environ[name]
        return self._client().build_request(method, self._address + path, headers=headers, **content)


def _check(exchange: Exchange, resource: str | None) -> None:
    """Check that an answer has a status of success.

    Raises:
        TeacherError: the answer has another status, or none.
    """
    if resource is not None and exchange.status in _GONE:
        raise TeacherError(
            "batch_lost", f"{resource} was not found; check that key and address are those of the submission"
        )
    if exchange.status is None or not 200 <= exchange.status < 300:
        raise answer_error(exchange)


def _named(answer: Mapping[str, Any]) -> str:
    """Return the id in the provider's answer.

    Raises:
        TeacherError: the answer has no usable id.
    """
    name = answer.get("id")
    if not isinstance(name, str) or not re.fullmatch(r"[\w.:-]{1,200}", name, re.ASCII):
        raise TeacherError("paid_unreadable", "the provider's answer has no usable id")
    return name


def _is_object(value: object) -> bool:
    return isinstance(value, Mapping)


def _count(counts: Any, name: str) -> int:
    value = counts.get(name) if isinstance(counts, Mapping) else None
    return value if isinstance(value, int) and 0 <= value < 10**9 else 0


def _whole(batch: Mapping[str, Any]) -> TeacherError:
    """Return the error for the requests of a batch that have no answer, by the status of the batch."""
    status = str(batch["status"])
    if status == "failed":
        errors = batch.get("errors")
        data = errors.get("data") if isinstance(errors, Mapping) else None
        first = data[0] if isinstance(data, list) and data and isinstance(data[0], Mapping) else None
        if first is None:
            return TeacherError("batch_failed", "the provider does not say why")
        return line_error(first.get("code"), first.get("message"), "batch_failed")
    kind = _UNREAD.get(status, "paid_unreadable")
    return TeacherError(kind, f"the batch is {status}, without an answer to this question")


def _take(text: bytes, keys: frozenset[str], ends: Ends) -> None:
    """Store the result in one line: an answer replaces an error, and the first answer is kept."""
    result = _end(text)
    if result is None or result[0] not in keys:
        return
    key, end = result
    if _answers(end):
        if not _answers(ends.get(key)):
            ends[key] = end
    else:
        ends.setdefault(key, end)


def _answers(end: Line | TeacherError | None) -> bool:
    return isinstance(end, Line) and end.status < 400


def _end(text: bytes) -> tuple[str, Line | TeacherError] | None:
    """Return key and result of one line; ``None`` where the line has no key."""
    try:
        line = json.loads(text)
        key = line["custom_id"]
        response, error = line.get("response"), line.get("error")
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as problem:
        named = _CUSTOM_ID.search(text)
        if named is None:
            return None
        why = f"the line of this question in the file of answers cannot be read: {type(problem).__name__}"
        return named[1].decode(), TeacherError("paid_unreadable", why, raw=text)
    if not isinstance(key, str):
        return None
    if isinstance(response, Mapping):
        status = response.get("status_code")
        # Only a real error status is free of charge; any other value counts as an answer that was paid for.
        if not isinstance(status, int) or not 400 <= status < 600:
            status = 200
        return key, Line(status, json.dumps(response.get("body")).encode())
    if isinstance(error, Mapping):
        return key, line_error(error.get("code"), error.get("message"), "overloaded")
    return key, TeacherError(
        "paid_unreadable",
        "the line of this question in the file of answers has neither an answer nor an error",
        raw=text,
    )
