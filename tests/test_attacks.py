"""A hostile server: what it bills is charged, what it says is bounded, and what others asked is not lost."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, suppress
from functools import partial
from itertools import groupby
from pathlib import Path

import pytest

from rt_framework.errors import BudgetReached, FatalTeacherError, RtError
from rt_framework.teacher import sending
from rt_framework.testing.attacks import ATTACKS, PAUSES, Attack, redirect, retry_after
from rt_framework.testing.server import FaultServer
from rt_framework.testing.wire import completion, message
from tests.attack_helpers import (
    GOOD,
    KEY,
    LIMIT,
    MOST,
    TEXT,
    Attempt,
    attempts,
    billed,
    go,
    honest_cost,
    job,
    server_of,
    spent,
)

pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # as for a user, no error

SLOW, STRAY = "transfer: a byte at a time", "transfer: an answer behind the answer"
GROUPS = {
    group: [attack for attack in attacks if attack.name not in {SLOW, STRAY}]
    for group, attacks in (
        (key, list(found)) for key, found in groupby(ATTACKS.values(), lambda attack: attack.name.partition(": ")[0])
    )
}
"""Attacks of one run, by the part of the answer that they change. Two have tests of their own."""

ROUTES = ("hosted_vllm", "deepseek", "anthropic")
"""Providers that litellm reaches by its own HTTP client, and not through OpenAI's library; one has another form."""


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in ("openai", *ROUTES):
        monkeypatch.setenv(f"{name.upper()}_API_KEY", KEY)
    monkeypatch.setenv("RT_LOAD_PLUGINS", "")
    pause = sending.backoff

    def none(*args):
        pause(*args)  # what it refuses stays refused
        return 0.0

    monkeypatch.setattr(sending, "backoff", none)


# --- what becomes of one attack ---------------------------------------------------------------


def wrong_of(attack: Attack, one: Attempt, body: bytes) -> list[str]:
    """Return the faults in the ledger's record of an attempt that this attack has answered."""
    wrong = {"answered": _wrong_answer, "failed": _wrong_failure}.get(one.state, lambda *_: {"left open": True})
    found = [name for name, so in wrong(attack, one, body).items() if so]
    return [
        f"{attack.name}: {name}: {one.state} {one.kind} {one.cost} of {one.reserved} {one.message}" for name in found
    ]


def _wrong_answer(attack: Attack, one: Attempt, body: bytes) -> dict[str, bool]:
    least = 0 if attack.name.startswith("usage") else honest_cost(one.question)
    return {
        "an answer was made of it": attack.end in {"unreadable", "refused"},
        "another text": attack.end == "answer" and one.reply["text"] != TEXT,
        "charged too little": one.cost < least,
    }


def _wrong_failure(attack: Attack, one: Attempt, body: bytes) -> dict[str, bool]:
    raw, unread = one.raw or b"", attack.end in {"unreadable", "either"}
    packed = body.startswith(b"\x1f\x8b")
    return {
        "an answer that can be read is lost": attack.end == "answer",
        "charged too little": attack.billed and one.cost < one.reserved,
        "not told as paid and unreadable": unread and one.kind != "paid_unreadable",
        "its body is not kept": unread and bool(body) and not raw,
        "another body is kept": unread and not (body.startswith(raw) or packed),
        "too much of its body is kept": len(raw) > LIMIT,
        "the key is in its message": KEY in one.message,
    }


def judged(attacks, run_dir: Path, form=completion) -> list[str]:
    """Return the faults in the ledger of a run: those of every attack, and those of the three honest questions."""
    found = attempts(run_dir)
    wrong = []
    for attack in attacks:
        tries = [one for one in found if one.question == attack.name]
        wrong += [line for one in tries for line in wrong_of(attack, one, sent(attack, form))]
        wrong += [] if tries else [f"{attack.name}: lost"]
    honest = [one for one in found if one.question.startswith(GOOD)]
    wrong += [f"{one.question}: {one.state} {one.kind} {one.message}" for one in honest if one.state != "answered"]
    return wrong + ([] if len(honest) == 3 else [f"{len(honest)} of 3 honest questions"])


def sent(attack: Attack, form=completion) -> bytes:
    """The body that the attack sends, in full."""
    body = {"model": "attack", "messages": [{"role": "user", "content": attack.name}], "max_tokens": MOST}
    return attack.answer(form(body, TEXT)).body


