"""Answers that cost more than they were asked for, and teachers that say impossible things of them."""

from __future__ import annotations

import asyncio
import math

import pytest
from attrs import evolve

from rt_framework.config.schema import Limits
from rt_framework.errors import BudgetReached, FatalTeacherError, TeacherError
from rt_framework.model import Reply, Usage
from rt_framework.teacher.budget import Budget, bounded
from rt_framework.teacher.purse import Purse
from rt_framework.testing import ScriptedTeacher
from tests.run_helpers import answers_of, request

PRICE = 100
"""Nano-dollars that an attempt of these teachers reserves."""


class Dear(ScriptedTeacher):
    """A teacher whose answers cost so many times the price, and that knows how many were under way at once."""

    def __init__(self, times: float) -> None:
        super().__init__(lambda _: "")
        self._times = times
        self.under_way: list[int] = []
        self._now = 0
        self.paid = 0

    def cost(self, prompt_tokens, completion_tokens):
        return PRICE

    async def complete(self, request):
        self._now += 1
        self.under_way.append(self._now)
        await asyncio.sleep(0.002)
        self._now -= 1
        self.paid += math.ceil(self._times * PRICE)
        return Reply("fine", nano_dollars=math.ceil(self._times * PRICE))


async def asked(ledger, teacher, count, dollars, start=0):
    """Ask so many questions at once; gives the answers, and how each ended."""
    answers = answers_of(teacher, ledger, Limits(budget_usd=dollars, attempts=1))
    numbers = range(start, start + count)
    ends = await asyncio.gather(*(answers.answer(request(n), True) for n in numbers), return_exceptions=True)
    throttled = answers.sending.counts().throttled
    await answers.close()
    return ends, throttled


@pytest.mark.parametrize("times", [2, 10, 49.5])
async def test_a_provider_that_ignores_max_tokens_is_noticed_at_the_first_answer(ledger, times):
    """The first question goes alone; the others reserve what it did cost, so the budget holds all the same, and the
    run says why it is slow.
    """
    budget = 50 * PRICE
    teacher = Dear(times)
    ends, held = await asked(ledger, teacher, 60, budget / 1e9)
    assert teacher.under_way[0] == 1
    assert len(teacher.under_way) == math.floor(budget / math.ceil(times * PRICE))
    assert teacher.paid == ledger.costs.spent() <= budget
    assert {type(end) for end in ends if isinstance(end, Exception)} == {BudgetReached}
    assert f"answers cost up to {times:.1f} times their price: the provider ignores max_tokens" in held


async def test_a_later_run_knows_what_answers_cost(ledger):
    """Gone on with, the first question reserves what was learned, and does not wait alone."""
    await asked(ledger, Dear(10), 1, 1.0)
    teacher = Dear(10)
    ends, _ = await asked(ledger, teacher, 20, (10 + 5 * 10 + 5) * PRICE / 1e9, start=1)
    assert teacher.paid == 5 * 10 * PRICE
    assert sum(isinstance(end, BudgetReached) for end in ends) == 15


async def test_an_honest_provider_is_asked_at_once(ledger):
    """After the first answer nobody waits for another."""
    teacher = Dear(0.5)
    await asked(ledger, teacher, 40, 1.0)
    assert teacher.under_way[0] == 1
    assert max(teacher.under_way) > 8


async def test_near_the_budget_dear_answers_go_one_by_one():
    """An answer may cost more than was reserved for it, so with room for few there is only one call under way."""
    budget = Budget(Purse(40 * PRICE / 1e9, 0))
    assert await budget.reserve(PRICE) == PRICE
    assert budget.answered(PRICE, 2 * PRICE)
    budget.settle(PRICE, 2 * PRICE)
    assert await budget.reserve(PRICE) == 2 * PRICE
    second = asyncio.create_task(budget.reserve(PRICE))
    await asyncio.sleep(0.01)
    assert not second.done()
    budget.settle(2 * PRICE, 2 * PRICE)
    assert await second == 2 * PRICE


