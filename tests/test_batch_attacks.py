"""A hostile desk of batches: one poisoned line stops no other, and a directory always has a way out."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from itertools import groupby

import pytest

from rt_framework.builtin.teachers.batch_apis import azure
from rt_framework.errors import BudgetReached, FatalTeacherError, RtError
from rt_framework.teacher import batch_exchange, batch_state, sending
from rt_framework.testing.batch_attacks import HTML, LINE_ATTACKS, changed, gone, moved, odd_results
from rt_framework.testing.batch_desk import LOST, BatchDesk
from rt_framework.testing.batch_faces import FACES
from rt_framework.testing.wire import answered, refusal, told
from tests.attack_helpers import GOOD, KEY, LIMIT, TEXT, attempts, billed, go, honest_cost, job, server_of, spent
from tests.attack_helpers import asked as asked_in
from tests.providers import OTHERS, PROVIDERS, environment

pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # as for a user, no error

GROUPS = {
    group: list(attacks) for group, attacks in groupby(LINE_ATTACKS.values(), lambda one: one.name.partition(": ")[0])
}
HALF = 0.5
"""What a batch costs, as a share."""

_ODD = {"a list": "[]", "a number": "7", "a word": '"many"', "null": "null", "left out": None}
_EMPTY = {"an empty object": "{}"}

FORMS = {
    "azure": [],
    "mistral": [],
    "anthropic": [
        *odd_results("result", _ODD | _EMPTY, "unreadable", kept=True),
        *odd_results("result.type", _ODD | _EMPTY, "unreadable", kept=True),
        *odd_results("result.message", _ODD | _EMPTY, "unreadable", kept=True),
    ],
    "gemini": [
        *odd_results("key", _ODD | {"of another batch": '"0123456789abcdef0123456789abcdef"'}, "unreadable"),
        *odd_results("response", _ODD | _EMPTY, "unreadable", kept=True),
        *odd_results("response.candidates", _ODD | _EMPTY, "either", kept=True),
        *odd_results("error", {"a word": '"many"', "a list": "[7]"} | _EMPTY, "answer"),
    ],
}
"""Attacks on lines in the form of one provider. The lines of Azure and Mistral have OpenAI's form and reader."""

_ANY_FORM = [
    one for one in GROUPS["line"] if "twice" not in one.name and "error" not in one.name and "then" not in one.name
]


def attacks_on(provider):
    """The attacks on the lines of a provider."""
    ids = [] if provider == "gemini" else GROUPS["custom_id"]
    return [*ids, *_ANY_FORM, *FORMS[provider]]


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name, value in environment(KEY).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(azure, "_PAUSE", 0.02)
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
        attack = named.get(asked_in(asked["body"]).partition(" #")[0])
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


@pytest.mark.parametrize(
    ("provider", "attacks"),
    [
        *(pytest.param("openai", attacks, id=group) for group, attacks in GROUPS.items()),
        *(pytest.param(provider, attacks_on(provider), id=provider) for provider in OTHERS),
    ],
)
def test_one_poisoned_line_stops_no_other(provider, attacks, tmp_path):
    """Each line has the end that it must have, and is charged; a reparse asks nothing; asked one by one it all ends."""
    run_dir = tmp_path / "run"
    questions = [f"{GOOD} first", *(attack.name for attack in attacks), f"{GOOD} last"]
    with server_of(desk=poisoned(attacks)) as server:
        config = job(tmp_path, server, questions, provider=provider, batch=True)
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
        go(job(tmp_path, server, questions, provider=provider), run_dir)
        assert server.requests == seen + len(failed)
        assert {one.question for one in attempts(run_dir)[len(questions) :]} == failed


def _gemini_error(code):
    return {"response": None, "error": {"code": code, "message": "no"}}


def _anthropic_error(error):
    return {"result": {"type": "errored", "error": error}}


REFUSALS = {
    "gemini": {
        **{
            f"code {code}": (_gemini_error(code), "overloaded")
            for code in (1, 13, 14, 99, 500, 503, "many", None, 9999)
        },
        **{f"code {code}": (_gemini_error(code), "bad_request") for code in (3, 9, 400)},
        **{f"code {code}": (_gemini_error(code), "rate_limited") for code in (8, 429)},
    },
    "anthropic": {
        **{
            name: (_anthropic_error({"type": "error", "error": {"type": name, "message": "no"}}), kind)
            for name, kind in {
                "invalid_request_error": "bad_request",
                "rate_limit_error": "rate_limited",
                "request_too_large": "too_long",
                "timeout_error": "overloaded",
                "overloaded_error": "overloaded",
                "api_error": "overloaded",
                "another_error": "overloaded",
            }.items()
        },
        **{f"{error!r}": (_anthropic_error(error), "overloaded") for error in (None, [], "no", {"error": ["no"]})},
        "expired": ({"result": {"type": "expired"}}, "expired"),
    },
}
"""Lines that say that a request failed, as the parts of the honest line that they replace, and the error kinds."""


