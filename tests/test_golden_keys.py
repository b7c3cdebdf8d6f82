"""Keys of what was paid for and computed, as literal values: a change of one of them would be paid for again.

Sample ids, pair hashes, call keys and loss keys are content hashes that run directories of others hold. A field that
arrives later stays out of them at its default; if a test here fails, the code is to be changed and not the value.
"""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing

import pytest
from attrs import evolve

from rt_framework.builtin.executors.local import LocalExecutor
from rt_framework.builtin.reflections.instruction import InstructionReflection
from rt_framework.builtin.reflections.response import ResponseReflection
from rt_framework.builtin.reflections.settings import ReflectionSettings
from rt_framework.builtin.teachers.litellm import LiteLLMTeacher
from rt_framework.builtin.teachers.settings import LiteLLMSettings
from rt_framework.data.rows import SampleIds
from rt_framework.model import Pair, Request, Sampling, Turn
from rt_framework.scoring.losses import Losses
from rt_framework.spans import Span
from rt_framework.teacher import call_key
from rt_framework.testing import FakeStudent, ScriptedTeacher
from tests.helpers import REPO
from tests.run_helpers import GATES, SELECTIVE, attempts, go, job, outputs

HISTORY = (Turn("user", "Hello."), Turn("assistant", "Good day."))

PAIRS = {
    "plain": Pair("Name three rivers.", "", "Rhine, Rhône, Po."),
    "with an input": Pair("Translate.", "Guten Tag", "Good day"),
    "without a response": Pair("Translate.", "Guten Tag"),
    "empty": Pair(""),
    "system prompt": Pair("Name three rivers.", "", "Rhine, Rhône, Po.", system="You are a geographer."),
    "empty system prompt": Pair("Name three rivers.", "", "Rhine, Rhône, Po.", system=""),
    "history": Pair("And now?", "", "Good night.", history=HISTORY),
    "history and system prompt": Pair("And now?", "", "Good night.", "Be kind.", HISTORY),
    "Chinese and emoji": Pair("写一首诗。", "春天 🌸", "春眠不觉晓，处处闻啼鸟。"),
    "composed é": Pair("caf\u00e9"),
    "decomposed é": Pair("cafe\u0301"),
    "lone surrogate": Pair("half \ud83d", "", "whole \ude00"),
    "control characters": Pair("a\x00b\x1b[0m", "\t", "line\r\nline\u2028end"),
    "JSON in it": Pair('{"a": [1, "\\u00e9"]}', "<<<input x>>>", "[/End]"),
}

SCHEMA = {"type": "object", "properties": {"b": {"type": "string"}, "a": {"type": "string", "minLength": 1}}}
ASKED = (Turn("system", "Improve."), Turn("user", "Here: é 🌸"))

REQUESTS = {
    "plain": Request("response", "0" * 32, 0, ASKED, Sampling()),
    "second answer": Request("response", "0" * 32, 1, ASKED, Sampling(temperature=0.7, seed=1)),
    "no messages": Request("response", "0" * 32, 0, (), Sampling()),
    "schema": Request("instruction", "0" * 32, 0, ASKED, Sampling(), SCHEMA),
    "empty schema": Request("instruction", "0" * 32, 0, ASKED, Sampling(), {}),
    "seed 0": Request("response", "0" * 32, 0, ASKED, Sampling(seed=0)),
    "temperature 1": Request("response", "0" * 32, 0, ASKED, Sampling(temperature=1.0)),
    "top p": Request("response", "0" * 32, 0, ASKED, Sampling(top_p=0.9)),
    "few tokens": Request("response", "0" * 32, 0, ASKED, Sampling(max_tokens=1)),
    "lone surrogate": Request("response", "0" * 32, 0, (Turn("user", "half \ud83d"),), Sampling()),
    "another reflection": Request("judge", "f" * 32, 0, ASKED, Sampling()),
    "conversation": Request("response", "0" * 32, 0, (*HISTORY, *ASKED), Sampling()),
    "second step": Request("response", "0" * 32, 0, ASKED, Sampling(), step=1),
}

