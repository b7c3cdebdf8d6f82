"""A dry run quotes the calls and the cost of the run that follows, and does nothing itself."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path

import pytest
from attrs import evolve

from rt_framework.builtin.reflections.instruction import InstructionReflection
from rt_framework.builtin.reflections.settings import ReflectionSettings
from rt_framework.config.schema import Data
from rt_framework.errors import ConfigError, DataError
from rt_framework.jobs.quoting import Bounds, Quote, quote
from rt_framework.ledger.ledger import Ledger
from rt_framework.model import Sample
from rt_framework.plugin.host import Host
from rt_framework.teacher.budget import price_of
from rt_framework.testing.fakes import FakeStudent, ScriptedTeacher, rewriting
from rt_framework.testing.server import FaultServer
from tests import fakes_plugin
from tests.helpers import Cli, Living
from tests.reliability.jobs import http_job, priced_at
from tests.run_helpers import ASK, GATES, SELECTIVE, TELL, Priced, go, http_answer, job, pair_of, rows


class Unloadable(FakeStudent):
    """A student that must not be asked."""

    def encode(self, spans):
        raise AssertionError("a dry run loads no student")


def dry(config, run_dir, teacher=None) -> Quote:
    """The quote of a job, with a student that must not be touched."""
    fakes_plugin.HELD["teacher"] = Priced() if teacher is None else teacher
    fakes_plugin.HELD["student"] = Unloadable()
    return quote(Host(modules=["tests.fakes_plugin"], only=[], strict=True), config, run_dir)


def files(folder: Path) -> dict[str, bytes]:
    """Every file with its bytes; of the memory that SQLite's readers share, only that it is there."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): b"" if path.name.endswith("-shm") else path.read_bytes() for path in paths}


# --- against a run ----------------------------------------------------------------------------


