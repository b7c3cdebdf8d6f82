"""Questions in steps: each request is paid for once, whatever stops the run, and everything that counts calls knows."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from attrs import evolve

from rt_framework import Pair, Reply, Request, TeacherError, Turn, Unparsed
from rt_framework.builtin.reflections.response import ResponseReflection
from rt_framework.builtin.reflections.settings import ReflectionSettings
from rt_framework.errors import BudgetReached, ConfigError, PluginError
from rt_framework.jobs.piloting import pilot
from rt_framework.jobs.quoting import Bounds, quote
from rt_framework.jobs.running import RunMode
from rt_framework.ledger.ledger import Ledger
from rt_framework.model import keyed
from rt_framework.plugin.host import Host
from rt_framework.results import open_run
from rt_framework.teacher import Answer, TeacherClient, batch_exchange, batch_state, followed, rendered, steps_of
from rt_framework.testing import FakeStudent, ScriptedTeacher
from rt_framework.testing.server import FaultServer
from tests import fakes_plugin
from tests.forks import KEY
from tests.helpers import the_error
from tests.reliability.jobs import Commands, http_job, priced_at, questions
from tests.reliability.kills import Point, killed
from tests.run_helpers import Priced, attempts, go, http_answer, job, outputs, pair, row, rows, side, write_json
from tests.step_helpers import Rounds, RoundsSettings
from tests.test_teachers import two

ROUNDS = [{"reflect": "rounds"}, {"choose": "newest"}]
COUNT = 4


def rounds(steps: int = 3, **options: Any) -> list[Any]:
    """The pipeline with these options of the question."""
    return [{"reflect": {"rounds": {"steps": steps, **options}}}, {"choose": "newest"}]


def by_step(request: Request) -> str:
    """An answer that depends on the whole conversation."""
    return json.dumps({"response": f"Answer {request.step} after {len(request.messages)} turns: {request.said!r:.80}."})


class Told(ScriptedTeacher):
    """A teacher that answers as *answer* says; what it answered twice can be counted."""

    def __init__(self, answer: Any = by_step) -> None:
        super().__init__(answer)

    @property
    def twice(self) -> list[Request]:
        """Requests that were asked more than once."""
        counts = Counter(json.dumps(keyed(request), sort_keys=True) for request in self.requests)
        return [request for request, count in counts.items() if count > 1]


def dry(config: Any, run_dir: Any, teacher: Any = None) -> Any:
    """The quote of a job."""
    fakes_plugin.HELD["teacher"], fakes_plugin.HELD["student"] = teacher or Priced(by_step), FakeStudent()
    return quote(Host(modules=["tests.fakes_plugin"], only=[], strict=True), config, run_dir)


# --- one conversation ---------------------------------------------------------------------------


def first_of(question: Any, structured: bool = True, draw: int = 0) -> Request:
    """The first request about a pair."""
    return rendered(question, pair(), 0, structured, draw)


def test_a_request_goes_on_with_what_was_said():
    """The answer as the teacher's turn, the words as the user's; earlier answers can be read back."""
    request = first_of(Rounds(RoundsSettings()))
    second = request.then(Reply("One."), "Go on.")
    third = second.then(Reply("Two."), "And on.")
    assert second.messages == (*request.messages, Turn("assistant", "One."), Turn("user", "Go on."))
    assert (request.said, second.said, third.said) == ((), ("One.",), ("One.", "Two."))
    examples = evolve(request, messages=(Turn("assistant", "An example."), *request.messages))
    assert (examples.said, examples.then(Reply("One."), "Go on.").said) == ((), ("One.",))


def test_a_further_request_is_of_the_same_draw():
    """Its seed and its draw are those of the first one, also where the question makes a request of its own."""

    class Anew(Rounds):
        def follow(self, pair, request, reply):
            further = super().follow(pair, request, reply)
            plain = self.render(pair, request.index, True)
            return further and evolve(plain, messages=further.messages)

    question = Anew(RoundsSettings(temperature=0.5))
    first = first_of(question, draw=2)
    further = followed(question, pair(), first, first, Reply(by_step(first)))
    assert (further.draw, further.step, further.sampling.seed) == (2, 1, first.sampling.seed)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"reflection": "other"}, "its name, pair and index must stay what they were"),
        ({"index": 1}, "its name, pair and index must stay"),
        (
            {"messages": (Turn("user", "Anew."),)},
            "its messages must be those before, the answer, and turns of the user",
        ),
        ({"messages": ...}, "its messages must be those before"),
        ({"sampling": 300}, "its max_tokens are 300, and those of the first request 256"),
        ({"words": "x" * 2000}, "answers left out, it has up to 23.. tokens, and may have"),
    ],
)
def test_a_request_that_does_not_go_on_is_not_sent(change, reason):
    """Each in one line, before money is reserved."""

    class Changed(Rounds):
        def follow(self, pair, request, reply):
            further = request.then(reply, change.get("words", "Go on."))
            own = {name: value for name, value in change.items() if name in ("reflection", "index")}
            if "messages" in change:
                own["messages"] = request.messages if change["messages"] is ... else change["messages"]
            if "sampling" in change:
                own["sampling"] = evolve(request.sampling, max_tokens=change["sampling"])
            return evolve(further, **own)

    question = Changed(RoundsSettings())
    first = first_of(question)
    with pytest.raises(ValueError, match=f"'rounds' cannot go on after answer 1 of a conversation: {reason}") as found:
        followed(question, pair(), first, first, Reply("An answer."))
    assert "\n" not in str(found.value)


def test_a_question_says_how_far_it_goes():
    """Without a bound there is no quote. A question that does not go on takes one request."""
    assert steps_of(ResponseReflection(ReflectionSettings()), "response") == 1
    assert steps_of(Rounds(RoundsSettings(5)), "rounds") == 5
    for steps in (None, 0, True, 2.0, 101):
        question = Rounds(RoundsSettings())
        question.steps = steps
        with pytest.raises(PluginError, match="question 'rounds' has 'follow', so it needs 'steps'"):
            steps_of(question, "rounds")


async def test_any_question_may_go_on():
    """A stage that asks for a mark gets what parse makes of the last request and its answer."""

    class Twice:
        rewrites = ()
        steps = 2

        def render(self, pair, index, structured):
            return Request(
                "mark",
                pair.hash,
                index,
                (Turn("user", "Mark it."),),
                Rounds(RoundsSettings()).render(pair, 0, True).sampling,
            )

        def follow(self, pair, request, reply):
            return None if request.step else request.then(reply, "Again.")

        def parse(self, pair, request, reply):
            return [*request.said, reply.text]

    class Source:
        async def answer(self, request, first, stage=""):
            return Answer(f"key {request.step}", Reply(f"{request.step + 7}"))

    from rt_framework import Version

    client = TeacherClient(Source(), True, 2)
    assert await client.ask(Twice(), Version("original", pair()), "stage") == ["7", "8"]


# --- a run --------------------------------------------------------------------------------------


def test_each_request_is_paid_for_and_kept(tmp_path):
    """Three for each sample; the version is made of the last answer; a second run asks for nothing."""
    config, teacher = job(tmp_path, rows(COUNT), ROUNDS), Told()
    summary = go(config, tmp_path / "run", teacher)
    assert Counter(request.step for request in teacher.requests) == {0: COUNT, 1: COUNT, 2: COUNT}
    assert summary.progress.teacher.calls == 3 * COUNT
    assert attempts(tmp_path / "run") == {("answered", ""): 3 * COUNT}
    before = outputs(tmp_path / "run")
    assert b"After 2 others." in before["kept.json"]
    again = Told()
    summary = go(config, tmp_path / "run", again)
    assert (again.requests, summary.progress.teacher.reused) == ([], 3 * COUNT)
    assert outputs(tmp_path / "run") == before
    with open_run(tmp_path / "run", Host(modules=["tests.fakes_plugin"], only=[])) as run:
        for history in run:
            calls = run.calls(history)
            assert [call.request.step for call in calls] == [0, 1, 2]
            assert history.sample.versions[-1].call == calls[-1].key


def test_a_budget_that_ends_in_the_middle_is_taken_up(tmp_path):
    """A run stopped by its budget, again and again: each request is sent once, and the outputs are those of one run."""
    whole = Priced(by_step)
    config = job(tmp_path, rows(COUNT), ROUNDS)
    go(config, tmp_path / "whole", whole)
    asked: list[Request] = []
    stops = 0
    for part in range(1, 40):
        # Reservations are far higher than costs, so the steps of the budget are larger than a call costs.
        limits = {"budget_usd": (whole.paid / 6 * part + 5000) / 1e9}
        teacher = Priced(by_step)
        try:
            go(job(tmp_path, rows(COUNT), ROUNDS, limits=limits), tmp_path / "run", teacher)
        except BudgetReached:
            stops += 1
            asked += teacher.requests
            continue
        asked += teacher.requests
        break
    assert stops >= 3
    assert len({json.dumps(keyed(one), sort_keys=True) for one in asked}) == len(asked) == 3 * COUNT
    assert outputs(tmp_path / "run") == outputs(tmp_path / "whole")


@pytest.mark.parametrize(
    "points",
    [
        [Point("before an answer is committed", 2)],
        [Point("before an answer is read", 5)],
        [Point("before a request is sent", 9)],
        [Point("before an answer is read", 2), Point("before an intent", 4), Point("before a sample is recorded", 1)],
    ],
)
def test_a_killed_run_asks_only_for_what_is_missing(points, tmp_path, unhurt_steps):
    """By the server's count nothing committed is asked for again, and the outputs are the same to the byte."""
    one = killed(tmp_path / "killed", *points, pipeline=rounds(3))
    assert one.died
    assert not one.committed & set(one.asked_again)
    assert {question for question, count in (one.asked + one.asked_again).items() if count > 1} <= one.unknown
    assert one.outputs == unhurt_steps.outputs


