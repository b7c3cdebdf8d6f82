"""A hostile desk of batches: one poisoned line stops no other, and a directory always has a way out."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from itertools import groupby

import pytest

from rt_framework.errors import BudgetReached, FatalTeacherError, RtError
from rt_framework.teacher import batch_exchange, batch_state, sending
from rt_framework.testing.batch_attacks import HTML, LINE_ATTACKS, changed, gone, moved
from rt_framework.testing.batch_desk import LOST, BatchDesk
from rt_framework.testing.wire import told
from tests.attack_helpers import GOOD, KEY, LIMIT, TEXT, attempts, billed, go, honest_cost, job, server_of, spent

pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # as for a user, no error

GROUPS = {
    group: list(attacks) for group, attacks in groupby(LINE_ATTACKS.values(), lambda one: one.name.partition(": ")[0])
}
HALF = 0.5
"""What a batch costs, as a share."""


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("RT_LOAD_PLUGINS", "")
    pause = sending.backoff

    def none(*args):
        pause(*args)
        return 0.0

    monkeypatch.setattr(sending, "backoff", none)
    monkeypatch.setattr(batch_state, "_QUIET", 0.05)
    monkeypatch.setattr(batch_exchange, "_SOONEST", 0.02)
    monkeypatch.setattr(batch_exchange, "_GRACE", 0.1)


def poisoned(attacks, **more) -> BatchDesk:
    """A desk whose files hold these attacks in place of the results of the questions that name them."""
    named = {attack.name: attack for attack in attacks}

    def poison(asked, result):
        attack = named.get(asked["body"]["messages"][-1]["content"].partition(" #")[0])
        return result if attack is None else attack.line(json.loads(result))

    return BatchDesk(poison=poison, **more)


def wrong_of(attack, one):
    """Return the faults in the ledger's record of an attempt whose line this attack has poisoned."""
    told_usage = attack.name.startswith("body: usage")
    if one.state == "answered":
        wrong = {
            "an answer was made of it": attack.end == "unreadable",
            "another text": attack.end == "answer" and one.reply["text"] != TEXT,
            "charged too little": not told_usage and one.cost < honest_cost(one.question, HALF),
        }
    else:
        wrong = {
            "left open": one.state != "failed",
            "an answer that can be read is lost": attack.end == "answer",
            "charged too little": one.cost < one.reserved,
            "not told as paid and unreadable": one.kind != "paid_unreadable",
            "its body is not kept": attack.kept and not one.raw,
            "too much of its body is kept": len(one.raw or b"") > LIMIT,
            "the key is in its message": KEY in one.message,
        }
    found = [name for name, so in wrong.items() if so]
    return [
        f"{attack.name}: {name}: {one.state} {one.kind} {one.cost} of {one.reserved} {one.message}" for name in found
    ]


@pytest.mark.parametrize("group", GROUPS)
def test_one_poisoned_line_stops_no_other(group, tmp_path):
    """Each line has the end that it must have, and is charged; a reparse asks nothing; asked one by one it all ends."""
    attacks, run_dir = GROUPS[group], tmp_path / "run"
    questions = [f"{GOOD} first", *(attack.name for attack in attacks), f"{GOOD} last"]
    with server_of(desk=poisoned(attacks)) as server:
        config = job(tmp_path, server, questions, batch=True)
        assert go(config, run_dir).total == len(questions)
        found = {one.question: one for one in attempts(run_dir)}
        assert len(found) == len(attempts(run_dir)) == len(server.received) == len(questions)
        wrong = [line for attack in attacks for line in wrong_of(attack, found[attack.name])]
        wrong += [text for text, one in found.items() if text.startswith(GOOD) and one.state != "answered"]
        assert not wrong, "\n".join(wrong)
        assert server.desk.sizes == [len(questions)]
        seen = server.requests
        assert go(config, run_dir, ask=False).total == len(questions)
        assert server.requests == seen
        failed = {one.question for one in attempts(run_dir) if one.state == "failed"}
        go(job(tmp_path, server, questions), run_dir)
        assert server.requests == seen + len(failed)
        assert {one.question for one in attempts(run_dir)[len(questions) :]} == failed


