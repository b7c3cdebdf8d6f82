"""The report: what it counts and measures, what it may hold, and that it is one harmless file."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from base64 import b64decode
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from attrs import asdict, evolve

from rt_framework.kit.remarks import remarks
from rt_framework.ledger import Ledger, SampleHistory
from rt_framework.model import Decision, Pair, Range, Sample, Score, Version
from rt_framework.report import write_report
from rt_framework.report.controls import matched, random_like
from rt_framework.report.lines import Choices, Choosing, Lines, SampleLine
from rt_framework.report.noise import EXACT, Doubts
from rt_framework.report.survey import why
from rt_framework.report.texts import clipped, fit
from rt_framework.results import open_run
from rt_framework.rundir import StageFacts
from rt_framework.testing import ScriptedTeacher
from tests.reliability.jobs import Commands
from tests.reliability.test_18_hostile_text import HOSTILE, SURROGATE, hostile_rows, rewriting
from tests.rewriting_teacher import RewritingTeacher
from tests.run_helpers import GATES, SELECTIVE, go, job, rows

WHOLE = [*SELECTIVE, {"measure": ["ifd", "r-ifd"]}, *GATES]
DEMO = Path(__file__).parent.parent / "demo" / "samples.json"


@pytest.fixture
def rt(monkeypatch, capfd) -> Commands:
    """The command line, in this process."""
    return Commands(monkeypatch, capfd)


def finished(tmp_path: Path, data: object, teacher: Any = None, pipeline: Any = WHOLE) -> Path:
    """The directory of a run over *data*."""
    run_dir = tmp_path / "run"
    go(job(tmp_path, data, pipeline), run_dir, teacher or RewritingTeacher())
    return run_dir


class Page(HTMLParser):
    """A parsed page: its elements with their attributes, and the text of its scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self._inside: dict[str, str | None] | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Count it."""
        self.elements.append((tag, tuple(sorted(name for name, _ in attrs))))
        self._inside = dict(attrs) if tag == "script" else None

    def handle_data(self, data: str) -> None:
        """Of a script, or of the page."""
        if self._inside is not None:
            self.scripts.append((self._inside, data))
        else:
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        """The script is over."""
        self._inside = None

    @property
    def samples(self) -> list[dict[str, Any]]:
        """The samples' texts, unpacked."""
        blocks = (text for attrs, text in self.scripts if attrs.get("class") == "block")
        return [sample for block in blocks for sample in json.loads(gzip.decompress(b64decode(block)))]

    @property
    def columns(self) -> dict[str, Any]:
        """The list of samples, unpacked."""
        found = next(text for attrs, text in self.scripts if attrs.get("id") == "columns")
        return json.loads(gzip.decompress(b64decode(found)))


def page(run_dir: Path, **options: Any) -> Page:
    """The report of a run, read."""
    return Page(write_report(run_dir, **options).read_text("utf-8"))


# --- what it measures -------------------------------------------------------------------------


def test_controls_have_the_size_and_the_lengths_of_the_selection() -> None:
    """The matched one takes the nearest outside; what it has to take from inside is counted."""
    ids = [f"s{n}" for n in range(10)]
    lengths = [10, 11, 20, 21, 30, 31, 40, 41, 50, 51]
    found, scarce = matched(ids, lengths, [0, 4, 8])
    assert (sorted(found), scarce) == ([1, 5, 9], 0)
    assert matched(ids, lengths, list(range(9)))[1] == 8
    drawn = random_like(ids, 4)
    assert len(set(drawn)) == 4
    assert drawn == random_like([*ids], 4) != random_like(ids, 4, seed=1)


def test_close_calls_are_told_from_clear_ones(tmp_path: Path) -> None:
    """By the metric that the stage reads first, and at the bounds of a gate, passed or not."""
    choose = StageFacts("by-ifd", "1. by ifd", "by ifd", ("ifd", "r-ifd"))
    gate = StageFacts("gate", "2. gate", "gate", ("ifd",), {"ifd": Range(below=1)})
    doubts = Doubts(EXACT, {"by-ifd": choose, "gate": gate})

    def decided(old: float, new: float, outcome: str = "rewritten") -> list[str]:
        pairs = Pair("q", "", "a"), Pair("q", "", "b")
        versions = (Version("original", pairs[0]), Version("response", pairs[1], "original"))
        scores = {
            "original": {"ifd": Score(old), "r-ifd": Score(0.5)},
            "response": {"ifd": Score(new), "r-ifd": Score(0.5)},
        }
        chosen = Decision("by-ifd", ("original", "response"), "response", "")
        passed = Decision("gate", ("response",), "response", "")
        decisions = (chosen, passed) if outcome == "rewritten" else (chosen,)
        return doubts.about(SampleHistory(Sample("x-0", 0, versions, "response", decisions, (), scores), outcome, None))

    assert decided(0.5, 0.6) == []
    assert decided(0.5, 0.50005) == ["by-ifd"]
    assert decided(0.5, 0.99995) == ["gate"]
    assert decided(0.5, 1.00005, "dropped") == ["gate"]
    assert decided(0.5, 0.99995, "dropped") == [], "the gate would have let it pass: another stage dropped it"
    assert decided(0.5, 0.99995, "failed") == [], "the gate was never reached"
    ledger = Ledger.writing(tmp_path / "ledger.sqlite")
    noises = []
    for student in ("hf 12ab bfloat16", "hf 12ab float32"):
        asyncio.run(ledger.set_meta("frozen", {"student": student}))
        with open_run(tmp_path) as run:
            noises.append(Doubts.of(run).noise)
    ledger.close()
    assert noises[0] > noises[1] == EXACT


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ('{"critique": "Too short.", "response": "b"}', [("critique", "Too short.")]),
        ("[[critique 0123abcd]]\nToo short.\n[[response 0123abcd]]\nb\n[[end 0123abcd]]", [("critique", "Too short.")]),
        ("Something else altogether", [("answer", "Something else altogether")]),
        ('{"critique": 3}', []),
    ],
)
def test_the_critique_is_what_is_left_of_an_answer(answer: str, told: list[tuple[str, str]]) -> None:
    """JSON, markers, or neither."""
    assert remarks(answer, Pair("q", "", "b")) == told