@pytest.fixture(scope="module")
def unhurt_steps(tmp_path_factory):
    """The same job undisturbed."""
    return killed(tmp_path_factory.mktemp("unhurt") / "run", Point("before an intent", 10_000), pipeline=rounds(3))


def test_an_unusable_answer_begins_another_conversation(tmp_path):
    """limits.answers counts conversations: the second one starts anew, and has all its steps."""

    def answer(request: Request) -> str:
        return "of no use" if (request.index, request.step) == (0, 1) else by_step(request)

    teacher = Told(answer)
    go(job(tmp_path, rows(1), ROUNDS, limits={"answers": 2}), tmp_path / "run", teacher)
    assert [(one.index, one.step) for one in teacher.requests] == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]
    assert side(tmp_path / "run")[0]["outcome"] == "rewritten"


def test_a_failure_names_the_step_that_failed(tmp_path):
    """The call in the failure is that of the answer which could not be used."""
    teacher = Told(lambda request: by_step(request) if request.step < 2 else "of no use")
    go(job(tmp_path, rows(1), ROUNDS, limits={"answers": 1}), tmp_path / "run", teacher)
    with open_run(tmp_path / "run", Host(modules=["tests.fakes_plugin"], only=[])) as run:
        (history,) = run
        (failure,) = history.sample.failures
        assert (failure.kind, failure.call) == ("format", run.calls(history)[-1].key)


