"""Requests to a provider's batch API with the address and the login of live calls, and checks of the answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import httpx
from attrs import frozen

from rt_framework.builtin.teachers.litellm_errors import answer_error, teacher_error
from rt_framework.builtin.teachers.transport import MOST_BYTES, Exchange, RecordingClient, exchanging
from rt_framework.errors import TeacherError

GONE = frozenset({404, 410})
"""HTTP statuses by which a provider says that it no longer has something."""


@frozen
class Draft:
    """A live call that is not sent; only the part that a line of a batch needs is kept, since there are thousands."""

    body: bytes
    features: str
    """Features of Anthropic's API that the call announces in a header, with commas between them."""


@frozen
class Door:
    """The way to the batches of one account.

    Paths are appended to the address, so that neither the key nor a prompt goes to a host that an answer names.
    """

    client: RecordingClient
    address: str
    """Address of the provider's API, without a slash at its end."""
    headers: Mapping[str, str]
    """Headers of the login."""
    query: Mapping[str, str]
    """Query of each request, such as Azure's ``api-version``."""

    async def asked(self, method: str, path: str, resource: str | None = None, **content: Any) -> Mapping[str, Any]:
        """Return the JSON object of the provider's answer.

        Args:
            method: the HTTP method.
            path: path below the address.
            resource: name of the requested object, if it may have been lost.
            content: arguments of ``httpx.Client.build_request``.

        Raises:
            TeacherError: with the kind of failure; ``batch_lost``: the requested object is not there.
        """
        request = self._request(method, path, **content)
        with exchanging() as exchange:
            try:
                await self.client.send(request)
            except httpx.RequestError as error:
                raise teacher_error(error, exchange) from None
        _check(exchange, resource, GONE)
        try:
            answer = json.loads(exchange.body)
        except (ValueError, RecursionError) as error:
            raise answer_error(exchange, ValueError(f"the response is not JSON: {error}")) from None
        if not isinstance(answer, Mapping):
            raise answer_error(exchange, ValueError("the response is not a JSON object"))
        return answer

    async def read(self, path: str, resource: str, take: Callable[[bytes], None], gone: frozenset[int] = GONE) -> None:
        """Pass each line of a file to *take*, one at a time; a line that is too long is left out.

        Args:
            path: path below the address, perhaps with a query.
            resource: name of the file for the message.
            take: receives the lines.
            gone: HTTP statuses by which the provider says that it no longer has the file.

        Raises:
            TeacherError: with the kind of failure; ``batch_lost``: the file is not there.
        """
        request = self._request("GET", path)
        with exchanging() as exchange:
            try:
                async for text in self.client.lines(request, MOST_BYTES):
                    take(text)
            except httpx.RequestError as error:
                raise teacher_error(error, exchange) from None
        _check(exchange, resource, gone)

    def _request(self, method: str, path: str, **content: Any) -> httpx.Request:
        url = httpx.URL(self.address + path).copy_merge_params({**self.query, **content.pop("params", {})})
        headers = {**self.headers, **content.pop("headers", {})}
        return self.client.build_request(method, url, headers=headers, **content)


def _check(exchange: Exchange, resource: str | None, gone: frozenset[int]) -> None:
    """Check that an answer has a status of success.

    Raises:
        TeacherError: the answer has another status, or none.
    """
    if resource is not None and exchange.status in gone:
        raise TeacherError(
            "batch_lost", f"{resource} was not found; check that key and address are those of the submission"
        )
    if exchange.status is None or not 200 <= exchange.status < 300:
        raise answer_error(exchange)