async def test_attempts_under_way_together_do_not_multiply():
    """Two answers that each cost ten times their price make ten, not a hundred."""
    budget = Budget(Purse(1.0, 0), overrun=1.0)
    for _ in range(2):
        await budget.reserve(PRICE)
    for _ in range(2):
        budget.answered(PRICE, 10 * PRICE)
        budget.settle(PRICE, 10 * PRICE)
    assert budget.overrun == 10


async def test_an_absurd_count_of_tokens_teaches_nothing_of_the_next_answers(ledger):
    """It is charged for; but a budget that has room for the other questions is not closed to them by it."""

    class Boasting(Dear):
        async def complete(self, request):
            reply = await super().complete(request)
            first = len(self.under_way) == 1
            return evolve(reply, note="not believed") if first else evolve(reply, nano_dollars=PRICE)

    teacher = Boasting(40)
    ends, _ = await asked(ledger, teacher, 10, (40 + 12) * PRICE / 1e9)
    assert [end for end in ends if isinstance(end, Exception)] == []
    assert ledger.costs.spent() == (40 + 9) * PRICE


ODD = [-1, 10**30, 2**63, 1.5, math.nan, math.inf, "many", None, True, [], 2**70]


@pytest.mark.parametrize("odd", ODD, ids=repr)
async def test_impossible_numbers_of_a_teacher_harm_no_other_answer(ledger, odd):
    """Any value in any place of a reply: it is stored in bounds, charged for, and the others are stored too."""

    def answer(asked):
        plain = Reply("fine", usage=Usage(1, 1), nano_dollars=7)
        return plain if asked.pair_hash != request(3).pair_hash else evolve(plain, **strange)

    class Priced(ScriptedTeacher):
        def cost(self, prompt_tokens, completion_tokens):
            return PRICE

    for start, strange in enumerate(
        ({"nano_dollars": odd}, {"usage": Usage(odd, odd)}, {"usage": odd}, {"model": odd})
    ):
        answers = answers_of(Priced(answer), ledger, Limits(budget_usd=1e6))
        before = ledger.costs.spent()
        ends = await asyncio.gather(*(answers.answer(request(n, start), True) for n in range(6)))
        await answers.close()
        assert all(end.reply is not None for end in ends)
        spent = ledger.costs.spent() - before
        assert spent == 5 * 7 + (PRICE if "nano_dollars" in strange else 7)


@pytest.mark.parametrize("reply", [None, "text", Reply(None), Reply(b"bytes"), Reply(7)], ids=repr)
def test_what_is_no_reply_is_a_plugin_bug(reply):
    """It is told with its type."""
    with pytest.raises(TeacherError, match=type(reply).__name__) as caught:
        bounded(reply, PRICE)
    assert (caught.value.kind.name, caught.value.billed) == ("plugin_bug", "maybe")


@pytest.mark.parametrize("kind", ["rate_limited", "overloaded", "bad_request", "paid_unreadable"])
@pytest.mark.parametrize("seconds", [3601.0, 999_999_999.0, math.inf])
async def test_a_pause_of_more_than_an_hour_stops_the_run(ledger, kind, seconds):
    """With its cause, at once, whatever the failure is that it comes with."""

    def refuse(_):
        raise TeacherError(kind, "later, please", retry_after=seconds)

    answers = answers_of(ScriptedTeacher(refuse), ledger, Limits())
    with pytest.raises(FatalTeacherError, match=r"later, please; the pause .* is longer than 3600 s"):
        await asyncio.wait_for(answers.answer(request(), True), 5)
    await answers.close()


@pytest.mark.parametrize("seconds", [math.nan, -5.0, -math.inf])
def test_a_pause_that_is_none_is_no_pause(seconds):
    """Nonsense is not waited for."""
    assert not TeacherError("rate_limited", "later", retry_after=seconds).retry_after
