"""The charge for an answer, over all that a provider can say of its tokens."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from rt_framework.builtin.teachers.litellm import LiteLLMTeacher
from rt_framework.builtin.teachers.settings import LiteLLMSettings
from rt_framework.builtin.teachers.usage import FORMS, MOST_TOKENS, told_in
from rt_framework.errors import TeacherError
from rt_framework.model import Request, Sampling, Turn
from rt_framework.testing.attacks import Attack, placed
from rt_framework.testing.server import FaultServer
from rt_framework.testing.wire import RawAnswer
from tests.attack_helpers import COMPLETION, GOOD, KEY, MOST, PROMPT, TEXT, attempts, go, job, server_of

pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # as for a user, no error

CAP = MOST_TOKENS
"""Tokens that are believed at most."""

DEAREST = 10**15
"""Nano-dollars that one answer is charged at most: a million dollars."""

QUESTION = "What floats?"


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("RT_LOAD_PLUGINS", "")


# --- what may be told, as JSON text -----------------------------------------------------------

SCALARS = st.one_of(
    st.sampled_from(["null", "true", "false", '"12"', '"many"', '""', "NaN", "Infinity", "-Infinity", "1e400", "-0"]),
    st.sampled_from(["0", "0.0", "12.0", "12.5", "1e3", "-1e-9", '"\\ud83d"']),
    st.sampled_from(["", "-"]).map(lambda sign: sign + "9" * 5_000),
    st.integers(-(10**3), 10**4).map(str),
    st.integers(-(10**40), 10**40).map(str),
    st.sampled_from([str(sign * 2**bits + more) for bits in (31, 53, 63, 64) for sign in (1, -1) for more in (-1, 0)]),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
)
NAMES = st.sampled_from(
    [
        *("prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details"),
        *("cached_tokens", "reasoning_tokens", "input_tokens", "output_tokens", "cost", "x"),
    ]
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]"),
        st.lists(st.tuples(NAMES, inner), max_size=5).map(
            lambda parts: "{" + ", ".join(f'"{name}": {value}' for name, value in parts) + "}"
        ),
    ),
    max_leaves=8,
)
DETAILS = st.sampled_from(["prompt_tokens_details", "completion_tokens_details"])


def _usage(parts: dict[str, str], details: dict[str, str]) -> str:
    return "{" + ", ".join(f'"{name}": {value}' for name, value in (parts | details).items()) + "}"


PARTS = st.dictionaries(
    st.sampled_from(["prompt_tokens", "completion_tokens", "total_tokens"]), st.one_of(SCALARS, JSON)
)
USAGES = st.one_of(JSON, st.builds(_usage, PARTS, st.dictionaries(DETAILS, JSON)))
"""A usage as JSON text: any value at all, or an object with any values in its places."""


# --- what has to be charged -------------------------------------------------------------------


def told(value: Any) -> int | None:
    """Tokens that a value tells, if it tells any: a whole number from 0; a fraction of a token counts as one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return min(math.ceil(value), CAP) if value >= 0 else None