@pytest.mark.parametrize("exhaustive", [False, True])
def test_the_quote_is_what_the_run_does(exhaustive, tmp_path):
    """Calls, those left of duplicates, and a cost between low and high; afterwards everything is answered."""
    data = [*rows(12), *rows(4), *rows(2)]
    pipeline = {"stages": [*SELECTIVE, *GATES], "exhaustive": exhaustive}
    config = job(tmp_path, data, pipeline)
    before = dry(config, tmp_path / "run")
    # Exhaustive: the second reflection is asked about the original and about its rewrite.
    each = 3 if exhaustive else 2
    assert (before.samples, before.calls, before.unique, before.answered) == (18, 18 * each, 12 * each, 0)
    # Rows 12 to 15 are there a second time: their second question may be about the other of two versions.
    more = 0 if exhaustive else 2 * 4
    assert (before.sends, before.guessed, before.broken) == (Bounds(12 * each, 24 * each + more), 12, 0)

    teacher = Priced()
    go(config, tmp_path / "run", teacher)
    assert len(teacher.requests) == before.unique
    assert before.cost.low <= teacher.paid <= before.cost.high
    asked = sum(-(-len(turn.content.encode()) // 4) for request in teacher.requests for turn in request.messages)
    assert before.prompt_tokens.low == pytest.approx(asked, rel=0.1)
    assert asked < before.prompt_tokens.high

    after = dry(config, tmp_path / "run")
    assert (after.calls, after.unique, after.answered) == (18 * each, 12 * each, 12 * each)
    assert after.sends == after.prompt_tokens == after.answer_tokens == after.cost == Bounds(0, 0)
    assert (after.spent, after.guessed) == (teacher.paid, 0)


def test_low_and_high_are_what_they_say(tmp_path):
    """One call: low is its prompt at four bytes a token and the text that it replaces; high is what is reserved for
    every request that is allowed. Those after an unusable answer are longer.
    """
    data = rows(1)
    config = job(tmp_path, data, [{"reflect": "instruction"}, {"choose": "newest"}], limits={"answers": 3})
    found = dry(config, tmp_path / "run")
    old = pair_of(data[0])
    request, *later = (InstructionReflection(ReflectionSettings()).render(old, index, True) for index in range(3))
    asked = sum(math.ceil(len(turn.content.encode()) / 4) for turn in request.messages)
    told = math.ceil(len(old.question.encode()) / 4) + math.ceil(len(old.response.encode()) / 4)
    assert found.cost == Bounds(
        ASK * asked + TELL * told, sum(price_of(Priced(), one) or 0 for one in (request, *later))
    )
    assert found.answer_tokens == Bounds(told, 3 * request.sampling.max_tokens)
    assert found.prompts == ((0, request),)


def test_high_leaves_room_for_the_longest_rewrite(tmp_path):
    """The second question may be about a text longer than there is: by all that the first answer may hold."""
    data = rows(1)
    first = dry(job(tmp_path, data, SELECTIVE[:2]), tmp_path / "run").prompt_tokens.high
    second = dry(job(tmp_path, data, SELECTIVE[2:]), tmp_path / "run").prompt_tokens.high
    both = dry(job(tmp_path, data, SELECTIVE), tmp_path / "run").prompt_tokens.high
    longest = ReflectionSettings().max_tokens
    assert both == first + second + 2 * longest  # two answers are allowed


def test_a_run_whose_answers_are_of_no_use_costs_no_more_than_high(tmp_path):
    """And is sent as often as the quote says; what is committed stays answered, and nothing follows it."""
    config = job(tmp_path, rows(6), SELECTIVE, limits={"answers": 3})
    before = dry(config, tmp_path / "run")
    teacher = Priced(lambda request: "I would rather not. " * 2000)
    go(config, tmp_path / "run", teacher)
    assert len(teacher.requests) == before.sends.high == 2 * 6 * 3
    assert before.cost.low < teacher.paid <= before.cost.high
    assert dry(config, tmp_path / "run").sends == Bounds(0, 0)
    # One answer more is allowed: the first question is asked once more, and the second may be about what it gives.
    more = job(tmp_path, rows(6), SELECTIVE, limits={"answers": 4})
    assert dry(more, tmp_path / "run").sends == Bounds(6 + 6, 6 + 4 * 6)


@pytest.mark.parametrize("done", [3, 9])
def test_what_a_part_of_the_run_answered_is_subtracted(done, tmp_path):
    """After some rows the quote is what the rest of the run then sends."""
    config = job(tmp_path, rows(12), SELECTIVE)
    first = job(tmp_path, rows(12), SELECTIVE, limits={"samples": done})
    go(first, tmp_path / "run", Priced())
    found = dry(config, tmp_path / "run")
    assert (found.unique, found.answered) == (24, 2 * done)
    teacher = Priced()
    go(config, tmp_path / "run", teacher)
    assert len(teacher.requests) == found.sends.low == 24 - 2 * done
    assert found.cost.low <= teacher.paid <= found.cost.high


def test_a_rewrite_that_is_there_is_rendered_and_not_guessed(tmp_path):
    """With only the first reflection answered, the second is about texts that are known."""
    one = job(tmp_path, rows(5), SELECTIVE[:1])
    go(one, tmp_path / "run", Priced())
    found = dry(job(tmp_path, rows(5), SELECTIVE), tmp_path / "run")
    assert (found.unique, found.answered, found.guessed) == (10, 5, 0)


def test_a_sample_that_a_reflection_raises_on_is_counted_apart(tmp_path, monkeypatch):
    """A run fails it and goes on; so does a quote."""
    whole = InstructionReflection.render

    def render(self, pair, index, structured):
        if "Name 2 " in pair.instruction:
            raise RuntimeError("no")
        return whole(self, pair, index, structured)

    monkeypatch.setattr(InstructionReflection, "render", render)
    found = dry(job(tmp_path, rows(4), SELECTIVE), tmp_path / "run")
    assert (found.samples, found.broken, found.unique) == (4, 1, 6)


# --- it does nothing --------------------------------------------------------------------------


def test_nothing_is_asked_and_nothing_is_written(tmp_path):
    """No run directory is made; one that is there keeps every byte, and gets no file."""
    config = job(tmp_path, rows(6), SELECTIVE)
    teacher = Priced()
    dry(config, tmp_path / "run", teacher)
    assert (teacher.requests, [path.name for path in tmp_path.iterdir()]) == ([], ["data.json"])
    go(config, tmp_path / "run", Priced())
    before = files(tmp_path)
    dry(config, tmp_path / "run", teacher)
    assert teacher.requests == []
    assert files(tmp_path) == before


def test_a_quote_may_be_taken_while_a_run_owns_the_directory(tmp_path):
    """It only reads, so it needs no lock."""
    config = job(tmp_path, rows(4), SELECTIVE)
    seen = []

    class Asking(Priced):
        async def complete(self, request):
            if len(self.requests) == 3:
                seen.append(await asyncio.to_thread(dry, config, tmp_path / "run"))
            return await super().complete(request)

    go(job(tmp_path, rows(4), SELECTIVE, limits={"concurrency": 1}), tmp_path / "run", Asking())
    assert (seen[0].unique, seen[0].answered) == (8, 3)


def test_rows_are_let_go_as_they_are_counted(tmp_path, monkeypatch):
    """However long the file is; what stays is one number for each unique call."""
    alive, living = [], Living(monkeypatch, Sample)

    class Watched(Priced):
        @property
        def identity(self):
            self.asked = getattr(self, "asked", 0) + 1
            if self.asked % 50 == 0:
                alive.append(len(living))
            return "watched"

    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows(400)))
    config = evolve(job(tmp_path, [], SELECTIVE), data=Data(str(path)))
    found = dry(config, tmp_path / "run", Watched())
    assert (found.samples, found.unique) == (400, 800)
    assert len(alive) > 5 and 0 < max(alive) < 10


