"""A person in the loop: rewrites are shown, accepted or vetoed one by one, and the next run obeys."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import signal
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MappingProxyType

import pytest
from rich.text import Text

from rt_framework import Decision, Range, Request, Sampling, Score, Turn, hookimpl, open_run
from rt_framework.config import read_config
from rt_framework.jobs.quoting import quote
from rt_framework.model import digest
from rt_framework.plugin import Host
from rt_framework.rundir import alone
from rt_framework.terminal.differences import marked
from rt_framework.testing.processes import environment
from rt_framework.testing.project import Done
from rt_framework.text import shown
from tests.helpers import CONFIG, PLUGIN, Cli, json_lines, rows, the_error, write_json

RUN = Path("runs/rt")
FILE = RUN / "reviews.jsonl"
ROWS = rows(12)

Say = Callable[..., Done]


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """File in which the fakes note each call and each forward pass."""
    monkeypatch.setenv("RT_TEST_LOG", str(tmp_path / "log"))
    return tmp_path / "log"


@pytest.fixture
def cli(tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """A finished run over twelve rows, in the current folder; what the fakes noted of it is forgotten."""
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "data.json", ROWS)
    (tmp_path / "rt.yaml").write_text(CONFIG, "utf-8")
    cli = Cli(monkeypatch, capfd)
    assert cli("run", "rt.yaml").code == 0
    log.unlink()
    return cli


@pytest.fixture
def say(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Say:
    """A caller of ``rt review`` with these lines as standard input."""

    def call(keys: str, *options: object, run_dir: object = RUN) -> Done:
        monkeypatch.setattr(sys, "stdin", io.StringIO(keys.replace(" ", "\n").replace("_", " ")))
        return cli("review", run_dir, *options)

    return call


def side(run_dir: Path = RUN) -> dict[str, dict[str, object]]:
    """The lines of the side file by id."""
    return {str(line["id"]): line for line in json_lines(run_dir / "scores.jsonl")}


def rewritten() -> list[str]:
    """Ids of the rewritten samples, in the order in which seed 0 draws them."""
    ids = [sample_id for sample_id, line in side().items() if line["outcome"] == "rewritten"]
    return sorted(ids, key=lambda sample_id: digest([0, sample_id]))


def kept(run_dir: Path = RUN) -> list[dict[str, str]]:
    """The rows of the kept samples."""
    found: list[dict[str, str]] = json.loads((run_dir / "kept.json").read_text("utf-8"))
    return found


def reviews() -> list[dict[str, object]]:
    """The file of reviews."""
    return json_lines(FILE)


# --- the walk ---------------------------------------------------------------------------------


def test_a_rewrite_is_shown_with_all_that_a_person_needs(say):
    """Before, after, what the teacher said, scores, and why it was chosen; texts that stayed are shown once."""
    done = say("q")
    assert done.code == 0, done
    with open_run(RUN) as run:
        sample = run.sample(rewritten()[0]).sample
    for text in (
        f"1 of {len(rewritten())}: row {sample.row}, sample {sample.id}",
        "before: original",
        f"response: {sample.original.pair.response}",
        f"after: {sample.kept}",
        f"response: {sample.current.pair.response}",
        f"critique before {sample.kept}",
        "Seen: ",
        sample.decisions[-1].reason,
        "[a]ccept [v]eto [c]omment [s]kip [b]ack [q]uit: quit",
        f"{len(rewritten())} of {len(rewritten())} chosen rewrites have no verdict",
    ):
        assert text in done.out, text
    assert done.out.count(f"instruction: {sample.original.pair.instruction}\n") == 1
    assert not FILE.exists(), "nothing was said"


def test_what_was_said_is_kept_and_the_same_command_goes_on_after_it(say):
    """Accept, veto, a comment with a verdict and without; words do as well as keys; what is no key is asked again."""
    first, second, third, fourth, *_ = rewritten()
    done = say("accept x V c far_too_long v c why? s", "-n", 4, "--by", "Ana")
    assert done.code == 0, done
    said = {str(line["id"]): (line["verdict"], line["comment"], line["by"]) for line in reviews()}
    assert said == {
        first: ("accept", "", "Ana"),
        second: ("veto", "", "Ana"),
        third: ("veto", "far too long", "Ana"),
        fourth: (None, "why?", "Ana"),
    }
    assert "kept: vetoed by Ana: far too long" in done.out
    assert "3 rewrites reviewed by Ana: 1 accepted, 2 vetoed, 2 with a comment" in done.out
    assert "2 vetoes since the run: give the command of the run again" in done.out
    again = say("", "-n", 2)
    assert f"1 of 2: row {side()[fourth]['row']}," in again.out, "a comment is no verdict"
    assert "so far commented on by Ana: why?" in again.out
    say("s " * 20)
    assert len(reviews()) == 4, "to skip is to say nothing"


def test_back_and_again_the_last_word_counts(say):
    """Back from the first one stays there."""
    first, second, *_ = rewritten()
    done = say("b v v b b a q")
    assert "so far vetoed by a person" in done.out
    assert {str(line["id"]): line["verdict"] for line in reviews()} == {second: "veto", first: "accept"}
    say("c but_why s", "--sample", first, "--by", "Ben")
    last = next(line for line in reviews() if line["id"] == first)
    assert (last["verdict"], last["comment"], last["by"]) == ("accept", "but why", ""), "Ben gave no verdict"


def test_the_order_is_that_of_the_seed(say):
    """So two people can read different parts, and the same call shows the same rewrites."""
    shown = [
        [line for line in say("s " * 20, "--seed", seed).out.splitlines() if " of 7: " in line] for seed in (0, 0, 1)
    ]
    assert shown[0] == shown[1] != shown[2]
    assert {line.split(": ")[1] for line in shown[0]} == {line.split(": ")[1] for line in shown[2]}


def test_a_single_sample_is_shown_by_row_or_id_reviewed_or_not(say, cli):
    """One without a rewrite is refused, with the reason."""
    first = rewritten()[0]
    row = side()[first]["row"]
    say("v", "--sample", row)
    done = say("a", "--sample", first[:9])
    assert "1 of 1" in done.out and "so far vetoed" in done.out
    assert [line["verdict"] for line in reviews()] == ["accept"]
    original = next(line for line in side().values() if line["outcome"] == "original")
    error = the_error(say("v", "--sample", original["row"]))
    assert error == f"runs/rt: sample {original['id']} has no rewrite to review, since its original was kept"
    assert "not among the samples" in the_error(say("v", "--sample", 99))


def _typed(master: int, keys: str, until: str) -> str:
    """Type keys on a terminal as soon as it takes them, and read it until a pattern is there."""
    single = len(keys) == 1
    while single and termios.tcgetattr(master)[3] & termios.ICANON:
        time.sleep(0.01)
    os.write(master, keys.encode())
    read = ""
    while not re.search(until, read, re.DOTALL):
        assert select.select([master], [], [], 30)[0], read
        read += os.read(master, 4096).decode("utf-8", "replace")
    return read


def test_on_a_terminal_single_keys_do_and_a_kill_loses_nothing_that_was_confirmed(cli):
    """80 columns wide, in a process of its own."""
    code = "import sys; from rt_framework.cli import main; sys.argv = ['rt', *sys.argv[1:]]; main()"
    pid, master = pty.fork()
    if pid == 0:
        env = environment(COLUMNS="80", TERM="xterm", LINES="40")
        os.execve(sys.executable, [sys.executable, "-P", "-c", code, "-p", PLUGIN, "review", str(RUN)], env)
    try:
        text = _typed(master, "", r"\[q\]uit: ")
        assert max(len(line) for line in re.sub(r"\x1b\[[\d;]*m", "", text).replace("\r", "").splitlines()) <= 80
        _typed(master, "v", r"2 of 7.*\[q\]uit: ")
        _typed(master, "c", "comment")
        assert "kept: commented on by a person: no\r\n" in _typed(master, "no\n", r"\[q\]uit: ")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(master)
    assert [(line["verdict"], line["comment"]) for line in reviews()] == [("veto", ""), (None, "no")]
    assert cli("run", "rt.yaml").code == 0, "the lock died with the process"


def test_the_words_by_which_two_texts_differ_are_marked():
    """Gone words are in the first, new ones in the second; texts without likeness have no marks."""

    def words(text: Text) -> list[str]:
        return [text.plain[span.start : span.end] for span in text.spans]

    old, new = marked("The cat sat on the mat.\nIt was grey.", "The dog sat on the mat, quietly.\nIt was grey.")
    assert (words(old), words(new)) == (["cat", "mat."], ["dog", "mat,", "quietly."])
    assert [words(text) for text in marked("Yes.", "An entirely different text.")] == [[], []]
    assert [text.plain for text in marked("a\x1b[31m", "b")] == [shown("a\x1b[31m"), "b"]


# --- the next run obeys -----------------------------------------------------------------------


def test_a_finished_run_obeys_for_nothing_and_changes_nothing_else(say, cli, log):
    """The two original rows in place of two rewrites; no call, no student token; every other byte stays."""
    before, lines, rows_before = rewritten(), side(), kept()
    others = {name: (RUN / name).read_bytes() for name in ("dropped.json", "reviews.jsonl") if (RUN / name).exists()}
    say("v c not_true v a q", "--by", "Ana")
    vetoed = before[:2]
    done = cli("run", "rt.yaml")
    assert done.code == 0, done
    assert not log.exists(), "neither teacher nor student worked"
    progress = json.loads((RUN / "manifest.json").read_text())["summary"]["progress"]
    assert (progress["teacher"]["calls"], progress["student"]["tokens"]) == (0, 0)
    assert "rewrites that people vetoed: 2; their samples keep the original texts" in done.words
    assert "3 rewrites reviewed by Ana: 1 accepted, 2 vetoed, 1 with a comment" in done.words
    at = {int(str(lines[one]["row"])) for one in vetoed}
    assert kept() == [ROWS[number] if number in at else row for number, row in enumerate(rows_before)]
    assert {name: (RUN / name).read_bytes() for name in others} == others
    after = side()
    assert {one: line for one, line in after.items() if one not in vetoed} == {
        one: line for one, line in lines.items() if one not in vetoed
    }
    for one in vetoed:
        *earlier, last = after[one]["decisions"]
        assert earlier == lines[one]["decisions"], "what was decided before stays to be read"
        assert (last["stage"], last["candidates"], last["kept"]) == ("review", [lines[one]["kept"]], "original")
    assert after[vetoed[1]]["decisions"][-1]["reason"] == "vetoed by Ana: not true"
    written = {path: path.read_bytes() for path in (RUN / "kept.json", RUN / "scores.jsonl")}
    assert cli("run", "rt.yaml").code == 0
    assert {path: path.read_bytes() for path in written} == written


def test_every_account_of_the_run_tells_of_the_reviews(say, cli):
    """Manifest, status, explain, report, data card, and the reader for Python."""
    first, second, *_ = rewritten()
    say("c too_long v a q", "--by", "Ana")
    assert cli("run", "rt.yaml").code == 0
    counts = {"accepted": 1, "vetoed": 1, "pending": 0, "stale": 0, "commented": 1, "by": ["Ana"]}
    assert json.loads((RUN / "manifest.json").read_text())["summary"]["reviews"] == counts
    words = "2 rewrites reviewed by Ana: 1 accepted, 1 vetoed, 1 with a comment"
    assert words in cli("status", RUN).words
    told = cli("explain", RUN, first)
    assert f"sample {first}, row {side()[first]['row']}: original, kept: original" in told.words
    assert "review" in told.out and "vetoed by Ana: too long" in told.words
    assert "accepted by Ana" in cli("explain", RUN, second).words
    assert cli("report", RUN).code == 0
    assert words in (RUN / "report.html").read_text("utf-8")
    assert cli("export", RUN, "--hub-folder", "--license", "mit", "--out", "hub").code == 0
    card = Path("hub/README.md").read_text("utf-8")
    assert words in card and "only the reviewed rewrites were read by a person" in card
    with open_run(RUN) as run:
        assert [(one.id, one.verdict, one.comment, one.by) for one in run.reviews] == [
            (first, "veto", "too long", "Ana"),
            (second, "accept", "", "Ana"),
        ]
        assert run.review_counts.accepted == run.review_counts.vetoed == 1


def test_vetoed_texts_are_not_passed_on_before_a_run_has_obeyed(say, cli):
    """Neither as a file nor as a pack, a folder for the hub or records."""
    say("v q")
    for form in (["--out", "x.jsonl"], ["--pack", "trl", "--out", "p"], ["--pack", "trl-preference", "--out", "q"]):
        assert "1 rewrite was vetoed after the run; give the command" in the_error(cli("export", RUN, *form))
    assert not any(Path(name).exists() for name in ("x.jsonl", "p", "q"))
    with open_run(RUN) as run, pytest.raises(Exception, match="vetoed after the run"):
        run.to_dataset()
    assert cli("run", "rt.yaml").code == 0
    assert cli("export", RUN, "--out", "x.jsonl").code == 0
    assert json_lines(Path("x.jsonl")) == kept()
    assert cli("export", RUN, "--pack", "trl-preference", "--out", "q").code == 0
    with open_run(RUN) as run:
        taken = run.sample(rewritten_before := str(reviews()[0]["id"])).sample
    vetoed = taken.version(str(reviews()[0]["version"])).pair.response
    assert rewritten_before and vetoed not in Path("q/train.jsonl").read_text("utf-8")


def test_a_veto_is_taken_back_by_accepting(say, cli):
    """The rewrite is found although the sample holds its original now, and returns."""
    first, outputs = rewritten()[0], (RUN / "kept.json").read_bytes()
    say("v q")
    assert cli("run", "rt.yaml").code == 0
    assert side()[first]["outcome"] == "original"
    assert "vetoed" in say("a", "--sample", first).out
    assert cli("run", "rt.yaml").code == 0
    assert (RUN / "kept.json").read_bytes() == outputs


def test_nothing_built_on_a_vetoed_text_survives(cli, say, log):
    """A stage that is added later asks for no rewrite of a vetoed sample, but does of the others."""
    short = CONFIG.replace("  - reflect: response\n  - choose: {lowest: r-ifd}\n", "").replace(
        "highest: ifd", "lowest: r-ifd"
    )
    Path("short.yaml").write_text(short, "utf-8")
    assert cli("run", "short.yaml").code == 0
    chosen = [one for one, line in side(Path("runs/short")).items() if line["outcome"] == "rewritten"]
    say("v " * len(chosen), run_dir="runs/short")
    Path("long.yaml").write_text(short + "  - reflect: response\n  - choose: newest\n", "utf-8")
    log.unlink(missing_ok=True)
    assert cli("run", "long.yaml", "--run-dir", "runs/short").code == 0
    after = side(Path("runs/short"))
    assert chosen and {after[one]["kept"] for one in chosen} == {"original"}
    assert {line["kept"] for one, line in after.items() if one not in chosen} == {"response"}
    assert log.read_text().split().count("call") == len(ROWS) - len(chosen)


def test_a_veto_of_the_last_of_two_rewrites_takes_back_both(cli, say):
    """The text before the last rewrite was read by nobody either."""
    both = CONFIG.replace("{highest: ifd}", "newest").replace("{lowest: r-ifd}", "newest")
    Path("both.yaml").write_text(both, "utf-8")
    assert cli("run", "both.yaml").code == 0
    done = say("v q", run_dir="runs/both")
    assert "after: instruction.response" in done.out
    assert "critique before instruction ─" in done.out and "critique before instruction.response" in done.out
    assert cli("run", "both.yaml").code == 0
    changed = [line for line in side(Path("runs/both")).values() if line["kept"] != "instruction.response"]
    assert [line["kept"] for line in changed] == ["original"]
    assert kept(Path("runs/both"))[int(str(changed[0]["row"]))] in ROWS


def test_a_vetoed_sample_still_passes_gates_and_selections_with_its_original(cli, say):
    """As if no rewrite had won; the bound of a dry run holds."""
    say("v v v q")
    Path("gated.yaml").write_text(CONFIG + "  - gate: {r-ifd: {above: 100}}\n", "utf-8")
    told = quote(Host(only=(), modules=[PLUGIN]), read_config(Path("gated.yaml")), RUN)
    assert (told.sends.low, told.sends.high, told.unique) == (0, 0, told.answered)
    assert cli("run", "gated.yaml", "--run-dir", RUN).code == 0
    assert all(line["outcome"] == "dropped" for line in side().values())
    assert json.loads((RUN / "manifest.json").read_text())["summary"]["reviews"]["vetoed"] == 3
    Path("top.yaml").write_text(CONFIG + "  - select: {top: {metric: ifd, count: 5}}\n", "utf-8")
    assert cli("run", "top.yaml", "--run-dir", RUN).code == 0
    vetoed = {str(line["id"]) for line in reviews()}
    assert {side()[one]["kept"] for one in vetoed} <= {"original", None}
    assert sum(line["kept"] is not None for line in side().values()) == 5


class Counted:
    """A question whose answer counts the letters of a response; it makes no version."""

    rewrites = ()

    def render(self, pair, index, structured):
        return Request("count", pair.hash, index, (Turn("user", f"Count: {pair.response}"),), Sampling())

    def parse(self, pair, request, reply):
        return float(len(pair.response))


class Review:
    """A stage of a plugin, called as what obeys vetoes is, that marks the version which was chosen."""

    needs = ()
    provides = MappingProxyType({"letters": Range()})

    def __init__(self, make):
        self.reflections = MappingProxyType({"count": Counted()})

    async def run(self, sample, ctx):
        letters = await ctx.ask(self.reflections["count"], sample.current)
        sample = sample.scoring({sample.current: {"letters": Score(letters)}})
        return sample.deciding(Decision("", (sample.kept,), sample.kept, "counted"))


class NewestOfAll:
    """A stage over the data set that keeps the newest version of each sample."""

    needs = ()
    reflections = MappingProxyType({})

    def __init__(self, make):
        pass

    async def run_all(self, samples, ctx):
        newest = [sample.versions[-1].name for sample in samples]
        return [
            sample.deciding(Decision("", (sample.kept, name), name, "newest"))
            for sample, name in zip(samples, newest, strict=True)
        ]


@hookimpl
def rt_register_stages(register):
    register("review", "tests.test_review:Review", help="by letters")
    register("newest-of-all", "tests.test_review:NewestOfAll", help="the newest")


def test_a_stage_that_marks_asks_about_the_original_and_the_quote_says_so(cli, say, log):
    """A stage of a plugin may even be called review: its decisions have another id."""
    Path("marked.yaml").write_text(CONFIG + "  - review\n  - gate: {letters: {at_least: 1}}\n", "utf-8")
    run = ("-p", "tests.test_review", "run", "marked.yaml")
    assert cli(*run).code == 0
    say("v q", run_dir="runs/marked")
    host = Host(only=(), modules=[PLUGIN, "tests.test_review"])
    told = quote(host, read_config(Path("marked.yaml")), Path("runs/marked"))
    assert (told.sends.low, told.sends.high) == (1, 2), "once, or twice if the first answer is no use"
    log.unlink()
    assert cli(*run).code == 0
    assert log.read_text().split() == ["call"]
    line = side(Path("runs/marked"))[rewritten()[0]]
    assert [decision["stage"] for decision in line["decisions"]][-3:] == ["review", "review-2", "gate"]
    assert line["kept"] == "original" and "letters" in line["scores"]["original"]


def test_a_stage_over_the_data_set_cannot_bring_a_vetoed_text_back(cli, say):
    """A plugin may let all samples at once choose; the veto holds there too."""
    Path("all.yaml").write_text(CONFIG.replace("choose: {lowest: r-ifd}", "newest-of-all"), "utf-8")
    run = ("-p", "tests.test_review", "run", "all.yaml")
    assert cli(*run).code == 0
    first, *_ = (one for one, line in side(Path("runs/all")).items() if line["kept"] == "response")
    assert say("v", "--sample", first, run_dir="runs/all").code == 0
    assert cli(*run).code == 0
    assert side(Path("runs/all"))[first]["kept"] == "original"


def test_a_review_is_of_a_text_and_not_of_a_name(say, cli):
    """Another text by the same name is not vetoed, and shown again."""
    say("v q")
    before, outputs = rewritten(), (RUN / "kept.json").read_bytes()
    FILE.write_text(FILE.read_text().replace(str(reviews()[0]["pair"]), "0" * 64))
    assert cli("run", "rt.yaml").code == 0
    assert (RUN / "kept.json").read_bytes() == outputs
    assert "1 review of texts that this run did not choose" in cli("status", RUN).words
    assert f"sample {before[0]}" in say("q").out


def test_reviews_may_be_taken_to_another_run_over_the_same_data(say, cli):
    """The file is enough; a run in a new directory obeys it at once, and a further review replaces it."""
    first = rewritten()[0]
    say("v q")
    Path("runs/new").mkdir()
    Path("runs/new/reviews.jsonl").write_bytes(FILE.read_bytes())
    assert cli("run", "rt.yaml", "--run-dir", "runs/new").code == 0
    assert side(Path("runs/new"))[first]["kept"] == "original"
    assert say("a q", run_dir="runs/new").code == 0
    assert len(json_lines(Path("runs/new/reviews.jsonl"))) == 2


# --- shards, and what goes wrong --------------------------------------------------------------


def test_reviews_of_shards_come_with_the_merge(say, cli):
    """Once they are obeyed; the merged run goes on obeying them, and a merge again leaves later ones alone."""
    shards = [f"runs/rt-shard-{number}-of-2" for number in (1, 2)]
    for number in (1, 2):
        assert cli("run", "rt.yaml", "--shard", f"{number}/2").code == 0
        assert say("v q", run_dir=shards[number - 1]).code == 0
    merge = ("merge", "rt.yaml", "merged", *shards)
    assert the_error(cli(*merge)).startswith(f"{shards[0]}: 1 rewrite was vetoed after the run")
    for number in (1, 2):
        assert cli("run", "rt.yaml", "--shard", f"{number}/2").code == 0
    assert cli(*merge).code == 0
    assert json.loads(Path("merged/manifest.json").read_text())["summary"]["reviews"]["vetoed"] == 2
    merged = kept(Path("merged"))
    assert sum(row in ROWS for row in merged) == sum(row in ROWS for row in kept()) + 2
    assert cli("run", "rt.yaml", "--run-dir", "merged").code == 0
    assert kept(Path("merged")) == merged
    say("a q", run_dir="merged")
    assert cli(*merge).code == 0
    assert len(json_lines(Path("merged/reviews.jsonl"))) == 3


def test_a_salvaged_run_keeps_its_reviews(say, cli):
    """They are beside the ledger, and copied with what is readable of it."""
    say("v q")
    assert cli("salvage", RUN, "saved").code == 0
    assert json_lines(Path("saved/reviews.jsonl")) == reviews()


def test_one_at_a_time(say, cli):
    """Neither a review during a run, nor a run during a review."""
    with alone(RUN):
        assert "in use by process" in the_error(say("v"), 4)
        assert "in use by process" in the_error(cli("run", "rt.yaml"), 4)
    assert not FILE.exists()


@pytest.mark.parametrize("line", ["{", '{"id": "x"}', "[1]"])
def test_a_line_that_is_no_review_stops_everything_that_needs_them(line, say, cli, log):
    """With its number, before anything is asked or written."""
    say("v q")
    FILE.write_text(FILE.read_text() + f"\n{line}\n")
    kept_before = (RUN / "kept.json").read_bytes()
    told = "runs/rt/reviews.jsonl: line 3 is no review; correct this line, or delete it"
    for done in (say("v"), cli("run", "rt.yaml"), cli("status", RUN), cli("export", RUN, "--out", "x.json")):
        assert the_error(done) == told
        assert not done.out or "teacher:" in done.out, "only a run may have begun to speak"
    assert (RUN / "kept.json").read_bytes() == kept_before and not log.exists()


def test_what_is_no_run_directory_is_refused_and_not_made(say):
    """A folder that is not there stays so."""
    assert the_error(say("v", run_dir="nowhere")) == "nowhere: no ledger here; is this a run directory?"
    assert not Path("nowhere").exists()


def test_a_directory_that_cannot_be_written_is_refused_before_anything_is_shown(say, monkeypatch):
    """In one line."""

    def refuse(*_: object, **__: object) -> Iterator[None]:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("rt_framework.rundir.directory.FileLock.acquire", refuse)
    done = say("v")
    assert the_error(done, 5) == "runs/rt: cannot be used as a run directory: Read-only file system"
    assert done.out == ""


def test_the_file_of_reviews_belongs_to_the_run(say, cli):
    """No other command writes over it."""
    say("v q")
    said = FILE.read_bytes()
    the_error(cli("score", "data.json", "--student", "fake", "--out", FILE, "--overwrite"))
    assert FILE.read_bytes() == said


def test_a_run_without_rewrites_has_nothing_to_review(cli, say):
    """And says so."""
    Path("none.yaml").write_text(CONFIG.split("pipeline:")[0] + "pipeline:\n  - measure: [ifd]\n", "utf-8")
    assert cli("run", "none.yaml").code == 0
    done = say("v", run_dir="runs/none")
    assert done.code == 0
    assert "no chosen rewrite is without a verdict" in done.out
    assert done.out.endswith("the run chose no rewrite, so there is nothing to review\n")