@pytest.mark.parametrize("provider", REFUSALS)
def test_requests_that_failed_cost_nothing_and_have_a_kind(provider, tmp_path):
    """The providers say so by codes and types, and not by HTTP statuses as a live call does."""
    lines = REFUSALS[provider]

    def poison(asked, honest):
        return json.dumps(json.loads(honest) | lines[asked_in(asked["body"])][0]).encode()

    with server_of(desk=BatchDesk(poison=poison)) as server:
        go(job(tmp_path, server, list(lines), provider=provider, batch=True), tmp_path / "run")
    found = {one.question: (one.kind, one.cost) for one in attempts(tmp_path / "run")}
    assert found == {name: (kind, 0) for name, (_, kind) in lines.items()}


@pytest.mark.parametrize("provider", OTHERS)
def test_the_first_answer_to_a_question_counts(provider, tmp_path):
    """Errors and further answers beside it change nothing."""
    face = next(face for face in FACES if type(face).__name__.lower().startswith(provider))

    def poison(asked, honest):
        bad = face.result(asked, 500, refusal(face.form, 500, "out of order", None), None)
        other = face.result(asked, 200, answered(face.form, asked["body"] | {"model": ""}, "another one"), None)
        late = "late" in asked_in(asked["body"])
        return b"\n".join([bad, honest, other] if late else [honest, bad, other])

    with server_of(desk=BatchDesk(poison=poison)) as server:
        go(job(tmp_path, server, ["early", "late"], provider=provider, batch=True), tmp_path / "run")
    assert [one.reply["text"] for one in attempts(tmp_path / "run")] == [TEXT, TEXT]


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


STATES = {"azure": "status", "mistral": "status", "anthropic": "processing_status", "gemini": "metadata"}
NAMES = {"azure": "id", "mistral": "id", "anthropic": "id", "gemini": "name"}
"""The fields in which providers tell the state and the name of a batch."""

_ANY_API = {name: lie for name, lie in PASSING.items() if name.startswith(("a batch that", "an answer"))}


def passing_of(provider):
    """The lies that another provider may tell once or twice."""
    odd = {"unknown": "reticulating", "null": None, "left out": ..., "a number": 7, "a list": []}
    states = {f"a state that is {name}": ("retrieve", changed(**{STATES[provider]: odd[name]})) for name in odd}
    names = {
        f"a created batch whose name is {name}": ("create", changed(**{NAMES[provider]: value}))
        for name, value in {"left out": ..., "odd": ["../files"], "a path": "batches/../x/y"}.items()
    }
    files = {
        f"a file whose state is {name}": ("check", changed(status=odd[name])) for name in odd if provider == "azure"
    }
    return {**_ANY_API, **states, **names, **files}


@pytest.mark.parametrize(
    ("provider", "lying"),
    [
        *(pytest.param("openai", lying, id=name) for name, lying in PASSING.items()),
        *(
            pytest.param(provider, lying, id=f"{provider}: {name}")
            for provider in OTHERS
            for name, lying in passing_of(provider).items()
        ),
    ],
)
def test_a_lie_that_passes_costs_nothing(provider, lying, tmp_path):
    """Every question is answered and billed once."""
    endpoint, lie = lying
    desk = BatchDesk(polls=3, lie=lambda at, number, truth: lie(truth) if at == endpoint and number < 2 else truth)
    questions = [f"{GOOD} {number}" for number in range(4)]
    with server_of(desk=desk) as server:
        config = job(tmp_path, server, questions, provider=provider, batch=True)
        summary = go(config, tmp_path / "run", seconds=30)
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


_ANY_LOSS = {name: lie for name, lie in LASTING.items() if "output" not in name}
_LOSSES = {
    "azure": {"an output that is a path": ("retrieve", changed(output_file_id="../../v1/batches"))},
    "mistral": {"an output that is a path": ("retrieve", changed(output_file="../../v1/batches"))},
    "anthropic": {},
    "gemini": {
        "a file that may not be read": ("content", gone(403)),
        "a response that is a word": ("retrieve", changed(response="files/file-1")),
        "a file that is a path": ("retrieve", changed(response={"responsesFile": "files/../batches"})),
    },
}


