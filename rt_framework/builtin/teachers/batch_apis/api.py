"""The steps that all batch APIs have in common: the search in the list of batches, and the collection of results."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import httpx
from attrs import frozen

from rt_framework.builtin.teachers.batch_apis.door import GONE, Door, Draft
from rt_framework.builtin.teachers.batch_apis.results import End, Ends, Results
from rt_framework.builtin.teachers.transport import RecordingClient
from rt_framework.errors import TeacherError
from rt_framework.model import Pending

PAGE, MOST_PAGES = 100, 200
"""Batches on one page of a provider's list, and most pages that are searched."""

_NAME = re.compile(r"[\w.:-]{1,200}", re.ASCII)


@frozen
class Page:
    """One page of a provider's list of batches."""

    answer: Mapping[str, Any]
    query: Mapping[str, Any]
    """Query with which the page was asked for."""
    batches: Sequence[Mapping[str, Any]]
    seen: int
    """Number of batches on this and all earlier pages."""


class BatchApi(ABC):
    """The batches of one provider.

    Args:
        model: the provider's name of the model.
    """

    chats: ClassVar[re.Pattern[str]]
    """End of the address to which litellm sends a live call; what is before it is the address of the API."""
    login: ClassVar[frozenset[str]]
    """Headers of a live call that the requests about batches need too."""
    path: ClassVar[str] = "/batches"
    """Path of the list of batches."""
    field: ClassVar[str] = "custom_id"
    """Name under which a line of the results holds its id."""
    gone: ClassVar[frozenset[int]] = GONE
    """HTTP statuses by which the provider says that a file of results is no longer there."""

    def __init__(self, model: str) -> None:
        self._model = model

    def door(self, client: RecordingClient, request: httpx.Request) -> Door:
        """Return the way to the batches of the account with which litellm would send *request*, a live call.

        Raises:
            TeacherError: litellm reaches this model by another API.
        """
        url = request.url
        address, calls = self.chats.subn("", str(url.copy_with(query=None)))
        if not calls:
            raise TeacherError("bad_request", "litellm asks this model by an API without batches; set 'batch: false'")
        headers = {name: value for name, value in request.headers.items() if name in self.login}
        return Door(client, address, headers, dict(url.params))

    def draft(self, request: httpx.Request) -> Draft:
        """Return what a line of a batch needs of a live call that litellm has made."""
        return Draft(request.content, request.headers.get("anthropic-beta", ""))

    @abstractmethod
    async def submit(self, door: Door, drafts: Mapping[str, Draft], token: str) -> str:
        """Submit live calls by key, marked with *token*, and return the provider's name of the batch.

        Raises:
            TeacherError: with the kind of failure.
        """

    async def find(self, door: Door, token: str) -> str | None:
        """Return the name of the batch that is marked with *token*; ``None`` if there is none.

        Raises:
            TeacherError: with the kind of failure; ``batch_lost``: the list is longer than the pages that are searched.
        """
        async for batch in self._batches(door):
            if self._mark(batch) == token:
                return self._name(batch)
        return None

    async def collect(self, door: Door, batch: str, keys: Iterable[str]) -> Pending | Ends:
        """Return the result of each key's request, or the progress of a batch that has not ended.

        Raises:
            TeacherError: with the kind of failure; ``batch_lost``: the batch or a file of it is not there.
        """
        state = await door.asked("GET", self._place(batch), resource=f"batch {batch}")
        progress = self._progress(state)
        if progress is not None:
            return progress
        results = Results(keys, self.field, self._end, self._key)
        for path, resource in self._files(state):
            await door.read(path, resource, results.take, self.gone)
        return results.all(self._unread(state))

    async def _batches(self, door: Door) -> AsyncIterator[Mapping[str, Any]]:
        """Yield the batches of the account, newest first where the provider sorts them so."""
        query, seen = self._first(), 0
        for _ in range(MOST_PAGES):
            answer = await door.asked("GET", self.path, params=query)
            batches = self._listed(answer)
            # An unreadable list must not count as one without our batch, which would then be submitted, and paid for,
            # again.
            if not isinstance(batches, list) or not all(isinstance(batch, Mapping) for batch in batches):
                raise unreadable_list()
            for batch in batches:
                yield batch
            seen += len(batches)
            further = self._further(Page(answer, query, batches, seen))
            if further is None:
                return
            query = further
        raise TeacherError(
            "batch_lost",
            f"the batch of this run is not among the first {MOST_PAGES * PAGE} batches that the provider lists",
        )

    # --- the form of the provider -----------------------------------------------------------

    def _listed(self, answer: Mapping[str, Any]) -> Any:
        """Return the batches on a page of the list."""
        return answer.get("data")

    def _first(self) -> Mapping[str, Any]:
        """Return the query for the first page of the list."""
        return {"limit": PAGE}

    @abstractmethod
    def _further(self, page: Page) -> Mapping[str, Any] | None:
        """Return the query for the page after this one; ``None`` where there is no further page.

        Raises:
            TeacherError: the list cannot be read.
        """

    def _mark(self, batch: Mapping[str, Any]) -> Any:
        """Return the token of a batch as the provider describes it."""
        metadata = batch.get("metadata")
        return metadata.get("token") if isinstance(metadata, Mapping) else None

    def _name(self, answer: Mapping[str, Any]) -> str:
        """Return the provider's name of a batch or file.

        Raises:
            TeacherError: the answer has no usable one.
        """
        return usable(answer.get("id"), _NAME)

    def _place(self, batch: str) -> str:
        """Return the path of a batch."""
        return f"{self.path}/{batch}"

    @abstractmethod
    def _progress(self, state: Mapping[str, Any]) -> Pending | None:
        """Return the progress of a batch; ``None`` once it has ended."""

    @abstractmethod
    def _files(self, state: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield path and description of each file of results of a batch that has ended."""

    @abstractmethod
    def _unread(self, state: Mapping[str, Any]) -> TeacherError:
        """Return the error for the requests of a batch that have no line, by the end that the batch has had."""

    @abstractmethod
    def _end(self, line: Mapping[str, Any]) -> End | None:
        """Return the result in a line; ``None`` where it has neither an answer nor an error."""

    def _key(self, name: str) -> str:
        """Return the key of a request in the id of a line."""
        return name


def contents(state: Mapping[str, Any], names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield path and description of the files that a batch names in these fields, in OpenAI's form."""
    for name in names:
        file = state.get(name)
        if isinstance(file, str) and _NAME.fullmatch(file):
            yield f"/files/{file}/content", f"file {file}, with the answers of a batch,"


def usable(name: object, form: re.Pattern[str]) -> str:
    """Return a name that fits into a path.

    Raises:
        TeacherError: it does not.
    """
    if not isinstance(name, str) or not form.fullmatch(name):
        raise TeacherError("paid_unreadable", "the provider's answer has no usable id")
    return name


def unreadable_list() -> TeacherError:
    """Return the error for a list of batches that cannot be read."""
    return TeacherError("paid_unreadable", "the provider's list of batches cannot be read")


def after(page: Page, parameter: str) -> Mapping[str, Any] | None:
    """Return the query for the page after the last batch on this one, as OpenAI and Anthropic take it.

    Raises:
        TeacherError: the list cannot be read.
    """
    if page.answer.get("has_more") is not True:
        return None
    if not page.batches:
        raise unreadable_list()
    return {"limit": PAGE, parameter: usable(page.batches[-1].get("id"), _NAME)}


def count(counts: Any, name: str) -> int:
    """Return a number of requests that a provider states, as a number or in digits; 0 if it states none."""
    value = counts.get(name) if isinstance(counts, Mapping) else None
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        value = int(value)
    return value if isinstance(value, int) and 0 <= value < 10**9 else 0