def test_draws_and_teachers_have_conversations_of_their_own(tmp_path):
    """Each teacher is asked all steps of each draw, and its account counts them."""
    teachers = two()
    for teacher in teachers.values():
        teacher.text = lambda request: by_step(request)
    question = {"rounds": {"steps": 2, "temperature": 0.5}}
    stages = [{"reflect": {"reflection": question, "teacher": name, "draws": 2, "as": name}} for name in teachers]
    config = job(
        tmp_path,
        rows(2),
        [*stages, {"choose": "newest"}],
        teacher=None,
        teachers={"strong": "held:strong", "cheap": "held:cheap"},
    )
    quoted = dry(config, tmp_path / "run")
    summary = go(config, tmp_path / "run")
    for name, teacher in teachers.items():
        assert Counter((one.draw, one.step) for one in teacher.requests) == {
            (draw, step): 2 for draw in (0, 1) for step in (0, 1)
        }
        (account,) = (one for one in summary.progress.teachers if one.name == name)
        (part,) = (one for one in quoted.teachers if one.name == name)
        assert (account.counts.calls, account.money.paid) == (8, teacher.paid)
        assert len(teacher.requests) <= part.sends.high and teacher.paid <= part.cost.high


def test_a_local_model_is_asked_in_batches(tmp_path):
    """As any teacher that answers many requests at once."""

    class Local:
        identity, structured = "local", True
        batch_size = 4

        def __init__(self) -> None:
            self.asked: list[int] = []

        def complete_many(self, requests):
            self.asked += [request.step for request in requests]
            return [Reply(by_step(request)) for request in requests]

    teacher = Local()
    go(job(tmp_path, rows(COUNT), ROUNDS), tmp_path / "run", teacher)
    assert Counter(teacher.asked) == {0: COUNT, 1: COUNT, 2: COUNT}