def least(request: Request, usage: str) -> tuple[int, int]:
    """The least that may be charged for an answer that was read, and for one that was not."""
    dearest = (request.most_prompt_tokens, request.sampling.max_tokens)
    reserved = PROMPT * dearest[0] + COMPLETION * dearest[1]
    try:
        said = json.loads(usage)
    except (ValueError, RecursionError):
        return reserved, reserved
    said = said if isinstance(said, dict) else {}
    forms = (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens"))
    parts = [told(next((said[name] for name in names if said.get(name) is not None), None)) for names in forms]
    prompt, completion = (most if part is None else part for part, most in zip(parts, dearest, strict=True))
    # A question without a token is not believed, so that a total may be of its dearest form.
    above = max(0, (told(said.get("total_tokens")) or 0) - (prompt or dearest[0]) - completion)
    return PROMPT * prompt + COMPLETION * min(completion + above, CAP), reserved


def usage_attack(name: str, usage: str) -> Attack:
    """An honest answer with this usage."""
    return Attack(name, lambda honest: RawAnswer(placed(honest, "usage", usage)), "either")


# --- one answer -------------------------------------------------------------------------------


def asking(text: str = QUESTION) -> Request:
    return Request("echo", "pair", 0, (Turn("user", text),), Sampling(max_tokens=MOST))


@pytest.fixture(scope="module")
def charge():
    """Gives what an answer with a usage costs: nano-dollars, and whether it was read."""
    said: list[str] = []
    with (
        pytest.MonkeyPatch.context() as patch,
        FaultServer(lambda _: TEXT, lambda *_: usage_attack("usage", said[-1])) as server,
        asyncio.Runner() as runner,
    ):
        patch.setenv("OPENAI_API_KEY", KEY)
        options = {"input_price": PROMPT / 1000, "output_price": COMPLETION / 1000}
        teacher = LiteLLMTeacher(LiteLLMSettings("openai/attack", server.url, True, **options))

        def charged(usage: str) -> tuple[int, bool]:
            said.append(usage)
            try:
                return runner.run(teacher.complete(asking())).nano_dollars, True
            except TeacherError as error:
                failure = error
            assert (failure.kind.name, bool(failure.raw)) == ("paid_unreadable", True)
            return 0, False

        charged(str(MOST))
        yield charged
        runner.run(teacher.aclose())


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(usage=USAGES)
@example(usage='{"prompt_tokens": true, "output_tokens": 2147483647}')  # counts by the names of two kinds of API
def test_an_answer_costs_what_was_sent_or_what_was_told_whichever_is_dearer(charge, usage):
    """For any JSON value in any place of a usage; one that makes the answer unreadable is charged by core, in full."""
    cost, read = charge(usage)
    assert isinstance(cost, int)
    assert not read or cost >= least(asking(), usage)[0] >= 0


@pytest.mark.parametrize("other", range(len(FORMS)))
@pytest.mark.parametrize("one", range(len(FORMS)))
def test_no_count_is_overlooked_because_another_api_has_another_name(one, other):
    """A provider or a proxy may state the prompt in the way of one API, and the answer in that of another."""
    body: dict[str, Any] = {}
    for path, count in ((FORMS[one].prompt[0], 70), (FORMS[other].answer[0], 900)):
        place = body
        for name in path[:-1]:
            place = place.setdefault(name, {})
        place[path[-1]] = count
    told = told_in(json.dumps(body).encode())
    assert (told["prompt_tokens"], told["completion_tokens"]) == (70, 900)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ('{"prompt_tokens": 5, "completion_tokens": 97, "total_tokens": 102}', (5, 97)),
        ('{"prompt_tokens": 5, "completion_tokens": 97, "total_tokens": null}', (5, 97)),
        ('{"prompt_tokens": 5, "completion_tokens": 97, "total_tokens": 500}', (5, 495)),
        ('{"prompt_tokens": 5, "completion_tokens": 100000}', (5, 100_000)),
    ],
)
def test_what_can_be_true_is_believed(charge, usage, tokens):
    """Dear is not the same as right: an honest usage costs what it says."""
    assert charge(usage) == (PROMPT * tokens[0] + COMPLETION * tokens[1], True)


# --- many rows of one run ---------------------------------------------------------------------


class Many(tuple[str, ...]):
    """Usages that are too long to be shown all together."""

    def __repr__(self):
        return f"<{len(self)} usages>"


# To make an example smaller takes a run each time: the message names the usage that is wrong.
@settings(max_examples=3, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(usages=st.lists(USAGES, min_size=40, max_size=40, unique=True).map(Many))
def test_no_usage_spoils_the_row_of_another(tmp_path_factory, usages):
    """Forty rows with a usage of their own and some honest ones in one run: each is accounted for, none is credited."""
    folder = tmp_path_factory.mktemp("usages")
    attacks = [usage_attack(f"usage {number}", usage) for number, usage in enumerate(usages)]
    questions = [f"{GOOD} first", *(attack.name for attack in attacks), f"{GOOD} last"]
    with server_of(attacks) as server:
        summary = go(job(folder, server, questions, {"budget_usd": None}), folder / "run")
        assert (summary.total, len(server.received)) == (len(questions), len(questions))
    found = {one.question: one for one in attempts(folder / "run")}
    assert [text for text in questions if text not in found] == []
    assert {found[text].state for text in questions if text.startswith(GOOD)} == {"answered"}
    for attack, usage in zip(attacks, usages, strict=True):
        one = found[attack.name]
        read, unread = least(asking(attack.name), usage)
        assert (one.state, one.kind) in {("answered", None), ("failed", "paid_unreadable")}, usage
        assert one.cost >= min(read if one.state == "answered" else unread, DEAREST), usage
