"""The teacher's chain: each question is paid for once, in the right order, and every failure has its price."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections import Counter
from contextlib import asynccontextmanager

import pytest
from attrs import frozen

from rt_framework.config.schema import Limits
from rt_framework.errors import KINDS, BudgetReached, ConfigError, DataError, FatalTeacherError, Retry, TeacherError
from rt_framework.ledger.ledger import Ledger
from rt_framework.model import Failure, Reply, Request, Version
from rt_framework.teacher import Answers, call_key, sending
from rt_framework.teacher.client import TeacherClient
from rt_framework.testing import ScriptedTeacher
from tests.run_helpers import Rewriting, answers_of, pair

RESEND = [kind for kind in KINDS.values() if kind.retry is Retry.RESEND]
CHANGE = [kind for kind in KINDS.values() if kind.retry is Retry.CHANGE]
FATAL = [kind for kind in KINDS.values() if kind.fatal]
FINAL = [kind for kind in KINDS.values() if kind.retry is Retry.NO and not kind.fatal]


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """Seconds that would have been waited between two attempts; nobody waits."""
    seconds = []

    def note(*arguments):
        seconds.append(pause(*arguments))
        return 0.0

    pause = sending.backoff
    monkeypatch.setattr(sending, "backoff", note)
    return seconds


class Priced(ScriptedTeacher):
    """A teacher that costs something: at most 100 nano-dollars a call."""

    most: int | None = 100

    def cost(self, prompt_tokens: int, completion_tokens: int) -> int | None:
        """The same for any call."""
        return self.most


@frozen
class Chain:
    """The teacher's chain and what it counts."""

    answers: Answers
    client: TeacherClient

    @property
    def spent(self):
        return self.answers.sending.money().spent

    @property
    def counts(self):
        return self.answers.sending.counts()


@asynccontextmanager
async def asking(teacher, ledger, **limits):
    """The chain, freed at the end."""
    settings = Limits(**limits)
    answers = answers_of(teacher, ledger, settings)
    try:
        yield Chain(answers, TeacherClient(answers, teacher.structured, settings.answers))
    finally:
        await answers.close()


async def ask(chain, number=0, reflection=None):
    """One rewrite of one original."""
    old = Version("original", pair(number))
    made = await chain.client.reflect("response", reflection or Rewriting(), old, "reflect")
    return made if isinstance(made, Failure) else made.version


def always(error_kind, then="fine"):
    """A script: the first *times* attempts of every request fail."""
    seen = Counter()

    def answer(request, times=10**9):
        seen[request] += 1
        if seen[request] <= times:
            raise TeacherError(error_kind, "as scripted")
        return then

    return answer


def failing(kind, times):
    """A script that fails so many times a request, then answers."""
    script = always(kind)
    return lambda request: script(request, times)


# --- the order of a paid call -----------------------------------------------------------------


async def test_an_answer_becomes_a_version_with_its_lineage(ledger):
    """Name, parent, reflection and the call it came from."""
    teacher = ScriptedTeacher(lambda request: "better")
    async with asking(teacher, ledger) as chain:
        made = await ask(chain)
        again = (await chain.client.reflect("response", Rewriting(), made, "reflect-2")).version
    assert (made.name, made.parent, made.reflection, made.pair.response) == (
        "response",
        "original",
        "response",
        "better",
    )
    assert made.call == call_key("scripted", teacher.requests[0])
    assert (again.name, again.parent) == ("response.response", "response")


async def test_the_intent_is_on_disk_before_the_request_leaves(ledger):
    """While the teacher answers, another process finds the intent, and no answer."""
    found = []

    def look(request):
        db = sqlite3.connect(f"{ledger.database.path.as_uri()}?mode=ro", uri=True)
        found.append(db.execute("SELECT state, reply FROM attempts JOIN calls ON call = number").fetchall())
        db.close()
        return "fine"

    async with asking(ScriptedTeacher(look), ledger) as chain:
        await ask(chain)
    assert found == [[("intent", None)]]