@pytest.mark.parametrize(
    "name",
    [
        *("response.body: an empty object", "response.body: a list", "custom_id: a list", "response: a word"),
        *("body: choices: null", "body: choices.0.message.content: a number", "line: only brackets", "line: left out"),
    ],
)
def test_no_poisoned_line_bills_more_than_the_budget(name, tmp_path):
    """Twelve lines are allowed, the budget has room for four: what is billed stays in it, and is shown as spent."""
    attack, run_dir = LINE_ATTACKS[name], tmp_path / "run"
    questions = [f"{name} #{number}" for number in range(4)]
    with server_of(desk=poisoned([attack])) as server:
        config = job(tmp_path, server, questions, {"attempts": 3, "budget_usd": 0.225}, batch=True)
        with suppress(BudgetReached):
            go(config, run_dir)
        assert 0 < billed(server, HALF) <= spent(run_dir) <= 0.225e9


# --- a desk that lies for a while -------------------------------------------------------------

PASSING = {
    **{
        f"a status that is {name}": ("retrieve", changed(status=value))
        for name, value in {
            "unknown": "reticulating",
            "null": None,
            "left out": ...,
            "a number": 7,
            "a list": [],
            "an object": {},
            "empty": "",
        }.items()
    },
    **{
        f"counts that are {name}": ("retrieve", changed(request_counts=value, status="in_progress"))
        for name, value in {
            "null": None,
            "left out": ...,
            "a word": "many",
            "a list": [7],
            "words": {"total": "many", "completed": None, "failed": []},
            "negative": {"total": -5, "completed": -7, "failed": 10**30},
        }.items()
    },
    "a batch that is a page": ("retrieve", HTML),
    "a batch that is null": ("retrieve", lambda _: told(None)),
    "a batch that is a list": ("retrieve", lambda _: told([])),
    "a batch that is gone for a moment": ("retrieve", gone(503)),
    "an answer to the creation that is a page": ("create", HTML),
    "a created batch without a name": ("create", changed(id=...)),
    "a created batch with an odd name": ("create", changed(id=["../files"])),
}
"""Lies that are told once or twice, and then the truth."""


@pytest.mark.parametrize("name", PASSING)
def test_a_lie_that_passes_costs_nothing(name, tmp_path):
    """Every question is answered and billed once."""
    endpoint, lie = PASSING[name]
    desk = BatchDesk(polls=3, lie=lambda at, number, truth: lie(truth) if at == endpoint and number < 2 else truth)
    questions = [f"{GOOD} {number}" for number in range(4)]
    with server_of(desk=desk) as server:
        summary = go(job(tmp_path, server, questions, batch=True), tmp_path / "run", seconds=30)
        assert summary.outcomes["rewritten"] == len(questions)
        assert (len(server.received), desk.sizes) == (len(questions), [len(questions)])
    assert {one.state for one in attempts(tmp_path / "run")} == {"answered"}


# --- a desk that keeps to its lie -------------------------------------------------------------

LASTING = {
    **{
        f"an output that is {name}": ("retrieve", changed(output_file_id=value))
        for name, value in {
            "null": None,
            "left out": ...,
            "a number": 7,
            "a list": ["file-1"],
            "empty": "",
            "another path": "../../v1/batches",
            "another host": "@example.org/x",
            "unknown": "file-99",
        }.items()
    },
    "a file that is gone": ("content", gone(404)),
    "a file that is gone for good": ("content", gone(410)),
    "a file that is a page": ("content", HTML),
    "a file that is empty": ("content", lambda _: told(None)),
    "a batch that is gone": ("retrieve", gone(404)),
    "a batch that is gone for good": ("retrieve", gone(410)),
}
"""Lies under which nothing more comes of a batch. Its lines were answered, and billed."""