def among(attacks) -> list[str]:
    """The attacks as questions, with honest ones before, between and behind."""
    names = [attack.name for attack in attacks]
    half = len(names) // 2
    return [f"{GOOD} first", *names[:half], f"{GOOD} between", *names[half:], f"{GOOD} last"]


# --- every 200 that cannot be read ------------------------------------------------------------


@pytest.mark.parametrize("group", GROUPS)
def test_whatever_follows_a_200_is_charged_and_kept(group, tmp_path):
    """One request each, charged, its body in the ledger; a reparse asks nothing; with an honest server it all ends."""
    attacks, calm, run_dir = GROUPS[group], [], tmp_path / "run"
    questions = among(attacks)
    with server_of(attacks, calm=calm) as server:
        config = job(tmp_path, server, questions, {"budget_usd": None})
        assert go(config, run_dir).total == len(questions)
        wrong = judged(attacks, run_dir)
        assert not wrong, "\n".join(wrong)
        assert server.requests == len(questions)
        before = attempts(run_dir)
        assert go(config, run_dir, ask=False).total == len(questions)
        assert server.requests == len(questions)
        assert [(one.cost, one.raw) for one in attempts(run_dir)] == [(one.cost, one.raw) for one in before]
        calm.append(True)
        failed = {one.question for one in attempts(run_dir) if one.state == "failed"}
        go(config, run_dir)
        assert server.requests == len(questions) + len(failed)
        assert {one.question for one in attempts(run_dir)[len(before) :]} == failed


@pytest.mark.parametrize("route", ROUTES)
def test_other_providers_are_judged_by_what_was_seen_too(route, tmp_path):
    """The same where litellm uses its own HTTP client, and where the form is another one."""
    attacks = [attack for attack in (*GROUPS["body"], *GROUPS["transfer"]) if "a bomb" not in attack.name]
    form = message if route == "anthropic" else completion
    questions, run_dir = among(attacks), tmp_path / "run"
    with server_of(attacks) as server:
        base = server.url.removesuffix("/v1") if route == "anthropic" else server.url
        config = job(tmp_path, server, questions, model=f"{route}/attack", api_base=base)
        assert go(config, run_dir).total == len(questions)
        wrong = judged(attacks, run_dir, form)
        assert not wrong, "\n".join(wrong)
        assert server.requests == len(questions)


BUDGETED = (
    *("body: an empty object", "body: null", "body: a list", "body: nothing", "body: HTML", "body: an error"),
    *("body: one invalid byte", "body: a stream", "body: lists nested deep", "body: a number without end"),
    *("choices: null", "choices: an object", "choices.0.message: left out", "choices.0.message.content: a number"),
    *("choices.0.message.content: a list of parts", "choices.0.message.content: an object"),
    *("usage: a word", "usage: a float", "usage: NaN", "usage.prompt_tokens: 10 to the 30", "usage: nested deep"),
    *("transfer: shorter than stated", "transfer: says gzip and is not", "status: 204", "status: 999"),
)
"""Attacks of which each stands for others."""


@pytest.mark.parametrize("name", BUDGETED)
def test_no_attack_bills_more_than_the_budget(name, tmp_path):
    """Twelve requests are allowed, the budget has room for four: what is billed stays in it, and is shown as spent."""
    attack, run_dir = ATTACKS[name], tmp_path / "run"
    questions = [f"{attack.name} #{number}" for number in range(4)]
    with server_of([attack]) as server:
        config = job(tmp_path, server, questions, {"attempts": 3, "budget_usd": 0.45})
        with suppress(BudgetReached):
            go(config, run_dir)
        assert 0 < billed(server) <= 0.45e9
        least = 0 if name.startswith("usage.") else billed(server)
        assert least <= spent(run_dir) <= (0.45e9 if not name.startswith("usage.") else 10**18)


def test_a_budget_that_is_used_up_by_unreadable_answers_ends_the_run_with_its_cause(tmp_path):
    """Exit code 6, as with answers that can be read; more money goes on from there."""
    attack, calm, run_dir = ATTACKS["body: HTML"], [], tmp_path / "run"
    questions = [f"{attack.name} #{number}" for number in range(6)]
    with server_of([attack], calm=calm) as server:
        limits = {"attempts": 3, "budget_usd": 0.45, "concurrency": 1}
        with pytest.raises(BudgetReached):
            go(job(tmp_path, server, questions, limits), run_dir)
        assert len(server.received) == 4
        calm.append(True)
        summary = go(job(tmp_path, server, questions, {**limits, "budget_usd": 2.0}), run_dir)
        assert (summary.outcomes["rewritten"], len(server.received)) == (6, 10)