async def test_the_answer_is_on_disk_before_it_is_parsed(ledger):
    """A parser that breaks costs no answer: asked again, nothing is sent."""
    found = []

    class Looking(Rewriting):
        def parse(self, pair, request, reply):
            found.append(ledger.calls.reply(call_key("scripted", request)))
            raise RuntimeError("the parser broke")

    teacher = ScriptedTeacher(lambda request: "fine")
    async with asking(teacher, ledger) as chain:
        for _ in range(2):
            with pytest.raises(RuntimeError):
                await ask(chain, reflection=Looking())
        assert isinstance(await ask(chain), Version)
    assert found[0].text == "fine"
    assert len(teacher.requests) == 1


async def test_a_better_parser_asks_nothing(ledger):
    """Another process re-reads the stored answers and sends no request."""
    teacher = ScriptedTeacher(lambda request: "bad format")
    async with asking(teacher, ledger, answers=1) as chain:
        assert isinstance(await ask(chain), Failure)

    class Lenient(Rewriting):
        def parse(self, pair, request, reply):
            return pair

    silent = ScriptedTeacher(lambda request: pytest.fail("asked again"))
    async with asking(silent, ledger) as chain:
        assert isinstance(await ask(chain, reflection=Lenient()), Version)
        assert chain.counts.reused == 1


async def test_duplicates_are_one_flight(ledger):
    """Ten at once and one later: one request, the same answer for all."""
    teacher = ScriptedTeacher(lambda request: f"answer {len(teacher.requests)}")
    async with asking(teacher, ledger) as chain:
        versions = await asyncio.gather(*(ask(chain) for _ in range(10)))
        versions.append(await ask(chain))
    assert {version.pair.response for version in versions} == {"answer 1"}
    assert len(teacher.requests) == 1


async def test_one_who_stops_waiting_takes_no_answer_from_the_others(ledger):
    """The answer belongs to everyone who asked, and to the ledger."""
    gate = asyncio.Event()

    class Waiting(ScriptedTeacher):
        async def complete(self, request):
            await gate.wait()
            return await super().complete(request)

    teacher = Waiting(lambda request: "fine")
    async with asking(teacher, ledger) as chain:
        impatient, patient = asyncio.create_task(ask(chain)), asyncio.create_task(ask(chain))
        await asyncio.sleep(0.05)
        impatient.cancel()
        gate.set()
        assert (await patient).pair.response == "fine"
    assert len(teacher.requests) == 1
    assert ledger.attempts.counts() == {("answered", ""): 1}


async def test_calls_are_concurrent_up_to_the_limit(ledger):
    """Never more than `concurrency` at once, and as many as that."""
    now, most = 0, 0

    class Counting(ScriptedTeacher):
        async def complete(self, request):
            nonlocal now, most
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.01)
            now -= 1
            return await super().complete(request)

    async with asking(Counting(lambda request: "fine"), ledger, concurrency=3) as chain:
        await asyncio.gather(*(ask(chain, number) for number in range(12)))
    assert most == 3


def test_the_key_is_all_that_is_sent():
    """Teacher, text, sampling, schema and index count; equal requests have one key."""
    from attrs import evolve

    from rt_framework.model import Sampling, Turn

    one = Request("response", "hash", 0, (Turn("user", "hi"),), Sampling(), None)
    changed = [
        evolve(one, reflection="instruction"),
        evolve(one, pair_hash="other"),
        evolve(one, index=1),
        evolve(one, messages=(Turn("user", "ho"),)),
        evolve(one, sampling=Sampling(temperature=0.1)),
        evolve(one, sampling=Sampling(max_tokens=7)),
        evolve(one, schema={}),
    ]
    keys = [call_key("teacher", request) for request in (one, *changed)] + [call_key("other", one)]
    assert len(set(keys)) == len(keys)
    assert call_key("teacher", evolve(one)) == keys[0]


# --- kinds of failure -------------------------------------------------------------------------


def test_every_kind_has_a_rule():
    """The tests below are about all kinds there are."""
    names = {kind.name for kind in (*RESEND, *CHANGE, *FATAL, *FINAL)}
    assert names == set(KINDS)


@pytest.mark.parametrize("kind", RESEND, ids=lambda kind: kind.name)
async def test_what_may_pass_is_sent_again_unchanged(kind, ledger):
    """`attempts` times in all, after ever longer pauses; then the sample goes on with what it has."""
    teacher = ScriptedTeacher(failing(kind.name, 2))
    async with asking(teacher, ledger, attempts=3) as chain:
        assert isinstance(await ask(chain), Version)
        assert (chain.counts.calls, chain.counts.retries) == (3, 2)
    assert teacher.requests == [teacher.requests[0]] * 3

    hopeless = ScriptedTeacher(failing(kind.name, 10**9))
    async with asking(hopeless, ledger, attempts=3) as chain:
        failure = await ask(chain, 1)
    assert (failure.kind, failure.reason, failure.stage) == (kind.name, "as scripted", "reflect")
    assert len(hopeless.requests) == 3


