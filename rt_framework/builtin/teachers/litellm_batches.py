"""OpenAI's batch API through litellm: files up, a batch, files down.

A line of the file is the very body that the live path would send, and an answer is read as the live path
would read it: both go through ``acompletion`` with a client whose transport is a piece of memory.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

from attrs import define, frozen

from rt_framework.builtin.teachers.litellm_errors import teacher_error, told_error
from rt_framework.errors import TeacherError
from rt_framework.model import Pending

_URL = "/v1/chat/completions"

_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})

_UNREAD = {"expired": "expired", "cancelled": "batch_failed"}
"""Kinds of the lines without an answer, by the batch's status; with any other they may have been answered."""

_NO_PEEKING = {"batch_ignore_default_logging": True}
"""Else litellm fetches the answers of a finished batch for itself, to log what they cost."""

_PAGE = 100

_ANYTHING = json.dumps(
    {
        "id": "",
        "object": "chat.completion",
        "created": 0,
        "model": "",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": ""}}],
    }
).encode()


@define
class _Letter:
    """What passes through the transport of one call: an answer in, a body out."""

    status: int = 200
    answer: bytes = _ANYTHING
    sent: Any = None


_LETTER: ContextVar[_Letter] = ContextVar("letter")
_CLIENTS: ContextVar[list[Any]] = ContextVar("clients")


@frozen
class Line:
    """The provider's answer to one request of a batch."""

    status: int
    """As of HTTP."""
    body: bytes


class OpenAIBatches:
    """The batches of one account.

    Args:
        litellm: gives the module, set up.
        api_base: address of the server, where it is not OpenAI's own.
    """

    def __init__(self, litellm: Callable[[], Any], api_base: str | None) -> None:
        self._litellm = litellm
        self._where = {"custom_llm_provider": "openai", "api_base": api_base, "max_retries": 0, "timeout": 86_400.0}

    async def submit(self, requests: Mapping[str, Mapping[str, Any]], token: str) -> str:
        """Upload a file of requests, which are arguments of ``acompletion`` by key, and make a batch of it.

        Raises:
            TeacherError: with the kind of failure.
        """
        lines = [await self._line(key, arguments) for key, arguments in requests.items()]
        async with _one_call():
            file = ("batch.jsonl", "".join(lines).encode())
            uploaded = await self._litellm().acreate_file(file=file, purpose="batch", **self._where)
        async with _one_call():
            create = self._litellm().acreate_batch
            batch = await create("24h", _URL, uploaded.id, metadata={"token": token}, **self._where)
        return str(batch.id)

    async def find(self, token: str) -> str | None:
        """The id of the batch with *token* in its metadata.

        Raises:
            TeacherError: with the kind of failure.
        """
        after = None
        while True:
            async with _one_call():
                page = await self._litellm().alist_batches(after=after, limit=_PAGE, **self._where)
            for batch in page.data:
                if (batch.metadata or {}).get("token") == token:
                    return str(batch.id)
            if not page.data or not page.has_more:
                return None
            after = page.data[-1].id

    async def collect(self, batch: str, keys: Iterable[str]) -> Pending | dict[str, Line | TeacherError]:
        """What became of each key's request, or how far the batch has come.

        Raises:
            TeacherError: with the kind of failure.
        """
        found = await self._retrieved(batch)
        if found.status not in _ENDED:
            counts = found.request_counts
            return Pending(counts.completed + counts.failed, counts.total) if counts else Pending(0, 0)
        unread = _whole(found)
        ends: dict[str, Line | TeacherError] = dict.fromkeys(keys, unread)
        for file in (found.output_file_id, found.error_file_id):
            if file:
                async with _one_call():
                    content = await self._litellm().afile_content(file, **self._where)
                ends.update((key, end) for key, end in _read(content.content) if key in ends)
        return ends

    async def read(self, arguments: Mapping[str, Any], line: Line) -> Any:
        """What ``acompletion`` makes of a line.

        Raises:
            TeacherError: the line says that the request failed.
        """
        return await self._posted(arguments, _Letter(line.status, line.body))

    async def _retrieved(self, batch: str) -> Any:
        try:
            async with _one_call():
                return await self._litellm().aretrieve_batch(batch, **self._where, litellm_metadata=_NO_PEEKING)
        except TeacherError as error:
            if error.kind.name == "model_missing":  # by the status 404
                why = f"batch {batch} is not there; is this the key and the address that it was submitted with?"
                raise TeacherError("auth", why) from None
            raise

    async def _line(self, key: str, arguments: Mapping[str, Any]) -> str:
        letter = _Letter()
        await self._posted(arguments, letter)
        line = {"custom_id": key, "method": "POST", "url": _URL, "body": letter.sent}
        return json.dumps(line, ensure_ascii=False) + "\n"

    async def _posted(self, arguments: Mapping[str, Any], letter: _Letter) -> Any:
        token = _LETTER.set(letter)
        try:
            # Whatever does not go through the client is not to reach the provider.
            nowhere = {**arguments, "api_base": "http://127.0.0.1:9"}
            answer = await self._litellm().acompletion(**nowhere, client=_memory_client())
        except Exception as error:
            raise teacher_error(error) from None
        finally:
            _LETTER.reset(token)
        if letter.sent is None:
            raise TeacherError("bad_request", "litellm does not ask this model by chat completions; leave 'batch' out")
        return answer