@pytest.mark.parametrize("way_out", ["one by one", "retry"])
@pytest.mark.parametrize(
    ("provider", "losing"),
    [
        *(pytest.param("openai", losing, id=name) for name, losing in LASTING.items()),
        *(
            pytest.param(provider, losing, id=f"{provider}: {name}")
            for provider in OTHERS
            for name, losing in (_ANY_LOSS | _LOSSES[provider]).items()
        ),
    ],
)
def test_a_directory_has_a_way_out_when_the_provider_has_lost_a_batch(provider, losing, way_out, tmp_path):
    """The run ends and says so, nothing is taken for free, and one option or command goes on without the batch."""
    endpoint, lie = losing
    calm, run_dir = [], tmp_path / "run"
    desk = BatchDesk(lie=lambda at, number, truth: truth if calm or at != endpoint else lie(truth))
    questions = [f"{GOOD} {number}" for number in range(3)]
    with server_of(desk=desk) as server:
        config = job(tmp_path, server, questions, provider=provider, batch=True)
        with suppress(FatalTeacherError):
            go(config, run_dir, seconds=30)
        assert len(server.received) == len(questions)
        assert spent(run_dir) >= billed(server, HALF)
        if way_out == "one by one":
            summary = go(job(tmp_path, server, questions, provider=provider), run_dir, seconds=30)
        else:
            # As when the provider forgets old batches, but takes new ones.
            forgotten = set(desk._batches)
            desk._lie = lambda at, number, truth: lie(truth) if at == endpoint and _is_of(truth, forgotten) else truth
            summary = go(config, run_dir, seconds=30, retry=("batch_lost", "paid_unreadable"))
        assert summary.outcomes["rewritten"] == len(questions)
        assert len(server.received) == 2 * len(questions)
        assert spent(run_dir) >= billed(server, HALF)


def _is_of(truth, forgotten) -> bool:
    """Return whether an answer describes one of the forgotten batches; the content of a file does not."""
    with suppress(ValueError):
        described = json.loads(truth.body)
        return described.get("id", described.get("name")) in forgotten
    return False


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("endpoint", ["upload", "create", "retrieve", "content"])
def test_no_endpoint_of_batches_is_left_by_a_redirect(endpoint, provider, tmp_path):
    """Neither the questions nor the key go to another server, and when the redirect is gone the run goes on."""
    if (provider, endpoint) == ("anthropic", "upload"):
        pytest.skip("Anthropic takes the requests without a file")
    calm, run_dir = [], tmp_path / "run"
    questions = [f"{GOOD} {number}" for number in range(3)]
    with server_of() as other:
        lie = moved(f"{other.url}/batches/batch_0")
        desk = BatchDesk(lie=lambda at, number, truth: truth if calm or at != endpoint else lie(truth))
        with server_of(desk=desk) as server:
            config = job(tmp_path, server, questions, provider=provider, batch=True)
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


_STRANGER = {"id": "batch_9", "name": "batches/9"}
ENDLESS_ELSEWHERE = {
    "azure": ENDLESS,
    "mistral": {
        **{name: lie for name, lie in ENDLESS.items() if name in ("no list", "a page of HTML")},
        "the same page": changed(data=[_STRANGER], total=10**9),
        "an empty page": changed(data=[], total=1),
        "odd entries": changed(data=[None, 7], total=2),
        "no total": changed(data=[_STRANGER], total=None),
    },
    "anthropic": ENDLESS,
    "gemini": {
        "the same page": changed(operations=[_STRANGER], nextPageToken="1"),
        "an empty page": changed(operations=..., nextPageToken="1"),
        "odd entries": changed(operations=[None, 7, []]),
        "no list": changed(operations={"a": 1}),
        "another form": changed(operations=..., data=[]),
        "a page of HTML": HTML,
    },
}


@pytest.mark.parametrize(
    ("provider", "lie"),
    [
        pytest.param(provider, lie, id=f"{provider}: {name}")
        for provider in PROVIDERS
        for name, lie in ENDLESS_ELSEWHERE.get(provider, ENDLESS).items()
    ],
)
def test_a_list_that_never_ends_is_bounded(provider, lie, tmp_path):
    """The name of a batch was lost, and the list has no end: nothing is taken for free, or asked for ever.

    When the list is honest again the batch is found in it.
    """
    calm, run_dir, began = [], tmp_path / "run", time.monotonic()
    desk = BatchDesk(
        trouble=lambda at, number: LOST if at == "create" and number == 0 else None,
        lie=lambda at, number, truth: truth if calm or at != "list" else lie(truth),
    )
    questions = [f"{GOOD} {number}" for number in range(3)]
    with server_of(desk=desk) as server:
        config = job(tmp_path, server, questions, provider=provider, batch=True)
        with suppress(RtError, TimeoutError):
            go(config, run_dir, seconds=4)
        assert desk.asked["list"] <= 2_000
        assert time.monotonic() - began < 60
        assert spent(run_dir) >= billed(server, HALF)
        calm.append(True)
        assert go(config, run_dir, seconds=30).outcomes["rewritten"] == len(questions)