async def test_pauses_double_and_are_spread(ledger, waits):
    """Without a word of the provider: 1, 2, 4, … seconds and up to a quarter more, never above 75."""
    async with asking(ScriptedTeacher(failing("overloaded", 10**9)), ledger, attempts=9) as chain:
        await ask(chain)
    expected = [1, 2, 4, 8, 16, 32, 60, 60]
    assert all(base <= second <= 1.25 * base for base, second in zip(expected, waits, strict=True))


async def test_retry_after_is_obeyed(ledger, monkeypatch):
    """Until the time that the provider asked for nobody sends anything, and not for much longer."""
    monkeypatch.undo()
    sent, begun = [], asyncio.Event()

    def answer(request):
        sent.append(time.monotonic())
        begun.set()
        if len(sent) == 1:
            raise TeacherError("rate_limited", "slow down", retry_after=0.4)
        return "fine"

    async with asking(ScriptedTeacher(answer), ledger) as chain:
        first = asyncio.create_task(ask(chain))
        await begun.wait()
        made = await asyncio.gather(first, *(ask(chain, number) for number in range(1, 4)))
    assert all(isinstance(version, Version) for version in made)
    assert sent[1] - sent[0] >= 0.4
    assert sent[-1] - sent[0] <= 1.5


async def test_a_pause_holds_up_nobody_else(ledger, monkeypatch):
    """With one slot, a second question is answered while the first one waits for its retry."""
    monkeypatch.setattr(sending, "backoff", lambda *_: 0.2)
    order = []

    def answer(request):
        order.append(request.pair_hash)
        if order == [pair(0).hash]:
            raise TeacherError("overloaded", "wait")
        return "fine"

    async with asking(ScriptedTeacher(answer), ledger, concurrency=1) as chain:
        await asyncio.gather(ask(chain, 0), ask(chain, 1))
    assert order == [pair(0).hash, pair(1).hash, pair(0).hash]


@pytest.mark.parametrize("kind", CHANGE, ids=lambda kind: kind.name)
async def test_an_unusable_answer_is_asked_for_otherwise(kind, ledger):
    """The next request differs, has a key of its own, and both answers are kept."""
    answers = iter([f"bad {kind.name}", "better"])
    teacher = ScriptedTeacher(lambda request: next(answers))
    async with asking(teacher, ledger) as chain:
        made = await ask(chain)
        assert (chain.counts.calls, chain.counts.retries) == (2, 1)
    first, second = teacher.requests
    assert (first.index, second.index) == (0, 1)
    assert first.sampling != second.sampling
    assert made.pair.response == "better"
    assert made.call == call_key("scripted", second) != call_key("scripted", first)
    assert ledger.calls.reply(call_key("scripted", first)).text == f"bad {kind.name}"


@pytest.mark.parametrize("kind", CHANGE, ids=lambda kind: kind.name)
async def test_unusable_answers_end(kind, ledger):
    """After `answers` of them the last one's failure is the sample's; asked once more, nothing is sent."""
    teacher = ScriptedTeacher(lambda request: f"bad {kind.name}")
    async with asking(teacher, ledger, answers=3) as chain:
        failure = await ask(chain)
        assert await ask(chain) == failure
    assert failure == Failure("reflect", kind.name, "unusable", call_key("scripted", teacher.requests[-1]))
    assert [request.index for request in teacher.requests] == [0, 1, 2]


@pytest.mark.parametrize("kind", FINAL, ids=lambda kind: kind.name)
async def test_what_cannot_pass_is_not_tried_again(kind, ledger):
    """One request; the sample goes on with the version it has, and so do all others."""
    teacher = ScriptedTeacher(failing(kind.name, 10**9))
    async with asking(teacher, ledger) as chain:
        failures = await asyncio.gather(*(ask(chain, number) for number in range(3)))
    assert [failure.kind for failure in failures] == [kind.name] * 3
    assert len(teacher.requests) == 3