@pytest.mark.parametrize("way_out", ["one by one", "retry"])
@pytest.mark.parametrize("name", LASTING)
def test_a_directory_has_a_way_out_when_the_provider_has_lost_a_batch(name, way_out, tmp_path):
    """The run ends and says so, nothing is taken for free, and one option or command goes on without the batch."""
    endpoint, lie = LASTING[name]
    calm, run_dir = [], tmp_path / "run"
    desk = BatchDesk(lie=lambda at, number, truth: truth if calm or at != endpoint else lie(truth))
    questions = [f"{GOOD} {number}" for number in range(3)]
    with server_of(desk=desk) as server:
        config = job(tmp_path, server, questions, batch=True)
        with suppress(FatalTeacherError):
            go(config, run_dir, seconds=30)
        assert len(server.received) == len(questions)
        assert spent(run_dir) >= billed(server, HALF)
        if way_out == "one by one":
            summary = go(job(tmp_path, server, questions), run_dir, seconds=30)
        else:
            # As when the provider forgets old batches, but takes new ones.
            forgotten = {f"batch_{number}" for number in range(len(desk.sizes))}
            desk._lie = lambda at, number, truth: lie(truth) if at == endpoint and _is_of(truth, forgotten) else truth
            summary = go(config, run_dir, seconds=30, retry=("batch_lost", "paid_unreadable"))
        assert summary.outcomes["rewritten"] == len(questions)
        assert len(server.received) == 2 * len(questions)
        assert spent(run_dir) >= billed(server, HALF)


def _is_of(truth, forgotten) -> bool:
    """Return whether an answer describes one of the forgotten batches; the content of a file does not."""
    with suppress(ValueError):
        return json.loads(truth.body).get("id") in forgotten
    return False


@pytest.mark.parametrize("endpoint", ["upload", "create", "retrieve", "content"])
def test_no_endpoint_of_batches_is_left_by_a_redirect(endpoint, tmp_path):
    """Neither the questions nor the key go to another server, and when the redirect is gone the run goes on."""
    calm, run_dir = [], tmp_path / "run"
    questions = [f"{GOOD} {number}" for number in range(3)]
    with server_of() as other:
        lie = moved(f"{other.url}/batches/batch_0")
        desk = BatchDesk(lie=lambda at, number, truth: truth if calm or at != endpoint else lie(truth))
        with server_of(desk=desk) as server:
            config = job(tmp_path, server, questions, batch=True)
            with suppress(RtError):
                go(config, run_dir, seconds=30)
            assert other.requests == 0
            assert spent(run_dir) >= billed(server, HALF)
            calm.append(True)
            summary = go(config, run_dir, seconds=30)
            assert summary.outcomes["rewritten"] == len(questions)
            assert other.requests == 0


def _same_page(truth):
    return changed(data=[{"id": "batch_9", "object": "batch", "metadata": None}], has_more=True, last_id="batch_9")(
        truth
    )


ENDLESS = {
    "the same page": _same_page,
    "an empty page": changed(data=[], has_more=True),
    "odd entries": changed(data=[None, 7, [], {}, {"id": 7, "metadata": []}], has_more=True),
    "no list": changed(data={"a": 1}, has_more=True),
    "a page of HTML": HTML,
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_list_that_never_ends_is_bounded(name, tmp_path):
    """The name of a batch was lost, and the list has no end: nothing is taken for free, or asked for ever.

    When the list is honest again the batch is found in it.
    """
    calm, run_dir, began = [], tmp_path / "run", time.monotonic()
    desk = BatchDesk(
        trouble=lambda at, number: LOST if at == "create" and number == 0 else None,
        lie=lambda at, number, truth: truth if calm or at != "list" else ENDLESS[name](truth),
    )
    questions = [f"{GOOD} {number}" for number in range(3)]
    with server_of(desk=desk) as server:
        config = job(tmp_path, server, questions, batch=True)
        with suppress(RtError, TimeoutError):
            go(config, run_dir, seconds=4)
        assert desk.asked["list"] <= 2_000
        assert time.monotonic() - began < 60
        assert spent(run_dir) >= billed(server, HALF)
        calm.append(True)
        assert go(config, run_dir, seconds=30).outcomes["rewritten"] == len(questions)