TEACHERS = {
    "scripted": "scripted",
    "hosted": LiteLLMTeacher(LiteLLMSettings("openai/gpt-4o-mini")).identity,
    "elsewhere": LiteLLMTeacher(
        LiteLLMSettings("openai/gpt-4o-mini", "https://example.org/v1", True, {}, 1.0, 2.0, True)
    ).identity,
    "extra": LiteLLMTeacher(
        LiteLLMSettings("openai/o3", extra={"reasoning_effort": "low", "b": 1, "a": 0.5, "c": True})
    ).identity,
}

SPANS = {
    "plain": Span("Name three rivers. ", "Rhine, Rhône, Po."),
    "no context": Span("", "Rhine, Rhône, Po."),
    "ids": Span("Name three rivers.", "Rhine, Rhône, Po.", join="ids"),
    "twin": Span("Name three rivers.", "Rhine, Rhône, Po.", paired_context=""),
    "twin of turns": Span((Turn("user", "Name."),), "Rhine, Rhône, Po.", join="ids", paired_context=()),
    "limit": Span("Name three rivers.", "Rhine, Rhône, Po.", max_tokens=2048),
    "counted only": Span("Name three rivers.", "Rhine, Rhône, Po.", count_only=True),
    "turns": Span((*HISTORY, Turn("user", "And now?")), "Good night.", join="ids"),
    "system turn": Span((Turn("system", "Be kind."), Turn("user", "And now?")), "Good night.", join="ids"),
    "no turns": Span((), "Good night.", join="ids"),
    "Chinese and emoji": Span("写一首诗。", "春眠不觉晓 🌸"),
    "lone surrogate": Span("half \ud83d", "whole \ude00"),
    "nothing to score": Span("Name three rivers.", ""),
    "parts": Span("Name three rivers. ", "Rhine, Rhône, Po.", scored=((0, 5), (7, 12))),
}