async def test_a_refusal_in_an_answer_is_not_asked_for_again(ledger):
    """A refusal that arrives as text is as final as one that arrives as an error."""
    teacher = ScriptedTeacher(lambda request: "bad refused")
    async with asking(teacher, ledger, answers=5) as chain:
        assert (await ask(chain)).kind == "refused"
    assert len(teacher.requests) == 1


@pytest.mark.parametrize("kind", FATAL, ids=lambda kind: kind.name)
async def test_fatal_errors_stop_the_run(kind, ledger):
    """The message names the cause; besides the calls under way nothing more is sent, though many wait."""

    class Slow(ScriptedTeacher):
        async def complete(self, request):
            self.requests.append(request)
            await asyncio.sleep(0.02 if len(self.requests) == 1 else 0.05)
            raise TeacherError(kind.name, "account 12")

    teacher = Slow(lambda request: "")
    async with asking(teacher, ledger, concurrency=4) as chain:
        results = await asyncio.gather(*(ask(chain, number) for number in range(50)), return_exceptions=True)
    assert all(isinstance(result, FatalTeacherError) for result in results)
    assert str(results[0]).startswith(f"teacher: {kind.meaning}: account 12; ")
    assert results[0].exit_code == 3
    assert len(teacher.requests) <= 1 + 4


async def test_a_teacher_that_raises_anything_is_a_plugin_bug(ledger):
    """Its exception is told with its type, and the sample goes on. It may have been answered, so it is charged."""

    def broken(request):
        raise ZeroDivisionError("division by zero")

    class Broken(Priced):
        """Raises."""

    async with asking(Broken(broken), ledger, budget_usd=1.0) as chain:
        failure = await ask(chain)
    assert failure.kind == "plugin_bug"
    assert re.fullmatch(r"ZeroDivisionError: division by zero \(at .*test_teaching\.py:\d+\)", failure.reason)
    assert ledger.attempts.counts() == {("failed", "plugin_bug"): 1}
    assert ledger.costs.spent() == 100


async def test_a_teacher_that_cannot_work_at_all_stops_the_run(ledger):
    """An error that the user can act on keeps its own words and exit code, and leaves no open intent."""

    def gone(request):
        raise DataError("cannot read the answers")

    async with asking(ScriptedTeacher(gone), ledger) as chain:
        with pytest.raises(DataError, match="cannot read the answers"):
            await ask(chain)
    assert ledger.attempts.counts() == {("failed", "plugin_bug"): 1}


# --- money ------------------------------------------------------------------------------------


def costing(cost):
    """A priced teacher whose calls cost less than they may."""
    return Priced(lambda request: Reply("fine", nano_dollars=cost))


async def test_the_budget_is_never_exceeded(ledger):
    """Many at once: each reserves before it is sent. In the end there is no room for another one, and none is lost."""
    teacher = costing(60)
    async with asking(teacher, ledger, concurrency=8, budget_usd=1000e-9) as chain:
        results = await asyncio.gather(*(ask(chain, number) for number in range(50)), return_exceptions=True)
    # After 16 calls 40 are left, and the next one may cost 100.
    made = [result for result in results if isinstance(result, Version)]
    assert len(made) == len(teacher.requests) == 16
    assert ledger.costs.spent() == 16 * 60
    stopped = [result for result in results if not isinstance(result, Version)]
    assert all(isinstance(error, BudgetReached) and error.exit_code == 6 for error in stopped)
    assert ledger.attempts.counts() == {("answered", ""): 16}


async def test_what_is_under_way_never_exceeds_the_budget(ledger):
    """At no moment could the calls under way and those paid cost more than the budget."""
    worst = 0

    class Watching(Priced):
        async def complete(self, request):
            nonlocal worst
            worst = max(worst, ledger.costs.spent())
            await asyncio.sleep(0.005)
            return await super().complete(request)

    async with asking(Watching(lambda request: Reply("fine", nano_dollars=100)), ledger, budget_usd=550e-9) as chain:
        await asyncio.gather(*(ask(chain, number) for number in range(20)), return_exceptions=True)
    assert worst <= 550
    assert ledger.costs.spent() == 500