# --- what it refuses --------------------------------------------------------------------------


def test_a_price_that_is_not_known_is_no_number(tmp_path):
    """Unknown; and with a budget the same refusal as a run's."""
    teacher = ScriptedTeacher(rewriting)
    assert dry(job(tmp_path, rows(2), SELECTIVE), tmp_path / "run", teacher).cost is None
    budgeted = job(tmp_path, rows(2), SELECTIVE, limits={"budget_usd": 1.0})
    with pytest.raises(ConfigError) as refused:
        dry(budgeted, tmp_path / "run", teacher)
    with pytest.raises(ConfigError) as run_refused:
        go(budgeted, tmp_path / "run", teacher)
    assert str(refused.value) == str(run_refused.value)
    assert "the price of teacher 'scripted' is not known" in str(refused.value)


def test_a_changed_job_and_a_bad_row_are_refused_as_by_a_run(tmp_path):
    """Before the run would be started."""
    go(job(tmp_path, rows(2), SELECTIVE), tmp_path / "run", Priced())
    with pytest.raises(ConfigError, match="was started with other settings"):
        dry(job(tmp_path, rows(3), SELECTIVE), tmp_path / "run")
    with pytest.raises(DataError, match="row 2"):
        dry(job(tmp_path, [*rows(2), {"instruction": 1}], SELECTIVE), tmp_path / "other")


def test_a_job_without_a_teacher_costs_nothing(tmp_path):
    """And says how many samples there are."""
    config = job(tmp_path, rows(3), [{"measure": ["ifd"]}], teacher=None)
    found = dry(config, tmp_path / "run")
    assert (found.samples, found.calls, found.cost) == (3, 0, Bounds(0, 0))


# --- on the command line ----------------------------------------------------------------------