def test_an_answer_a_byte_at_a_time_meets_the_deadline(tmp_path):
    """The deadline is of the whole attempt, and what was begun may be billed."""
    run_dir, began = tmp_path / "run", time.monotonic()
    with server_of([ATTACKS[SLOW]]) as server:
        summary = go(job(tmp_path, server, among([ATTACKS[SLOW]]), {"timeout": 1.5}), run_dir)
        assert summary.total == 4
    assert time.monotonic() - began < 10
    wrong = judged([ATTACKS[SLOW]], run_dir)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("route", ["openai", "hosted_vllm"])
def test_an_answer_behind_the_answer_takes_nobody_elses_place(route, tmp_path):
    """A second answer that follows the first on a connection is never taken for the answer to the next question."""
    questions, run_dir = among([ATTACKS[STRAY]] * 4), tmp_path / "run"
    questions = [f"{question} #{number}" for number, question in enumerate(questions)]
    with server_of([ATTACKS[STRAY]]) as server:
        config = job(tmp_path, server, questions, {"concurrency": 1, "attempts": 3}, model=f"{route}/attack")
        assert go(config, run_dir).outcomes["rewritten"] == len(questions)
    assert {one.reply["text"] for one in attempts(run_dir) if one.state == "answered"} == {TEXT}


@pytest.mark.parametrize("route", ["openai", "hosted_vllm"])
@pytest.mark.parametrize("name", ["body: lists nested deep", "body: objects nested deep"])
def test_a_body_that_cannot_be_read_holds_nobody_up(name, route, tmp_path):
    """No deadline is kept while a body is being read: what is nested deep is given up at once."""
    teacher = {"model": f"{route}/attack"}
    with server_of([ATTACKS[name]]) as server:
        go(job(tmp_path, server, [GOOD], **teacher), tmp_path / "first")  # litellm is loaded, for one
        began = time.process_time()
        go(job(tmp_path, server, [name], **teacher), tmp_path / "run")
    assert time.process_time() - began < 2


def test_a_bomb_takes_no_memory(tmp_path):
    """A body of three megabytes that unpacks to three gigabytes: cut off at the limit, and charged."""
    peak = Path("/proc/self/clear_refs")
    if not peak.exists():
        pytest.skip("needs Linux's account of a process's largest memory")
    attack, run_dir = ATTACKS["transfer: a bomb"], tmp_path / "run"
    with server_of([attack]) as server:
        assert sent(attack)
        config = job(tmp_path, server, [attack.name])
        peak.write_text("5")  # the largest size so far is forgotten
        before = _memory("VmRSS")
        go(config, run_dir)
        assert _memory("VmHWM") - before < 200_000
    assert [(one.kind, one.cost > 0, bool(one.raw)) for one in attempts(run_dir)] == [("paid_unreadable", True, True)]


def _memory(name: str) -> int:
    """Kilobytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


# --- what was kept is read anew ---------------------------------------------------------------


def test_a_better_reading_makes_answers_of_kept_bodies_for_nothing(tmp_path):
    """A body that can be read now, since the ledger's copy of it was mended: no request, and nothing more is spent."""
    attack, run_dir = ATTACKS["body: HTML"], tmp_path / "run"
    questions = [f"{attack.name} #{number}" for number in range(3)]
    with server_of([attack]) as server:
        config = job(tmp_path, server, questions)
        assert go(config, run_dir).outcomes["rewritten"] == 0
        cost = spent(run_dir)
        assert all(one.raw == sent(attack) for one in attempts(run_dir))
        with closing(sqlite3.connect(run_dir / "ledger.sqlite")) as db, db:
            better = sent(ATTACKS["transfer: in chunks"])
            db.execute("UPDATE attempts SET raw = ? WHERE id = (SELECT MIN(id) FROM attempts)", (better,))
        (run_dir / "ledger.sqlite-seal").unlink()  # as one does who changes a ledger
        summary = go(config, run_dir, ask=False)
        assert (summary.total, summary.outcomes["rewritten"], server.requests) == (3, 1, 3)
        assert honest_cost(attack.name) <= spent(run_dir) <= cost
        first, *others = attempts(run_dir)
        assert (first.state, first.reply["text"]) == ("answered", TEXT)
        assert [(one.state, one.kind, one.raw) for one in others] == [("failed", "paid_unreadable", sent(attack))] * 2
        go(config, run_dir)
        assert server.requests == 5