def test_a_batch_api_answers_one_step_after_the_other(tmp_path, monkeypatch):
    """All first requests in one batch, all second ones in the next; the outputs are those of a live run."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(batch_state, "_QUIET", 0.1)
    monkeypatch.setattr(batch_exchange, "_SOONEST", 0.05)
    from rt_framework.config.reading import read_config

    for name, batch in (("live", False), ("batched", True)):
        with FaultServer(http_answer) as server:
            config = http_job(
                tmp_path, server, rows(COUNT), teacher=priced_at(server, batch=batch), pipeline=rounds(2), limits={}
            )
            go(read_config(config), tmp_path / name)
            assert len(questions(server)) == len(server.received) == 2 * COUNT
            assert server.desk.sizes == ([COUNT, COUNT] if batch else [])
    assert outputs(tmp_path / "live") == outputs(tmp_path / "batched")


# --- what it costs ------------------------------------------------------------------------------


def test_the_quote_counts_every_step(tmp_path):
    """High has all of them for each answer, low the next one; a run pays in between, and what is there is known."""
    config = job(tmp_path, rows(COUNT), ROUNDS, limits={"answers": 2})
    before = dry(config, tmp_path / "run")
    assert before.sends == Bounds(COUNT, 2 * 3 * COUNT)
    teacher = Priced(by_step)
    go(config, tmp_path / "run", teacher)
    assert before.cost.low <= teacher.paid <= before.cost.high
    after = dry(config, tmp_path / "run")
    assert (after.sends, after.calls, after.answered) == (Bounds(0, 0), 3 * COUNT, 3 * COUNT)


def test_the_quote_of_a_conversation_in_the_middle(tmp_path):
    """The steps that are answered are known; the next one is known too, and those after it are bounded."""
    config = job(tmp_path, rows(1), ROUNDS, limits={"answers": 1, "attempts": 1})

    def down(request: Request) -> str:
        if request.step:
            raise TeacherError("connection", "not now")
        return by_step(request)

    go(config, tmp_path / "run", Told(down))
    middle = dry(config, tmp_path / "run", Told())
    assert (middle.sends, middle.answered) == (Bounds(1, 2), 1)
    teacher = Told()
    go(config, tmp_path / "run", teacher)
    assert [request.step for request in teacher.requests] == [1, 2]


def test_a_step_of_the_highest_length_is_in_high(tmp_path):
    """The longest words and the longest answers that the bounds allow, to the token."""

    def longest(request: Request) -> str:
        return json.dumps({"response": "x" * 990})  # 256 tokens of four bytes

    first = first_of(Rounds(RoundsSettings()))
    words = "y" * (first.most_prompt_tokens - 16 - 300)
    config = job(tmp_path, [row(0)], rounds(2, words=words), limits={"answers": 1})
    before, teacher = dry(config, tmp_path / "run"), Priced(longest)
    go(config, tmp_path / "run", teacher)
    assert len(teacher.requests) == 2
    assert teacher.paid <= before.cost.high


def test_a_pilot_pays_for_all_steps_of_its_rows(tmp_path):
    """And extrapolates from what they cost; the run after it asks for the rest alone."""
    config = job(tmp_path, rows(6), ROUNDS)
    teacher = Priced(by_step)
    fakes_plugin.HELD["teacher"], fakes_plugin.HELD["student"] = teacher, FakeStudent()
    host = Host(modules=["tests.fakes_plugin"], only=[], strict=True)
    _, forecast = asyncio.run(pilot(host, config, tmp_path / "run", 2, 0))
    assert len(teacher.requests) == 6
    assert forecast.cost.value == pytest.approx(3 * teacher.paid)
    rest = Priced(by_step)
    go(config, tmp_path / "run", rest)
    assert len(rest.requests) == 12


# --- what else reads answers --------------------------------------------------------------------


def test_recorded_answers_have_a_step(tmp_path):
    """A line of the replay teacher's file without one is the first; a step that is missing is named."""
    lines = [
        {"reflection": "rounds", "pair": Pair("Name a river.", "", "The Rhine.").hash, "index": 0, "step": step}
        | {"text": json.dumps({"response": f"River {step}."})}
        for step in range(3)
    ]
    del lines[0]["step"]
    answers = tmp_path / "answers.jsonl"
    data = [{"instruction": "Name a river.", "input": "", "output": "The Rhine."}]

    def run(count: int, name: str) -> dict[str, Any]:
        answers.write_text("".join(json.dumps(line) + "\n" for line in lines[:count]))
        go(job(tmp_path, data, ROUNDS, teacher={"replay": str(answers)}), tmp_path / name)
        return side(tmp_path / name)[0]

    assert run(3, "all")["outcome"] == "rewritten"
    missing = run(2, "some")
    assert (missing["outcome"], missing["failures"][0]["kind"]) == ("original", "no_answer")
    assert "index 0, step 2" in missing["failures"][0]["reason"]


