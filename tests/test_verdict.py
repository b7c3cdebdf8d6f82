"""The first screen of the report: whether to train on the result, for five runs that a person must tell apart."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from rt_framework.events import ReviewCounts
from rt_framework.kit.passages import Passage
from rt_framework.report import write_report
from rt_framework.report.evidence import Evidence
from rt_framework.report.explained import Explained
from rt_framework.report.lines import Choosing, SampleLine
from rt_framework.report.rules import RULES
from rt_framework.report.survey import Survey
from rt_framework.report.verdict import LEVELS, verdict_of
from tests.five_runs import FIVE, finished
from tests.helpers import REPO
from tests.reliability.jobs import Commands
from tests.run_helpers import json_lines
from tests.test_report import Page


@pytest.mark.parametrize(
    ("name", "answer", "deciding", "command"),
    [
        ("good", "It is worth a trial: nothing found here speaks against it.", "Median ifd of the rewritten", "prove"),
        ("nothing-gained", LEVELS["unchanged"], "The result is the input: 0 of 60 samples", "explain"),
        ("length-only", LEVELS["compare"], "Length alone explains 'choose lowest loss'", "prove"),
        ("canned-teacher", LEVELS["unfit"], "“Please remember that this is general information", "samples"),
        ("half-dropped", LEVELS["compare"], "of the samples were dropped (36: gate ifd: not < 0.9)", "prove"),
    ],
)
def test_the_first_screen_says_whether_to_train_on_it(
    name: str, answer: str, deciding: str, command: str, tmp_path: Path
) -> None:
    """With the deciding reason before the others of its side, and the next command."""
    assert name in FIVE
    run_dir = finished(tmp_path, name)
    html = write_report(run_dir).read_text("utf-8")
    text = " ".join(Page(html).text.split())
    assert f"Shall I train on this? {answer}" in text
    first = [unescape(side) for side in re.findall(r"<ul>\n<li>(.*?)</li>", html, re.DOTALL)]
    assert any(deciding in side for side in first)
    assert f"rt {command} {run_dir}" in text
    assert "held: teacher" in text and "held: student" in text and re.search(r"\d \w+ 20\d\d, 0:00:", text)


def line(number: int, outcome: str = "rewritten", **more: Any) -> SampleLine:
    """A sample whose scores got better."""
    scores = {"before": {"ifd": 0.5, "r-ifd": 0.8}, "after": {"ifd": 0.7, "r-ifd": 0.6}}
    made = SampleLine(
        *(f"s{number}", number, outcome, "response", "", "head", "hash"),
        **scores,
        length_before=100,
        length_after=150,
        echo_before=0.1,
        echo_after=0.1,
        failed=(),
        near=False,
    )
    return evolve(made, **more)


def evidence(lines: list[SampleLine] | None = None, explained: tuple[Explained, ...] = (), **more: Any) -> Evidence:
    """A survey of 40 samples in which nothing is wrong, with changes."""
    found = [line(number) for number in range(40)] if lines is None else lines
    choices = tuple(Choosing("choose", bool(number % 2), 10, 0.0) for number in range(40))
    facts: dict[str, Any] = {
        "flow": (),
        "stages": (),
        "choices": choices,
        "noise": 2e-4,
        "doubts": {},
        "failures": {},
        "unscored": {},
        "passages": (),
        "metrics": ("ifd", "r-ifd"),
    }
    return Evidence(Survey(tuple(found), **(facts | more)), explained, None, is_pilot=False)


def test_length_explains_nothing_where_all_rewrites_are_longer_and_the_extra_length_does_not_decide() -> None:
    """The longer response then wins as often as the rewrite does, which says nothing of length."""
    found = verdict_of(evidence(explained=(Explained("choose", 48, 37, 1.0, 0.477, 0.5),)))
    assert found.level == "trial" and not found.lines("against")
    assert any("Neither length nor echo" in text for text in found.lines("for"))
    assert any("100% of the rewrites have a longer response" in text for text in found.lines("unknown"))


@pytest.mark.parametrize(("accepted", "vetoed", "level"), [(9, 2, "trial"), (8, 2, "unfit"), (5, 4, "trial")])
def test_many_vetoes_speak_against_what_nobody_has_read(accepted: int, vetoed: int, level: str) -> None:
    """From one in five on, if enough were read."""
    found = verdict_of(evolve(evidence(), reviews=ReviewCounts(accepted, vetoed)))
    read = f"A person has read {accepted + vetoed} rewrites and vetoed {vetoed}"
    assert found.level == level and any(
        text.startswith(read) for text in (*found.lines("for"), *found.lines("against"))
    )


@pytest.mark.parametrize(
    ("more", "level", "said"),
    [
        (
            {"lines": [line(n, "failed" if n < 3 else "rewritten", why="refused") for n in range(40)]},
            "unfit",
            "3: refused",
        ),
        ({"lines": [line(n, "waiting" if n < 1 else "rewritten") for n in range(40)]}, "unfinished", "1 sample of 40"),
        ({"unscored": {"empty": 2}}, "unfit", "2 samples of 40 lack a score that a stage asked for (empty 2)"),
        ({"unscored": {"empty": 1}}, "trial", ""),
        ({"failures": {"format": 9, "refused": 1}}, "trial", "20% of the teacher's rewrites"),
        ({"passages": (Passage("x" * 120, 4),)}, "unfit", "4 of 40 kept responses"),
        ({"passages": (Passage("x" * 120, 3),)}, "trial", "3 of 40 kept responses"),
        ({"passages": (Passage("x" * 120, 2),)}, "trial", ""),
        (
            {"lines": [line(number) for number in range(400)], "passages": (Passage("x" * 120, 3),)},
            "trial",
            "",
        ),
        ({"explained": (Explained("choose", 40, 20, 0.5, 0.75, None),)}, "compare", "Length alone explains 'choose'"),
        (
            {"explained": (Explained("choose", 40, 20, 0.5, 0.5, 0.2),)},
            "compare",
            "the less echoing one won (AUC 0.20)",
        ),
        ({"explained": (Explained("choose", 40, 9, 0.5, 1.0, None),)}, "trial", ""),
        ({"lines": [line(n, length_after=250) for n in range(40)]}, "trial", "2.5 times the length"),
        ({"lines": [line(n, near=n < 4) for n in range(40)]}, "trial", "4 samples of 40 were decided"),
        ({"lines": [line(n, after={"ifd": 0.4, "r-ifd": 0.9}) for n in range(40)]}, "unchanged", "Neither score"),
    ],
)
def test_a_rule_speaks_from_its_bound_on(more: dict[str, Any], level: str, said: str) -> None:
    """And says so against the run, unless the case is below the bound."""
    found = verdict_of(evidence(**more))
    against = " ".join(found.lines("against"))
    assert found.level == level
    assert said in against if said else not against


def test_a_passage_in_few_of_many_responses_does_not_speak_against_them() -> None:
    """A long run repeats some sentence three times by chance."""
    few = evidence([line(number) for number in range(400)], passages=(Passage("x" * 120, 3),))
    assert "No passage stands in 1% of the kept responses." in verdict_of(few).lines("for")
    assert "No passage is repeated over the kept responses." in verdict_of(evidence()).lines("for")


def test_hostile_names_and_passages_are_made_fit_for_the_page() -> None:
    """A passage of the data and the name of a stage may hold control characters; no line of the verdict does."""
    hostile = "\x1b[31m\u202e" + "x" * 120
    found = verdict_of(
        evidence(explained=(Explained(hostile, 40, 20, 0.5, 1.0, None),), passages=(Passage(hostile, 9),))
    )
    said = " ".join(reason.text for reason in found.reasons)
    assert said.count("�") >= 4 and not {"\x1b", "\u202e"} & set(said)


def test_the_page_on_reports_lists_every_rule() -> None:
    """In the words of its docstring."""
    listed = (REPO / "docs/how-to/read-a-report.md").read_text("utf-8")
    for rule in RULES:
        assert rule.__doc__ and f"| {rule.__doc__} |" in listed, f"{rule.__name__}: {rule.__doc__}"
    for answer in LEVELS.values():
        assert answer in listed, answer


# --- several runs side by side ----------------------------------------------------------------


@pytest.fixture
def rt(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Commands:
    """The command line, in this process."""
    return Commands(monkeypatch, capfd)


def test_runs_stand_side_by_side_with_what_they_share(tmp_path: Path, rt: Any) -> None:
    """A column each, their verdicts, and the samples that both kept; nothing that could load or run."""
    one, other = (finished(tmp_path / name, name) for name in ("good", "half-dropped"))
    refused = rt("report", one, other)
    assert refused.code == 2 and "--out FILE.html" in refused.err
    done = rt("report", one, other, "--out", tmp_path / "both.html")
    assert done.out == f"wrote {tmp_path / 'both.html'}\n"
    html = (tmp_path / "both.html").read_text("utf-8")
    text = " ".join(Page(html).text.split())
    kept = sum(line["outcome"] != "dropped" for line in json_lines(other / "scores.jsonl"))
    cells = ("good and half-dropped", 60, kept, 60 - kept, 0, kept)
    assert "".join(f"<td>{cell}</td>" for cell in cells[1:]) in html and str(cells[0]) in text
    for title, answer in (("good", "It is worth a trial"), ("half-dropped", "Only beside its controls")):
        assert title in text and answer in text
    assert "script-src &#39;none&#39;" in html and "<script" not in html


def test_a_run_is_not_compared_with_itself(tmp_path: Path, rt: Any) -> None:
    """One line says so, and nothing is written."""
    one = finished(tmp_path, "good")
    refused = rt("report", one, one, "--out", tmp_path / "both.html")
    assert refused.code == 2 and "named twice" in refused.err and not (tmp_path / "both.html").exists()