def _whole(batch: Any) -> TeacherError:
    """What a batch that has ended says of the lines that it has no answer to."""
    if batch.status == "failed":
        errors = getattr(batch.errors, "data", None) or []
        if not errors:
            return TeacherError("batch_failed", "the provider does not say why")
        return told_error(errors[0].code, errors[0].message, "batch_failed")
    kind = _UNREAD.get(batch.status, "paid_unreadable")
    return TeacherError(kind, f"the batch is {batch.status}, and there is no answer to this")


def _read(content: bytes) -> Iterator[tuple[str, Line | TeacherError]]:
    """Keys and ends of the lines that can be read."""
    for text in content.splitlines():
        try:
            line = json.loads(text)
            key, response, error = line["custom_id"], line.get("response"), line.get("error")
            if response:
                yield key, Line(response["status_code"], json.dumps(response["body"]).encode())
            else:
                yield key, told_error(error["code"], error["message"], "overloaded")
        except (ValueError, LookupError, TypeError):
            continue


@asynccontextmanager
async def _one_call() -> AsyncIterator[None]:
    """Within, one call of litellm on files or batches; the client that it makes for it is closed.

    Raises:
        TeacherError: the call failed.
    """
    _note_clients()
    clients: list[Any] = []
    token = _CLIENTS.set(clients)
    try:
        yield
    except Exception as error:
        raise teacher_error(error) from None
    finally:
        _CLIENTS.reset(token)
        for client in clients:
            await client.close()


@cache
def _note_clients() -> None:
    """Let litellm tell of the clients that it makes for files and batches: it leaves them open."""
    from litellm.llms.openai.openai import OpenAIBatchesAPI, OpenAIFilesAPI

    def noting(make: Callable[..., Any]) -> Callable[..., Any]:
        def made(*args: Any, **kwargs: Any) -> Any:
            client = make(*args, **kwargs)
            _CLIENTS.get().append(client)
            return client

        return made

    for api in (OpenAIFilesAPI, OpenAIBatchesAPI):
        api.get_openai_client = noting(api.get_openai_client)


@cache
def _memory_client() -> Any:
    """A client of OpenAI's library that sends nothing: what is sent and answered lies in the letter of the call."""
    import httpx
    from openai import AsyncOpenAI

    async def deliver(request: Any) -> Any:
        letter = _LETTER.get()
        letter.sent = json.loads(request.content)
        return httpx.Response(letter.status, content=letter.answer, headers={"Content-Type": "application/json"})

    http = httpx.AsyncClient(transport=httpx.MockTransport(deliver))
    return AsyncOpenAI(api_key="none", base_url="http://127.0.0.1:9", max_retries=0, http_client=http)