def test_answers_of_another_run_are_used_step_by_step(tmp_path):
    """A copy of the job pays for nothing, and the quote knows."""
    go(job(tmp_path, rows(COUNT), ROUNDS), tmp_path / "first", Told())
    config = job(tmp_path, rows(COUNT), ROUNDS, answers=[str(tmp_path / "first")])
    assert dry(config, tmp_path / "second", Told()).sends == Bounds(0, 0)
    teacher = Told()
    go(config, tmp_path / "second", teacher)
    assert teacher.requests == []
    assert attempts(tmp_path / "second") == {("answered", "copied"): 3 * COUNT}
    assert outputs(tmp_path / "second") == outputs(tmp_path / "first")


def test_a_new_parser_reads_the_answers_again(tmp_path, monkeypatch):
    """Rt reparse: nothing is asked. A conversation that would go on further ends with what it is missing."""
    config, teacher = job(tmp_path, rows(2), ROUNDS), Told()
    go(config, tmp_path / "run", teacher)
    monkeypatch.setattr(Rounds, "parse", lambda self, pair, request, reply: Unparsed("refused", "read anew"))
    silent = Told(lambda request: pytest.fail("asked"))
    go(config, tmp_path / "run", silent, mode=RunMode(ask=False))
    assert {line["failures"][0]["reason"] for line in side(tmp_path / "run")} == {"read anew"}
    monkeypatch.undo()
    with Ledger.writing(tmp_path / "run" / "ledger.sqlite") as ledger:
        from rt_framework.ledger.statements import Statement

        last = "step = 2"
        asyncio.run(ledger.database.write([Statement(f"UPDATE calls SET answer = NULL WHERE {last}")]))
    go(config, tmp_path / "run", silent, mode=RunMode(ask=False))
    assert {line["failures"][0]["kind"] for line in side(tmp_path / "run")} == {"no_answer"}