def test_texts_are_fit_for_a_page() -> None:
    """Control characters, marks of direction and lone surrogates are seen; emoji and line ends stay."""
    assert fit("a\x00b\u202ec\ud800d\r\ne\tf") == "a�b�c�d\ne\tf"
    family = "👩\u200d👧"
    assert fit(family) == family
    assert clipped("abcdef", 4) == "abcd […2 more characters]"


def test_reasons_that_differ_in_numbers_only_are_one() -> None:
    """Bounds stay, values go."""
    told = (SampleHistory(Sample("x-0", 0, ()), "dropped", f"rank {n} by ifd is not < 1") for n in (3, 47.5))
    assert len({why(history) for history in told}) == 1


# --- what it shows ----------------------------------------------------------------------------


def test_the_page_holds_every_sample_and_adds_up(tmp_path: Path) -> None:
    """Texts, scores, decisions, critiques; the flow loses nobody between two stages."""
    run_dir = finished(tmp_path, json.loads(DEMO.read_text("utf-8")))
    found = page(run_dir)
    side = [json.loads(line) for line in (run_dir / "scores.jsonl").read_text("utf-8").splitlines()]
    assert [sample["id"] for sample in found.samples] == [line["id"] for line in side]
    for sample, line in zip(found.samples, side, strict=True):
        assert sample["scores"] == {
            v: {m: s if isinstance(s, float) else f"{s['status']}: {s['reason']}" for m, s in of.items()}
            for v, of in line["scores"].items()
        }
        assert [d[3] for d in sample["decisions"]] == [d["reason"] for d in line["decisions"]]
        assert all(version["said"] for version in sample["versions"][1:])
    columns = found.columns
    flow, total = columns["flow"], len(side)
    for stage in range(len(flow["stages"]) - 1):
        assert sum(link[4] for link in flow["links"] if link[0] == stage) == total
    ends = Counter(columns["ends"][end][0] for end in columns["end"])
    assert ends == Counter(line["outcome"] for line in side)
    kept = ends["rewritten"] + ends["original"]
    assert f"{kept} of {total}{ends['rewritten']} rewritten, {ends['original']} as they were" in found.text


def test_the_tables_say_what_the_run_said(tmp_path: Path) -> None:
    """Mean scores, costs and failures are those of the manifest and the ledger."""
    run_dir = finished(tmp_path, rows(60))
    text = page(run_dir).text
    summary = json.loads((run_dir / "manifest.json").read_text("utf-8"))["summary"]
    for shift in summary["shifts"]:
        assert f"{shift['before']:.4g}" in text and f"{shift['after']:.4g}" in text
    for kind, count in summary["failures"].items():
        assert f"{kind}{count}" in text
    assert f"{summary['progress']['teacher']['calls']:,} requests" in text


def test_time_and_requests_are_those_of_all_runs(tmp_path: Path) -> None:
    """Going on with a finished run sends nothing; what the first one did is still told."""
    run_dir = finished(tmp_path, rows(6))
    sent = json.loads((run_dir / "manifest.json").read_text("utf-8"))["summary"]["progress"]["teacher"]["calls"]
    finished(tmp_path, rows(6))
    text = " ".join(page(run_dir).text.split())
    assert "2 runs took" in text and f"not counted: {sent} requests" in text and "The last run sent 0 requests" in text


def test_the_same_run_gives_the_same_page(tmp_path: Path) -> None:
    """To the byte, so that a page can be compared and kept in version control."""
    run_dir = finished(tmp_path, rows(8))
    one, other = (write_report(run_dir, tmp_path / name).read_bytes() for name in ("a.html", "b.html"))
    assert one == other