async def test_a_larger_budget_goes_on(ledger):
    """Paid answers are not paid for again, and their cost counts against the larger budget."""
    for budget, asked in ((250e-9, 2), (250e-9, 0), (450e-9, 2)):
        teacher = costing(100)
        async with asking(teacher, ledger, concurrency=1, budget_usd=budget) as chain:
            results = await asyncio.gather(*(ask(chain, number) for number in range(4)), return_exceptions=True)
            stopped = [result for result in results if isinstance(result, BudgetReached)]
            assert all("larger limits.budget_usd" in str(error) for error in stopped)
            assert bool(stopped) is (budget < 300e-9)
        assert len(teacher.requests) == asked
    assert ledger.costs.spent() == 400


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
async def test_failed_attempts_are_charged_as_they_may_be_billed(kind, ledger):
    """All that was reserved where the provider may bill for it, nothing where it does not."""
    async with asking(Priced(failing(kind.name, 10**9)), ledger, attempts=1, answers=1, budget_usd=1.0) as chain:
        await asyncio.gather(ask(chain), return_exceptions=True)
        assert chain.spent == ledger.costs.spent()
    assert ledger.costs.spent() == (0 if kind.billed == "no" else 100)


async def test_a_budget_needs_prices(ledger):
    """A teacher without a price is refused before anything is sent; without a budget it may work."""
    for teacher in (ScriptedTeacher(lambda request: "fine"), costing(0)):
        teacher.most = None
        with pytest.raises(ConfigError, match="price of teacher 'scripted' is not known"):
            async with asking(teacher, ledger, budget_usd=1.0):
                pytest.fail("began without a price")
        assert teacher.requests == []
        assert ledger.attempts.counts() == {}
    async with asking(teacher, ledger) as chain:
        assert isinstance(await ask(chain), Version)


async def test_a_run_that_dies_in_a_call_leaves_it_listed_and_charged(tmp_path):
    """The next process lists it, charges it in full, and asks again."""
    with Ledger.writing(tmp_path / "ledger.sqlite") as first:
        started = asyncio.Event()

        class Hanging(Priced):
            async def complete(self, request):
                started.set()
                await asyncio.Event().wait()

        async with asking(Hanging(lambda request: ""), first, budget_usd=1.0) as chain:
            waiting = asyncio.create_task(ask(chain))
            await started.wait()
            for task in (waiting, *chain.answers.sending._flights.values()):
                task.cancel()

    with Ledger.writing(tmp_path / "ledger.sqlite") as second:
        assert await second.attempts.settle_interrupted() == 1
        teacher = costing(60)
        async with asking(teacher, second, budget_usd=1.0) as chain:
            version = await ask(chain)
            assert second.calls.unknown() == [version.call]
            assert second.costs.spent() == chain.spent == 160


# --- a local model ----------------------------------------------------------------------------


class Batches:
    """A teacher that answers many at once."""

    identity = "batches"
    structured = False
    batch_size = 4

    def __init__(self, answer=lambda request: "fine"):
        self.sizes = []
        self._answer = answer

    def complete_many(self, requests):
        self.sizes.append(len(requests))
        return [Reply(f"{self._answer(request)} {request.pair_hash}") for request in requests]


async def test_a_local_model_gets_full_batches(ledger):
    """Questions of many samples are gathered into batches at any concurrency, and each gets its own answer."""
    teacher = Batches()
    async with asking(teacher, ledger, concurrency=1) as chain:
        versions = await asyncio.gather(*(ask(chain, number) for number in range(12)))
    assert [version.pair.response for version in versions] == [f"fine {pair(number).hash}" for number in range(12)]
    assert sum(teacher.sizes) == 12
    assert max(teacher.sizes) == 4
    assert len(teacher.sizes) <= 5


async def test_a_batch_that_fails_is_tried_again_so_many_times(ledger):
    """Each of its requests counts its own attempts, and ends."""

    def broken(request):
        raise TeacherError("overloaded", "no memory")

    teacher = Batches(broken)
    async with asking(teacher, ledger, attempts=2) as chain:
        failures = await asyncio.gather(*(ask(chain, number) for number in range(4)))
    assert {failure.kind for failure in failures} == {"overloaded"}
    assert ledger.attempts.counts() == {("failed", "overloaded"): 8}


async def test_connections_are_closed_at_the_end(ledger):
    """A teacher that holds some is told."""
    closed = []

    class Closing(ScriptedTeacher):
        async def aclose(self):
            closed.append(True)

    async with asking(Closing(lambda request: "fine"), ledger) as chain:
        await ask(chain)
    assert closed == [True]