@pytest.fixture
def cli(monkeypatch, capfd, tmp_path):
    """`rt` in an empty directory, with the fakes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RT_LOAD_PLUGINS", "")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    return Cli(monkeypatch, capfd)


def paid(folder: Path, server: FaultServer, data: list[dict[str, str]], **more: object) -> Path:
    """A config for a paid teacher at *server*."""
    return http_job(folder, server, data, **{"teacher": priced_at(server), "pipeline": SELECTIVE, "limits": {}} | more)


def test_a_dry_run_reaches_no_server_and_shows_three_prompts(cli, tmp_path):
    """Whole, harmless on a terminal; a run then sends what was said, and its cost lies between low and high."""
    data = [{"instruction": "Say [bold]\x1b[31m hi", "output": "Hi [/bold]"}, *rows(4), *rows(1)]
    with FaultServer(http_answer) as server:
        config = paid(tmp_path, server, data, limits={"budget_usd": 5})
        done = cli("run", config, "--dry-run")
        assert (done.code, done.err, server.received) == (0, "", [])
        assert sorted(path.name for path in tmp_path.iterdir()) == ["data.json", "job.yaml"]
        assert "\x1b" not in done.out
        for row in (0, 1, 2):
            assert f"row {row}, reflection instruction" in done.out
        assert done.out.count("user: The example:") == 3
        assert "Say [bold]�[31m hi" in done.out and "Hi [/bold]" in done.out
        assert done.out.count("the new response to the new instruction\n") == 3  # the prompts' last line
        assert "6 samples teacher calls count" in done.words
        assert "calls 12 unique calls 10 answered in the run directory 0 to send 10" in done.words
        assert "calls 10 22 prompt tokens" in done.words  # the row that stands there twice has two versions
        assert "limits.budget_usd of $5, of which $0.0000 is spent, covers the high cost" in done.out
        assert "5 calls are about rewrites that do not exist yet" in done.out

        assert cli("run", config).code == 0
        assert len(server.received) == 10
        with Ledger.reading(tmp_path / "runs" / "job" / "ledger.sqlite") as ledger:
            spent = ledger.costs.spent() / 1e9
        low, high = (float(text) for text in done.words.split(" cost $")[1].split(" low:")[0].split(" $"))
        assert 0 < low <= spent <= high

        done = cli("run", config, "--dry-run")
        assert (done.code, len(server.received)) == (0, 10)
        assert "answered in the run directory 10 to send 0" in done.words
        assert f"of which ${spent:.4f} is spent" in done.out


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (0.0001, "does not cover even the low cost"),
        (0.01, "covers the low cost but not the high one"),
        (1, "covers the high cost"),
    ],
)
def test_it_is_said_whether_the_budget_covers_the_cost(budget, words, cli, tmp_path):
    """Both ends."""
    with FaultServer(http_answer) as server:
        done = cli("run", paid(tmp_path, server, rows(5)), "--dry-run", "--set", f"limits.budget_usd={budget}")
    assert done.code == 0
    assert words in done.out


def test_an_unknown_price_is_said_and_refused_with_a_budget(cli, tmp_path):
    """As a run refuses: exit code 2 and one line."""
    with FaultServer(http_answer) as server:
        config = paid(tmp_path, server, rows(5), teacher={"litellm": {"model": "openai/fake-model"}})
        done = cli("run", config, "--dry-run")
        assert "cost unknown unknown" in done.words
        assert "the price of teacher 'litellm" in done.out
        done = cli("run", config, "--dry-run", "--set", "limits.budget_usd=1")
        assert (done.code, done.out, server.received) == (2, "", [])
    assert "limits.budget_usd is set but the price of teacher" in done.err


def test_without_a_teacher_nothing_is_paid_for(cli, tmp_path):
    """It says so."""
    with FaultServer(http_answer) as server:
        config = paid(tmp_path, server, rows(5), teacher=None, pipeline=[{"measure": ["ifd"]}])
    assert "no teacher: nothing is paid for" in cli("run", config, "--dry-run").out