# --- redirects --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "place"),
    [
        *((status, "another server") for status in (301, 302, 303, 307, 308)),
        *((307, place) for place in ("itself", "a file", "nowhere")),
    ],
)
@pytest.mark.parametrize("route", ["openai", "hosted_vllm"])
def test_no_redirect_is_followed(status, place, route, tmp_path):
    """The question reaches the address of the config and no other one; the failure says that it was a redirect."""
    with server_of() as other:
        places = {"another server": f"{other.url}/chat/completions", "itself": "/v1/chat/completions"}
        attack = redirect(status, places.get(place, {"a file": "file:///etc/hostname"}.get(place, "http://")))
        with server_of([attack]) as server:
            with suppress(RtError):
                go(job(tmp_path, server, [attack.name], model=f"{route}/attack"), tmp_path / "run")
            assert (server.requests, other.requests) == (1, 0)
    (one,) = attempts(tmp_path / "run")
    assert (one.state, one.kind in {"bad_request", "redirected"}) == ("failed", True)
    assert "redirect" in one.message.lower() or str(status) in one.message


# --- pauses -----------------------------------------------------------------------------------

LONG = ("3601", "999999999", "1" + "0" * 30, "Fri, 31 Dec 9999 23:59:59 GMT")
"""Longer than an hour, for certain."""


@pytest.mark.parametrize("status", [400, 429, 500, 503])
@pytest.mark.parametrize("value", LONG)
def test_a_pause_of_more_than_an_hour_ends_the_run_with_its_cause(value, status, tmp_path):
    """Exit code 3 at once, in place of a sleep of years; what was answered stays."""
    attack, run_dir = retry_after(status, value), tmp_path / "run"
    with server_of([attack]) as server:
        config = job(
            tmp_path, server, [f"{GOOD} first", attack.name, f"{GOOD} last"], {"concurrency": 1, "attempts": 2}
        )
        with pytest.raises(RtError) as caught:
            go(config, run_dir, seconds=5)
        assert caught.value.exit_code == 3
        assert server.requests == 2
    assert [one.state for one in attempts(run_dir)] == ["answered", "failed"]


@pytest.mark.parametrize("status", [400, 503])
@pytest.mark.parametrize("value", sorted(set(PAUSES) - set(LONG)), ids=lambda value: value[:20] or "nothing")
def test_a_pause_that_is_none_breaks_nothing(value, status, tmp_path):
    """It is left out, or if it can be taken for a long one ends the run with its cause; either is soon."""
    attack, run_dir = retry_after(status, value), tmp_path / "run"
    with server_of([attack]) as server:
        with suppress(FatalTeacherError):
            assert go(job(tmp_path, server, [attack.name, f"{GOOD} last"]), run_dir, seconds=10).total == 2
        assert server.requests <= 2
    assert {one.state for one in attempts(run_dir)} <= {"answered", "failed"}


def test_a_pause_beside_an_answer_is_not_one(tmp_path):
    """An answer is an answer."""
    attacks = [retry_after(200, value) for value in PAUSES]
    with server_of(attacks) as server:
        go(job(tmp_path, server, among(attacks)), tmp_path / "run", seconds=20)
    wrong = judged(attacks, tmp_path / "run")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("value", "least", "most"), [("1", 1.0, 10.0), ("3600", 2.0, 2.0)])
def test_a_pause_within_an_hour_is_obeyed(value, least, most, tmp_path):
    """The second request comes after it, and not before; a longer one is waited for."""
    refused = []
    attack = retry_after(503, value)

    def once(number, body):
        return None if refused else refused.append(1) or attack

    began = time.monotonic()
    with FaultServer(lambda _: TEXT, once) as server:
        config = job(tmp_path, server, ["Once more"], {"attempts": 2})
        waited = partial(go, config, tmp_path / "run", seconds=most)
        if least == most:
            with pytest.raises(TimeoutError):
                waited()
        else:
            assert waited().outcomes["rewritten"] == 1
        assert len(server.received) == (1 if least == most else 2)
    assert time.monotonic() - began >= least