def test_long_texts_are_cut_where_they_do_not_fit(tmp_path: Path) -> None:
    """And marked, and the page says so; a page with room cuts none."""
    data = [
        row | {"output": " ".join(f"w{n}{at * 7919 % 10007}" for at in range(9000))} for n, row in enumerate(rows(40))
    ]
    run_dir = finished(tmp_path, data, pipeline=[{"measure": ["length"]}])
    whole, cut = page(run_dir), page(run_dir, megabytes=0.5)
    assert "more characters]" not in whole.samples[0]["versions"][0]["response"]
    assert "more characters]" in cut.samples[0]["versions"][0]["response"]
    assert "texts are cut after" in cut.text and "texts are cut after" not in whole.text
    assert (run_dir / "report.html").stat().st_size < 550_000


def test_nothing_in_the_page_comes_from_elsewhere(tmp_path: Path) -> None:
    """No address but names of namespaces, no inline handler, and a policy that lets in our scripts by hash alone."""
    html = write_report(finished(tmp_path, rows(4))).read_text("utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert (
        policy and "default-src &#39;none&#39;" in policy[1] and "unsafe" not in policy[1] and "http" not in policy[1]
    )
    found = Page(html)
    allowed = {"src", "srcset", "style", "action"} | {
        name for _, names in found.elements for name in names if name.startswith("on")
    }
    assert not [element for element in found.elements if allowed & set(element[1])]
    assert {tag for tag, _ in found.elements}.isdisjoint({"link", "img", "iframe", "object", "base"})


def test_hostile_text_adds_no_element(tmp_path: Path) -> None:
    """In data, critiques, reasons and names: elements and attributes are those of a harmless run."""
    (tmp_path / "bad").mkdir()
    (tmp_path / "good").mkdir()
    bad = page(finished(tmp_path / "bad", hostile_rows(), ScriptedTeacher(rewriting)))
    good = page(finished(tmp_path / "good", rows(len(HOSTILE) + 1)))
    assert set(bad.elements) <= set(good.elements)
    shown = json.dumps(bad.samples, ensure_ascii=False)
    assert "</script><script>alert(1)</script>" in shown and SURROGATE not in shown
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", bad.text + shown)


# --- the command ------------------------------------------------------------------------------


def test_the_command_says_what_it_wrote(tmp_path: Path, rt: Any) -> None:
    """Beside the ledger, or where it is told to."""
    run_dir = finished(tmp_path, rows(3))
    assert rt("report", run_dir).out == f"wrote {run_dir / 'report.html'}\n"
    assert rt("report", run_dir, "--out", tmp_path / "x.html").out == f"wrote {tmp_path / 'x.html'}\n"
    assert (tmp_path / "x.html").read_bytes() == (run_dir / "report.html").read_bytes()


def test_after_a_pilot_it_is_the_pilots(tmp_path: Path) -> None:
    """Of its rows, and the title says so; after the whole run it is of all."""
    run_dir = tmp_path / "run"
    config = job(tmp_path, rows(20), WHOLE)
    go(config, run_dir, RewritingTeacher(), pilot=5)
    found = page(run_dir)
    assert (len(found.samples), "This is a pilot of 5 rows" in found.text) == (5, True)
    go(config, run_dir, RewritingTeacher())
    found = page(run_dir)
    assert (len(found.samples), "a pilot" in found.text) == (20, False)


def test_a_run_that_is_not_finished_is_one_line(tmp_path: Path, rt: Any) -> None:
    """It names the directory and the way out; so does a directory that holds no run."""
    done = rt("report", tmp_path)
    assert (done.code, done.out) == (2, "")
    assert f"{tmp_path}/ledger.sqlite: no ledger here; is this a run directory?" in done.err
    Ledger.writing(tmp_path / "ledger.sqlite").close()
    done = rt("report", tmp_path)
    assert (done.code, done.out) == (2, "")
    assert str(tmp_path) in done.err and "'rt run'" in done.err


def test_a_run_without_a_teacher_or_choices_has_a_report_too(tmp_path: Path) -> None:
    """Scores alone, and a gate."""
    run_dir = finished(tmp_path, rows(5), pipeline=[{"measure": ["ifd"]}, {"gate": {"ifd": {"below": 1}}}])
    found = page(run_dir)
    assert len(found.samples) == 5
    assert (
        "How well length alone, and echo alone, predict the decisions" in found.text
        or "Every sample was kept" in found.text
    )


def test_lines_are_read_as_they_were_added() -> None:
    """They may lack scores, and a metric may come late."""
    first = SampleLine(
        *("a-0", 0, "rewritten", "response", "", "head", "0f" * 32),
        before={"ifd": 0.5},
        after={},
        length_before=3,
        length_after=0,
        echo_before=None,
        echo_after=0.25,
        failed=("parse_failed",),
        near=True,
    )
    second = evolve(first, id="b-1", row=7, why="gate", head="", before={}, after={"ifd": 1.0, "r-ifd": 2.0}, failed=())
    lines, choices = Lines(), Choices()
    for line in (first, second, first):
        lines.append(line)
    found = [{name: getattr(line, name) for name in asdict(first)} for line in lines.all()]
    assert found == [asdict(line) for line in (first, second, first)]
    made = [Choosing("choose", True, -3, None), Choosing("choose", False, 5, 0.5)]
    for choice in made:
        choices.append(choice)
    assert list(choices.all()) == made
