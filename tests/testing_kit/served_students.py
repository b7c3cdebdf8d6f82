"""A good student behind a server and broken ones."""

from __future__ import annotations

import json

import httpx
from attrs import frozen

from rt_framework.errors import StudentError
from rt_framework.model import Reply
from rt_framework.spans import SpanLoss
from rt_framework.testing import FakeStudent
from rt_framework.testing.contracts import ServedStudentContract
from tests.testing_kit.making import good, mutant

STATUSES = {401: "auth", 429: "rate_limited", 503: "overloaded"}


@frozen
class Address:
    url: str


class Contract(ServedStudentContract):
    def options_for(self, url):
        return {"url": url}


Contract.__name__ = "ServedStudentContract"


@good(Contract, Address)
class Served:
    structured = True
    reads_turns = True
    at_once = 8
    noise = 1e-3
    path = "the server of a test"
    fingerprint = "served words"

    def __init__(self, settings):
        self.url = settings.url
        self.words = FakeStudent()

    def encode(self, spans):
        return self.words.encode(spans)

    async def answer(self, request):
        schema = {} if request.schema is None else {"response_format": request.schema}
        told = await self.post("/v1/chat/completions", {"model": "fake", "messages": [{"content": "Yes?"}], **schema})
        return Reply(told["choices"][0]["message"]["content"])

    async def loss(self, span):
        told = await self.post("/v1/completions", {"prompt": [span.ids]})
        return told if isinstance(told, SpanLoss) else self.read(span, told["choices"][0]["prompt_logprobs"])

    def read(self, span, entries):
        if not entries or len(entries) != len(span.ids) or str(span.ids[-1]) not in entries[-1]:
            return SpanLoss(None, 0, "no_prompt_logprobs", "the answer lacks them")
        found = [entries[at][str(span.ids[at])] for at in span.positions]
        nll = tuple(-one["logprob"] for one in found)
        if max(nll) > 9000:
            return SpanLoss(None, len(nll), "nonfinite", "a token has no probability")
        return SpanLoss(sum(nll), len(nll), token_nll=nll, token_ranks=tuple(one["rank"] for one in found))

    async def post(self, path, body):
        try:
            async with httpx.AsyncClient(trust_env=False, verify=False) as client:
                answer = await client.post(f"{self.url}{path}", json=body, timeout=10)
        except httpx.HTTPError as error:
            raise StudentError("connection", repr(error)) from error
        if answer.status_code == 400 and "maximum" in answer.text:
            return SpanLoss(None, 0, "server_no_room", "it does not fit")
        if answer.status_code != 200:
            kind, pause = STATUSES.get(answer.status_code, "bad_request"), answer.headers.get("retry-after")
            raise StudentError(self.kind(kind), answer.text, None if pause is None else float(pause))
        try:
            return answer.json()
        except json.JSONDecodeError as error:
            raise StudentError("unreadable", str(error)) from error

    def kind(self, name):
        return name

    async def aclose(self):
        pass


@mutant(Contract, "test_it_is_asked_at_once", Address)
class Closed(Served):
    at_once = 0


@mutant(Contract, "test_no_fault_becomes_a_number", Address)
class Hopeful(Served):
    def read(self, span, entries):
        known = [one for at in span.positions if at < len(entries or ()) for one in entries[at].values()]
        if not known or any(one["logprob"] < -9000 for one in known):
            return super().read(span, entries)
        return SpanLoss(-sum(one["logprob"] for one in known), len(span.positions))


@mutant(Contract, "test_no_fault_becomes_a_number", Address)
class Literal(Served):
    def read(self, span, entries):
        loss = super().read(span, entries)
        return SpanLoss(9999.0, 1) if loss.status == "nonfinite" else loss


@mutant(Contract, "test_failures_have_their_kind", Address)
class Vague(Served):
    def kind(self, name):
        return "bad_request"


@mutant(Contract, "test_a_slow_server_can_be_left", Address)
class Stubborn(Served):
    async def post(self, path, body):
        import asyncio

        try:
            return await super().post(path, body)
        except asyncio.CancelledError:
            return SpanLoss(None, 0, "timeout", "it took too long")


@mutant(Contract, "test_a_server_that_is_gone_is_told", Address)
class Resentful(Served):
    gone = None

    async def post(self, path, body):
        if self.gone is not None:
            raise self.gone
        try:
            return await super().post(path, body)
        except StudentError as error:
            self.gone = error
            raise


@mutant(Contract, "test_one_attempt_is_one_request", Address)
class Insistent(Served):
    async def post(self, path, body):
        try:
            return await super().post(path, body)
        except StudentError:
            return await super().post(path, body)