PAIR_HASHES = {
    "plain": "352345fa7819ffb4a6454a763663e294",
    "with an input": "e495dd2f538d49fc923cad33a3be255e",
    "without a response": "8dce36b7d4162207173da8ceb38078e0",
    "empty": "e5ebdbc98e02c24fbca690da868ece27",
    "system prompt": "9712c7d3462e4508faa9b4dae070316b",
    "empty system prompt": "f4a66cfaefae8148752190f82a66184d",
    "history": "ab459450f50b0508f83789af90911154",
    "history and system prompt": "315b3ca7cdb952baeadcccc192c9f4b3",
    "Chinese and emoji": "8569202e9077d4fd29d4eb9c39333901",
    "composed é": "cfc7350eea7b26f4cf42965b7d4b5a6e",
    "decomposed é": "de2355c362049622ccd58d0f94169e23",
    "lone surrogate": "b26d26499a31c6430d2209ac38b36d59",
    "control characters": "6710979579a44bdd087fabf1d3f76f1d",
    "JSON in it": "ac82d6ae1fab8548e73adec75d67ab51",
}
CALL_KEYS = {
    "plain": "bb1dcdd759b000bb47521456bb81b065",
    "second answer": "ca04163b54837c37014e930366dc1711",
    "no messages": "a4a6f37a1662b3e887547c3a6479e624",
    "schema": "00286c435d7cfb835eff640ea5c819cc",
    "empty schema": "8f8bf1c72672988168668e62b5501ab9",
    "seed 0": "1db8eeaac8ade2713fcf6aa1f415764b",
    "temperature 1": "1ff119f0a76b13bdb823cee3290fc409",
    "top p": "1feb3e4e907301d3b814a74444eeea0c",
    "few tokens": "d9eecb18346120d10f968d7b7e776051",
    "lone surrogate": "b036913e71719070ee2122678ae8e94d",
    "another reflection": "3d5f95007bfee09edfb54b8aa08df60d",
    "conversation": "db5c79968cab33395b7d712a8dfe9967",
    "second step": "60607de0396ea9604c0356a58ea3ee07",
}
TEACHER_KEYS = {
    "scripted": "bb1dcdd759b000bb47521456bb81b065",
    "hosted": "7cd444887c5a4b1cdf19d8ed1296b565",
    "elsewhere": "7cd444887c5a4b1cdf19d8ed1296b565",
    "extra": "fb9f358f1a5c1df421e8927b96c46a88",
}
RENDERED_KEYS = {
    "instruction, with an input, structured": ("3c6e476397fc34318389189ed2a2bcc9", "5322d20840bd90b42afebc2204fd348f"),
    "instruction, with an input, marked": ("439ab71021d204038e8fc8128b11a3ce", "a5f8b985670ce42f6408d017b8c0762e"),
    "instruction, history and system prompt, structured": (
        "12d292c81ee56a7c08f65551ab1b6c87",
        "2d0b83e2af87a85028af90292cebc6e4",
    ),
    "instruction, history and system prompt, marked": (
        "1c32f10663a81d112aa3d71d963be288",
        "04c153c125805adca0a12413ca63dd2b",
    ),
    "instruction, lone surrogate, structured": ("5de13b11e0d23b5ffcbc0d9c3e42bbdb", "e37cf5d6f9b8b4ecb9cef37b7f6d6fcd"),
    "instruction, lone surrogate, marked": ("cb5f33b859f23498bb42069d44ecf187", "c92eb43a074ceae146a584def8ce96b1"),
    "response, with an input, structured": ("d3825244d42f84313b20b3e56e84b979", "1d43bab4f86bb9605d65443711da1682"),
    "response, with an input, marked": ("93c9c9b134a42d091de34ec259e3b574", "144fbe4e62ee4e14e2d03aff4c84b35c"),
    "response, history and system prompt, structured": (
        "bfc7ed4b6d4eedd48c85e9a9f1e741d7",
        "b87891302990fd27a9b32419ba416e2c",
    ),
    "response, history and system prompt, marked": (
        "08d2508569c491e32cfbce1ca02825a2",
        "6a2ac22ab9096576ca943a6403986879",
    ),
    "response, lone surrogate, structured": ("93d3fff09dd7be7d4fa5d4eb5eb8f1c1", "ae27908e266b54e474014de69bfaddb9"),
    "response, lone surrogate, marked": ("ba1a546e50121fc7d55ec0abc65cd916", "0b049304663da877eceecb1bab6bf6b5"),
}
LOSS_KEYS = {
    "plain": "8f38ac0f596272a00f979727c2dbe05a",
    "no context": "85c9b9ccb8b3032bb3d5fca037cb5520",
    "ids": "84a6054b6daba1e99aae6adc1202a5d1",
    "twin": "39bcb3f31d0982e3a431d6e3f2e0b315",
    "twin of turns": "05314549c779f635b28b5d1c953c8685",
    "limit": "04a9506db0492ab3266cba6d8ed05787",
    "counted only": "fc708f20c3719eb3497fbe6e2254e299",
    "turns": "2240078cebbde9dab59afe4da9adab5b",
    "system turn": "774d3348cd1c4e59b368f18758201ce0",
    "no turns": "9a96236edac56013d9ccf350cd11b359",
    "Chinese and emoji": "2d778f26b49fa128f4ed89916ecb3e46",
    "lone surrogate": "0b25835936596e618b12662d64a4baa8",
    "nothing to score": "d6c0f391412d43efd6a69630441daa70",
    "parts": "669f50f155d96f3a7c62c5c1093f58e9",
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_hash_of_a_pair_is_what_it_was(name):
    """Ledgers join samples, versions and calls by it."""
    assert PAIRS[name].hash == PAIR_HASHES[name]


def test_the_ids_of_samples_are_what_they_were():
    """An id is the content and how often it came before; the second round counts one up."""
    ids = SampleIds()
    first = [ids(pair) for pair in PAIRS.values()]
    second = [ids(pair) for pair in PAIRS.values()]
    assert first == [f"{PAIR_HASHES[name][:16]}-0" for name in PAIRS]
    assert second == [f"{PAIR_HASHES[name][:16]}-1" for name in PAIRS]


@pytest.mark.parametrize("name", REQUESTS)
def test_the_key_of_a_call_is_what_it_was(name):
    """An answer is found by it, and paid for again where it is not found."""
    assert call_key("scripted", REQUESTS[name]) == CALL_KEYS[name]


@pytest.mark.parametrize("name", TEACHERS)
def test_the_key_of_a_call_to_a_provider_is_what_it_was(name):
    """Model and further parameters belong to it; address, prices and the batch API do not."""
    assert call_key(TEACHERS[name], REQUESTS["plain"]) == TEACHER_KEYS[name]


@pytest.mark.parametrize("name", RENDERED_KEYS)
def test_what_a_built_in_reflection_asks_has_the_key_that_it_had(name):
    """The wording of a prompt is a part of the key: with a better word every answer is asked for again."""
    kind, pair, form = name.split(", ")
    reflection = {"instruction": InstructionReflection, "response": ResponseReflection}[kind](ReflectionSettings())
    asked = [reflection.render(PAIRS[pair], index, form == "structured") for index in (0, 1)]
    assert tuple(call_key(TEACHERS["hosted"], request) for request in asked) == RENDERED_KEYS[name]


@pytest.mark.parametrize("by_token", [False, True])
async def test_the_key_of_a_loss_is_what_it_was(ledger, by_token):
    """A loss is found by it, and computed again where it is not found; whether tokens are kept is no part of it."""
    student, executor = FakeStudent(), LocalExecutor()
    executor.start(lambda: student)
    losses = Losses(student, executor, ledger, 2048)
    made = {}
    for name, span in SPANS.items():
        before = {row[0] for row in ledger.database.rows("SELECT key FROM losses")}
        await losses.of([{"y|x": [evolve(span, by_token=by_token)]}])
        made[name] = {row[0] for row in ledger.database.rows("SELECT key FROM losses")} - before
    await losses.close()
    executor.close()
    assert made == {name: {LOSS_KEYS[name]} for name in SPANS}


# --- a run directory of before ----------------------------------------------------------------

ROWS = [
    {
        "instruction": "Name things that float.",
        "input": "In one line.",
        "output": "A cork, a leaf. and so onand so onand so onand so onand so on",
        "topic": "t0",
    },
    {"instruction": "写一首诗。", "input": "", "output": "春眠不觉晓 🌸", "topic": "t1"},
    {
        "instruction": "Say it twice.",
        "input": "",
        "output": "It, and it. and so onand so onand so onand so on",
        "topic": "t2",
    },
    {
        "instruction": "Say it twice.",
        "input": "",
        "output": "It, and it. and so onand so onand so onand so on",
        "topic": "the same again",
    },
]
DUMP = REPO / "tests/golden/run_of_ledger_version_4.sql"
"""The ledger of a finished run over these rows, as text: made once, by the release of that version."""

KEPT = "4537ca60c4381a8374d44ba803c1ebaf1ada965aedeed337b821ceffe122f844"
DROPPED = "d8eef4bebc5de8db8921ee9cafaab5a72d35fe2ea6a1415b05d0a98f94e3626c"
ANSWERED = 6


class Unasked(FakeStudent):
    """A student that is not to score anything."""

    def score(self, batch):
        """Fail: every loss is known."""
        raise AssertionError(f"{len(batch)} spans were scored again")


def test_a_run_directory_of_before_goes_on_for_nothing(tmp_path):
    """Nothing is asked, nothing is scored, and what is kept and dropped is the same to the byte."""
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    with closing(sqlite3.connect(run_dir / "ledger.sqlite")) as db:
        db.executescript(DUMP.read_text("utf-8"))
    teacher = ScriptedTeacher(lambda request: pytest.fail("an answer was asked for again"))
    summary = go(job(tmp_path, ROWS, [*SELECTIVE, *GATES]), run_dir, teacher, Unasked())
    progress = summary.progress
    assert (summary.total, summary.errors, progress.teacher.calls, progress.student.tokens) == (4, 0, 0, 0)
    assert (teacher.requests, attempts(run_dir)) == ([], {("answered", ""): ANSWERED})
    files = outputs(run_dir)
    assert hashlib.sha256(files["kept.json"]).hexdigest() == KEPT
    assert hashlib.sha256(files["dropped.json"]).hexdigest() == DROPPED