def test_a_retry_asks_the_whole_conversation_again(tmp_path):
    """Its answers stay in the ledger; what did not fail is not asked for."""
    config = job(tmp_path, rows(2), ROUNDS, limits={"answers": 1})
    bad = pair(1).hash

    def answer(request: Request) -> str:
        return "of no use" if request.step == 2 and request.pair_hash == bad else by_step(request)

    data = [row(0, input=""), row(1, input="")]
    config = job(tmp_path, data, ROUNDS, limits={"answers": 1})
    go(config, tmp_path / "run", Told(answer))
    assert [line["outcome"] for line in side(tmp_path / "run")] == ["rewritten", "original"]
    teacher = Told()
    go(config, tmp_path / "run", teacher, mode=RunMode(retry=("format",)))
    assert [(one.pair_hash, one.step) for one in teacher.requests] == [(bad, 0), (bad, 1), (bad, 2)]
    assert [line["outcome"] for line in side(tmp_path / "run")] == ["rewritten", "rewritten"]
    assert attempts(tmp_path / "run") == {("answered", ""): 9}


def test_calls_on_hold_hold_the_conversation(tmp_path):
    """A step that a killed run may have paid for is neither asked again nor quoted."""
    config = job(tmp_path, rows(1), ROUNDS, limits={"on_ambiguous": "hold", "answers": 1})
    go(config, tmp_path / "run", Told())
    with Ledger.writing(tmp_path / "run" / "ledger.sqlite") as ledger:
        from rt_framework.ledger.statements import Statement

        second = "SELECT number FROM calls WHERE step = 1"
        doubtful = "state = 'unknown', kind = 'interrupted_unknown'"
        statements = [
            f"UPDATE attempts SET {doubtful} WHERE call IN ({second})",
            f"UPDATE calls SET answer = NULL WHERE number IN ({second})",
        ]
        asyncio.run(ledger.database.write([Statement(sql) for sql in statements]))
    (tmp_path / "run" / "manifest.json").unlink()
    assert dry(config, tmp_path / "run", Told()).sends == Bounds(0, 0)
    teacher = Told()
    go(config, tmp_path / "run", teacher)
    assert teacher.requests == []
    assert side(tmp_path / "run")[0]["failures"][0]["kind"] == "interrupted_unknown"
    go(config, tmp_path / "run", teacher, mode=RunMode(retry=("interrupted_unknown",)))
    assert [request.step for request in teacher.requests] == [1]  # the third one has its answer


def test_other_words_of_a_further_request_are_a_changed_question(tmp_path):
    """Refused with the line that changed, before anything is asked; more steps are not."""
    go(job(tmp_path, rows(1), rounds(2)), tmp_path / "run", Told())
    with pytest.raises(ConfigError, match="Make it shorter") as found:
        go(job(tmp_path, rows(1), rounds(2, words="Make it shorter.")), tmp_path / "run", Told())
    assert "Improve it once more" in str(found.value)
    teacher = Told()
    go(job(tmp_path, rows(1), rounds(2)), tmp_path / "run", teacher)
    assert teacher.requests == []


