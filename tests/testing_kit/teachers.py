"""A good teacher that asks a server, and broken ones."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import urllib.error
import urllib.request
from time import sleep

from attrs import evolve, frozen

from rt_framework import Reply, TeacherError, Usage
from rt_framework.testing.contracts import TeacherContract
from tests.testing_kit.making import good, mutant

_numbers = itertools.count()


@frozen
class Address:
    """The server that the teacher asks, and the variable with its key."""

    url: str = "http://127.0.0.1:9/v1"
    """Base address."""
    key_name: str = "RT_CANARY_API_KEY"
    """Variable that holds the key."""


def asking(_contract, url):
    """Return the options with which the contract makes the teacher ask a server."""
    return {"url": url}


AT = {"options_for": asking}


@good(TeacherContract, Address, **AT)
class Asking:
    structured = True

    def __init__(self, settings):
        self.settings = settings
        self.identity = "asking model-1"

    async def complete(self, request):
        return await asyncio.to_thread(self.sent, request)

    def sent(self, request):
        """One POST."""
        key = os.environ.get(self.settings.key_name, "")
        body = json.dumps(
            {"model": "m", "messages": [{"role": t.role, "content": t.content} for t in request.messages]}
        )
        post = urllib.request.Request(
            f"{self.settings.url}/chat/completions",
            body.encode(),
            {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(post, timeout=20) as answer:
                found = json.loads(answer.read())
            return Reply(found["choices"][0]["message"]["content"] or "", usage=Usage(1, 1))
        except urllib.error.HTTPError as error:
            with error:
                raise TeacherError("overloaded", self.told(error)) from None
        except (OSError, ValueError, LookupError, EOFError) as error:
            raise TeacherError("connection", str(error)) from None
        except Exception as error:  # http.client's own
            raise TeacherError("connection", type(error).__name__) from None

    def told(self, error):
        """Return the message about a refusal by the server."""
        return f"status {error.code}"


@good(TeacherContract, free=True)
class Free:
    """Answers without a server, and awaits where it waits."""

    structured = True
    identity = "free"

    async def complete(self, request):
        await asyncio.sleep(0.001)
        return Reply('{"response": "The Rhine."}')


@mutant(TeacherContract, "test_it_never_blocks", free=True)
class Sleepy(Free):
    async def complete(self, request):
        sleep(0.001)  # noqa: ASYNC251 - the fault
        return await super().complete(request)


@mutant(TeacherContract, "test_it_says_who_it_is", Address, **AT)
class Anybody(Asking):
    def __init__(self, settings):
        super().__init__(settings)
        self.identity = f"asking {next(_numbers)}"


@mutant(TeacherContract, "test_it_answers", Address, **AT)
class Bare(Asking):
    async def complete(self, request):
        reply = await super().complete(request)
        return reply.text or reply


@mutant(TeacherContract, "test_it_answers", Address, **AT)
class Stripping(Asking):
    async def complete(self, request):
        reply = await super().complete(request)
        return evolve(reply, text=reply.text.strip("{}"))


@mutant(TeacherContract, "test_the_identity_holds_no_address", Address, **AT)
class Addressed(Asking):
    def __init__(self, settings):
        super().__init__(settings)
        self.identity = f"asking {settings.url}"


@mutant(TeacherContract, "test_one_attempt_is_one_request", Address, **AT)
class Stubborn(Asking):
    def sent(self, request):
        try:
            return super().sent(request)
        except TeacherError:
            return super().sent(request)


@mutant(TeacherContract, "test_nothing_is_remembered", Address, **AT)
class Caching(Asking):
    def __init__(self, settings):
        super().__init__(settings)
        self.kept = {}

    async def complete(self, request):
        key = (request.pair_hash, request.index)
        if key not in self.kept:
            self.kept[key] = await super().complete(request)
        return self.kept[key]


@mutant(TeacherContract, "test_calls_do_not_wait_for_each_other", Address, **AT)
class Blocking(Asking):
    async def complete(self, request):
        return self.sent(request)


@mutant(TeacherContract, "test_failures_are_teacher_errors", Address, **AT)
class Raw(Asking):
    def sent(self, request):
        try:
            return super().sent(request)
        except TeacherError as error:
            raise RuntimeError(error.message) from None


@mutant(TeacherContract, "test_failures_are_teacher_errors", Address, **AT)
class Soothing(Asking):
    """Makes up an empty reply where there is none."""

    def sent(self, request):
        try:
            return super().sent(request)
        except TeacherError:
            return Reply("")


@mutant(TeacherContract, "test_no_secret_is_told", Address, **AT)
class Shown(Asking):
    def __repr__(self):
        return f"Shown(key={os.environ.get(self.settings.key_name)})"


@mutant(TeacherContract, "test_no_secret_is_told", Address, **AT)
class OfItsOwn(Asking):
    """Tells a variable that the contract does not know by name; tests/test_testing_kit.py sets it."""

    def __repr__(self):
        return f"OfItsOwn(key={os.environ.get('ACME_TOKEN')})"


# --- a local one, that answers in batches -------------------------------------------------------


@good(TeacherContract, free=True)
class Local:
    structured, identity, batch_size = False, "local", 4

    def complete_many(self, requests):
        return [Reply(request.messages[-1].content.upper()) for request in requests]


@mutant(TeacherContract, "test_a_batch_is_answered_in_order", free=True)
class Sorting(Local):
    def complete_many(self, requests):
        return sorted(super().complete_many(requests), key=lambda reply: reply.text)