def test_a_question_that_goes_too_far_is_found_before_anything_is_paid_for(tmp_path, monkeypatch):
    """In one line; and where it does so only after certain answers, that sample fails alone."""
    whole = Rounds.follow

    def endless(self, pair, request, reply):
        return request.then(reply, "More.")

    monkeypatch.setattr(Rounds, "follow", endless)
    teacher, config = Told(), job(tmp_path, rows(2), ROUNDS)
    with pytest.raises(PluginError, match=r"reflection 'rounds' cannot go on after a plain answer: .*at most 3 steps"):
        go(config, tmp_path / "run", teacher)
    assert teacher.requests == []

    def sometimes(self, pair, request, reply):
        return (
            endless(self, pair, request, reply)
            if "things that float" in pair.instruction
            else whole(self, pair, request, reply)
        )

    monkeypatch.setattr(Rounds, "follow", sometimes)
    data = [row(1), row(2, instruction="Say it.")]
    go(job(tmp_path, data, ROUNDS), tmp_path / "run", teacher)
    lines = side(tmp_path / "run")
    assert [line["outcome"] for line in lines] == ["failed", "rewritten"]
    assert "it says that it takes at most 3 steps" in lines[0]["reason"]


# --- commands -----------------------------------------------------------------------------------


@pytest.fixture
def rt(monkeypatch, capfd):
    """The command line, in this process."""
    return Commands(monkeypatch, capfd)


def test_commands_tell_of_steps(tmp_path, rt):
    """Previews say that further requests may follow, and ``rt explain`` shows every request in order."""
    data = write_json(tmp_path / "rows.json", rows(1))
    shown = rt("reflect", data, "--reflection", "rounds", "--show")
    assert shown.code == 0, shown
    assert "up to 2 further requests may follow each of them, depending on the answers" in shown.words
    assert "further requests" not in rt("reflect", data, "--reflection", "response", "--show").words
    with FaultServer(http_answer) as server:
        config = http_job(tmp_path, server, rows(1), pipeline=rounds(2))
        dry_run = rt("run", config, "--run-dir", tmp_path / "run", "--dry-run")
        assert "every further request that a question in steps may send" in dry_run.words
        assert rt("run", config, "--run-dir", tmp_path / "run").code == 0
    told = rt("explain", tmp_path / "run", "0", "--prompts")
    assert told.code == 0, told
    places = [
        told.words.rindex(text)
        for text in (
            ": rounds ─",
            "the conversation went on with a further request",
            ": rounds, step 1",
            "user: Improve it once more, in the same form.",
            "made version rounds",
        )
    ]
    assert places == sorted(places)


def test_parts_of_a_job_are_merged_with_all_steps(tmp_path, rt):
    """The merged run has every answer, and goes on for nothing."""
    with FaultServer(http_answer) as server:
        config = http_job(tmp_path, server, rows(6), pipeline=rounds(2), teacher=priced_at(server))
        whole = rt("run", config, "--run-dir", tmp_path / "whole")
        assert whole.code == 0, whole
        shards = [tmp_path / f"shard-{number}" for number in (1, 2)]
        for number, folder in enumerate(shards, 1):
            assert rt("run", config, "--shard", f"{number}/2", "--run-dir", folder).code == 0
        asked = len(server.received)
        assert rt("merge", config, tmp_path / "merged", *shards).code == 0
        assert "0 teacher calls sent" in rt("run", config, "--run-dir", tmp_path / "merged").words
        assert asked == len(server.received) == 2 * 2 * 6
    assert outputs(tmp_path / "merged") == outputs(tmp_path / "whole")


def test_a_question_without_a_bound_is_refused_in_one_line(tmp_path, rt):
    """By the command, before a run directory exists."""
    with FaultServer(http_answer) as server:
        config = http_job(tmp_path, server, rows(1), pipeline=rounds(0))
        error = the_error(rt("run", config, "--run-dir", tmp_path / "run"))
        assert error.startswith("question 'rounds' has 'follow', so it needs 'steps'")
        assert server.received == []
